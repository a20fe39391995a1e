"""The vision tower and the projector, a small graph per layer.

What the oracle does and what is easy to get wrong:
- All tile slots are computed, also empty ones, and every tile is padded to a multiple of 8 tokens.
  Only pairs (padding query, padding key) are masked; padding is otherwise seen by everyone. Here
  the tokens are ordered [all tiles' tokens, all padding]: the tokens of valid tiles come first, so
  they attend to all keys, the rest attends to the first `n_valid` keys, and no mask is needed.
- The slots of empty tiles hold the same as each other throughout, where their rows of the position
  tables are equal (as trained, they are zero): one of them is computed, its keys count as many.
- The projector also reads the states *entering* chosen local layers. Each has a matrix of its own,
  so the projection is summed up as the layers go by and no state is kept.
- Activations stay in float32: half-precision weights are widened, never the activations narrowed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.contract import tensors as names
from llavao1_edge.ggml.backend import Backend, Buffer
from llavao1_edge.ggml.graph import Plan, Scratch
from llavao1_edge.ggml.tensor import Arena, Tensor
from llavao1_edge.ggml.types import F16, F32
from llavao1_edge.images import TiledPicture
from llavao1_edge.mllama.arithmetic import BLAS, FUSED, Arithmetic, simple
from llavao1_edge.mllama.attention import Blas
from llavao1_edge.mllama.host import HostLayers
from llavao1_edge.mllama.shape import NORM_EPS, PAD_MULTIPLE, MllamaShape
from llavao1_edge.mllama.weights import Weights

SCORE_BYTES = 96 << 20  # attention scores in memory at a time

BetweenLayers = Callable[[float], None]
"""Called between layers with the share done; may raise to stop."""


class VisionStates:
    """Owns the projected vision tokens of one picture: `tokens` (text width, n_tokens) F32.

    Tiles beyond the first `n_distinct` tokens equal the last one among them.
    """

    def __init__(self, tokens: Tensor, arena: Arena, buffer: Buffer) -> None:
        self.tokens = tokens
        self.n_distinct = tokens.shape[1]
        self._arena, self._buffer = arena, buffer

    def close(self) -> None:
        self._buffer.close()
        self._arena.close()


class VisionTower:
    """Encodes pictures. Borrows weights and backend."""

    def __init__(
        self,
        shape: MllamaShape,
        weights: Weights,
        backend: Backend,
        *,
        arithmetic: Arithmetic | None = None,
        score_bytes: int = SCORE_BYTES,
        merge: bool = True,
    ) -> None:
        """score_bytes: of attention scores in memory at a time (in ggml's blocks); merge: whether
        equal empty tiles may be computed once."""
        self._shape, self._weights, self._backend = shape, weights, backend
        self.arithmetic = arithmetic or simple(backend, shape)
        self.score_bytes, self.merge = score_bytes, merge

    def encode(
        self, picture: TiledPicture, *, checkpoint: BetweenLayers | None = None
    ) -> VisionStates:
        """tiles → projected tokens, tile-major, class token first in each tile."""
        arena = Arena(n_tensors=1)
        tokens = arena.tensor(F32, self._shape.text_width, self._shape.n_tokens, name="tokens")
        buffer = self._backend.allocate(arena, purpose="the projected picture")
        states = VisionStates(tokens, arena, buffer)
        try:
            states.n_distinct = _Pass(self, picture, tokens, checkpoint or _go_on).run()
        except BaseException:
            states.close()
            raise
        return states


def _go_on(_: float) -> None:
    return None


@dataclass(frozen=True)
class _Layout:
    """Which rows are computed: the tokens of `slots` tile slots, then their padding.

    The last slot stands for `merged` equal empty ones, if that is not 0.
    """

    valid: int
    slots: int
    merged: int
    tokens: int
    padding: int

    @property
    def n_valid(self) -> int:
        return self.valid * self.tokens

    @property
    def n_tokens(self) -> int:
        return self.slots * self.tokens

    @property
    def n_rows(self) -> int:
        return self.slots * (self.tokens + self.padding)

    def per_row(self, of_slots: NDArray[np.float32]) -> NDArray[np.float32]:
        """(slots, ...) → (rows, ...)."""
        tokens = np.repeat(of_slots, self.tokens, axis=0)
        return np.concatenate([tokens, np.repeat(of_slots, self.padding, axis=0)])

    def counts(self) -> NDArray[np.float32]:
        """How many equal rows each row stands for."""
        slots = np.ones(self.slots, dtype=np.float32)
        if self.merged:
            slots[-1] = self.merged
        return self.per_row(slots)


class _Pass:
    """One picture on its way through the tower."""

    def __init__(
        self, tower: VisionTower, picture: TiledPicture, target: Tensor, checkpoint: BetweenLayers
    ) -> None:
        self.shape, self.weights = tower._shape, tower._weights
        self.backend, self.arithmetic = tower._backend, tower.arithmetic
        self.score_bytes = tower.score_bytes
        self.picture, self.target, self.checkpoint = picture, target, checkpoint
        self.rows = self._layout(may_merge=tower.merge and self.arithmetic.attention == BLAS)
        self.n_rows, self.n_valid = self.rows.n_rows, self.rows.n_valid
        self.host: HostLayers | None = None

    def _layout(self, *, may_merge: bool) -> _Layout:
        shape, valid = self.shape, self.picture.n_tiles
        empty = shape.tensors.max_tiles - valid
        merged = empty if may_merge and empty > 1 and self._empty_tiles_are_equal() else 0
        padding = -shape.tokens_per_tile % PAD_MULTIPLE
        slots = valid + 1 if merged else shape.tensors.max_tiles
        return _Layout(valid, slots, merged, shape.tokens_per_tile, padding)

    def _empty_tiles_are_equal(self) -> bool:
        """Whether the tables give all empty tiles of this arrangement the same rows."""
        for name in (names.TILE_POSITION, names.PRE_TILE, names.POST_TILE):
            row = self.weights.host(name, row=self.picture.aspect_ratio_id)
            tiles = row.reshape(self.shape.tensors.max_tiles, -1)[self.picture.n_tiles :]
            if (tiles != tiles[0]).any() or self.picture.pixels[self.picture.n_tiles :].any():
                return False
        return True

    def run(self) -> int:
        """Returns how many tokens are distinct."""
        arena = Arena(n_tensors=2)
        width = self.shape.width
        self.hidden = arena.tensor(F32, width, self.n_rows, name="hidden")
        self.attended = arena.tensor(F32, width, self.n_rows, name="attended")
        with ExitStack() as stack:
            stack.callback(arena.close)
            stack.callback(self.backend.allocate(arena, purpose="the vision tower").close)
            self.scratch = Scratch(self.backend)
            stack.callback(self.scratch.close)
            if self.arithmetic.attention == BLAS:
                self.blas = stack.enter_context(
                    Blas(
                        heads=self.shape.vision_heads,
                        n_threads=self.backend.n_threads,
                        score_bytes=self.score_bytes,
                    )
                )
                self.counts = self.rows.counts()
            if self.arithmetic.linear == BLAS:
                self.host = stack.enter_context(
                    HostLayers(
                        self.weights,
                        self.backend,
                        self.blas,
                        hidden=self.hidden,
                        ffn=self.shape.tensors.ffn,
                        counts=self.counts,
                        n_valid=self.n_valid,
                        eps=self.shape.vision_eps,
                    )
                )
            self._layers()
        return self.rows.n_tokens

    def _layers(self) -> None:
        sizes = self.shape.tensors
        total = sizes.local_layers + sizes.global_layers
        self._embed()
        self._start_projection()
        for layer in range(sizes.local_layers):
            self.checkpoint(layer / total)
            if layer in self.shape.intermediate:
                position = self.shape.intermediate.index(layer)
                self._project(names.project_intermediate(position))
            self._layer(partial(names.local, layer), gates=(1.0, 1.0))
        self._between()
        for layer in range(sizes.global_layers):
            self.checkpoint((sizes.local_layers + layer) / total)
            gates = tuple(
                float(np.tanh(np.float32(self.weights.scalar(names.global_(layer, gate)))))
                for gate in names.GLOBAL_GATES
            )
            self._layer(partial(names.global_, layer), gates=(gates[0], gates[1]))
        self._project(names.PROJECT_GLOBAL)
        self._spread()

    # --- ends -------------------------------------------------------------------------------
    def _embed(self) -> None:
        """Patches and position tables → hidden, padding rows zero."""
        shape, weights = self.shape, self.weights
        pixels_used = self.picture.pixels[: self.rows.slots]
        patches = extract_patches(pixels_used, shape.tensors.patch_size)
        with Plan() as plan:
            pixels = plan.input(F32, patches.shape[-1], self.rows.n_tokens, name="patches")
            tables = plan.input(F32, shape.width, self.rows.n_tokens, name="tables")
            x = plan.add(
                plan.matmul(self.arithmetic.weight(plan, weights[names.PATCH]), pixels), tables
            )
            x = plan.layer_norm(
                x,
                weights[f"{names.PRE_NORM}.weight"],
                weights[f"{names.PRE_NORM}.bias"],
                NORM_EPS,
            )
            plan.store(plan.pad_rows(x, self.n_rows - self.rows.n_tokens), self.hidden)
            plan.finish(self.scratch)
            pixels.write(patches)
            tables.write(self._position_tables()[: self.rows.slots])
            plan.run(self.backend)

    def _position_tables(self) -> NDArray[np.float32]:
        """(tiles, tokens, width): everything that is added before the first norm."""
        shape, weights, identity = self.shape, self.weights, self.picture.aspect_ratio_id
        tiles, tokens, width = shape.tensors.max_tiles, shape.tokens_per_tile, shape.width
        gate = np.tanh(np.float32(weights.scalar(names.POSITION_GATE)))
        pre_gate = np.tanh(np.float32(weights.scalar(names.PRE_TILE_GATE)))
        tile_rows = weights.host(names.TILE_POSITION, row=identity).reshape(tiles, tokens, width)
        table: NDArray[np.float32] = tile_rows * gate
        table += (1 - gate) * weights.host(names.POSITION)
        table[:, 0] += weights.host(names.CLASS)
        pre = weights.host(names.PRE_TILE, row=identity).reshape(tiles, 1, width)
        table[:, 1:] += pre_gate * pre
        return table

    def _between(self) -> None:
        """Norm after the local layers, then the tile table, padding rows included."""
        shape, weights, identity = self.shape, self.weights, self.picture.aspect_ratio_id
        gate = np.tanh(np.float32(weights.scalar(names.POST_TILE_GATE)))
        post = gate * weights.host(names.POST_TILE, row=identity).reshape(-1, shape.width)
        table = self.rows.per_row(post[: self.rows.slots])
        with Plan() as plan:
            tables = plan.input(F32, shape.width, self.n_rows, name="tables")
            x = plan.layer_norm(
                self.hidden,
                weights[f"{names.POST_NORM}.weight"],
                weights[f"{names.POST_NORM}.bias"],
                NORM_EPS,
            )
            plan.store(plan.add(x, tables), self.hidden)
            plan.finish(self.scratch)
            tables.write(table)
            plan.run(self.backend)

    def _start_projection(self) -> None:
        bias = self.weights.host(names.PROJECT_BIAS)
        self.target.write(np.broadcast_to(bias, (self.shape.n_tokens, len(bias))))

    def _project(self, name: str) -> None:
        """target += matrix · hidden, without the padding rows."""
        n = self.rows.n_tokens
        with Plan() as plan:
            weight = self.arithmetic.weight(plan, self.weights[name])
            part = plan.matmul(weight, plan.rows(self.hidden, 0, n))
            target = plan.rows(self.target, 0, n)
            plan.store(plan.add(target, part), target)
            plan.finish(self.scratch)
            plan.run(self.backend)

    def _spread(self) -> None:
        """Every empty tile gets what was computed for one of them."""
        if not self.rows.merged:
            return
        n, first = self.rows.tokens, self.rows.n_valid
        with Plan() as plan:
            for slot in range(self.rows.slots, self.shape.tensors.max_tiles):
                made = plan.rows(self.target, first, n)
                plan.store(made, plan.rows(self.target, slot * n, n))
            plan.finish(self.scratch)
            plan.run(self.backend)

    # --- a layer ----------------------------------------------------------------------------
    def _layer(self, name: Callable[[str], str], *, gates: tuple[float, float]) -> None:
        weights, eps = self.weights, self.shape.vision_eps
        if self.host is not None:
            self.host.layer(name, gates=gates)
            return

        def linear(plan: Plan, part: str, x: Tensor) -> Tensor:
            return plan.matmul(self.arithmetic.weight(plan, weights[name(f"{part}.weight")]), x)

        def norm(plan: Plan, part: str, x: Tensor) -> Tensor:
            weight, bias = weights[name(f"{part}.weight")], weights[name(f"{part}.bias")]
            return plan.layer_norm(x, weight, bias, eps)

        with Plan(n_nodes=4096) as plan:
            x = norm(plan, "ln1", self.hidden)
            q, k, v = (linear(plan, f"attn_{part}", x) for part in "qkv")
            if self.arithmetic.attention == BLAS:
                self._attend_on_host(plan, q, k, v)
            else:
                self._attend(plan, q, k, v)
                plan.finish(self.scratch)
                plan.run(self.backend)
        with Plan() as plan:
            attended = linear(plan, "attn_out", self.attended)
            x = _gated(plan, self.hidden, attended, gates[0])
            h = plan.add(linear(plan, "ffn_up", norm(plan, "ln2", x)), weights[name("ffn_up.bias")])
            h = linear(plan, "ffn_down", plan.gelu(h))
            h = plan.add(h, weights[name("ffn_down.bias")])
            plan.store(_gated(plan, x, h, gates[1]), self.hidden)
            plan.finish(self.scratch)
            plan.run(self.backend)

    def _attend_on_host(self, plan: Plan, *qkv: Tensor) -> None:
        """The same in numpy, on the memory of the tensors."""
        for tensor in qkv:
            plan.output(tensor)
        plan.finish(self.scratch)
        plan.run(self.backend)
        q, k, v = (tensor.host_view() for tensor in qkv)
        out = self.attended.host_view()
        self.blas.attend_all(q, k, v, self.counts, out, n_valid=self.n_valid)

    def _attend(self, plan: Plan, q: Tensor, k: Tensor, v: Tensor) -> None:
        """Stores the attention's output into `attended`, a block of query rows at a time."""
        heads, width = self.shape.vision_heads, self.shape.width
        head, fused = width // heads, self.arithmetic.attention == FUSED
        q, k, v = (plan.reshape(part, head, heads, self.n_rows) for part in (q, k, v))
        q = plan.permute(q, 0, 2, 1, 3)
        k = plan.contiguous(plan.permute(k, 0, 2, 1, 3))
        if fused:
            v = plan.contiguous(plan.permute(v, 0, 2, 1, 3))
            if self.arithmetic.f16_keys:
                k, v = plan.cast(k, F16), plan.cast(v, F16)
        else:
            v = plan.contiguous(plan.permute(v, 1, 2, 0, 3))  # (rows, head, heads)
        for start, n, n_keys in self._blocks(heads):
            block = plan.rows(q, start, n)
            keys = plan.rows(k, 0, n_keys)
            if fused:
                out = plan.flash_attention(block, keys, plan.rows(v, 0, n_keys), scale=head**-0.5)
            else:
                weights = plan.softmax(plan.matmul(keys, block), scale=head**-0.5)
                out = plan.matmul(plan.columns(v, n_keys), weights)
                out = plan.contiguous(plan.permute(out, 0, 2, 1, 3))
            plan.store(plan.reshape(out, width, n), plan.rows(self.attended, start, n))

    def _blocks(self, heads: int) -> list[tuple[int, int, int]]:
        """(first query row, rows, keys): valid rows see all keys, the others the valid ones."""
        step = self.n_rows
        if self.arithmetic.attention != FUSED:
            step = max(8, self.score_bytes // (4 * heads * self.n_rows))
        blocks = []
        for low, high, n_keys in (
            (0, self.n_valid, self.n_rows),
            (self.n_valid, self.n_rows, self.n_valid),
        ):
            blocks += [(at, min(step, high - at), n_keys) for at in range(low, high, step)]
        return blocks


def _gated(plan: Plan, x: Tensor, branch: Tensor, gate: float) -> Tensor:
    return plan.add(x, branch if gate == 1.0 else plan.scale(branch, gate))


def extract_patches(pixels: NDArray[np.float32], patch: int) -> NDArray[np.float32]:
    """(tiles, 3, T, T) → (tiles, 1 + patches, 3*patch*patch), a zero row for the class token.

    Pixels beyond the last whole patch are left out, as by a strided convolution.
    """
    tiles, channels, size, _ = pixels.shape
    side = size // patch
    cropped = pixels[:, :, : side * patch, : side * patch]
    cut = cropped.reshape(tiles, channels, side, patch, side, patch).transpose(0, 2, 4, 1, 3, 5)
    rows = np.zeros((tiles, 1 + side * side, channels * patch * patch), dtype=np.float32)
    rows[:, 1:] = cut.reshape(tiles, side * side, -1)
    return rows
