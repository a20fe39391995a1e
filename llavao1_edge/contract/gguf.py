"""Reads and checks the header of a GGUF file in Python, before native code sees the file.

Every count, string, dimension product, offset and alignment is checked against the file's size
(llama.cpp's own parser has had memory-safety bugs here). Source: the GGUF specification, version 3.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from llavao1_edge.errors import ModelFileError
from llavao1_edge.ggml.types import STORAGE_TYPES, StorageType

MAGIC = b"GGUF"
MAX_ENTRIES = 1 << 16
MAX_STRING = 1 << 24
MAX_ARRAY = 1 << 24
MAX_TENSOR_BYTES = 1 << 40

Scalar = int | float | bool | str
Value = Scalar | list[int] | list[float] | list[bool] | list[str]

STRING, ARRAY, BOOL = 8, 9, 7
FORMATS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as the header describes it: shape in ggml order, `offset` from the file's start."""

    name: str
    shape: tuple[int, ...]
    kind: StorageType
    offset: int
    n_bytes: int


@dataclass(frozen=True)
class GgufHeader:
    """A checked header."""

    path: Path
    metadata: dict[str, Value]
    tensors: dict[str, TensorInfo]
    n_bytes: int

    def text(self, key: str) -> str:
        value = self.metadata.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, "a string")
        return value

    def integer(self, key: str) -> int:
        value = self.metadata.get(key)
        if type(value) is not int:
            raise self._wrong(key, "an integer")
        return value

    def number(self, key: str) -> float:
        value = self.metadata.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, "a number")
        return float(value)

    def integers(self, key: str) -> tuple[int, ...]:
        value = self.metadata.get(key)
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            raise self._wrong(key, "a list of integers")
        return tuple(int(item) for item in value)

    def numbers(self, key: str) -> tuple[float, ...]:
        value = self.metadata.get(key)
        if not isinstance(value, list) or any(isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of numbers")
        return tuple(float(item) for item in value)

    def _wrong(self, key: str, wanted: str) -> ModelFileError:
        return ModelFileError(
            f"{self.path.name}: metadata {key!r} is {self.metadata.get(key)!r}, expected {wanted}",
            hint="Convert the checkpoint again with this version.",
        )


class _Cursor:
    """Reads little-endian values and refuses to leave the file."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 0

    def fail(self, problem: str) -> ModelFileError:
        return ModelFileError(
            f"{self.path.name}: {problem} (at byte {self.at})",
            hint="The file is damaged or incomplete: fetch or convert it again.",
        )

    def need(self, n: int) -> int:
        start, end = self.at, self.at + n
        if end > len(self.data):
            raise self.fail(f"the file ends too early, {n} more bytes were promised")
        self.at = end
        return start

    def scalar(self, kind: int) -> int | float | bool:
        form = FORMATS[kind]
        value: int | float | bool = struct.unpack_from(
            f"<{form}", self.data, self.need(struct.calcsize(form))
        )[0]
        return value

    def count(self, limit: int, what: str) -> int:
        value = int(self.scalar(10))
        if value > limit:
            raise self.fail(f"{value} {what} are more than the limit of {limit}")
        return value

    def string(self) -> str:
        n = self.count(MAX_STRING, "bytes in a string")
        start = self.need(n)
        try:
            return self.data[start : start + n].decode()
        except UnicodeDecodeError:
            raise self.fail("a string is not UTF-8") from None


def read_header(path: Path) -> GgufHeader:
    """Raises ModelFileError naming the file, the problem and the byte offset."""
    try:
        with path.open("rb") as file:
            n_bytes = file.seek(0, 2)
            if n_bytes < 24:
                raise ModelFileError(
                    f"{path.name}: only {n_bytes} bytes, not a GGUF file",
                    hint="Point at a .gguf file that `llavao1-edge convert` wrote.",
                )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _parse(_Cursor(path, data), n_bytes)
    except OSError as error:
        raise ModelFileError(
            f"cannot read model file {path}: {error.strerror or error}",
            hint="Check the path and the permissions.",
        ) from error


def _parse(cursor: _Cursor, n_bytes: int) -> GgufHeader:
    if cursor.data[:4] != MAGIC:
        raise ModelFileError(
            f"{cursor.path.name}: not a GGUF file (starts with {cursor.data[:4]!r})",
            hint="Point at a .gguf file that `llavao1-edge convert` wrote.",
        )
    cursor.at = 4
    version = int(cursor.scalar(4))
    if version not in (2, 3):
        raise cursor.fail(f"GGUF version {version} is not supported (2 and 3 are)")
    n_tensors = cursor.count(MAX_ENTRIES, "tensors")
    n_entries = cursor.count(MAX_ENTRIES, "metadata entries")
    metadata: dict[str, Value] = {}
    for _ in range(n_entries):
        key = cursor.string()
        if key in metadata:
            raise cursor.fail(f"metadata {key!r} stands twice")
        metadata[key] = _value(cursor)
    described = [_tensor(cursor) for _ in range(n_tensors)]
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 8 or alignment & (alignment - 1):
        raise cursor.fail(f"alignment {alignment!r} is not a power of two")
    start = -(-cursor.at // alignment) * alignment
    tensors: dict[str, TensorInfo] = {}
    for info in described:
        if info.name in tensors:
            raise cursor.fail(f"tensor {info.name!r} stands twice")
        if info.offset % alignment or start + info.offset + info.n_bytes > n_bytes:
            raise cursor.fail(f"tensor {info.name!r} does not lie inside the file")
        offset = start + info.offset
        tensors[info.name] = TensorInfo(info.name, info.shape, info.kind, offset, info.n_bytes)
    return GgufHeader(cursor.path, metadata, tensors, n_bytes)


def _value(cursor: _Cursor) -> Value:
    kind = int(cursor.scalar(4))
    if kind == STRING:
        return cursor.string()
    if kind != ARRAY:
        if kind not in FORMATS:
            raise cursor.fail(f"metadata type {kind} is unknown")
        return cursor.scalar(kind)
    item = int(cursor.scalar(4))
    n = cursor.count(MAX_ARRAY, "items in an array")
    if item == STRING:
        return [cursor.string() for _ in range(n)]
    if item not in FORMATS:
        raise cursor.fail(f"array items of type {item} are not supported")
    form = FORMATS[item]
    start = cursor.need(n * struct.calcsize(form))
    return list(struct.unpack_from(f"<{n}{form}", cursor.data, start))


def _tensor(cursor: _Cursor) -> TensorInfo:
    name = cursor.string()
    if len(name.encode()) > 63:
        raise cursor.fail(f"tensor name {name[:80]!r} is longer than 63 bytes")
    n_dims = int(cursor.scalar(4))
    if not 1 <= n_dims <= 4:
        raise cursor.fail(f"tensor {name!r} has {n_dims} dimensions")
    shape = tuple(int(cursor.scalar(10)) for _ in range(n_dims))
    number = int(cursor.scalar(4))
    kind = STORAGE_TYPES.get(number)
    if kind is None:
        raise cursor.fail(f"tensor {name!r} has the unknown type {number}")
    n_bytes = 1
    for size in shape[1:]:
        n_bytes *= size
    if min(shape) < 1 or shape[0] % kind.block:
        raise cursor.fail(f"tensor {name!r} has the impossible shape {shape} for {kind.name}")
    n_bytes *= kind.row_bytes(shape[0])
    if n_bytes > MAX_TENSOR_BYTES:
        raise cursor.fail(f"tensor {name!r} of shape {shape} is too large")
    offset = int(cursor.scalar(10))
    return TensorInfo(name, shape, kind, offset, n_bytes)
