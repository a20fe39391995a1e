"""How the vision tower computes: which number types, which form of attention.

What is fastest differs between processors by factors of two, in both directions, so it is measured
where the model is large enough to care. The caller keeps the result: chosen anew each time, a close
race could change the rounding, and with it an answer, from one start to the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from llavao1_edge.ggml.backend import Backend
from llavao1_edge.ggml.graph import HALVES, Plan, Scratch
from llavao1_edge.ggml.tensor import Arena, Tensor
from llavao1_edge.ggml.types import BF16, F16, F32, StorageType
from llavao1_edge.mllama.attention import Blas
from llavao1_edge.mllama.shape import MllamaShape

FUSED, BLOCKS, BLAS, GGML = "fused", "blocks", "blas", "ggml"
STORED = "stored"
LARGE_ROWS = 1000  # towers with fewer rows are quick in any form
PROBE_ROWS, PROBE_HEADS = 1024, 4


@dataclass(frozen=True)
class Arithmetic:
    """attention: one fused operation, blocks of products in ggml, or blocks in numpy's BLAS.

    linear: who multiplies the tower's rows with its weights, `ggml` or, where attention is there
    too, `blas` (in F32, whatever they are stored in).
    quantised, bf16: as what weights stored so are multiplied: `stored`, `F32` or `BF16`. Weights in
    F32 and F16 are always multiplied as F32, so that activations are never narrowed to match them.
    f16_keys: keys and values of the fused form in F16.
    """

    attention: str = BLOCKS
    linear: str = GGML
    quantised: str = STORED
    bf16: str = "F32"
    f16_keys: bool = False

    def weight(self, plan: Plan, weight: Tensor) -> Tensor:
        """The weight as it is multiplied."""
        number = weight.struct.type
        if number in (F32.number, F16.number):
            return plan.widened(weight)
        wanted = self.bf16 if number in HALVES else self.quantised
        if wanted == STORED:
            return weight
        return plan.cast(plan.cast(weight, F32), BF16 if wanted == "BF16" else F32)


def simple(backend: Backend, shape: MllamaShape, *, exact: bool = False) -> Arithmetic:
    """Without measuring: fused attention where a GPU supports the head size, else blocks.

    exact: the weights are F32, and so are keys and values then: half precision would cost three
    digits (3e-3 instead of 1e-6 of a logit).
    """
    if not backend.device.is_gpu:
        return Arithmetic()
    head, kind = shape.width // shape.vision_heads, F32 if exact else F16
    with Plan(n_nodes=8) as plan:
        q = plan.input(F32, head, 256, shape.vision_heads, name="q")
        k = plan.input(kind, head, 256, shape.vision_heads, name="k")
        probe = plan.flash_attention(q, k, k, scale=1.0)
        fused = backend.supports(probe)
    return Arithmetic(attention=FUSED if fused else BLOCKS, f16_keys=fused and not exact)


def worth_measuring(backend: Backend, shape: MllamaShape) -> bool:
    return not backend.device.is_gpu and shape.n_tokens >= LARGE_ROWS


def measure(backend: Backend, shape: MllamaShape, quantised: StorageType | None) -> Arithmetic:
    """The fastest form on this processor, in a second or so. quantised: the weights' type."""
    products = {
        name: product_seconds(backend, kind, shape.width, shape.tensors.ffn, PROBE_ROWS)
        for name, kind in (("F32", F32), ("BF16", BF16), ("stored", quantised))
        if kind is not None
    }
    best = min(products, key=lambda name: products[name])
    plain = "BF16" if products["BF16"] < 0.9 * products["F32"] else "F32"
    forms = {
        BLOCKS: _ggml_attention(backend, shape, fused=False),
        FUSED: _ggml_attention(backend, shape, fused=True),
        BLAS: _blas_attention(backend, shape),
    }
    attention = min(forms, key=lambda name: forms[name])
    by_blas = attention == BLAS and _blas_product(backend, shape) < 0.95 * products[best]
    return Arithmetic(
        attention=attention,
        linear=BLAS if by_blas else GGML,
        quantised=best,
        bf16=STORED if plain == "BF16" else "F32",
    )


def fastest(action: Callable[[], object]) -> float:
    """Seconds: the best of three, after one that does not count."""
    action()
    times = []
    for _ in range(3):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def product_seconds(
    backend: Backend, kind: StorageType, inner: int, out: int, rows: int, *, heads: int = 1
) -> float:
    """Seconds of `rows` rows of `inner` numbers times (out, inner) matrices of `kind`, one for each
    head; infinite where such rows cannot be stored so."""
    if inner % kind.block:
        return float("inf")
    arena, scratch = Arena(n_tensors=1), Scratch(backend)
    weight = arena.tensor(kind, inner, out, heads)
    buffer = backend.allocate(arena, purpose="a measurement")
    try:
        with Plan(n_nodes=8) as plan:
            x = plan.input(F32, inner, rows, heads, name="x")
            plan.output(plan.matmul(weight, x))
            plan.finish(scratch)
            weight.write(np.zeros(weight.n_bytes, dtype=np.uint8))
            x.write(np.ones((heads, rows, inner), dtype=np.float32))
            return fastest(lambda: plan.run(backend))
    finally:
        scratch.close()
        buffer.close()
        arena.close()


def _blas_product(backend: Backend, shape: MllamaShape) -> float:
    """The same in numpy's BLAS."""
    width, ffn = shape.width, shape.tensors.ffn
    x = np.ones((PROBE_ROWS, width), dtype=np.float32)
    weight, out = np.ones((ffn, width), np.float32), np.empty((PROBE_ROWS, ffn), np.float32)
    with Blas(heads=1, n_threads=backend.n_threads) as blas:
        return fastest(lambda: blas.linear(x, weight, out))


def _probe(shape: MllamaShape) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    head = shape.width // shape.vision_heads
    n = (PROBE_HEADS, 2 * PROBE_ROWS, head)
    return np.random.default_rng(0).standard_normal(n, dtype=np.float32)


def _ggml_attention(backend: Backend, shape: MllamaShape, *, fused: bool) -> float:
    values = _probe(shape)
    head, rows = values.shape[2], values.shape[1]
    scratch = Scratch(backend)
    try:
        with Plan(n_nodes=16) as plan:
            q = plan.input(F32, head, PROBE_ROWS, PROBE_HEADS, name="q")
            k = plan.input(F32, head, rows, PROBE_HEADS, name="k")
            if fused:
                plan.output(plan.flash_attention(q, k, k, scale=1.0))
            else:
                v = plan.input(F32, rows, head, PROBE_HEADS, name="v")
                plan.output(plan.matmul(v, plan.softmax(plan.matmul(k, q), scale=1.0)))
            plan.finish(scratch)
            q.write(values[:, :PROBE_ROWS])
            k.write(values)
            if not fused:
                v.write(values.swapaxes(1, 2))
            return fastest(lambda: plan.run(backend))
    finally:
        scratch.close()


def _blas_attention(backend: Backend, shape: MllamaShape) -> float:
    values = _probe(shape)
    width = values.shape[2] * PROBE_HEADS
    flat = np.ascontiguousarray(values.swapaxes(0, 1)).reshape(-1, width)
    out = np.empty((PROBE_ROWS, width), dtype=np.float32)
    weights = np.ones(len(flat), dtype=np.float32)
    with Blas(heads=PROBE_HEADS, n_threads=backend.n_threads) as blas:
        return fastest(lambda: blas.attend(flat[:PROBE_ROWS], flat, flat, weights, out))
