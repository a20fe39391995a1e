"""The gated cross-attention layers: keys and values once per picture, then rows of text.

x += tanh(attn_gate) * attention(norm(x), picture);  x += tanh(mlp_gate) * mlp(norm(x))

Two kinds of rows (facts of the oracle): from the image token on a row sees the valid tiles only;
a row *before* it sees all tile slots, empty ones included, and has its MLP branch zeroed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from llavao1_edge.contract import tensors as names
from llavao1_edge.ggml.backend import Backend, Buffer, Place, copy
from llavao1_edge.ggml.graph import Plan, Scratch
from llavao1_edge.ggml.tensor import Arena, Tensor
from llavao1_edge.ggml.types import F16, F32
from llavao1_edge.mllama.arithmetic import Arithmetic
from llavao1_edge.mllama.shape import MllamaShape, in_sixteens
from llavao1_edge.mllama.vision import VisionStates
from llavao1_edge.mllama.weights import Weights

BLOCK_ROWS = 64  # rows computed at a time: bounds the memory for scores
MAX_PLANS = 512


class CrossStates:
    """Owns keys and values of one picture for all cross layers.

    keys[i]: (head width, n_cells, kv heads); values[i]: (n_cells, head width, kv heads); zeros
    behind the first `n_tokens`. From token `n_distinct` on every tile is the one before it again.
    """

    def __init__(
        self,
        shape: MllamaShape,
        backend: Backend,
        *,
        n_tiles: int,
        f32: bool,
    ) -> None:
        sizes, kind = shape.tensors, F32 if f32 else F16
        self.n_tokens = self.n_distinct = shape.n_tokens
        self.n_valid = n_tiles * shape.tokens_per_tile
        self._arena = Arena(n_tensors=2 * sizes.cross_layers)
        head, heads = sizes.head_width, sizes.cross_kv_heads
        self.keys, self.values = [], []
        for _ in range(sizes.cross_layers):
            self.keys.append(self._arena.tensor(kind, head, shape.n_cells, heads))
            self.values.append(self._arena.tensor(kind, shape.n_cells, head, heads))
        self._buffer: Buffer = backend.allocate(
            self._arena, purpose="the picture's keys and values"
        )
        self._buffer.clear()

    @property
    def n_bytes(self) -> int:
        return self._buffer.n_bytes

    def close(self) -> None:
        self._buffer.close()
        self._arena.close()


@dataclass(frozen=True)
class Visibility:
    """What a run of rows sees: the first `n_keys` tokens; `mlp` False zeroes the MLP branch."""

    n_keys: int
    mlp: bool


class _LayerPlan:
    """One layer's graph for `n` rows: `x` in, `y` out, both (text width, n).

    On rows that the backend reaches itself the graph works in place: `x` lies on the rows, and `y`
    is the copy back into them. Other rows have to be copied into `x` and out of `y`.
    """

    def __init__(self, plan: Plan, x: Tensor, y: Tensor) -> None:
        self.plan, self.x, self.y = plan, x, y

    def move(self, at: Place) -> None:
        """Puts an in-place graph on other rows."""
        for tensor in (self.x.struct, self.y.struct):
            tensor.buffer, tensor.data = at


class _Mask:
    """Owns (cells, rows) numbers: zero for what is seen, else minus infinity."""

    def __init__(self, backend: Backend, n_keys: int, n_rows: int) -> None:
        self._arena = Arena(n_tensors=1)
        self.tensor = self._arena.tensor(F32, in_sixteens(n_keys), n_rows)
        self._buffer = backend.allocate(self._arena, purpose="a mask")
        values = np.zeros((n_rows, in_sixteens(n_keys)), dtype=np.float32)
        values[:, n_keys:] = -np.inf
        self.tensor.write(values)

    def close(self) -> None:
        self._buffer.close()
        self._arena.close()


class CrossLayers:
    """Computes the cross-attention layers. Borrows weights and backend."""

    def __init__(
        self,
        shape: MllamaShape,
        weights: Weights,
        backend: Backend,
        *,
        arithmetic: Arithmetic | None = None,
    ) -> None:
        """arithmetic: how the picture's thousands of rows are multiplied."""
        self._shape, self._weights, self._backend = shape, weights, backend
        self._arithmetic = arithmetic or Arithmetic()
        self._scratch = Scratch(backend)
        self._plans: OrderedDict[tuple[object, ...], _LayerPlan] = OrderedDict()
        self._masks: dict[int, _Mask] = {}
        self._gates = [
            tuple(
                float(np.tanh(np.float32(weights.scalar(names.cross(layer, gate)))))
                for gate in ("attn_gate", "mlp_gate")
            )
            for layer in range(shape.tensors.cross_layers)
        ]
        self.plans_built = 0

    def close(self) -> None:
        self.forget_plans()
        self._scratch.close()
        for mask in self._masks.values():
            mask.close()
        self._masks.clear()

    def forget_plans(self, states: CrossStates | None = None) -> None:
        """Plans point at a picture's keys; call this before it is freed (None: all pictures)."""
        for key in [key for key in self._plans if states is None or key[3] == id(states)]:
            self._plans.pop(key).plan.close()

    # --- once per picture -------------------------------------------------------------------
    def states(self, vision: VisionStates, *, n_tiles: int, f32: bool) -> CrossStates:
        """Keys and values of a picture for every layer."""
        states = CrossStates(self._shape, self._backend, n_tiles=n_tiles, f32=f32)
        states.n_distinct = vision.n_distinct
        scratch = Scratch(self._backend)
        try:
            for layer in range(self._shape.tensors.cross_layers):
                self._store_states(states, vision, layer, scratch)
            # What the device cannot do must show here, not in the middle of an answer.
            self._size_scratch(states)
        except BaseException:
            states.close()
            raise
        finally:
            scratch.close()
        return states

    def empty_states(self, *, n_tiles: int, f32: bool) -> CrossStates:
        """For what is read from a file."""
        states = CrossStates(self._shape, self._backend, n_tiles=n_tiles, f32=f32)
        try:
            self._size_scratch(states)
        except BaseException:
            states.close()
            raise
        return states

    def _store_states(
        self, states: CrossStates, vision: VisionStates, layer: int, scratch: Scratch
    ) -> None:
        sizes, tile = self._shape.tensors, self._shape.tokens_per_tile
        n = vision.n_distinct
        with Plan() as plan:

            def heads_of(part: str) -> Tensor:
                weight = self._arithmetic.weight(plan, self._weights[names.cross(layer, part)])
                projected = plan.matmul(weight, plan.rows(vision.tokens, 0, n))
                return plan.reshape(projected, sizes.head_width, sizes.cross_kv_heads, n)

            norm = self._weights[names.cross(layer, "attn_k_norm.weight")]
            keys = plan.rms_norm(heads_of("attn_k.weight"), norm, self._shape.cross_eps)
            values = heads_of("attn_v.weight")
            self._place(plan, keys, values, states, layer, start=0)
            for start in range(n, states.n_tokens, tile):  # tiles that equal the last distinct one
                last_k, last_v = (plan.planes(part, n - tile, tile) for part in (keys, values))
                self._place(plan, last_k, last_v, states, layer, start=start)
            plan.finish(scratch)
            plan.run(self._backend)

    @staticmethod
    def _place(
        plan: Plan, keys: Tensor, values: Tensor, states: CrossStates, layer: int, *, start: int
    ) -> None:
        """Stores (head width, heads, n) from token `start` on."""
        n = keys.shape[2]
        plan.store(plan.permute(keys, 0, 2, 1, 3), plan.rows(states.keys[layer], start, n))
        target = plan.columns(states.values[layer], n, start=start)
        plan.store(plan.permute(values, 1, 2, 0, 3), target)

    # --- rows of text -----------------------------------------------------------------------
    def apply(
        self,
        layer: int,
        n: int,
        visibility: Visibility,
        states: CrossStates,
        *,
        rows: Place,
        alias: Callable[[], Tensor],
    ) -> None:
        """Computes one layer over `n` consecutive rows of a tensor (F32, text width) in place.

        alias: the rows as a tensor, asked for only where they are on another device.
        """
        if self._backend.reaches(rows.buffer):
            made = self._plan(layer, n, visibility, states, rows)
            made.move(rows)
            made.plan.run(self._backend)
            return
        made = self._plan(layer, n, visibility, states, None)
        elsewhere = alias()
        copy(elsewhere, made.x)
        made.plan.run(self._backend)
        copy(made.y, elsewhere)

    def arithmetic(self, n: int, states: CrossStates) -> Callable[[], None]:
        """Computes all layers once over at most `BLOCK_ROWS` rows of its own, for measuring."""
        assert n <= BLOCK_ROWS
        visible = Visibility(states.n_valid, mlp=True)
        n_layers = self._shape.tensors.cross_layers
        made = [self._plan(layer, n, visible, states, None) for layer in range(n_layers)]

        def compute() -> None:
            for each in made:
                each.plan.run(self._backend)

        return compute

    def _plan(
        self, layer: int, n: int, visibility: Visibility, states: CrossStates, rows: Place | None
    ) -> _LayerPlan:
        """The graph for `n` rows of one layer, built once and kept; in place on `rows` if given."""
        key = (layer, n, visibility, id(states), rows is None)
        found = self._plans.get(key)
        if found is not None and found.plan.valid:
            self._plans.move_to_end(key)
            return found
        made = self._build(layer, n, visibility, states, rows)
        if self._plans.pop(key, None) is not None:
            found.plan.close()  # type: ignore[union-attr]
        self._plans[key] = made
        if len(self._plans) > MAX_PLANS:
            self._plans.popitem(last=False)[1].plan.close()
        return made

    def _build(
        self, layer: int, n: int, visibility: Visibility, states: CrossStates, rows: Place | None
    ) -> _LayerPlan:
        self.plans_built += 1
        weights, eps = self._weights, self._shape.cross_eps
        attn_gate, mlp_gate = self._gates[layer]
        plan = Plan(n_nodes=64)

        def weight(part: str) -> Tensor:
            return weights[names.cross(layer, part)]

        width = self._shape.text_width
        if rows is None:
            x = plan.input(F32, width, n, name="x")
        else:
            x = plan.outside(F32, width, n, at=rows, name="x")
        h = plan.rms_norm(x, weight("attn_norm.weight"), eps)
        h = self._attend(plan, layer, h, n, visibility, states)
        y = plan.add(x, plan.scale(plan.matmul(weight("attn_output.weight"), h), attn_gate))
        if visibility.mlp:
            h = plan.rms_norm(y, weight("ffn_norm.weight"), eps)
            gate, up = (plan.matmul(weight(f"ffn_{part}.weight"), h) for part in ("gate", "up"))
            h = plan.matmul(weight("ffn_down.weight"), plan.swiglu(gate, up))
            y = plan.add(y, plan.scale(h, mlp_gate))
        y = plan.output(y) if rows is None else plan.store(y, x)
        plan.finish(self._scratch)
        return _LayerPlan(plan, x, y)

    def _size_scratch(self, states: CrossStates) -> None:
        """Sizes the scratch memory by the largest graph, so that no later one moves it; and makes
        what hides the cells that these states leave unused."""
        for n_keys in (states.n_valid, states.n_tokens):
            self._mask(n_keys)
        if not self._scratch.generation:
            largest = Visibility(states.n_tokens, mlp=True)
            self._build(0, BLOCK_ROWS, largest, states, None).plan.close()

    def _mask(self, n_keys: int) -> Tensor | None:
        """Hides the cells behind the first `n_keys`, for as many rows as are computed at a time."""
        if in_sixteens(n_keys) == n_keys:
            return None
        if n_keys not in self._masks:
            sizes = self._shape.tensors
            n_rows = sizes.cross_heads // sizes.cross_kv_heads * BLOCK_ROWS
            self._masks[n_keys] = _Mask(self._backend, n_keys, n_rows)
        return self._masks[n_keys].tensor

    def _attend(
        self,
        plan: Plan,
        layer: int,
        h: Tensor,
        n: int,
        visibility: Visibility,
        states: CrossStates,
    ) -> Tensor:
        """Grouped-query attention as two products per key-value head."""
        sizes, eps = self._shape.tensors, self._shape.cross_eps
        head, kv_heads = sizes.head_width, sizes.cross_kv_heads
        group = sizes.cross_heads // kv_heads
        q = plan.matmul(self._weights[names.cross(layer, "attn_q.weight")], h)
        q = plan.reshape(q, head, sizes.cross_heads, n)
        q = plan.rms_norm(q, self._weights[names.cross(layer, "attn_q_norm.weight")], eps)
        # Query head i reads key-value head i // group: bring the group beside the rows.
        q = plan.permute(plan.reshape(q, head, group, kv_heads, n), 0, 1, 3, 2)
        q = plan.reshape(plan.contiguous(q), head, group * n, kv_heads)
        n_cells = in_sixteens(visibility.n_keys)
        keys = plan.rows(states.keys[layer], 0, n_cells)
        values = plan.columns(states.values[layer], n_cells)
        mask = self._mask(visibility.n_keys)
        unseen = plan.rows(mask, 0, group * n) if mask is not None else None
        scores = plan.softmax(plan.exact_matmul(keys, q), scale=head**-0.5, mask=unseen)
        out = plan.reshape(plan.exact_matmul(values, scores), head, group, n, kv_heads)
        out = plan.contiguous(plan.permute(out, 0, 1, 3, 2))
        return plan.reshape(out, head * sizes.cross_heads, n)
