"""How many bytes each part of a pair takes, from its two headers alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from llavao1_edge.contract import keys
from llavao1_edge.contract import tensors as names
from llavao1_edge.contract.gguf import GgufHeader
from llavao1_edge.contract.native import count, per_layer, rows_at_once
from llavao1_edge.contract.pair import Kind, kind_of
from llavao1_edge.mllama.shape import MllamaShape, read_shape
from llavao1_edge.settings import RuntimeSettings

LIBRARIES = 60 << 20  # what llama.cpp and its threads take besides what is listed
# Types that llama.cpp's CPU backend copies into another order while loading; the pages of the file
# stay mapped, but are not needed again. Measured on x86; elsewhere more types are.
SPARE_STATES = 8
REORDERED = ("Q4_0", "Q4_K", "IQ4_NL")


class Part(StrEnum):
    """What takes main memory, as people are told."""

    TEXT = "text weights"
    MMPROJ = "weights that read pictures"
    CELLS = "keys and values of the context"
    STATES = "recurrent states"
    PICTURE = "a picture that was read"
    WORK = "reading a picture, or decoding"
    CANDIDATES = "candidates side by side"
    DRAFT = "draft model"
    LIBRARIES = "libraries"


def n_states(width: int) -> int:
    """Sequences of a model that has a state for each: candidates, those they continue, and the
    root, the judge and other conversations."""
    return 2 * width + SPARE_STATES


MOST_ROWS = 16  # of a step, guesses included, whose logits are all copied


@dataclass(frozen=True)
class DraftSizes:
    """Bytes of a draft model; as in `Sizes`."""

    text: int
    reordered: int
    per_cell: int
    decoding: int
    compute: int

    def on_cpu(self, n_ctx: int) -> int:
        return self.text + n_ctx * self.per_cell + self.decoding

    def on_gpu(self, n_ctx: int) -> int:
        return self.text + n_ctx * self.per_cell + self.compute


@dataclass(frozen=True)
class Sizes:
    """Bytes, from the two headers. `per_cell`: keys and values of one token in all layers;
    `compute`: llama.cpp's compute buffer on each device, which grows with the batch;
    `per_sequence`: a recurrent state; `picture_cells`: of the context, for a picture."""

    text: int
    reordered: int
    per_layer: int
    n_layers: int
    head: int
    mmproj: int
    per_cell: int
    picture: int
    vision: int
    decoding: int
    per_candidate: int
    context_length: int
    compute: int = 0
    picture_cells: int = 0
    per_sequence: int = 0
    draft: DraftSizes | None = None

    def states(self, width: int) -> int:
        """Bytes of the recurrent states that are there from the start, used or not."""
        return n_states(width) * self.per_sequence

    def host(self, n_ctx: int, width: int) -> dict[Part, int]:
        """Bytes of each part, everything on the CPU."""
        return {
            Part.TEXT: self.text,
            Part.MMPROJ: self.mmproj,
            Part.CELLS: n_ctx * self.per_cell,
            Part.PICTURE: self.picture,
            Part.WORK: max(self.vision, self.decoding),
            Part.STATES: self.states(width),
            Part.CANDIDATES: width * self.per_candidate,
            Part.DRAFT: self.draft.on_cpu(n_ctx) if self.draft else 0,
            Part.LIBRARIES: LIBRARIES,
        }


def sizes(
    text: GgufHeader,
    mmproj: GgufHeader,
    *,
    f32_cache: bool,
    batch: int = RuntimeSettings.batch,
    picture_tokens: int = 0,
    draft: GgufHeader | None = None,
) -> Sizes:
    """picture_tokens: the most that a picture may take of the context, for models whose pictures
    stand there. Raises ModelFileError for headers without the numbers."""
    if kind_of(text, mmproj) is Kind.MLLAMA:
        found = _mllama(text, mmproj, f32_cache=f32_cache, batch=batch)
    else:
        found = _native(
            text, mmproj, f32_cache=f32_cache, batch=batch, picture_tokens=picture_tokens
        )
    return found if draft is None else replace(found, draft=_of_draft(draft, batch))


def _mllama(text: GgufHeader, mmproj: GgufHeader, *, f32_cache: bool, batch: int) -> Sizes:
    shape = read_shape(mmproj)
    number = 4 if f32_cache else 2
    n_layers, width = text.integer("llama.block_count"), text.integer("llama.embedding_length")
    heads, ffn = text.integer("llama.attention.head_count"), shape.tensors.text_ffn
    kv = width // max(1, heads) * text.integer("llama.attention.head_count_kv")
    used = sum(i.n_bytes for n, i in mmproj.tensors.items() if n not in names.TABLES)
    return Sizes(
        **_of_text(text, n_layers=n_layers, width=width, ffn=ffn, batch=batch),
        mmproj=used,
        per_cell=2 * n_layers * kv * number,
        picture=_picture(shape, number),
        vision=_vision(shape),
    )


def _of_text(
    text: GgufHeader, *, n_layers: int, width: int, ffn: int, batch: int
) -> dict[str, Any]:
    """What follows from any text file's weights and widths."""
    total = sum(info.n_bytes for info in text.tensors.values())
    outside = sum(i.n_bytes for n, i in text.tensors.items() if not n.startswith("blk."))
    table = text.tensors["token_embd.weight"]
    n_vocab = table.shape[-1]
    work = 2 * ffn + 6 * width
    return {
        "text": total,
        "reordered": sum(
            info.n_bytes
            for name, info in text.tensors.items()
            if info.kind.name in REORDERED and name != "token_embd.weight"
        ),
        "per_layer": (total - outside) // max(1, n_layers),
        "n_layers": n_layers,
        "head": text.tensors.get("output.weight", table).n_bytes,
        "decoding": 4 * (batch * work + MOST_ROWS * n_vocab),
        # Logits in llama.cpp, our copy, and two arrays of weights.
        "per_candidate": 4 * n_vocab * 4,
        "context_length": text.integer(f"{text.text(keys.ARCHITECTURE)}.context_length"),
        "compute": batch * 4 * (n_vocab + work),
    }


