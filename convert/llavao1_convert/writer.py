"""Writes a GGUF file: the header as a whole, then tensors in any order at their places.

Source: the GGUF specification, version 3, little-endian.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from llavao1_edge.ggml.types import StorageType

ALIGNMENT = 32
SCALARS = {"u32": (4, "I"), "i32": (5, "i"), "f32": (6, "f"), "bool": (7, "?"), "f64": (12, "d")}
STRING, ARRAY = 8, 9


@dataclass(frozen=True)
class Entry:
    """A metadata entry, already encoded."""

    key: str
    data: bytes


@dataclass(frozen=True)
class Planned:
    """A tensor to come: shape in ggml order."""

    name: str
    shape: tuple[int, ...]
    kind: StorageType

    @property
    def n_rows(self) -> int:
        n = 1
        for size in self.shape[1:]:
            n *= size
        return n

    @property
    def n_bytes(self) -> int:
        return self.n_rows * self.kind.row_bytes(self.shape[0])


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _scalar(key: str, kind: str, value: float) -> Entry:
    number, form = SCALARS[kind]
    return Entry(key, _text(key) + struct.pack(f"<I{form}", number, value))


def u32(key: str, value: int) -> Entry:
    return _scalar(key, "u32", value)


def f32(key: str, value: float) -> Entry:
    return _scalar(key, "f32", value)


def f64(key: str, value: float) -> Entry:
    return _scalar(key, "f64", value)


def boolean(key: str, value: bool) -> Entry:
    return _scalar(key, "bool", value)


def string(key: str, value: str) -> Entry:
    return Entry(key, _text(key) + struct.pack("<I", STRING) + _text(value))


def array(key: str, kind: str, values: list[int] | list[float] | list[str]) -> Entry:
    if kind == "string":
        number, body = STRING, b"".join(_text(str(value)) for value in values)
    else:
        number, form = SCALARS[kind]
        body = struct.pack(f"<{len(values)}{form}", *values)
    return Entry(key, _text(key) + struct.pack("<IIQ", ARRAY, number, len(values)) + body)


def _padding(n: int) -> int:
    return -n % ALIGNMENT


def encode_header(entries: Iterable[Entry], tensors: list[Planned]) -> bytes:
    """Everything before the tensor data, padded."""
    listed = list(entries)
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(listed))]
    parts += [entry.data for entry in listed]
    offset = 0
    for tensor in tensors:
        parts.append(_text(tensor.name))
        parts.append(struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape))
        parts.append(struct.pack("<IQ", tensor.kind.number, offset))
        offset += tensor.n_bytes + _padding(tensor.n_bytes)
    header = b"".join(parts)
    return header + bytes(_padding(len(header)))


def file_size(header: bytes, tensors: list[Planned]) -> int:
    return len(header) + sum(tensor.n_bytes + _padding(tensor.n_bytes) for tensor in tensors)


class Slots:
    """Writes the tensors of a GGUF file in any order, from any thread, at their final places."""

    def __init__(self, path: Path, header: bytes, tensors: list[Planned]) -> None:
        """Goes on with a file of the right size, or makes a new one."""
        self.path = path
        self.n_bytes = file_size(header, tensors)
        self.offsets: dict[str, int] = {}
        at = len(header)
        for tensor in tensors:
            self.offsets[tensor.name] = at
            at += tensor.n_bytes + _padding(tensor.n_bytes)
        self.is_new = not (path.is_file() and path.stat().st_size == self.n_bytes)
        self._file = path.open("w+b" if self.is_new else "r+b", buffering=0)
        self._lock = threading.Lock()
        try:
            self._file.truncate(self.n_bytes)  # padding is zero without being written
            self.write(0, header)
        except BaseException:
            self._file.close()
            raise

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """All of `data` at `offset`."""
        view = memoryview(data).cast("B")
        while view.nbytes:
            if hasattr(os, "pwrite"):
                n = os.pwrite(self._file.fileno(), view, offset)
            else:
                with self._lock:
                    self._file.seek(offset)
                    n = self._file.write(view)
            view, offset = view[n:], offset + n

    def sync(self) -> None:
        if not self._file.closed:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
