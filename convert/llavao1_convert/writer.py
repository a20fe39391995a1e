"""Writes a GGUF file front to back: header first, then every tensor in order, whole or not at all.

Source: the GGUF specification, version 3, little-endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

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


class GgufWriter:
    """Writes beside the final path; `publish` makes the file appear, `discard` leaves nothing."""

    def __init__(self, path: Path, header: bytes) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._file: BinaryIO = self.partial.open("wb")
        self._open: Planned | None = None
        self._written = 0
        self._header = header

    def begin(self, tensor: Planned) -> None:
        if self._header:  # not in __init__: a disk that fails here must find us discardable
            self._file.write(self._header)
            self._header = b""
        self.end()
        self._open, self._written = tensor, 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._written += len(data)

    def end(self) -> None:
        if self._open is None:
            return
        if self._written != self._open.n_bytes:
            raise AssertionError(
                f"{self._open.name}: wrote {self._written} of {self._open.n_bytes} bytes"
            )
        self._file.write(bytes(_padding(self._written)))
        self._open = None

    def finish(self) -> None:
        """Everything is on disk, still under the temporary name."""
        self.end()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def publish(self) -> None:
        self.partial.replace(self.path)

    def discard(self) -> None:
        try:
            self._file.close()  # flushes, and may fail again on a full disk
        except OSError:
            pass
        finally:
            self.partial.unlink(missing_ok=True)
