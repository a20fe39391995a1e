"""Reads a checkpoint folder: safetensors headers, tensor data, JSON files. Trusts nothing in it."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.errors import CheckpointError
from llavao1_edge.ggml.quantise import from_bf16

Json = dict[str, Any]
MAX_HEADER = 100 << 20
DTYPES = {"F32": 4, "F16": 2, "BF16": 2}
FINGERPRINT_BYTES = 1 << 16
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
HINT = "Download the whole checkpoint folder again."


@dataclass(frozen=True)
class SourceTensor:
    """A tensor in a safetensors file: shape in numpy order, `offset` from the file's start."""

    name: str
    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    n_bytes: int

    @property
    def n_rows(self) -> int:
        return self.shape[0] if len(self.shape) > 1 else 1

    @property
    def row_length(self) -> int:
        return int(np.prod(self.shape)) // self.n_rows

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows start..stop as float32, shape (n, row_length)."""
        width = DTYPES[self.dtype] * self.row_length
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset + start * width)
                data = file.read((stop - start) * width)
        except OSError as error:
            raise CheckpointError(
                f"cannot read {self.path}: {error.strerror or error}", hint=HINT
            ) from error
        if len(data) != (stop - start) * width:
            raise CheckpointError(f"{self.path.name}: tensor {self.name!r} is cut off", hint=HINT)
        return _to_f32(data, self.dtype).reshape(stop - start, self.row_length)


def _to_f32(data: bytes, dtype: str) -> NDArray[np.float32]:
    if dtype == "BF16":
        return from_bf16(np.frombuffer(data, dtype="<u2"))
    return np.frombuffer(data, dtype="<f4" if dtype == "F32" else "<f2").astype(np.float32)


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose headers were checked. Tensors carry their canonical names."""

    folder: Path
    tensors: dict[str, SourceTensor]

    def json(self, name: str) -> Json:
        """A JSON file of the folder. Raises CheckpointError if it is missing or damaged."""
        found = self.json_or_none(name)
        if found is None:
            raise CheckpointError(f"{self.folder}: {name} is missing", hint=HINT)
        return found

    def json_or_none(self, name: str) -> Json | None:
        path = self.folder / name
        return read_json(path) if path.is_file() else None

    def fingerprint(self) -> str:
        """The pair id: a hash of every tensor's name, type, shape and first 64 KiB.

        Names and shapes alone would be equal for every fine-tune of one architecture.
        """
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            tensor = self.tensors[name]
            digest.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
            with tensor.path.open("rb") as file:
                file.seek(tensor.offset)
                digest.update(file.read(min(tensor.n_bytes, FINGERPRINT_BYTES)))
        return digest.hexdigest()


def open_checkpoint(folder: Path) -> Checkpoint:
    """Checks the folder and every safetensors header, reads no tensor data."""
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is not a folder",
            hint="Give the folder of a downloaded checkpoint (config.json, *.safetensors).",
        )
    tensors: dict[str, SourceTensor] = {}
    for path in _shards(folder):
        for tensor in _read_shard(path):
            name = canonical(tensor.name)
            if name is None:
                continue
            if name in tensors:
                raise CheckpointError(
                    f"{path.name}: tensor {tensor.name!r} stands twice", hint=HINT
                )
            tensors[name] = tensor
    return Checkpoint(folder, tensors)


def read_json(path: Path) -> Json:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path}: {error.strerror or error}", hint=HINT
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}", hint=HINT) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds no JSON object", hint=HINT)
    return value


def canonical(name: str) -> str | None:
    """One name for what the versions of transformers call differently; None for buffers.

    4.45-4.51 files: `language_model.model.X`; newer module trees: `model.language_model.X`.
    """
    if name.endswith("rotary_emb.inv_freq"):
        return None
    for prefix in ("language_model.", "vision_model.", "multi_modal_projector."):
        if name.startswith(f"model.{prefix}"):
            name = name.removeprefix("model.")
    if name in ("lm_head.weight", "language_model.lm_head.weight"):
        return "head.weight"
    for old, new in (
        ("language_model.model.", "text."),
        ("language_model.", "text."),
        ("vision_model.", "vision."),
        ("multi_modal_projector.", "projector."),
    ):
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _shards(folder: Path) -> list[Path]:
    index, single = folder / INDEX, folder / SINGLE
    if index.is_file():
        weights = read_json(index).get("weight_map")
        if not isinstance(weights, dict) or not weights:
            raise CheckpointError(f"{index} has no weight_map", hint=HINT)
        return [_inside(folder, str(name)) for name in sorted(set(map(str, weights.values())))]
    if single.is_file():
        return [_inside(folder, SINGLE)]
    pickles = [path.name for pattern in PICKLES for path in sorted(folder.glob(pattern))]
    if pickles:
        raise CheckpointError(
            f"{folder} holds pickle files only ({pickles[0]}); loading them can run code",
            hint="Get the safetensors version, or save it again with safe_serialization=True.",
        )
    raise CheckpointError(
        f"{folder} holds neither {SINGLE} nor {INDEX}",
        hint="Give the folder of a downloaded checkpoint (config.json, *.safetensors).",
    )


def _inside(folder: Path, name: str) -> Path:
    """A shard's path, refused if its name or a link leads out of the folder."""
    path = folder / name
    plain = Path(name).name == name and name not in ("", ".", "..") and "\\" not in name
    if not plain or (path.is_symlink() and not _is_cache_link(folder, path)):
        raise CheckpointError(
            f"{folder / INDEX}: shard name {name!r} leads out of the folder",
            hint="Do not convert this checkpoint unless you trust where it came from.",
        )
    if not path.is_file():
        raise CheckpointError(f"{folder}: shard {name} is missing", hint=HINT)
    return path


def _is_cache_link(folder: Path, path: Path) -> bool:
    """The hub's cache stores `snapshots/REV/file` as a link into `blobs/` beside it."""
    root = folder.resolve().parent
    return root.name == "snapshots" and path.resolve().parent == root.parent / "blobs"


def _read_shard(path: Path) -> Iterator[SourceTensor]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(8)
            n = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 2 <= n <= min(MAX_HEADER, size - 8):
                raise CheckpointError(f"{path.name}: damaged header ({n} bytes)", hint=HINT)
            header = json.loads(file.read(n))
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path}: {error.strerror or error}", hint=HINT
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name}: damaged header: {error}", hint=HINT) from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path.name}: damaged header", hint=HINT)
    for name, entry in header.items():
        if name != "__metadata__":
            yield _describe(path, name, entry, start=8 + n, size=size)


def _describe(path: Path, name: str, entry: Any, *, start: int, size: int) -> SourceTensor:
    try:
        dtype, shape = str(entry["dtype"]), tuple(int(length) for length in entry["shape"])
        begin, end = (int(offset) for offset in entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path.name}: tensor {name!r} is damaged", hint=HINT) from error
    if dtype not in DTYPES:
        raise CheckpointError(
            f"{path.name}: tensor {name!r} has type {dtype}, supported are {', '.join(DTYPES)}",
            hint="Convert the original 16-bit checkpoint, not a quantised copy.",
        )
    expected = DTYPES[dtype]
    for length in shape:
        expected *= length
    if min(shape, default=1) < 1 or end - begin != expected or start + end > size or begin < 0:
        raise CheckpointError(f"{path.name}: tensor {name!r} is cut off or damaged", hint=HINT)
    return SourceTensor(name, path, dtype, shape or (1,), start + begin, expected)
