"""Where every source tensor goes: file, name, rows and columns. Pure: numbers in, table out.

- Self-attention query and key rows are permuted within each head, because llama.cpp rotates
  neighbouring pairs where HF rotates halves. Cross-attention and vision have no RoPE: unpermuted.
- The projector's columns are taken apart: HF interleaves the intermediate states
  (column width + n*d + j), so each state gets a matrix of its own and nothing is interleaved later.
- The head gets zero rows up to the embedding's size, because llama.cpp wants one vocabulary size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llavao1_convert.hyperparameters import Hyperparameters, Rope
from llavao1_edge.contract import tensors as names

TEXT, MMPROJ = "text", "mmproj"


@dataclass(frozen=True)
class Route:
    """One output tensor. `shape` in ggml order; `source_shape` in numpy order.

    rows: which source rows, in order (None: all); columns: which part of each row (None: all);
    zero_rows: rows of zeros to add at the end; change: what happens to the values of a vector.
    """

    file: str
    name: str
    shape: tuple[int, ...]
    source: str
    source_shape: tuple[int, ...]
    rows: NDArray[np.int64] | None = field(default=None, compare=False)
    columns: slice | NDArray[np.int64] | None = field(default=None, compare=False)
    zero_rows: int = 0
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None


def routes(shape: Hyperparameters) -> list[Route]:
    """All output tensors but the computed ones, in the order in which they are written."""
    return [*_text(shape), *_vision(shape), *_cross(shape)]


def rope_factors(rope: Rope, head_width: int) -> NDArray[np.float32] | None:
    """llama3 scaling as llama.cpp's `rope_freqs.weight` (head_width/2), None where there is none.

    Source: `_compute_llama3_parameters` of transformers; a factor divides its frequency.
    """
    if rope.factor == 1.0:
        return None
    exponents = np.arange(0, head_width, 2, dtype=np.float64) / head_width
    wavelengths = 2 * np.pi * rope.theta**exponents
    smooth = (rope.original_context / wavelengths - rope.low) / (rope.high - rope.low)
    blended = 1 / ((1 - smooth) / rope.factor + smooth)
    factors = np.where(
        wavelengths < rope.original_context / rope.high,
        1.0,
        np.where(wavelengths > rope.original_context / rope.low, rope.factor, blended),
    )
    return factors.astype(np.float32)


def pair_rows(n_heads: int, head_width: int) -> NDArray[np.int64]:
    """Row order that turns HF's half-rotation into neighbouring pairs: new[2i+s] = old[s*d/2+i]."""
    halves = np.arange(n_heads * head_width).reshape(n_heads, 2, head_width // 2)
    return halves.swapaxes(1, 2).reshape(-1)


def _plain(file: str, name: str, source: str, *shape: int) -> Route:
    return Route(file, name, shape, source, shape[::-1])


def _text(shape: Hyperparameters) -> list[Route]:
    text = shape.text
    width, rows = text.width, text.embedding_rows
    table = [
        _plain(TEXT, "token_embd.weight", "text.embed_tokens.weight", width, rows),
        Route(
            TEXT,
            "output.weight",
            (width, rows),
            "head.weight",
            (text.vocab, width),
            zero_rows=rows - text.vocab,
        ),
        _plain(TEXT, "output_norm.weight", "text.norm.weight", width),
    ]
    for target, source in enumerate(text.self_layers):
        table += _self_layer(shape, target, source)
    return table


def _self_layer(shape: Hyperparameters, target: int, source: int) -> list[Route]:
    text = shape.text
    width, kv = text.width, text.kv_heads * text.head_width

    def plain(name: str, source_name: str, *sizes: int) -> Route:
        return _plain(
            TEXT,
            f"blk.{target}.{name}.weight",
            f"text.layers.{source}.{source_name}.weight",
            *sizes,
        )

    def rotated(name: str, source_name: str, heads: int) -> Route:
        route = plain(name, source_name, width, heads * text.head_width)
        order = pair_rows(heads, text.head_width)
        return Route(TEXT, route.name, route.shape, route.source, route.source_shape, rows=order)

    return [
        plain("attn_norm", "input_layernorm", width),
        rotated("attn_q", "self_attn.q_proj", text.heads),
        rotated("attn_k", "self_attn.k_proj", text.kv_heads),
        plain("attn_v", "self_attn.v_proj", width, kv),
        plain("attn_output", "self_attn.o_proj", width, width),
        plain("ffn_norm", "post_attention_layernorm", width),
        plain("ffn_gate", "mlp.gate_proj", width, text.ffn),
        plain("ffn_up", "mlp.up_proj", width, text.ffn),
        plain("ffn_down", "mlp.down_proj", text.ffn, width),
    ]


VISION_SOURCES = {
    "ln1": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_out": "self_attn.o_proj",
    "ln2": "post_attention_layernorm",
    "ffn_up": "mlp.fc1",
    "ffn_down": "mlp.fc2",
}
CROSS_SOURCES = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "cross_attn.q_proj.weight",
    "attn_k.weight": "cross_attn.k_proj.weight",
    "attn_v.weight": "cross_attn.v_proj.weight",
    "attn_output.weight": "cross_attn.o_proj.weight",
    "attn_q_norm.weight": "cross_attn.q_norm.weight",
    "attn_k_norm.weight": "cross_attn.k_norm.weight",
    "attn_gate": "cross_attn_attn_gate",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
    "mlp_gate": "cross_attn_mlp_gate",
}
VISION_TABLES = {
    names.CLASS: "vision.class_embedding",
    names.POSITION: "vision.gated_positional_embedding.embedding",
    names.POSITION_GATE: "vision.gated_positional_embedding.gate",
    names.TILE_POSITION: "vision.gated_positional_embedding.tile_embedding.weight",
    names.PRE_TILE: "vision.pre_tile_positional_embedding.embedding.weight",
    names.PRE_TILE_GATE: "vision.pre_tile_positional_embedding.gate",
    names.POST_TILE: "vision.post_tile_positional_embedding.embedding.weight",
    names.POST_TILE_GATE: "vision.post_tile_positional_embedding.gate",
    f"{names.PRE_NORM}.weight": "vision.layernorm_pre.weight",
    f"{names.PRE_NORM}.bias": "vision.layernorm_pre.bias",
    f"{names.POST_NORM}.weight": "vision.layernorm_post.weight",
    f"{names.POST_NORM}.bias": "vision.layernorm_post.bias",
    names.PROJECT_BIAS: "projector.bias",
}


