"""Devices, the backend that computes our graphs, and the buffers it owns."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.errors import BackendError, OutOfMemory, UnsupportedOperation
from llavao1_edge.ggml import library as c
from llavao1_edge.ggml.tensor import Arena, Tensor, address_of
from llavao1_edge.ggml.types import F32
from llavao1_edge.phrases import Phrase

CPU, GPU, INTEGRATED_GPU = 0, 1, 2


@dataclass(frozen=True)
class Device:
    """A device that ggml can compute on; memory in bytes."""

    address: int
    name: str
    description: str
    kind: int
    memory_free: int
    memory_total: int

    @property
    def is_gpu(self) -> bool:
        return self.kind in (GPU, INTEGRATED_GPU)

    @property
    def shares_memory(self) -> bool:
        """Whether its memory is the main memory."""
        return self.kind == INTEGRATED_GPU or self.name.startswith(("Metal", "MTL"))


def devices() -> list[Device]:
    """All devices of this llama.cpp build and of the plug-ins that are loaded."""
    load_own_backends()
    return [_describe(c.ggml_backend_dev_get(i)) for i in range(c.ggml_backend_dev_count())]


@functools.cache
def load_own_backends() -> None:
    """A portable build has its CPU code in plug-ins of its own, one for each kind of processor:
    ggml takes the best that this processor can run. Nothing to do in other builds."""
    if not c.ggml_backend_dev_count():
        c.ggml_backend_load_all_from_path(c.library_folder().encode())


def _describe(address: int) -> Device:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    c.ggml_backend_dev_memory(address, ctypes.addressof(free), ctypes.addressof(total))
    return Device(
        address=address,
        name=c.ggml_backend_dev_name(address).decode(),
        description=c.ggml_backend_dev_description(address).decode(),
        kind=c.ggml_backend_dev_type(address),
        memory_free=free.value,
        memory_total=total.value,
    )


def cpu_device() -> Device:
    """The CPU. Raises BackendError where this build has none."""
    for device in devices():
        if device.kind == CPU:
            return device
    raise BackendError("this llama.cpp build has no CPU device", hint="Reinstall llama-cpp-python.")


class Buffer:
    """Owns memory that tensors live in."""

    def __init__(self, address: int, *, purpose: str, keeps: object = None) -> None:
        if not address:
            raise OutOfMemory(
                Phrase("not enough memory for {purpose}", purpose=Phrase.of(purpose)),
                hint="Close other programs, use a smaller quantisation or fewer GPU layers.",
            )
        self.address = address
        self._keeps = keeps  # memory we only borrow must outlive the buffer

    @property
    def n_bytes(self) -> int:
        return c.ggml_backend_buffer_get_size(self.address)

    def clear(self) -> None:
        """Fills all of it with zeros."""
        c.ggml_backend_buffer_clear(self.address, 0)

    def close(self) -> None:
        if self.address:
            c.ggml_backend_buffer_free(self.address)
            self.address = 0
            self._keeps = None


class Backend:
    """Owns one stream of computation on one device."""

    def __init__(self, device: Device, *, n_threads: int) -> None:
        self.device = device
        self.address = c.ggml_backend_dev_init(device.address, 0)
        if not self.address:
            raise BackendError(
                Phrase(
                    "device {name} ({description}) cannot be started",
                    name=device.name,
                    description=device.description,
                ),
                hint="Try --gpu-layers 0 to compute on the CPU.",
            )
        self.set_threads(n_threads)

    def set_threads(self, n_threads: int) -> None:
        self.n_threads = n_threads
        if self.device.kind == CPU:
            # Asked of the registry: in a portable build no library exports it by name.
            registry = c.ggml_backend_dev_backend_reg(self.device.address)
            address = c.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_set_n_threads")
            if not address:
                raise BackendError(
                    Phrase("device {name} has no number of threads", name=self.device.name)
                )
            c.SET_THREADS(address)(self.address, n_threads)

    def allocate(self, arena: Arena, *, purpose: str) -> Buffer:
        """Memory for all tensors of the arena that have none."""
        address = c.ggml_backend_alloc_ctx_tensors(arena.address, self.address)
        return Buffer(address, purpose=purpose)

    def borrow(self, data: NDArray[np.uint8]) -> Buffer:
        """CPU only: a buffer over memory that somebody else owns, such as a mapped file."""
        address = c.ggml_backend_cpu_buffer_from_ptr(address_of(data), data.nbytes)
        return Buffer(address, purpose="a mapped file", keeps=data)

    @functools.cached_property
    def extra_buffer_types(self) -> list[int]:
        """Kinds of memory that keep matrices as the processor multiplies them fastest (repacked,
        AMX), the best first. llama.cpp puts its own weights there."""
        registry = c.ggml_backend_dev_backend_reg(self.device.address)
        address = c.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_dev_get_extra_bufts")
        if not address:
            return []
        found = c.EXTRA_BUFFER_TYPES(address)(self.device.address)
        kinds: list[int] = []
        while found and found[len(kinds)]:
            kinds.append(int(found[len(kinds)] or 0))
        return kinds

    def multiplies_from(self, buffer_type: int, matrix: Tensor) -> bool:
        """Whether a matrix of this type and shape can be multiplied from such memory."""
        empty = Buffer(c.ggml_backend_buft_alloc_buffer(buffer_type, 0), purpose="a trial")
        arena = Arena(n_tensors=4)
        try:
            k, m = matrix.shape[:2]
            weight, x = arena.tensor(matrix.type, k, m), arena.tensor(F32, k, 512)
            weight.struct.buffer = empty.address
            product = c.ggml_mul_mat(arena.address, weight.address, x.address)
            return c.ggml_backend_dev_supports_op(self.device.address, product)
        finally:
            arena.close()
            empty.close()

    def allocate_in(self, arena: Arena, buffer_type: int, *, purpose: str) -> Buffer:
        """Memory of a certain kind for all tensors of the arena."""
        address = c.ggml_backend_alloc_ctx_tensors_from_buft(arena.address, buffer_type)
        return Buffer(address, purpose=purpose)

    def supports(self, operation: Tensor) -> bool:
        return c.ggml_backend_dev_supports_op(self.device.address, operation.address)

    def check(self, graph: int) -> None:
        """Raises UnsupportedOperation for the first node that the device cannot compute.

        ggml would abort there. The CPU computes everything.
        """
        if self.device.kind == CPU:
            return
        for index in range(c.ggml_graph_n_nodes(graph)):
            node = Tensor(c.ggml_graph_node(graph, index))
            if not self.supports(node):
                shape = " × ".join(map(str, node.shape))
                raise UnsupportedOperation(
                    Phrase(
                        "{name} ({description}) cannot compute {operation} of {shape}",
                        name=self.device.name,
                        description=self.device.description,
                        operation=c.ggml_op_desc(node.address).decode(),
                        shape=shape,
                    ),
                    hint="Read pictures on the CPU: --mmproj-device cpu.",
                )

    def reaches(self, buffer: int) -> bool:
        """Whether it can compute on tensors in this buffer without a copy."""
        kind = c.ggml_backend_buffer_get_type(buffer)
        return c.ggml_backend_dev_supports_buft(self.device.address, kind)

    def compute(self, graph: int) -> None:
        status = c.ggml_backend_graph_compute(self.address, graph)
        if status != 0:
            raise BackendError(
                Phrase(
                    "ggml failed to compute a graph on {name} (status {status})",
                    name=self.device.name,
                    status=status,
                ),
                hint="Usually too little memory: try fewer GPU layers or a smaller context.",
            )

    def close(self) -> None:
        if self.address:
            c.ggml_backend_free(self.address)
            self.address = 0


class Place(NamedTuple):
    """Memory for a tensor: the address of a `ggml_backend_buffer`, and one inside it."""

    buffer: int
    data: int


def place(at: Place, tensor: Tensor) -> None:
    """Puts a tensor without data there."""
    status = c.ggml_backend_tensor_alloc(at.buffer, tensor.address, at.data)
    if status != 0:
        raise BackendError(
            Phrase(
                "tensor {name} cannot be placed in its buffer ({status})",
                name=repr(tensor.name),
                status=status,
            )
        )


def copy(source: Tensor, target: Tensor) -> None:
    """Copies the values of a tensor into one of the same shape and type, across devices."""
    c.ggml_backend_tensor_copy(source.address, target.address)
