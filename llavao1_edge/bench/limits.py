"""What the machine can do at best, measured."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from llavao1_edge.bench.timing import Limits, clock
from llavao1_edge.engine import Engine
from llavao1_edge.ggml.backend import Backend
from llavao1_edge.ggml.graph import Plan, Scratch
from llavao1_edge.ggml.quantise import quantise
from llavao1_edge.ggml.tensor import Arena
from llavao1_edge.ggml.types import F32, Q8_0, StorageType

TRIES = 7
ROWS, WIDTH = 512, 2048


def measure_limits(engine: Engine) -> Limits:
    """On the engine's device and threads; takes a second or two."""
    n_threads = engine.runtime.n_threads
    backend = Backend(engine.runtime.vision.device, n_threads=n_threads)
    try:
        rates = product_rate(backend, F32), product_rate(backend, Q8_0)
    finally:
        backend.close()
    return Limits(bandwidth(n_threads), *rates)


def bandwidth(n_threads: int) -> float:
    """Bytes per second that all threads together read (the largest of 256 MB of numbers)."""
    parts = np.array_split(np.ones(1 << 25, dtype=np.float64), n_threads)
    with ThreadPoolExecutor(n_threads) as pool:
        best = min(clock(lambda: list(pool.map(np.max, parts))) for _ in range(TRIES))
    return sum(part.nbytes for part in parts) / best


def product_rate(backend: Backend, kind: StorageType) -> float:
    """Operations per second of a product with 2048 x 2048 weights stored as `kind`."""
    arena, scratch = Arena(n_tensors=1), Scratch(backend)
    weight = arena.tensor(kind, WIDTH, WIDTH)
    buffer = backend.allocate(arena, purpose="a measurement")
    rng = np.random.default_rng(0)
    try:
        weight.write(quantise(rng.random((WIDTH, WIDTH), dtype=np.float32), kind))
        with Plan() as plan:
            x = plan.input(F32, WIDTH, ROWS, name="x")
            plan.output(plan.matmul(weight, x))
            plan.finish(scratch)
            x.write(rng.random((ROWS, WIDTH), dtype=np.float32))
            best = min(clock(lambda: plan.run(backend)) for _ in range(TRIES))
    finally:
        scratch.close()
        buffer.close()
        arena.close()
    return 2 * ROWS * WIDTH * WIDTH / best
