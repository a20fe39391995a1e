"""Tensors of a source, wherever their files are: read a few rows at a time, never as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.errors import CheckpointError
from llavao1_edge.ggml.quantise import dequantise
from llavao1_edge.ggml.types import StorageType
from llavao1_edge.phrases import Phrase

FINGERPRINT_BYTES = 1 << 16
HINT = "Fetch the source again: it is damaged or incomplete."


class Shard:
    """A file of tensor data on this machine. A shard elsewhere overrides `fetch` and `finish`."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path

    def fetch(self, report: Callable[[int], None] | None = None) -> None:
        """Brings the file here, if it is not; `report` is told the bytes so far."""

    def finish(self) -> None:
        """Nothing will be read from it any more."""

    @property
    def n_bytes(self) -> int:
        return self.path.stat().st_size

    def state(self) -> str:
        """Changes when the file does, even where its size and its time were set back: nobody can
        set the time of the last change of a file's entry (ctime)."""
        found = self.path.stat()
        times = f"{found.st_mtime_ns} {found.st_ctime_ns}"
        return f"{self.path.resolve()} {found.st_size} {found.st_ino} {times}"

    def read(self, offset: int, n: int) -> bytes:
        """Raises CheckpointError where there are fewer bytes."""
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(offset)
                data = file.read(n)
                while data and len(data) < n:
                    more = file.read(n - len(data))
                    if not more:
                        break
                    data += more
        except OSError as error:
            raise CheckpointError(
                Phrase(
                    "cannot read {path}: {reason}",
                    path=self.path,
                    reason=error.strerror or error,
                ),
                hint=HINT,
            ) from error
        if len(data) != n:
            raise CheckpointError(
                Phrase(
                    "{name} is cut off at byte {offset}", name=self.name, offset=offset + len(data)
                ),
                hint=HINT,
            )
        return data


@dataclass(frozen=True)
class SourceTensor:
    """A tensor in a file: shape in numpy order, `offset` from the file's start.

    Vectors are one row, everything else has as many rows as its first dimension says.
    """

    name: str
    shard: Shard
    kind: StorageType
    shape: tuple[int, ...]
    offset: int
    n_bytes: int

    @property
    def n_rows(self) -> int:
        return self.shape[0] if len(self.shape) > 1 else 1

    @property
    def row_length(self) -> int:
        length = 1
        for size in self.shape[1:] if len(self.shape) > 1 else self.shape:
            length *= size
        return length

    def stored(self, start: int, stop: int) -> NDArray[np.uint8]:
        """The bytes of rows start..stop, shape (n, bytes of a row)."""
        width = self.n_bytes // self.n_rows
        data = self.shard.read(self.offset + start * width, (stop - start) * width)
        return np.frombuffer(data, dtype=np.uint8).reshape(stop - start, width)

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows start..stop as float32, shape (n, row_length)."""
        return self.widen(self.stored(start, stop))

    def widen(self, stored: NDArray[np.uint8]) -> NDArray[np.float32]:
        return dequantise(stored, self.kind, self.row_length)

    def values(self) -> NDArray[np.float32]:
        """All of a small tensor as float32, flat."""
        return self.rows(0, self.n_rows).reshape(-1)

    def recipe(self) -> str:
        """What its values depend on besides its place in its shard."""
        return ""

    def digest(self) -> str:
        """Of its first 64 KiB."""
        data = self.shard.read(self.offset, min(self.n_bytes, FINGERPRINT_BYTES))
        return hashlib.sha256(data).hexdigest()


def pair_id(tensors: dict[str, SourceTensor], digests: dict[str, str]) -> str:
    """Names the weights: a hash of every tensor's name, type, shape and digest.

    Names and shapes alone would be equal for every fine-tune of one architecture. It does not
    depend on how a checkpoint is cut into files, nor on the order in which they were read.
    """
    whole = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        whole.update(f"{name} {tensor.kind.name} {tensor.shape} {digests[name]}\n".encode())
    return whole.hexdigest()
