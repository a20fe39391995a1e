"""Reads and checks the header of a GGUF file in Python, before native code sees the file.

Every count, string, dimension product, offset and alignment is checked against the file's size
(llama.cpp's own parser has had memory-safety bugs here), and what is kept of a hostile file is
bounded. The file is opened once: `data` is a map of it and `fd` its descriptor, and these are what
gets loaded later, whatever happens to the path. Source: the GGUF specification, version 3.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from weakref import finalize

from llavao1_edge.errors import ModelFileError
from llavao1_edge.ggml.types import STORAGE_TYPES, StorageType
from llavao1_edge.phrases import Phrase

MAGIC = b"GGUF"
# A pipe would not open before somebody writes to it.
OPENED = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
MAX_ENTRIES = 1 << 12
MAX_TENSORS = 1 << 14
MAX_KEY = 1 << 10
MAX_STRING = 1 << 20  # in an array
MAX_STRINGS = 1 << 20  # in all arrays together; Llama 3 has 408,411
MAX_TEXT = 8 << 20  # bytes of all strings outside arrays together
MAX_ARRAYS = 16 << 20  # bytes of all arrays of numbers together
MAX_TENSOR_BYTES = 1 << 40
MAX_ALIGNMENT = 1 << 16

Scalar = int | float | bool | str

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
NOT_OURS = "Point at a .gguf file that `llavao1-edge convert` wrote."
CONVERT_AGAIN = "Convert the checkpoint again with this version."


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as the header describes it: shape in ggml order, `offset` from the file's start."""

    name: str
    shape: tuple[int, ...]
    kind: StorageType
    offset: int
    n_bytes: int


@dataclass(frozen=True)
class Strings:
    """An array of strings that stays in the file; every one was checked to be UTF-8."""

    data: mmap.mmap = field(repr=False)
    start: int
    n: int
    end: int = 0

    @property
    def raw(self) -> bytes:
        """As they stand in the file, with their lengths."""
        return self.data[self.start : self.end]

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[str]:
        at = self.start
        for _ in range(self.n):
            (length,) = struct.unpack_from("<Q", self.data, at)
            yield self.data[at + 8 : at + 8 + length].decode()
            at += 8 + length


Value = Scalar | Strings | array  # type: ignore[type-arg]  # of ints or of floats, by its typecode


@dataclass(frozen=True)
class GgufHeader:
    """A checked header, and the open file that it belongs to."""

    path: Path
    metadata: dict[str, Value]
    tensors: dict[str, TensorInfo]
    n_bytes: int
    data: mmap.mmap = field(repr=False, compare=False)
    fd: int = field(repr=False, compare=False)
    """Closed together with this object. To hand it on, duplicate it."""

    def __post_init__(self) -> None:
        finalize(self, os.close, self.fd)

    def text(self, key: str) -> str:
        value = self.metadata.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, "a string")
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        """default: where the file does not state it."""
        value = self.metadata.get(key, default)
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
        if not isinstance(value, array) or value.typecode in "fd":
            raise self._wrong(key, "a list of integers")
        return tuple(value)

    def numbers(self, key: str) -> tuple[float, ...]:
        value = self.metadata.get(key)
        if not isinstance(value, array):
            raise self._wrong(key, "a list of numbers")
        return tuple(float(item) for item in value)

    def strings(self, key: str) -> list[str]:
        value = self.metadata.get(key)
        if not isinstance(value, Strings):
            raise self._wrong(key, "a list of strings")
        return list(value)

    def _wrong(self, key: str, wanted: str) -> ModelFileError:
        return ModelFileError(
            Phrase(
                "{name}: metadata {key} is {value}, expected {wanted}",
                name=self.path.name,
                key=repr(key),
                value=repr(self.metadata.get(key)),
                wanted=wanted,
            ),
            hint=CONVERT_AGAIN,
        )


