"""Between float32 rows and a storage type, with the code that llama.cpp itself uses."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.errors import BackendError
from llavao1_edge.ggml.types import BF16, F16, F32, StorageType
from llavao1_edge.phrases import Phrase


def quantise(
    rows: NDArray[np.float32],
    kind: StorageType,
    *,
    importance: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """rows (n, k) float32 → the bytes of n rows in `kind`, shape (n, row_bytes).

    importance: how much each of the k columns matters. Threads may call this side by side. Raises
    OverflowError where a value does not fit F16.
    """
    if rows.ndim != 2:
        raise ValueError(f"expected rows, got shape {rows.shape}")
    source = np.ascontiguousarray(rows, dtype=np.float32)
    if kind is F32:
        return source.view(np.uint8)
    if kind is F16:
        return to_f16(source).view(np.uint8)
    if kind is BF16:
        return to_bf16(source).view(np.uint8)
    return _quantise_blocks(source, kind, importance)


def dequantise(rows: NDArray[np.uint8], kind: StorageType, k: int) -> NDArray[np.float32]:
    """The bytes of n rows of k weights, shape (n, row_bytes) → float32 (n, k)."""
    if kind is F32:
        return np.ascontiguousarray(rows).view(np.float32)
    if kind is F16:
        return np.ascontiguousarray(rows).view(np.float16).astype(np.float32)
    if kind is BF16:
        return from_bf16(np.ascontiguousarray(rows).view(np.uint16))
    from llavao1_edge.ggml import library as c

    source = np.ascontiguousarray(rows)
    target = np.empty((len(rows), k), dtype=np.float32)
    traits = c.TypeTraits.from_address(c.ggml_get_type_traits(kind.number))
    name = (traits.type_name or b"").decode().upper()
    if name != kind.name or traits.block != kind.block or traits.block_bytes != kind.block_bytes:
        raise BackendError(
            Phrase(
                "this ggml describes type {number} as {name} in blocks of {block}, "
                "expected {wanted}",
                number=kind.number,
                name=name,
                block=traits.block,
                wanted=kind.name,
            ),
            hint="Install llama-cpp-python>=0.3.36,<0.4, the range this version was tested with.",
        )
    convert = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    convert(traits.to_float)(source.ctypes.data, target.ctypes.data, target.size)
    return target


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
    wide = bits.astype(np.uint32)
    wide <<= np.uint32(16)
    return wide.view(np.float32)


def _quantise_blocks(
    source: NDArray[np.float32], kind: StorageType, importance: NDArray[np.float32] | None
) -> NDArray[np.uint8]:
    from llavao1_edge.ggml import library as c

    n, k = source.shape
    target = np.empty((n, kind.row_bytes(k)), dtype=np.uint8)
    weights = 0
    if importance is not None:
        if importance.shape != (k,) or importance.dtype != np.float32:
            raise ValueError(f"importance of shape {importance.shape} for rows of {k}")
        weights = importance.ctypes.data
    written = c.ggml_quantize_chunk(
        kind.number, source.ctypes.data, target.ctypes.data, 0, n, k, weights
    )
    if written != target.nbytes:
        raise BackendError(
            Phrase(
                "ggml wrote {written} bytes of {name}, expected {nbytes}",
                written=written,
                name=kind.name,
                nbytes=target.nbytes,
            )
        )
    return target
