"""A layer of the vision tower with all its products in numpy's BLAS; ggml does what lies between.

Where a BLAS multiplies faster than ggml (by half on some processors), the whole layer runs on the
host: norms and GELU as ggml graphs on tensors that numpy sees too, products and attention in numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.ggml.backend import Backend
from llavao1_edge.ggml.graph import Plan, Scratch
from llavao1_edge.ggml.tensor import Arena, Tensor
from llavao1_edge.ggml.types import F32
from llavao1_edge.lifetime import Closing
from llavao1_edge.mllama.attention import Blas, Rows
from llavao1_edge.mllama.weights import Weights

Name = Callable[[str], str]


class HostLayers(Closing):
    """Owns the working memory of layers with `n_rows` rows; changes `hidden` in place.

    The first `n_valid` rows attend to all rows, each counted `counts` times, the others to those.
    """

    def __init__(
        self,
        weights: Weights,
        backend: Backend,
        blas: Blas,
        *,
        hidden: Tensor,
        ffn: int,
        counts: NDArray[np.float32],
        n_valid: int,
        eps: float,
    ) -> None:
        self._weights, self._backend, self._blas = weights, backend, blas
        self._hidden, self._counts, self._n_valid, self._eps = hidden, counts, n_valid, eps
        width, n_rows = hidden.shape[:2]
        with ExitStack() as stack:
            arena = Arena(n_tensors=3)
            stack.callback(arena.close)
            self._normed = arena.tensor(F32, width, n_rows, name="normed")
            self._branch = arena.tensor(F32, width, n_rows, name="branch")
            self._wide = arena.tensor(F32, ffn, n_rows, name="wide")
            stack.callback(backend.allocate(arena, purpose="the vision tower").close)
            self._scratch = Scratch(backend)
            stack.callback(self._scratch.close)
            self._qkv = [np.empty((n_rows, width), dtype=np.float32) for _ in range(3)]
            self._stack = stack.pop_all()

    def close(self) -> None:
        self._stack.close()

    def layer(self, name: Name, *, gates: tuple[float, float]) -> None:
        self._compute(lambda plan: plan.store(self._norm(plan, name, "ln1"), self._normed))
        normed, branch = self._normed.host_view(), self._branch.host_view()
        for part, out in zip("qkv", self._qkv, strict=True):
            self._linear(name, f"attn_{part}", normed, out)
        q, k, v = self._qkv
        self._blas.attend_all(q, k, v, self._counts, normed, n_valid=self._n_valid)
        self._linear(name, "attn_out", normed, branch)
        self._compute(lambda plan: self._add(plan, self._branch, gates[0]))
        self._compute(lambda plan: plan.store(self._norm(plan, name, "ln2"), self._normed))
        wide = self._wide.host_view()
        self._linear(name, "ffn_up", normed, wide)
        bias = self._weights[name("ffn_up.bias")]
        self._compute(lambda plan: plan.store(plan.gelu(plan.add(self._wide, bias)), self._wide))
        self._linear(name, "ffn_down", wide, branch)
        bias = self._weights[name("ffn_down.bias")]
        self._compute(lambda plan: self._add(plan, plan.add(self._branch, bias), gates[1]))

    def _linear(self, name: Name, part: str, x: Rows, out: Rows) -> None:
        self._blas.linear(x, self._weights.host(name(f"{part}.weight"), pool=self._blas.pool), out)

    def _norm(self, plan: Plan, name: Name, part: str) -> Tensor:
        weight, bias = (self._weights[name(f"{part}.{leaf}")] for leaf in ("weight", "bias"))
        return plan.layer_norm(self._hidden, weight, bias, self._eps)

    def _add(self, plan: Plan, branch: Tensor, gate: float) -> None:
        scaled = branch if gate == 1.0 else plan.scale(branch, gate)
        plan.store(plan.add(self._hidden, scaled), self._hidden)

    def _compute(self, build: Callable[[Plan], object]) -> None:
        with Plan(n_nodes=16) as plan:
            build(plan)
            plan.finish(self._scratch)
            plan.run(self._backend)
