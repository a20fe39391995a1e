"""The tiny configurations and pictures on which everything is compared with the oracle."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.tiny import Tiny, arrangements

BASE = Tiny()
CONFIGURATIONS: dict[str, Tiny] = {
    "base": BASE,
    "all-heads": BASE.but(heads=8, kv_heads=8, seed=1),
    "one-kv-head": BASE.but(heads=8, kv_heads=1, seed=2),
    "groups-of-three": BASE.but(hidden=96, heads=6, kv_heads=2, ffn=160, seed=3),
    "tile-84": BASE.but(image_size=84, seed=4),
    "tile-112": BASE.but(image_size=112, seed=5),
    "tile-60-not-a-multiple": BASE.but(image_size=60, seed=6),
    "patch-8": BASE.but(image_size=64, patch_size=8, seed=7),
    "cross-adjacent": BASE.but(layers=7, cross=(2, 3), seed=8),
    "cross-every-second": BASE.but(layers=8, cross=(1, 3, 5), seed=9),
    "cross-first-but-one": BASE.but(layers=4, cross=(1,), seed=10),
    "one-tile": BASE.but(max_tiles=1, seed=11),
    "two-tiles": BASE.but(max_tiles=2, seed=12),
    "three-tiles": BASE.but(max_tiles=3, seed=13),
    "plain-rope-large-eps": BASE.but(rope_scaling={"rope_type": "default"}, norm_eps=1e-3, seed=14),
    "one-intermediate": BASE.but(vision_layers=4, intermediate=(2,), vision_heads=4, seed=15),
}

# Tokens that hold a part of a tag, a whole one, or the end of one and the beginning of another.
# For grammars only, so it is not compared with the oracle.
STRADDLING = BASE.but(
    pieces=(
        *(
            "<",
            "</",
            "</S",
            "</SUM",
            "SUMMARY",
            "MARY>",
            ">\n\n<",
            "</SUMMARY>",
            "</SUMMARY>y",
        ),
        *("</CON", "CLUSION>", "CLUSION>\n", "<CAP", "TION", "<REASONING>", "e</", " <", ">\n"),
        *("</SUMMARY>\n\n<CAPTION>", "</SUMMARY>\n", "summary>", "/summary", "a <b", "\n\n"),
    ),
    seed=16,
)


def picture_for(tiny: Tiny, rows: int, columns: int, *, seed: int = 0) -> Image.Image:
    """A picture that lands on exactly this grid of tiles and fills it (halved, except 1 x 1)."""
    factor = 1 if (rows, columns) == (1, 1) else 2
    height, width = rows * tiny.image_size * factor, columns * tiny.image_size * factor
    return noise(height, width, seed=seed)


def padded_picture(tiny: Tiny) -> Image.Image:
    """A picture that leaves a part of its canvas empty, whatever the grid."""
    return noise(tiny.image_size * 2 - 7, tiny.image_size - 9, seed=9)


def noise(height: int, width: int, *, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 5 + 1, width // 5 + 1, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST)


def grids(tiny: Tiny) -> list[tuple[int, int]]:
    return [(rows, columns) for rows, columns in arrangements(tiny.max_tiles)]


def ids(tiny: Tiny, text: str, *, picture: bool, first: bool = True) -> list[int]:
    """A user turn in the Llama-3 format, tokenised byte by byte (the tiny tokenizer)."""
    special = {name: 256 + i for i, name in enumerate(_names())}
    start, end = special["<|start_header_id|>"], special["<|end_header_id|>"]

    def header(role: str) -> list[int]:
        return [start, *_bytes(role), end, *_bytes("\n\n")]

    image = [tiny.image_token] if picture and first else []
    opening = [special["<|begin_of_text|>"]] if first else []
    turn = [*header("user"), *image, *_bytes(text), special["<|eot_id|>"]]
    return [*opening, *turn, *header("assistant")]


def _names() -> tuple[str, ...]:
    from tests.tiny import SPECIALS

    return SPECIALS


def _bytes(text: str) -> list[int]:
    return list(text.encode())


QUESTION = "What is it?"


def two_turns(tiny: Tiny, *, picture: bool) -> list[int]:
    """A question, an answer, and a follow-up question."""
    end = 256 + _names().index("<|eot_id|>")
    first = ids(tiny, QUESTION, picture=picture)
    return [
        *first,
        *_bytes("A red circle."),
        end,
        *ids(tiny, "And now?", picture=False, first=False),
    ]
