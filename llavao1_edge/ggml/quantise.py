"""Turning float32 rows into a storage type, with the code that llama.cpp itself uses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.errors import BackendError
from llavao1_edge.ggml.types import BF16, F16, F32, StorageType


def quantise(rows: NDArray[np.float32], kind: StorageType) -> NDArray[np.uint8]:
    """rows (n, k) float32 → the bytes of n rows in `kind`, shape (n, row_bytes)."""
    if rows.ndim != 2:
        raise ValueError(f"expected rows, got shape {rows.shape}")
    source = np.ascontiguousarray(rows, dtype=np.float32)
    if kind is F32:
        return source.view(np.uint8)
    if kind is F16:
        return to_f16(source).view(np.uint8)
    if kind is BF16:
        return to_bf16(source).view(np.uint8)
    return _quantise_blocks(source, kind)


def to_f16(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Round to nearest; a value beyond float16 is an error, never a silent infinity."""
    largest = float(np.max(np.abs(values), initial=0.0))
    if largest > float(np.finfo(np.float16).max):
        raise OverflowError(f"a weight of {largest:g} does not fit F16")
    return values.astype(np.float16)


def to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round to nearest even, as bit patterns."""
    bits = values.view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded >> np.uint32(16)).astype(np.uint16)


def from_bf16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Exact."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _quantise_blocks(source: NDArray[np.float32], kind: StorageType) -> NDArray[np.uint8]:
    from llavao1_edge.ggml import library as c

    n, k = source.shape
    target = np.empty((n, kind.row_bytes(k)), dtype=np.uint8)
    written = c.ggml_quantize_chunk(kind.number, source.ctypes.data, target.ctypes.data, 0, n, k, 0)
    if written != target.nbytes:
        raise BackendError(f"ggml wrote {written} bytes of {kind.name}, expected {target.nbytes}")
    return target