def _native(
    text: GgufHeader, mmproj: GgufHeader, *, f32_cache: bool, batch: int, picture_tokens: int
) -> Sizes:
    """Sliding windows are kept whole (`Context`), so every layer counts."""
    batch = max(batch, rows_at_once(mmproj, picture_tokens))
    n_layers, width, ffn = _widths(text)
    heads = per_layer(text, "attention.head_count")
    kv_heads = per_layer(text, "attention.head_count_kv", heads[0])
    n_tokens = max(1, picture_tokens)
    return Sizes(
        **_of_text(text, n_layers=n_layers, width=width, ffn=ffn, batch=batch),
        mmproj=sum(info.n_bytes for info in mmproj.tensors.values()),
        per_cell=_cell(text, 4 if f32_cache else 2),
        picture=n_tokens * width * 4 * 2,  # as it was read, and as it is decoded
        vision=_tower(mmproj, n_tokens),
        picture_cells=picture_tokens,
        per_sequence=_state(text, width, max(heads), kv_heads),
    )


def _widths(text: GgufHeader) -> tuple[int, int, int]:
    """Layers, embedding, feed-forward of any text file."""
    prefix = text.text(keys.ARCHITECTURE)
    n_layers, width = (text.integer(f"{prefix}.{n}") for n in ("block_count", "embedding_length"))
    return n_layers, width, max(per_layer(text, "feed_forward_length", 4 * width))


def _cell(text: GgufHeader, number: int) -> int:
    """Bytes of a token's keys and values in all layers. number: bytes of one number."""
    prefix, heads = text.text(keys.ARCHITECTURE), per_layer(text, "attention.head_count")
    kv_heads = per_layer(text, "attention.head_count_kv", heads[0])
    head_width = _widths(text)[1] // max(1, max(heads))
    key, value = (
        count(text, f"{prefix}.attention.{name}_length", head_width) for name in ("key", "value")
    )
    return sum(kv_heads) * (key + value) * number


def _of_draft(draft: GgufHeader, batch: int) -> DraftSizes:
    n_layers, width, ffn = _widths(draft)
    found = _of_text(draft, n_layers=n_layers, width=width, ffn=ffn, batch=batch)
    return DraftSizes(
        found["text"], found["reordered"], _cell(draft, 2), found["decoding"], found["compute"]
    )


def _tower(mmproj: GgufHeader, n_tokens: int) -> int:
    """The largest layer of libmtmd's graph; four patches become a token in most models."""
    patches = 4 * n_tokens
    width, ffn, heads = (
        count(mmproj, f"clip.vision.{name}", default)
        for name, default in (
            ("embedding_length", 1152),
            ("feed_forward_length", 4304),
            ("attention.head_count", 16),
        )
    )
    return 4 * patches * (6 * width + 2 * ffn + heads * min(patches, 1024))


def _state(text: GgufHeader, width: int, heads: int, kv_heads: list[int]) -> int:
    """Bytes of the states of one sequence, always in F32, as llama.cpp counts them
    (`llama_hparams::n_embd_r` and `n_embd_s`): of all layers, or of those without attention."""
    prefix = text.text(keys.ARCHITECTURE)

    def number(name: str) -> int:
        return count(text, f"{prefix}.{name}", 0)

    kernel, inner, state = (
        number(f"ssm.{name}") for name in ("conv_kernel", "inner_size", "state_size")
    )
    if number("wkv.head_size"):
        size = width * (number("token_shift_count") + number("wkv.head_size"))
    elif number("shortconv.l_cache"):
        size = width * (number("shortconv.l_cache") - 1)
    elif number("kda.head_dim"):
        side = number("kda.head_dim")
        size = heads * side * (side + 3 * (kernel - 1 if kernel else 3))
    else:
        size = inner * state
        size += max(0, kernel - 1) * (inner + 2 * number("ssm.group_count") * state)
    return 4 * size * (kv_heads.count(0) or len(kv_heads))


def _picture(shape: MllamaShape, number: int) -> int:
    sizes = shape.tensors
    return 2 * sizes.cross_layers * shape.n_cells * sizes.cross_kv_heads * sizes.head_width * number


def _vision(shape: MllamaShape) -> int:
    """Hidden and attended states, projected tokens, and the largest graph of a layer."""
    rows, sizes = shape.n_tokens + shape.n_padding, shape.tensors
    states = 2 * rows * sizes.width + shape.n_tokens * sizes.text_width
    layer = max(rows * (2 * sizes.ffn + 2 * sizes.width), rows * 4 * sizes.width)
    weights = 2 * sizes.width * sizes.ffn
    keys_values = 2 * shape.n_tokens * sizes.cross_kv_heads * sizes.head_width
    keys_values += sizes.text_width * sizes.cross_kv_heads * sizes.head_width
    return 4 * (states + max(layer + weights, keys_values))
