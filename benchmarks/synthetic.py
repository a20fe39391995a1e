"""A random checkpoint of the shape of Llama-3.2-1B with four cross layers, for timing only.

Text: 16 self-attention layers of width 2048 (as Llama-3.2-1B), 4 cross layers, 128,256 tokens.
Vision: tiles of 560 pixels and 6,404 tokens as in the 11B model, but narrower and fewer layers.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests import tiny

VOCAB = 128_256
FIRST_SPECIAL = 128_000


@dataclass(frozen=True)
class OneB(tiny.Tiny):
    """Sizes; see the module's docstring."""

    hidden: int = 2048
    layers: int = 20
    heads: int = 32
    kv_heads: int = 8
    ffn: int = 8192
    cross: tuple[int, ...] = (3, 8, 13, 18)
    vision_hidden: int = 640
    vision_heads: int = 8
    vision_ffn: int = 2560
    vision_layers: int = 8
    global_layers: int = 2
    intermediate: tuple[int, ...] = (1, 3, 5)
    image_size: int = 560

    @property
    def vocab(self) -> int:
        return VOCAB


def write_checkpoint(folder: Path) -> Path:
    """About 4 GB of BF16. Norms are one, matrices tiles of one random block."""
    shape = OneB()
    folder.mkdir(parents=True, exist_ok=True)
    config = tiny.config(shape)
    files: dict[str, dict[str, Any]] = {
        "config.json": config,
        "tokenizer.json": _tokenizer(shape),
        "preprocessor_config.json": tiny.preprocessor(shape),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    _write_weights(shape, folder / "model.safetensors")
    return folder


def _tokenizer(shape: OneB) -> dict[str, Any]:
    content = tiny.tokenizer(shape)
    vocabulary = content["model"]["vocab"]
    vocabulary |= {f"Ġword{i}": i for i in range(256, FIRST_SPECIAL)}
    for number, token in enumerate(content["added_tokens"]):
        token["id"] = FIRST_SPECIAL + number
    content["added_tokens"][-1]["id"] = VOCAB  # <|image|>
    return content


def _write_weights(shape: OneB, path: Path) -> None:
    block = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32)
    header: dict[str, Any] = {}
    offset = 0
    shapes = tiny.shapes(shape)
    for name, size in shapes.items():
        n_bytes = int(np.prod(size)) * 2
        header[name] = {
            "dtype": "BF16",
            "shape": list(size),
            "data_offsets": [offset, offset + n_bytes],
        }
        offset += n_bytes
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for size in shapes.values():
            n = int(np.prod(size))
            scale = 1.0 if len(size) == 1 else float(np.prod(size[1:])) ** -0.5
            values = np.ones(n, np.float32) if len(size) == 1 else np.resize(block, n) * scale
            file.write((values.astype(np.float32).view(np.uint32) >> 16).astype("<u2").tobytes())
