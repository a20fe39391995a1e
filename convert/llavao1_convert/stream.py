"""Tensors through the pipeline: read, transform, quantise, write, a few rows at a time.

Threads work on blocks of rows side by side; numpy and ggml let go of the interpreter's lock. At
most a few blocks per thread are in memory, whatever the size of a tensor.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from llavao1_convert.routes import Route
from llavao1_convert.source import SourceTensor
from llavao1_convert.writer import Planned, Slots
from llavao1_edge.errors import CheckpointError
from llavao1_edge.ggml.quantise import quantise
from llavao1_edge.phrases import Phrase

T = TypeVar("T")
BLOCK_WEIGHTS = 1 << 20  # weights of a block, besides one row


@dataclass(frozen=True)
class Job:
    """One output tensor: from a route, or computed (`values`). importance: per column."""

    planned: Planned
    route: Route | None = None
    source: SourceTensor | None = None
    values: NDArray[np.float32] | None = field(default=None, compare=False)
    importance: NDArray[np.float32] | None = field(default=None, compare=False)

    def identity(self) -> bytes:
        """What decides the tensor's bytes besides its source and its place in the header."""
        parts: list[bytes] = []
        for numbers in (self.values, self.importance):
            parts.append(b"-" if numbers is None else numbers.tobytes())
        route = self.route
        if route is not None:
            parts.append(b"-" if route.rows is None else route.rows.tobytes())
            chosen = route.columns
            listed = chosen.tobytes() if isinstance(chosen, np.ndarray) else repr(chosen).encode()
            parts.append(listed)
            parts.append(b"-" if route.change is None else route.change.__name__.encode())
        return b"|".join(parts)

    @property
    def n_bytes(self) -> int:
        """Of the source that it reads."""
        if self.source is None or self.route is None:
            return 0
        columns = self.route.shape[0] if self.route.columns is not None else self.source.row_length
        return self.source.n_bytes * columns // self.source.row_length


@dataclass
class Times:
    """Seconds that all threads together spent, and bytes that were read."""

    read: float = 0.0
    transform: float = 0.0
    quantise: float = 0.0
    write: float = 0.0
    n_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, marks: list[float], n_bytes: int) -> None:
        """marks: five moments, the begin and the end of each of the four parts."""
        with self._lock:
            self.read += marks[1] - marks[0]
            self.transform += marks[2] - marks[1]
            self.quantise += marks[3] - marks[2]
            self.write += marks[4] - marks[3]
            self.n_bytes += n_bytes


class Pipeline:
    """Owns the threads. Results come back in the order in which they were asked for."""

    def __init__(self, n_threads: int, times: Times) -> None:
        """n_threads: how many compute; one more reads or writes meanwhile."""
        self._pool = ThreadPoolExecutor(n_threads + 1, thread_name_prefix="convert")
        self.computing = threading.Semaphore(n_threads)
        self.times = times
        self._window = n_threads + 3

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, tasks: Iterator[tuple[T, Callable[[], int]]]) -> Iterator[tuple[T, int]]:
        """Runs named tasks side by side; yields the names and the bytes each one read, in order."""
        waiting: deque[tuple[T, Future[int]]] = deque()
        try:
            for name, task in tasks:
                waiting.append((name, self._pool.submit(task)))
                if len(waiting) >= self._window:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()

    def tasks(self, job: Job, slots: Slots) -> Iterator[Callable[[], int]]:
        """The blocks of a job."""
        kind, k = job.planned.kind, job.planned.shape[0]
        offset = slots.offsets[job.planned.name]
        if job.values is not None:
            data = _encode(job, job.values.reshape(-1, k)).tobytes()
            yield lambda: _write(slots, offset, data)
            return
        assert job.source is not None
        assert job.route is not None
        step = max(1, BLOCK_WEIGHTS // job.source.row_length)
        width, n_rows = kind.row_bytes(k), job.source.n_rows
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            yield _Block(self, job, slots, offset + start * width, start, stop)
        for start in range(0, job.route.zero_rows, step):
            n = min(step, job.route.zero_rows - start)
            zeros = quantise(np.zeros((n, k), dtype=np.float32), kind).tobytes()
            at = offset + (n_rows + start) * width
            yield lambda at=at, zeros=zeros: _write(slots, at, zeros)  # type: ignore[misc]


@dataclass(frozen=True)
class _Block:
    """Rows start..stop of a job's source, to be written at `offset`."""

    pipeline: Pipeline
    job: Job
    slots: Slots
    offset: int
    start: int
    stop: int

    def __call__(self) -> int:
        job, source, route = self.job, self.job.source, self.job.route
        assert source is not None
        assert route is not None
        marks = [time.perf_counter()]
        stored = self._stored(source, route)
        marks.append(time.perf_counter())
        if source.kind is job.planned.kind and route.change is None:
            data = _columns(stored, source, route)  # bit for bit
            marks += [time.perf_counter()] * 2
        else:
            with self.pipeline.computing:
                waited = time.perf_counter() - marks[-1]
                rows = source.widen(stored)
                if route.columns is not None:
                    rows = np.ascontiguousarray(rows[:, route.columns])
                if route.change is not None:
                    rows = route.change(rows)
                marks = [mark + waited for mark in marks]
                marks.append(time.perf_counter())
                data = _encode(job, rows)
            marks.append(time.perf_counter())
        _write(self.slots, self.offset, np.ascontiguousarray(data).data)
        marks.append(time.perf_counter())
        n_bytes = job.n_bytes * (self.stop - self.start) // source.n_rows
        self.pipeline.times.add(marks, n_bytes)
        return n_bytes

    def _stored(self, source: SourceTensor, route: Route) -> NDArray[np.uint8]:
        if route.rows is None:
            return source.stored(self.start, self.stop)
        # Reads the span that the rows lie in: permutations stay within a head.
        order = route.rows[self.start : self.stop]
        low, high = int(order.min()), int(order.max()) + 1
        return source.stored(low, high)[order - low]


def _columns(stored: NDArray[np.uint8], source: SourceTensor, route: Route) -> NDArray[np.uint8]:
    """A part of each row of plain numbers, untouched."""
    if route.columns is None:
        return stored
    number = np.dtype(f"<u{source.kind.block_bytes}")
    return np.ascontiguousarray(stored.view(number)[:, route.columns]).view(np.uint8)


def _encode(job: Job, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    if not np.isfinite(rows).all():
        raise CheckpointError(
            Phrase("tensor {name} holds values that are not finite", name=repr(job.planned.name)),
            hint="The source is damaged.",
        )
    try:
        return quantise(rows, job.planned.kind, importance=job.importance)
    except OverflowError as error:
        raise CheckpointError(
            Phrase("tensor {name}: {error}", name=repr(job.planned.name), error=error),
            hint="Convert with BF16, F32 or Q8_0.",
        ) from error


def _write(slots: Slots, offset: int, data: bytes | memoryview) -> int:
    slots.write(offset, data)
    return 0