class _Cursor:
    """Reads little-endian values and refuses to leave the file."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at, self.size = path, data, 0, len(data)
        self.strings, self.text, self.arrays = MAX_STRINGS, MAX_TEXT, MAX_ARRAYS  # left

    def fail(self, problem: str, *, at: int | None = None) -> ModelFileError:
        offset = self.at if at is None else at
        return ModelFileError(
            Phrase(
                "{name}: {problem} (at byte {offset})",
                name=self.path.name,
                problem=problem,
                offset=offset,
            ),
            hint="The file is damaged or incomplete: fetch or convert it again.",
            offset=offset,
        )

    def need(self, n: int) -> int:
        start, end = self.at, self.at + n
        if end > self.size:
            raise self.fail(f"the file ends too early, {n} more bytes were promised")
        self.at = end
        return start

    def scalar(self, kind: int) -> int | float | bool:
        form = FORMATS[kind]
        start = self.need(struct.calcsize(form))
        if kind == BOOL and self.data[start] > 1:
            raise self.fail(f"a truth value is {self.data[start]}", at=start)
        value: int | float | bool = struct.unpack_from(f"<{form}", self.data, start)[0]
        return value

    def count(self, limit: int, what: str) -> int:
        at = self.at
        value = int(self.scalar(10))
        if value > limit:
            raise self.fail(f"{value} {what} are more than the limit of {limit}", at=at)
        return value

    def string(self, limit: int) -> str:
        at = self.at
        n = self.count(limit, "bytes in a string")
        start = self.need(n)
        try:
            return self.data[start : start + n].decode()
        except UnicodeDecodeError:
            raise self.fail("a string is not UTF-8", at=at) from None

    def words(self, n: int) -> Strings:
        """Walks over an array of strings without keeping them."""
        start = self.at
        for _ in range(n):
            self.string(MAX_STRING)
        return Strings(self.data, start, n, self.at)


def read_header(path: Path) -> GgufHeader:
    """Raises ModelFileError naming the file, the problem and the byte offset."""
    try:
        fd = os.open(path, OPENED)
    except (OSError, ValueError) as error:  # a path with a NUL
        raise _unreadable(path, error) from error
    try:
        found = os.fstat(fd)
        n_bytes = found.st_size
        if not stat.S_ISREG(found.st_mode):
            raise ModelFileError(
                Phrase(
                    "cannot read model file {path}: it is a folder"
                    if stat.S_ISDIR(found.st_mode)
                    else "cannot read model file {path}: it is not a regular file",
                    path=path,
                ),
                hint=NOT_OURS,
            )
        if n_bytes < 24:
            raise ModelFileError(
                Phrase(
                    "{name}: only {n_bytes} bytes, not a GGUF file", name=path.name, n_bytes=n_bytes
                ),
                hint=NOT_OURS,
                offset=0,
            )
        data = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        metadata, tensors = _parse(_Cursor(path, data))
    except OSError as error:
        os.close(fd)
        raise _unreadable(path, error) from error
    except BaseException:
        os.close(fd)
        raise
    return GgufHeader(path, metadata, tensors, n_bytes, data, fd)


def _unreadable(path: Path, error: OSError | ValueError) -> ModelFileError:
    reason = getattr(error, "strerror", None) or error
    return ModelFileError(
        Phrase("cannot read model file {path}: {reason}", path=path, reason=reason),
        hint="Check the path and the permissions.",
    )


def _parse(cursor: _Cursor) -> tuple[dict[str, Value], dict[str, TensorInfo]]:
    if cursor.data[:4] != MAGIC:
        raise ModelFileError(
            Phrase(
                "{name}: not a GGUF file (starts with {data})",
                name=cursor.path.name,
                data=repr(cursor.data[:4]),
            ),
            hint=NOT_OURS,
            offset=0,
        )
    cursor.at = 4
    version = int(cursor.scalar(4))
    if version not in (2, 3):
        raise cursor.fail(f"GGUF version {version} is not supported (2 and 3 are)", at=4)
    n_tensors = cursor.count(MAX_TENSORS, "tensors")
    n_entries = cursor.count(MAX_ENTRIES, "metadata entries")
    metadata: dict[str, Value] = {}
    for _ in range(n_entries):
        at = cursor.at
        key = cursor.string(MAX_KEY)
        if not key or key in metadata:
            raise cursor.fail(f"metadata {key!r} {'stands twice' if key else 'has no name'}", at=at)
        metadata[key] = _value(cursor)
    alignment = metadata.get("general.alignment", 32)
    whole = type(alignment) is int and 8 <= alignment <= MAX_ALIGNMENT
    if not whole or alignment & (alignment - 1):  # type: ignore[operator]
        raise cursor.fail(f"alignment {alignment!r} is not a power of two from 8 to 65536")
    assert isinstance(alignment, int)
    return metadata, _tensors(cursor, n_tensors, alignment)


def _tensors(cursor: _Cursor, n: int, alignment: int) -> dict[str, TensorInfo]:
    """The descriptions, with offsets from the file's start."""
    described: dict[str, tuple[int, TensorInfo]] = {}
    for _ in range(n):
        at = cursor.at
        info = _tensor(cursor)
        if info.name in described:
            raise cursor.fail(f"tensor {info.name!r} stands twice", at=at)
        described[info.name] = at, info
    start = -(-cursor.at // alignment) * alignment
    tensors: dict[str, TensorInfo] = {}
    for name, (at, info) in described.items():
        offset = start + info.offset
        if info.offset % alignment or offset + info.n_bytes > cursor.size:
            raise cursor.fail(f"tensor {name!r} does not lie inside the file", at=at)
        tensors[name] = TensorInfo(name, info.shape, info.kind, offset, info.n_bytes)
    end = start
    for info in sorted(tensors.values(), key=lambda info: info.offset):
        if info.offset < end:
            at = described[info.name][0]
            raise cursor.fail(f"tensor {info.name!r} overlaps the one before it", at=at)
        end = info.offset + info.n_bytes
    return tensors


def _value(cursor: _Cursor) -> Value:
    at = cursor.at
    kind = int(cursor.scalar(4))
    if kind == STRING:
        value = cursor.string(min(cursor.text, MAX_TEXT))
        cursor.text -= len(value.encode())
        return value
    if kind != ARRAY:
        if kind not in FORMATS:
            raise cursor.fail(f"metadata type {kind} is unknown", at=at)
        return cursor.scalar(kind)
    at = cursor.at
    item = int(cursor.scalar(4))
    if item == STRING:
        n = cursor.count(cursor.strings, "strings in arrays")
        cursor.strings -= n
        return cursor.words(n)
    if item not in FORMATS:
        raise cursor.fail(f"array items of type {item} are not supported", at=at)
    form = FORMATS[item]
    size = struct.calcsize(form)
    n = cursor.count(cursor.arrays // size, "items in an array")
    cursor.arrays -= n * size
    start = cursor.need(n * size)
    values = array("B" if form == "?" else form)
    values.frombytes(cursor.data[start : start + n * size])
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _tensor(cursor: _Cursor) -> TensorInfo:
    at = cursor.at
    name = cursor.string(MAX_KEY)
    if not 1 <= len(name.encode()) <= 63:
        raise cursor.fail(f"tensor name {name[:80]!r} is not 1 to 63 bytes long", at=at)
    n_dims = int(cursor.scalar(4))
    if not 1 <= n_dims <= 4:
        raise cursor.fail(f"tensor {name!r} has {n_dims} dimensions", at=at)
    shape = tuple(int(cursor.scalar(10)) for _ in range(n_dims))
    number = int(cursor.scalar(4))
    kind = STORAGE_TYPES.get(number)
    if kind is None:
        raise cursor.fail(f"tensor {name!r} has the unknown type {number}", at=at)
    if min(shape) < 1 or shape[0] % kind.block:
        raise cursor.fail(
            f"tensor {name!r} has the impossible shape {shape} for {kind.name}", at=at
        )
    n_bytes = kind.row_bytes(shape[0])
    for size in shape[1:]:
        n_bytes *= size
    if n_bytes > MAX_TENSOR_BYTES:
        raise cursor.fail(f"tensor {name!r} of shape {shape} is too large", at=at)
    return TensorInfo(name, shape, kind, int(cursor.scalar(10)), n_bytes)
