"""The mmproj file's tensors on a device. On the CPU they stay in the mapped file, but for matrices
that the processor multiplies faster in another order of their numbers."""

from __future__ import annotations

import mmap
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.contract.gguf import GgufHeader
from llavao1_edge.contract.tensors import TABLES
from llavao1_edge.ggml.backend import CPU, Backend, Buffer, Place, place
from llavao1_edge.ggml.quantise import dequantise
from llavao1_edge.ggml.tensor import Arena, Tensor, address_of
from llavao1_edge.ggml.trial import safe_kinds
from llavao1_edge.ggml.types import F32

PARTS = 16  # of a matrix that threads widen


class Weights:
    """Owns the tensors and their memory."""

    def __init__(
        self, header: GgufHeader, backend: Backend, *, repacked: Collection[str] = ()
    ) -> None:
        """repacked: matrices that few rows at a time are multiplied by, and nothing else is done
        with; on a CPU they go where llama.cpp puts its own. Raises OutOfMemory."""
        self._header = header
        self._data = np.frombuffer(header.data, dtype=np.uint8)
        self._arena = Arena(n_tensors=len(header.tensors))
        on_host = backend.device.kind == CPU
        # The position tables are read a row at a time on the host; a device needs no copy of them.
        self._tensors = {
            name: self._arena.tensor(info.kind, *info.shape, name=name)
            for name, info in header.tensors.items()
            if on_host or name not in TABLES
        }
        with ExitStack() as stack:
            stack.callback(self._arena.close)
            self._buffer = self._borrow(backend) if on_host else self._upload(backend)
            stack.callback(self._buffer.close)
            if on_host:
                self._repack(backend, repacked, stack)
            self._stack = stack.pop_all()

    def _borrow(self, backend: Backend) -> Buffer:
        buffer = backend.borrow(self._data)
        base = address_of(self._data)
        for name, tensor in self._tensors.items():
            place(Place(buffer.address, base + self._header.tensors[name].offset), tensor)
        return buffer

    def _repack(self, backend: Backend, wanted: Collection[str], owner: ExitStack) -> None:
        left = [self._tensors[name] for name in wanted]
        for kind in safe_kinds(backend):
            fitting: dict[tuple[int, ...], bool] = {}
            for tensor in left:
                key = (tensor.struct.type, *tensor.shape)
                if key not in fitting:
                    fitting[key] = backend.multiplies_from(kind, tensor)
            chosen = [t for t in left if fitting[t.struct.type, *t.shape]]
            if chosen:
                self._move(backend, kind, chosen, owner)
            left = [tensor for tensor in left if tensor not in chosen]

    def _move(
        self, backend: Backend, kind: int, chosen: Sequence[Tensor], owner: ExitStack
    ) -> None:
        arena = Arena(n_tensors=len(chosen))
        owner.callback(arena.close)
        moved = [arena.tensor(t.type, *t.shape, name=t.name) for t in chosen]
        buffer = backend.allocate_in(arena, kind, purpose="the cross layers' weights")
        owner.callback(buffer.close)
        for tensor in moved:
            tensor.write(self._bytes(tensor.name))
            self._tensors[tensor.name] = tensor
            self._let_go(tensor.name)

    def _let_go(self, name: str) -> None:
        """Of the mapped file's pages, which will not be read again: else they count as ours."""
        info, page = self._header.tensors[name], mmap.PAGESIZE
        first = -(-info.offset // page) * page
        n = (info.offset + info.n_bytes) // page * page - first
        if n > 0 and hasattr(mmap, "MADV_DONTNEED"):
            with suppress(OSError):  # locked in memory, say: it was a favour
                self._header.data.madvise(mmap.MADV_DONTNEED, first, n)

    def _upload(self, backend: Backend) -> Buffer:
        buffer = backend.allocate(self._arena, purpose="the vision weights")
        for name, tensor in self._tensors.items():
            tensor.write(self._bytes(name))
        return buffer

    def _bytes(self, name: str) -> NDArray[np.uint8]:
        info = self._header.tensors[name]
        return self._data[info.offset : info.offset + info.n_bytes]

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    @property
    def n_bytes(self) -> int:
        return self._buffer.n_bytes

    def scalar(self, name: str) -> float:
        """A gate's raw value."""
        return float(self.host(name)[0])

    def host(
        self, name: str, *, row: int | None = None, pool: ThreadPoolExecutor | None = None
    ) -> NDArray[np.float32]:
        """A tensor (or one row of a matrix) as float32 on the host, numpy order.

        pool: threads that widen parts of a large one.
        """
        info = self._header.tensors[name]
        data = self._bytes(name)
        shape = info.shape[::-1]
        if row is not None:
            width = info.n_bytes // shape[0]
            data, shape = data[row * width : (row + 1) * width], shape[1:]
        if info.kind is F32:
            return data.view(np.float32).reshape(shape)
        k = shape[-1]
        stored = data.reshape(-1, info.kind.row_bytes(k))
        if pool is None or len(stored) < PARTS:
            return dequantise(stored, info.kind, k).reshape(shape)
        values = np.empty((len(stored), k), dtype=np.float32)
        cuts = np.linspace(0, len(stored), PARTS + 1).astype(int)

        def widen(low: int, high: int) -> None:
            values[low:high] = dequantise(stored[low:high], info.kind, k)

        for _ in pool.map(widen, cuts[:-1], cuts[1:]):
            pass
        return values.reshape(shape)

    def close(self) -> None:
        self._stack.close()
        # The map itself goes with its last view; closing it here would fail while views exist.
        self._tensors.clear()