def _vision(shape: Hyperparameters) -> list[Route]:
    vision, expected = shape.vision, shape.mmproj.expected()
    side = vision.patch_size
    table = [_plain(MMPROJ, n, source, *expected[n]) for n, source in VISION_TABLES.items()]
    table.append(
        Route(
            MMPROJ,
            names.PATCH,
            expected[names.PATCH],
            "vision.patch_embedding.weight",
            (vision.width, 3, side, side),
        )
    )
    table += _projector(shape)
    for stack, prefix, n_layers in (
        ("transformer", names.LOCAL, vision.layers),
        ("global_transformer", names.GLOBAL, vision.global_layers),
    ):
        for layer in range(n_layers):
            for part in names.VISION_PARTS:
                stem, leaf = part.split(".")
                name = f"{prefix}.{layer}.{part}"
                source = f"vision.{stack}.layers.{layer}.{VISION_SOURCES[stem]}.{leaf}"
                table.append(_plain(MMPROJ, name, source, *expected[name]))
    for layer in range(vision.global_layers):
        for target, gate in zip(names.GLOBAL_GATES, ("gate_attn", "gate_ffn"), strict=True):
            source = f"vision.global_transformer.layers.{layer}.{gate}"
            table.append(_plain(MMPROJ, names.global_(layer, target), source, 1))
    return table


def _projector(shape: Hyperparameters) -> list[Route]:
    width, n = shape.vision.width, len(shape.vision.intermediate)
    source_shape = (shape.text.width, width * (1 + n))
    parts = [(names.PROJECT_GLOBAL, slice(0, width))]
    parts += [(names.project_intermediate(j), slice(width + j, None, n)) for j in range(n)]
    return [
        Route(
            MMPROJ,
            name,
            (width, shape.text.width),
            "projector.weight",
            source_shape,
            columns=columns,
        )
        for name, columns in parts
    ]


def _cross(shape: Hyperparameters) -> list[Route]:
    expected = shape.mmproj.expected()
    table = []
    for position, layer in enumerate(shape.text.cross):
        for part, source in CROSS_SOURCES.items():
            name = names.cross(position, part)
            table.append(_plain(MMPROJ, name, f"text.layers.{layer}.{source}", *expected[name]))
    return table
