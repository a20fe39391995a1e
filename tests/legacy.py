"""Writes old GGUF files of Llama-3.2-Vision from a tiny checkpoint, as their converters did.

Names, folded values and moved rows follow the layouts that were in use; the writer is gguf-py, so
nothing of ours reads or writes its own mistakes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, quants
from numpy.typing import NDArray

from tests.tiny import MEAN, SPECIALS, Tiny, config, tokenizer, weights

Weights = dict[str, NDArray[np.float32]]
__all__ = ["LAYOUTS", "MEAN", "Layout", "bf16_weights", "write"]


@dataclass(frozen=True)
class Layout:
    """combined: C, else A + B. permuted: cross and vision query and key rows are moved."""

    name: str
    combined: bool
    permuted: bool
    raw_gates: bool
    eos_ids: bool
    old_names: bool


LAYOUTS = (
    Layout("A+B", False, True, False, False, True),
    Layout("C 0.7.0", True, False, True, False, False),
    Layout("C 0.7.1", True, True, False, True, False),
)
# Layout → vision names: our checkpoint's part, old name, new name.
VISION = (
    ("input_layernorm.weight", "ln1.weight", "attn_norm.weight"),
    ("input_layernorm.bias", "ln1.bias", "attn_norm.bias"),
    ("post_attention_layernorm.weight", "ln2.weight", "ffn_norm.weight"),
    ("post_attention_layernorm.bias", "ln2.bias", "ffn_norm.bias"),
    ("self_attn.q_proj.weight", "attn_q.weight", "attn_q.weight"),
    ("self_attn.k_proj.weight", "attn_k.weight", "attn_k.weight"),
    ("self_attn.v_proj.weight", "attn_v.weight", "attn_v.weight"),
    ("self_attn.o_proj.weight", "attn_out.weight", "attn_output.weight"),
    ("mlp.fc1.weight", "ffn_down.weight", "ffn_up.weight"),
    ("mlp.fc1.bias", "ffn_down.bias", "ffn_up.bias"),
    ("mlp.fc2.weight", "ffn_up.weight", "ffn_down.weight"),
    ("mlp.fc2.bias", "ffn_up.bias", "ffn_down.bias"),
)
TEXT = (
    ("input_layernorm.weight", "attn_norm.weight"),
    ("post_attention_layernorm.weight", "ffn_norm.weight"),
    ("mlp.gate_proj.weight", "ffn_gate.weight"),
    ("mlp.up_proj.weight", "ffn_up.weight"),
    ("mlp.down_proj.weight", "ffn_down.weight"),
)


def bf16_weights(tiny: Tiny) -> Weights:
    """As a real checkpoint has them."""
    return {
        name: (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        for name, values in weights(tiny).items()
    }


def permuted(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Llama.cpp's order of rows, in its own words: (heads, 2, half) → (heads, half, 2)."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def write(
    tiny: Tiny,
    layout: Layout,
    folder: Path,
    *,
    made_of: Weights | None = None,
    text_kind: str = "F32",
    vision_kind: str = "F32",
    leave_out: Callable[[str], bool] = lambda _: False,
    more: dict[str, NDArray[np.float32]] | None = None,
) -> tuple[Path, Path | None]:
    """The text file, and the projector file where the layout has one."""
    folder.mkdir(parents=True, exist_ok=True)
    source = made_of or bf16_weights(tiny)
    text, vision = _text(tiny, layout, source), _vision(tiny, layout, source)
    text |= more or {}
    path = folder / "old-text.gguf"
    writer = GGUFWriter(path, arch="mllama")
    _text_keys(writer, tiny, layout)
    if layout.combined:
        _vision_keys(writer, tiny)
    _add(writer, text, text_kind, leave_out)
    if layout.combined:
        _add(writer, vision, vision_kind, leave_out)
        _close(writer)
        return path, None
    _close(writer)
    projector = folder / "old-projector.gguf"
    writer = GGUFWriter(projector, arch="mllama")
    writer.add_type("projector")
    writer.add_uint32("mllama.vision.projection_dim", tiny.hidden)
    _vision_keys(writer, tiny)
    _add(writer, vision, vision_kind, leave_out)
    _close(writer)
    return path, projector


def _add(writer: GGUFWriter, tensors: Weights, kind: str, leave_out: Callable[[str], bool]) -> None:
    wanted = GGMLQuantizationType[kind]
    for name, values in tensors.items():
        if leave_out(name):
            continue
        plain = values.ndim == 1 or "tile_position" in name
        stored = GGMLQuantizationType.F32 if plain else wanted
        if name.startswith("v.") and wanted.name.startswith("Q") and not plain:
            stored = GGMLQuantizationType.F16
        row = values.shape[-1]
        if stored.name.startswith("Q") and row % 32:
            stored = GGMLQuantizationType.F16
        if stored == GGMLQuantizationType.F32:
            writer.add_tensor(name, np.ascontiguousarray(values))
        elif stored == GGMLQuantizationType.F16:
            writer.add_tensor(name, values.astype(np.float16))
        else:
            writer.add_tensor(name, quants.quantize(values, stored), raw_dtype=stored)


def _close(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _text_keys(writer: GGUFWriter, tiny: Tiny, layout: Layout) -> None:
    for key, value in {
        "block_count": tiny.layers,
        "context_length": 1024,
        "embedding_length": tiny.hidden,
        "feed_forward_length": tiny.ffn,
        "attention.head_count": tiny.heads,
        "attention.head_count_kv": tiny.kv_heads,
        "vocab_size": tiny.vocab,
        "rope.dimension_count": tiny.hidden // tiny.heads,
    }.items():
        writer.add_uint32(f"mllama.{key}", value)
    writer.add_float32("mllama.rope.freq_base", tiny.rope_theta)
    writer.add_float32("mllama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_array("mllama.attention.cross_attention_layers", list(tiny.cross))
    model = tokenizer(tiny)
    tokens = [*model["model"]["vocab"], *SPECIALS, "<|image|>"]
    writer.add_string("tokenizer.ggml.model", "gpt2")
    writer.add_string("tokenizer.ggml.pre", "gpt-2")
    writer.add_array("tokenizer.ggml.tokens", tokens)
    writer.add_array("tokenizer.ggml.token_type", [1] * 256 + [3] * (len(tokens) - 256))
    writer.add_array("tokenizer.ggml.merges", ["Ġ a"])
    ids = config(tiny)["text_config"]
    writer.add_uint32("tokenizer.ggml.bos_token_id", ids["bos_token_id"])
    writer.add_uint32("tokenizer.ggml.eos_token_id", ids["eos_token_id"][-1])
    writer.add_uint32("tokenizer.ggml.padding_token_id", ids["pad_token_id"])
    writer.add_bool("tokenizer.ggml.add_bos_token", not layout.combined)
    if layout.eos_ids:
        writer.add_array("tokenizer.ggml.eos_token_ids", ids["eos_token_id"])


def _vision_keys(writer: GGUFWriter, tiny: Tiny) -> None:
    for key, value in {
        "attention.head_count": tiny.vision_heads,
        "block_count": tiny.vision_layers,
        "global.block_count": tiny.global_layers,
        "embedding_length": tiny.vision_hidden,
        "feed_forward_length": tiny.vision_ffn,
        "image_size": tiny.image_size,
        "patch_size": tiny.patch_size,
        "max_num_tiles": tiny.max_tiles,
        "num_channels": 3,
    }.items():
        writer.add_uint32(f"mllama.vision.{key}", value)
    writer.add_float32("mllama.vision.attention.layer_norm_epsilon", tiny.norm_eps)
    writer.add_array("mllama.vision.intermediate_layers_indices", list(tiny.intermediate))


def _text(tiny: Tiny, layout: Layout, source: Weights) -> Weights:
    made = {
        "token_embd.weight": source["language_model.model.embed_tokens.weight"],
        "output.weight": source["language_model.lm_head.weight"],
        "output_norm.weight": source["language_model.model.norm.weight"],
    }
    if tiny.rope_scaling and tiny.rope_scaling["rope_type"] == "llama3":
        made["rope_freqs.weight"] = llama3_factors(tiny)
    for layer in range(tiny.layers):
        prefix = f"language_model.model.layers.{layer}."
        for part, name in TEXT:
            made[f"blk.{layer}.{name}"] = source[prefix + part]
        if layer in tiny.cross:
            for part, heads in (("q", tiny.heads), ("k", tiny.kv_heads), ("v", 0), ("o", 0)):
                rows = source[f"{prefix}cross_attn.{part}_proj.weight"]
                if heads and layout.permuted:
                    rows = permuted(rows, heads)
                made[f"blk.{layer}.cross_attn_{part}_proj.weight"] = rows
            for part in "qk":
                norm = source[f"{prefix}cross_attn.{part}_norm.weight"]
                made[f"blk.{layer}.cross_attn_{part}_norm.weight"] = norm
            for gate in ("attn", "mlp"):
                made[f"blk.{layer}.cross_attn_{gate}_gate"] = source[
                    f"{prefix}cross_attn_{gate}_gate"
                ]
            continue
        for part, name, heads in (
            ("q", "q", tiny.heads),
            ("k", "k", tiny.kv_heads),
            ("v", "v", 0),
            ("o", "output", 0),
        ):
            rows = source[f"{prefix}self_attn.{part}_proj.weight"]
            made[f"blk.{layer}.attn_{name}.weight"] = permuted(rows, heads) if heads else rows
    return made


def llama3_factors(tiny: Tiny) -> NDArray[np.float32]:
    """Straight from transformers' `_compute_llama3_parameters`, one frequency at a time."""
    rope = tiny.rope_scaling
    assert rope is not None
    width = tiny.hidden // tiny.heads
    factors = []
    for i in range(0, width, 2):
        wavelength = 2 * np.pi * tiny.rope_theta ** (i / width)
        old = rope["original_max_position_embeddings"]
        if wavelength < old / rope["high_freq_factor"]:
            factors.append(1.0)
        elif wavelength > old / rope["low_freq_factor"]:
            factors.append(rope["factor"])
        else:
            spread = rope["high_freq_factor"] - rope["low_freq_factor"]
            smooth = (old / wavelength - rope["low_freq_factor"]) / spread
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def _vision(tiny: Tiny, layout: Layout, source: Weights) -> Weights:
    def part(name: str) -> NDArray[np.float32]:
        return source[f"vision_model.{name}"]

    def tanh(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.tanh(values.astype(np.float64)).astype(np.float32)

    gate = part("gated_positional_embedding.gate")
    made = {
        "mm.0.weight": source["multi_modal_projector.weight"],
        "mm.0.bias": source["multi_modal_projector.bias"],
        "v.class_embd": part("class_embedding"),
        "v.patch_embd.weight": part("patch_embedding.weight"),
        "v.position_embd.weight": part("gated_positional_embedding.embedding"),
        "v.position_embd.gate": (1 - np.tanh(gate.astype(np.float64))).astype(np.float32),
        "v.tile_position_embd.weight": part("gated_positional_embedding.tile_embedding.weight"),
        "v.tile_position_embd.gate": tanh(gate),
        "v.pre_ln.weight": part("layernorm_pre.weight"),
        "v.pre_ln.bias": part("layernorm_pre.bias"),
        "v.post_ln.weight": part("layernorm_post.weight"),
        "v.post_ln.bias": part("layernorm_post.bias"),
    }
    for when in ("pre", "post"):
        table = f"{when}_tile_positional_embedding"
        made[f"v.{when}_tile_position_embd.weight"] = part(f"{table}.embedding.weight")
        made[f"v.{when}_tile_position_embd.gate"] = tanh(part(f"{table}.gate"))
    for stack, target, n in (
        ("transformer", "v.blk", tiny.vision_layers),
        ("global_transformer", "v.global.blk", tiny.global_layers),
    ):
        for layer in range(n):
            prefix = f"{stack}.layers.{layer}."
            for name, old, new in VISION:
                values = part(prefix + name)
                moved = name.startswith(("self_attn.q", "self_attn.k"))
                if moved and layout.permuted and layout.combined:
                    values = permuted(values, tiny.vision_heads)
                made[f"{target}.{layer}.{old if layout.old_names else new}"] = values
            if stack == "global_transformer":
                for name, short in (("gate_attn", "attn_gate"), ("gate_ffn", "ffn_gate")):
                    raw = part(prefix + name)
                    made[f"{target}.{layer}.{short}"] = raw if layout.raw_gates else tanh(raw)
    return made
