"""Attention on the processor as products of numpy's BLAS, a head at a time.

Heads of 80 numbers are too short for ggml's product of keys and queries: a BLAS is 1.3 to 3 times
as fast there (benchmarks/vision). A block of scores stays in the processor's cache between the
products. Weights of keys are folded into the values: with a column of them beside the weighted
values, one product gives both the sum and what it is divided by.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from llavao1_edge.lifetime import Closing

BLOCK_ROWS = 256
PARTS = 2  # of a head's rows, so that any number of threads has something to do

Rows = NDArray[np.float32]


class Blas(Closing):
    """Owns threads, each of which works on heads of its own with a BLAS of one thread."""

    def __init__(self, *, heads: int, n_threads: int) -> None:
        self._heads = heads
        with ExitStack() as stack:
            stack.enter_context(threadpool_limits(1, user_api="blas"))
            self._pool = stack.enter_context(ThreadPoolExecutor(n_threads, "attention"))
            self._stack = stack.pop_all()

    def close(self) -> None:
        self._stack.close()

    def attend(self, q: Rows, k: Rows, v: Rows, weights: Rows, out: Rows) -> None:
        """out (n, width) = softmax(q k / sqrt(d), each key counted `weights` times) v.

        q (n, width), k and v (keys, width), weights (keys,): heads side by side in a row.
        """
        cuts = np.linspace(0, len(q), PARTS + 1).astype(int)
        tasks = [
            self._pool.submit(self._head, head, q[low:high], k, v, weights, out[low:high])
            for head in range(self._heads)
            for low, high in itertools.pairwise(cuts)
            if high > low
        ]
        for task in tasks:
            task.result()

    def _head(self, head: int, q: Rows, k: Rows, v: Rows, weights: Rows, out: Rows) -> None:
        d = q.shape[1] // self._heads
        columns = slice(head * d, (head + 1) * d)
        keys = k[:, columns].T * np.float32(d**-0.5)
        values = np.empty((len(v), d + 1), dtype=np.float32)
        np.multiply(v[:, columns], weights[:, None], out=values[:, :d])
        values[:, d] = weights
        room = np.empty((min(BLOCK_ROWS, len(q)), len(k)), dtype=np.float32)
        for start in range(0, len(q), BLOCK_ROWS):
            block = q[start : start + BLOCK_ROWS, columns]
            scores = room[: len(block)]
            np.matmul(block, keys, out=scores)
            scores -= scores.max(axis=1, keepdims=True)
            np.exp(scores, out=scores)
            sums = scores @ values
            np.divide(sums[:, :d], sums[:, d:], out=out[start : start + BLOCK_ROWS, columns])
