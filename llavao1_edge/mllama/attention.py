"""Products on the processor in numpy's BLAS; attention as such products, a head at a time.

Heads of 80 numbers are too short for ggml's product of keys and queries: a BLAS is 1.3 to 3 times
as fast there (benchmarks/vision). A block of scores stays in the processor's cache between the
products. Weights of keys are folded into the values: with a column of them beside the weighted
values, one product gives both the sum and what it is divided by.
"""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from llavao1_edge.errors import OutOfMemory
from llavao1_edge.lifetime import Closing

BLOCK_ROWS = 512
MODERATE = 60.0  # e^60 times any number of keys is far inside float32, and so is e^-60
PARTS = 2  # of a head's rows, so that any number of threads has something to do

Rows = NDArray[np.float32]
_ALONE = threading.Lock()


class Blas(Closing):
    """Owns threads, each of which works on heads of its own with a BLAS of one thread."""

    def __init__(self, *, heads: int, n_threads: int, score_bytes: int | None = None) -> None:
        """score_bytes: at most so many of scores in memory at a time."""
        self._heads, self._n_threads = heads, n_threads
        self._score_bytes = score_bytes
        with ExitStack() as stack:
            # The limit is the process's: two at once would leave it behind.
            stack.enter_context(_ALONE)
            stack.enter_context(threadpool_limits(1, user_api="blas"))
            self.pool = stack.enter_context(ThreadPoolExecutor(n_threads, "attention"))
            self._stack = stack.pop_all()

    def close(self) -> None:
        self._stack.close()

    def attend(self, q: Rows, k: Rows, v: Rows, weights: Rows, out: Rows) -> None:
        """out (n, width) = softmax(q k / sqrt(d), each key counted `weights` times) v.

        q (n, width), k and v (keys, width), weights (keys,): heads side by side in a row.
        """
        cuts = np.linspace(0, len(q), PARTS + 1).astype(int)
        tasks = [
            self.pool.submit(self._head, head, q[low:high], k, v, weights, out[low:high])
            for head in range(self._heads)
            for low, high in itertools.pairwise(cuts)
            if high > low
        ]
        for task in tasks:
            task.result()

    def attend_all(
        self, q: Rows, k: Rows, v: Rows, counts: Rows, out: Rows, *, n_valid: int
    ) -> None:
        """The first `n_valid` rows attend to all rows, the others to those. Raises OutOfMemory."""
        n = n_valid
        try:
            self.attend(q[:n], k, v, counts, out[:n])
            if n < len(q):
                self.attend(q[n:], k[:n], v[:n], counts[:n], out[n:])
        except MemoryError as error:
            raise OutOfMemory("not enough memory for attention scores") from error

    def linear(self, x: Rows, weight: Rows, out: Rows) -> None:
        """out (n, m) = x (n, k) weight (m, k) transposed, the rows shared out among the threads."""
        cuts = np.linspace(0, len(x), self._n_threads + 1).astype(int)
        tasks = [
            self.pool.submit(np.matmul, x[low:high], weight.T, out[low:high])
            for low, high in itertools.pairwise(cuts)
            if high > low
        ]
        for task in tasks:
            task.result()

    def _head(self, head: int, q: Rows, k: Rows, v: Rows, weights: Rows, out: Rows) -> None:
        d = q.shape[1] // self._heads
        columns = slice(head * d, (head + 1) * d)
        keys = np.ascontiguousarray(k[:, columns].T) * np.float32(d**-0.5)
        queries = np.ascontiguousarray(q[:, columns])
        # A product of lengths is what a score can be at most: where that is moderate, nothing can
        # overflow, and the pass over all scores that finds the largest is saved.
        moderate = _longest(queries, axis=1) * _longest(keys, axis=0) < MODERATE
        values = np.empty((len(v), d + 1), dtype=np.float32)
        np.multiply(v[:, columns], weights[:, None], out=values[:, :d])
        values[:, d] = weights
        step = BLOCK_ROWS
        if self._score_bytes is not None:
            step = max(8, min(step, self._score_bytes // (4 * len(k) * self._n_threads)))
        room = np.empty((min(step, len(q)), len(k)), dtype=np.float32)
        for start in range(0, len(q), step):
            block = queries[start : start + step]
            scores = room[: len(block)]
            np.matmul(block, keys, out=scores)
            if not moderate:
                scores -= scores.max(axis=1, keepdims=True)
            np.exp(scores, out=scores)
            sums = scores @ values
            np.divide(sums[:, :d], sums[:, d:], out=out[start : start + step, columns])


def _longest(vectors: Rows, *, axis: int) -> float:
    return float(np.sqrt((vectors * vectors).sum(axis=axis).max()))
