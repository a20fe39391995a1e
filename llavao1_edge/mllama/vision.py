"""The vision tower and the projector, a small graph per layer.

What the oracle does and what is easy to get wrong:
- All tile slots are computed, also empty ones, and every tile is padded to a multiple of 8 tokens.
  Only pairs (padding query, padding key) are masked; padding is otherwise seen by everyone. Here
  the tokens are ordered [all tiles' tokens, all padding]: the tokens of valid tiles come first, so
  they attend to all keys, the rest attends to the first `n_valid` keys, and no mask is needed.
- The projector also reads the states *entering* chosen local layers. Each has a matrix of its own,
  so the projection is summed up as the layers go by and no state is kept.
- Activations stay in float32: half-precision weights are widened, never the activations narrowed.
"""

from __future__ import annotations

from collections.abc import Callable
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
from llavao1_edge.mllama.shape import NORM_EPS, PAD_MULTIPLE, MllamaShape
from llavao1_edge.mllama.weights import Weights

SCORE_BYTES = 96 << 20  # attention scores in memory at a time

BetweenLayers = Callable[[float], None]
"""Called between layers with the share done; may raise to stop."""


@dataclass(frozen=True)
class Attention:
    """How the tower's attention is computed. flash: one fused operation instead of blocks."""

    flash: bool
    f16_keys: bool


def choose_attention(backend: Backend, shape: MllamaShape) -> Attention:
    """Fused attention where a GPU supports the head size, blocks of rows on the CPU.

    On the CPU the fused operation is slower than blocked products (benchmarks/phases).
    """
    if not backend.device.is_gpu:
        return Attention(flash=False, f16_keys=False)
    head = shape.width // shape.vision_heads
    with Plan(n_nodes=8) as plan:
        q = plan.input(F32, head, 256, shape.vision_heads, name="q")
        k = plan.input(F16, head, 256, shape.vision_heads, name="k")
        probe = plan.flash_attention(q, k, k, scale=1.0)
        return Attention(flash=backend.supports(probe), f16_keys=True)


class VisionStates:
    """Owns the projected vision tokens of one picture: `tokens` (text width, n_tokens) F32."""

    def __init__(self, tokens: Tensor, arena: Arena, buffer: Buffer) -> None:
        self.tokens = tokens
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
        attention: Attention | None = None,
    ) -> None:
        self._shape, self._weights, self._backend = shape, weights, backend
        self.attention = attention or choose_attention(backend, shape)

    def encode(
        self, picture: TiledPicture, *, checkpoint: BetweenLayers | None = None
    ) -> VisionStates:
        """tiles → projected tokens, tile-major, class token first in each tile."""
        arena = Arena(n_tensors=1)
        tokens = arena.tensor(F32, self._shape.text_width, self._shape.n_tokens, name="tokens")
        buffer = self._backend.allocate(arena, purpose="the projected picture")
        states = VisionStates(tokens, arena, buffer)
        try:
            _Pass(self, picture, tokens, checkpoint or _go_on).run()
        except BaseException:
            states.close()
            raise
        return states


def _go_on(_: float) -> None:
    return None


