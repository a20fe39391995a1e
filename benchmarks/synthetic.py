"""Random checkpoints of real sizes, for timing only: nothing that they say means anything.

`OneB`: the text half of Llama-3.2-1B with four cross layers, and tiles as in the 11B model before a
narrower tower. `ElevenB`: the true sizes of Llama-3.2-11B-Vision, about 21 GB of BF16. `Eyes`: its
vision tower before a small text model, to time pictures alone; 2 GB.

    python -m benchmarks.synthetic eleven-b FOLDER
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests import tiny

VOCAB = 128_256
FIRST_SPECIAL = 128_000
BLOCK = 1 << 20  # random weights; matrices are tiles of one such block
# As Llama 3's vocabulary writes closing tags, as far as we know it; the first tokens behind bytes.
PIECES = (" </", "SUM", "MARY", "CAP", "TION", "RE", "ASON", "ING", "CON", "CLUSION", ">")
TABLES = ("tile_embedding.weight", "tile_positional_embedding.embedding.weight")


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


@dataclass(frozen=True)
class ElevenB(OneB):
    """Sizes; see the module's docstring."""

    hidden: int = 4096
    layers: int = 40
    ffn: int = 14336
    cross: tuple[int, ...] = (3, 8, 13, 18, 23, 28, 33, 38)
    vision_hidden: int = 1280
    vision_heads: int = 16
    vision_ffn: int = 5120
    vision_layers: int = 32
    global_layers: int = 8
    intermediate: tuple[int, ...] = (3, 7, 15, 23, 30)


@dataclass(frozen=True)
class Eyes(ElevenB):
    """Sizes; see the module's docstring."""

    hidden: int = 512
    layers: int = 5
    heads: int = 8
    ffn: int = 1024
    cross: tuple[int, ...] = (3,)


SHAPES: dict[str, OneB] = {"one-b": OneB(), "eleven-b": ElevenB(), "eyes": Eyes()}


def write_checkpoint(folder: Path, shape: OneB | None = None, *, n_shards: int = 1) -> Path:
    """Norms and gates are one, matrices tiles of one random block, unused tile rows zero."""
    shape = shape or OneB()
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, dict[str, Any]] = {
        "config.json": tiny.config(shape),
        "tokenizer.json": _tokenizer(shape),
        "preprocessor_config.json": tiny.preprocessor(shape),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    shapes = sorted(tiny.shapes(shape).items(), key=lambda item: _layer(item[0]))
    total = sum(_count(size) for _, size in shapes)
    shards: list[dict[str, tuple[int, ...]]] = [{} for _ in range(n_shards)]
    seen = 0
    for name, size in shapes:
        shards[min(n_shards - 1, seen * n_shards // total)][name] = size
        seen += _count(size)
    if n_shards == 1:
        _write_shard(shape, shards[0], folder / "model.safetensors")
        return folder
    index: dict[str, str] = {}
    for number, tensors in enumerate(shards, 1):
        file = f"model-{number:05}-of-{n_shards:05}.safetensors"
        _write_shard(shape, tensors, folder / file)
        index |= dict.fromkeys(tensors, file)
    text = json.dumps({"metadata": {"total_size": 2 * total}, "weight_map": index})
    (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    return folder


def _layer(name: str) -> int:
    """Real checkpoints are cut by layers, the head last."""
    if "lm_head" in name or name.endswith("model.norm.weight"):
        return 1 << 20
    parts = name.split(".")
    return int(parts[3]) if name.startswith("language_model.model.layers.") else -1


def _count(size: tuple[int, ...]) -> int:
    return int(np.prod(size, dtype=np.int64))


def _tokenizer(shape: OneB) -> dict[str, Any]:
    content = tiny.tokenizer(shape)
    vocabulary = content["model"]["vocab"]
    words = [piece.replace(" ", "Ġ") for piece in PIECES]
    words += [f"Ġword{i}" for i in range(256 + len(PIECES), FIRST_SPECIAL)]
    vocabulary |= {word: i for i, word in enumerate(words, 256)}
    for number, token in enumerate(content["added_tokens"]):
        token["id"] = FIRST_SPECIAL + number
    content["added_tokens"][-1]["id"] = VOCAB  # <|image|>
    return content


def _write_shard(shape: OneB, tensors: dict[str, tuple[int, ...]], path: Path) -> None:
    header: dict[str, Any] = {}
    offset = 0
    for name, size in tensors.items():
        n_bytes = _count(size) * 2
        header[name] = {
            "dtype": "BF16",
            "shape": list(size),
            "data_offsets": [offset, offset + n_bytes],
        }
        offset += n_bytes
    if shutil.disk_usage(path.parent).free < offset:
        raise SystemExit(f"{path.parent}: {offset / 1e9:.1f} GB are needed")
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, size in tensors.items():
            for part in _weights(shape, name, size):
                file.write(part)


def _weights(shape: OneB, name: str, size: tuple[int, ...]) -> Iterator[bytes]:
    n = _count(size)
    if len(size) == 1:
        yield _bf16(np.ones(n, dtype=np.float32))
    elif name.endswith(TABLES):
        yield _bf16(_table(shape, size))
    else:
        scale = np.float32(_count(size[1:]) ** -0.5)
        block = _bf16(np.random.default_rng(0).standard_normal(BLOCK).astype(np.float32) * scale)
        for start in range(0, n, BLOCK):
            yield block[: 2 * min(BLOCK, n - start)]


def _table(shape: OneB, size: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A table by aspect ratio; the rows of tiles that an arrangement does not use are zero."""
    table = np.random.default_rng(1).standard_normal(size, dtype=np.float32)
    tiles = table.reshape(size[0], shape.max_tiles, -1)
    tiles[0] = 0
    for identity, (rows, columns) in enumerate(tiny.arrangements(shape.max_tiles), 1):
        tiles[identity, rows * columns :] = 0
    return table


def _bf16(values: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    return (values.view(np.uint32) >> np.uint32(16)).astype("<u2").tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=tuple(SHAPES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=int, default=5)
    options = parser.parse_args()
    write_checkpoint(options.folder, SHAPES[options.shape], n_shards=options.shards)


if __name__ == "__main__":
    main()
