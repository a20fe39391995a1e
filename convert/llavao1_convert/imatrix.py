"""Reads llama.cpp's importance matrices: how much each column of a weight matters.

Both forms that `llama-imatrix` has written: GGUF (sums of squares and counts) and the older .dat.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.contract.gguf import GgufHeader, read_header
from llavao1_edge.errors import CheckpointError, ModelFileError
from llavao1_edge.ggml.types import F32
from llavao1_edge.phrases import Phrase

Importance = dict[str, NDArray[np.float32]]
"""Tensor name of the text file → weight per column."""

MAX_ENTRIES, MAX_NAME, MAX_COLUMNS = 1 << 14, 1 << 10, 1 << 20
HINT = "Make it with llama-imatrix from a text file of this model (F16 or Q8_0)."


def read_imatrix(path: Path) -> Importance:
    """Raises CheckpointError for a file of neither form."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        found = _from_gguf(path) if magic == b"GGUF" else _from_dat(path)
    except OSError as error:
        raise CheckpointError(
            Phrase(
                "cannot read imatrix {path}: {reason}",
                path=path,
                reason=error.strerror or error,
            ),
            hint="Check the path.",
        ) from error
    except ModelFileError as error:
        raise CheckpointError(
            Phrase("imatrix: {message}", message=error.message), hint=HINT
        ) from error
    for name, values in found.items():
        if not np.isfinite(values).all() or (values < 0).any():
            raise CheckpointError(
                Phrase("{name}: impossible values for {tensor}", name=path.name, tensor=repr(name)),
                hint=HINT,
            )
    if not found:
        raise CheckpointError(
            Phrase("{name} holds no importance matrix", name=path.name), hint=HINT
        )
    return found


def _from_gguf(path: Path) -> Importance:
    header = read_header(path)
    found: Importance = {}
    for name in header.tensors:
        if not name.endswith(".in_sum2"):
            continue
        base = name.removesuffix(".in_sum2")
        sums, counts = _values(header, name), _values(header, f"{base}.counts")
        if len(counts) != 1:
            continue  # mixtures of experts, which this model has none of
        found[base] = sums / counts[0] if counts[0] > 0 else np.ones_like(sums)
    return found


def _values(header: GgufHeader, name: str) -> NDArray[np.float32]:
    info = header.tensors.get(name)
    if info is None or info.kind is not F32:
        raise CheckpointError(
            Phrase(
                "{name}: tensor {tensor} is missing or not F32",
                name=header.path.name,
                tensor=repr(name),
            ),
            hint=HINT,
        )
    return np.frombuffer(header.data, "<f4", info.n_bytes // 4, info.offset).astype(np.float32)


def _from_dat(path: Path) -> Importance:
    data, at = path.read_bytes(), 0

    def number(most: int) -> int:
        nonlocal at
        value: int = struct.unpack_from("<i", data, at)[0]
        at += 4
        if not 0 <= value <= most:
            raise ValueError(value)
        return value

    found: Importance = {}
    try:
        for _ in range(number(MAX_ENTRIES)):
            length = number(MAX_NAME)
            name = data[at : at + length].decode()
            at += length
            calls, n = number(1 << 30), number(MAX_COLUMNS)
            sums = np.frombuffer(data, "<f4", n, at).astype(np.float32)
            at += 4 * n
            found[name] = sums / np.float32(calls) if calls else np.ones_like(sums)
    except (struct.error, ValueError) as error:
        raise CheckpointError(
            Phrase(
                "{name} is not an imatrix file (at byte {at}): {error}",
                name=path.name,
                at=at,
                error=error,
            ),
            hint=HINT,
        ) from error
    return found