class _Pass:
    """One picture on its way through the tower."""

    def __init__(
        self, tower: VisionTower, picture: TiledPicture, target: Tensor, checkpoint: BetweenLayers
    ) -> None:
        self.shape, self.weights = tower._shape, tower._weights
        self.backend, self.attention = tower._backend, tower.attention
        self.picture, self.target, self.checkpoint = picture, target, checkpoint
        self.n_valid = picture.n_tiles * self.shape.tokens_per_tile
        self.n_rows = self.shape.n_tokens + self.shape.n_padding

    def run(self) -> None:
        arena = Arena(n_tensors=2)
        width = self.shape.width
        self.hidden = arena.tensor(F32, width, self.n_rows, name="hidden")
        self.attended = arena.tensor(F32, width, self.n_rows, name="attended")
        buffer = self.backend.allocate(arena, purpose="the vision tower")
        self.scratch = Scratch(self.backend)
        try:
            self._layers()
        finally:
            self.scratch.close()
            buffer.close()
            arena.close()

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

    # --- ends -------------------------------------------------------------------------------
    def _embed(self) -> None:
        """Patches and position tables → hidden, padding rows zero."""
        shape, weights = self.shape, self.weights
        patches = extract_patches(self.picture.pixels, shape.tensors.patch_size)
        with Plan() as plan:
            pixels = plan.input(F32, patches.shape[-1], shape.n_tokens, name="patches")
            tables = plan.input(F32, shape.width, shape.n_tokens, name="tables")
            x = plan.add(plan.matmul(plan.widened(weights[names.PATCH]), pixels), tables)
            x = plan.layer_norm(
                x,
                weights[f"{names.PRE_NORM}.weight"],
                weights[f"{names.PRE_NORM}.bias"],
                NORM_EPS,
            )
            plan.store(plan.pad_rows(x, shape.n_padding), self.hidden)
            plan.finish(self.scratch)
            pixels.write(patches)
            tables.write(self._position_tables())
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
        padding = -shape.tokens_per_tile % PAD_MULTIPLE
        table = np.concatenate(
            [np.repeat(post, shape.tokens_per_tile, axis=0), np.repeat(post, padding, axis=0)]
        )
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
        with Plan() as plan:
            seen = plan.rows(self.hidden, 0, self.shape.n_tokens)
            part = plan.matmul(plan.widened(self.weights[name]), seen)
            plan.store(plan.add(self.target, part), self.target)
            plan.finish(self.scratch)
            plan.run(self.backend)

    # --- a layer ----------------------------------------------------------------------------
    def _layer(self, name: Callable[[str], str], *, gates: tuple[float, float]) -> None:
        weights, eps = self.weights, self.shape.vision_eps
        with Plan(n_nodes=4096) as plan:

            def linear(part: str, x: Tensor) -> Tensor:
                return plan.matmul(plan.widened(weights[name(f"{part}.weight")]), x)

            def norm(part: str, x: Tensor) -> Tensor:
                return plan.layer_norm(
                    x, weights[name(f"{part}.weight")], weights[name(f"{part}.bias")], eps
                )

            x = norm("ln1", self.hidden)
            self._attend(plan, linear("attn_q", x), linear("attn_k", x), linear("attn_v", x))
            x = _gated(plan, self.hidden, linear("attn_out", self.attended), gates[0])
            h = plan.add(linear("ffn_up", norm("ln2", x)), weights[name("ffn_up.bias")])
            h = plan.add(linear("ffn_down", plan.gelu(h)), weights[name("ffn_down.bias")])
            plan.store(_gated(plan, x, h, gates[1]), self.hidden)
            plan.finish(self.scratch)
            plan.run(self.backend)

    def _attend(self, plan: Plan, q: Tensor, k: Tensor, v: Tensor) -> None:
        """Stores the attention's output into `attended`, a block of query rows at a time."""
        heads, width = self.shape.vision_heads, self.shape.width
        head = width // heads
        q, k, v = (plan.reshape(part, head, heads, self.n_rows) for part in (q, k, v))
        q = plan.permute(q, 0, 2, 1, 3)
        k = plan.contiguous(plan.permute(k, 0, 2, 1, 3))
        if self.attention.flash:
            v = plan.contiguous(plan.permute(v, 0, 2, 1, 3))
            if self.attention.f16_keys:
                k, v = plan.cast(k, F16), plan.cast(v, F16)
        else:
            v = plan.contiguous(plan.permute(v, 1, 2, 0, 3))  # (rows, head, heads)
        for start, n, n_keys in self._blocks(heads):
            block = plan.rows(q, start, n)
            keys = plan.rows(k, 0, n_keys)
            if self.attention.flash:
                out = plan.flash_attention(block, keys, plan.rows(v, 0, n_keys), scale=head**-0.5)
            else:
                weights = plan.softmax(plan.matmul(keys, block), scale=head**-0.5)
                out = plan.matmul(plan.columns(v, n_keys), weights)
                out = plan.contiguous(plan.permute(out, 0, 2, 1, 3))
            plan.store(plan.reshape(out, width, n), plan.rows(self.attended, start, n))

    def _blocks(self, heads: int) -> list[tuple[int, int, int]]:
        """(first query row, rows, keys): valid rows see all keys, the others the valid ones."""
        step = self.n_rows
        if not self.attention.flash:
            step = max(8, SCORE_BYTES // (4 * heads * self.n_rows))
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
