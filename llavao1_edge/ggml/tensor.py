"""Tensors and the arenas that own them."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from llavao1_edge.errors import BackendError
from llavao1_edge.ggml import library as c
from llavao1_edge.ggml.types import STORAGE_TYPES, StorageType
from llavao1_edge.phrases import Phrase


class Tensor:
    """A handle on a `ggml_tensor` that some arena (or llama.cpp) owns."""

    __slots__ = ("address", "struct")

    def __init__(self, address: int) -> None:
        if not address:
            raise BackendError("ggml could not create a tensor (out of memory for its description)")
        self.address = address
        self.struct = c.TensorStruct.from_address(address)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """ggml order: the fastest dimension first."""
        ne = self.struct.ne
        return ne[0], ne[1], ne[2], ne[3]

    @property
    def strides(self) -> tuple[int, int, int, int]:
        """Bytes, ggml order."""
        nb = self.struct.nb
        return nb[0], nb[1], nb[2], nb[3]

    @property
    def type(self) -> StorageType:
        return STORAGE_TYPES[self.struct.type]

    @property
    def name(self) -> str:
        return bytes(self.struct.name).decode()

    @property
    def n_bytes(self) -> int:
        return c.ggml_nbytes(self.address)

    def write(self, values: NDArray[np.generic]) -> None:
        """Copies a C-contiguous array of exactly this tensor's size into it."""
        data = np.ascontiguousarray(values)
        if data.nbytes != self.n_bytes:
            raise BackendError(
                Phrase(
                    "{nbytes} bytes do not fit tensor {name} of {n_bytes}",
                    nbytes=data.nbytes,
                    name=repr(self.name),
                    n_bytes=self.n_bytes,
                )
            )
        c.ggml_backend_tensor_set(self.address, data.ctypes.data, 0, data.nbytes)

    def read(self, dtype: DTypeLike) -> NDArray[Any]:
        """All of a contiguous tensor as numbers of `dtype`, one after the other."""
        values = np.empty(self.n_bytes // np.dtype(dtype).itemsize, dtype=dtype)
        c.ggml_backend_tensor_get(self.address, values.ctypes.data, 0, values.nbytes)
        return values

    def host_view(self) -> NDArray[np.float32]:
        """The memory of a contiguous F32 matrix on the CPU, shape (rows, row length), not a copy.

        Valid as long as whatever owns the memory.
        """
        k, n = self.shape[:2]
        buffer = self.struct.buffer
        on_host = bool(buffer) and c.ggml_backend_buffer_is_host(buffer)
        # On another device `data` may be any number that is not null.
        if not self.struct.data or not on_host or self.type.name != "F32":
            raise BackendError(
                Phrase("tensor {name} has no F32 values on the CPU", name=repr(self.name))
            )
        raw = (ctypes.c_float * (n * k)).from_address(self.struct.data)
        return np.ctypeslib.as_array(raw).reshape(n, k)

    def read_f32(self) -> NDArray[np.float32]:
        """The values of a contiguous F32 tensor, shape in numpy order (slowest first)."""
        values = np.empty(self.shape[::-1], dtype=np.float32)
        c.ggml_backend_tensor_get(self.address, values.ctypes.data, 0, values.nbytes)
        return values


class Arena:
    """Owns tensor descriptions and graphs (`ggml_context` without data)."""

    def __init__(self, *, n_tensors: int, graph_nodes: int = 0) -> None:
        c.check_layout()
        n_bytes = c.ggml_tensor_overhead() * n_tensors
        if graph_nodes:
            n_bytes += c.ggml_graph_overhead_custom(graph_nodes, False)
        self.address = c.ggml_init(c.InitParams(n_bytes, None, True))
        if not self.address:
            raise BackendError(
                Phrase(
                    "ggml could not get {n_bytes} bytes for tensor descriptions", n_bytes=n_bytes
                )
            )

    def tensor(self, kind: StorageType, *shape: int, name: str = "") -> Tensor:
        """A tensor without data; shape in ggml order."""
        full = (*shape, 1, 1, 1)[:4]
        made = Tensor(c.ggml_new_tensor_4d(self.address, kind.number, *full))
        if name:
            c.ggml_set_name(made.address, name.encode()[:63])
        return made

    def close(self) -> None:
        if self.address:
            c.ggml_free(self.address)
            self.address = 0


def address_of(array: NDArray[np.generic]) -> int:
    """Address of an array's first byte (also of a read-only one)."""
    return int(ctypes.c_void_p(array.ctypes.data).value or 0)
