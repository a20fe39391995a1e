"""Tiny random Mllama checkpoints of the true architecture, for tests. Needs no torch.

Weights come from numpy, names and shapes from the architecture; the same seed gives the same files.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPECIALS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|finetune_right_pad_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
)
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


@dataclass(frozen=True)
class Tiny:
    """Sizes of a tiny model; the names are those of transformers' configs."""

    hidden: int = 64
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 96
    cross: tuple[int, ...] = (1, 3)
    vision_hidden: int = 32
    vision_heads: int = 2
    vision_ffn: int = 64
    vision_layers: int = 3
    global_layers: int = 2
    intermediate: tuple[int, ...] = (0, 2)
    image_size: int = 56
    patch_size: int = 14
    max_tiles: int = 4
    norm_eps: float = 1e-5
    rope_scaling: dict[str, Any] | None = field(
        default_factory=lambda: {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    )
    rope_theta: float = 10_000.0
    pieces: tuple[str, ...] = ()  # more tokens, which only sampling produces (no merges)
    seed: int = 0

    @property
    def vocab(self) -> int:
        return 256 + len(SPECIALS) + len(self.pieces)

    @property
    def image_token(self) -> int:
        return self.vocab

    def but(self, **changes: Any) -> Tiny:
        return replace(self, **changes)


def config(tiny: Tiny) -> dict[str, Any]:
    """config.json in the 4.x form."""
    ids = {name: 256 + i for i, name in enumerate(SPECIALS)}
    stops = [ids["<|end_of_text|>"], ids["<|eom_id|>"], ids["<|eot_id|>"]]
    return {
        "architectures": ["MllamaForConditionalGeneration"],
        "model_type": "mllama",
        "image_token_index": tiny.image_token,
        "text_config": {
            "model_type": "mllama_text_model",
            "vocab_size": tiny.vocab,
            "hidden_size": tiny.hidden,
            "num_hidden_layers": tiny.layers,
            "num_attention_heads": tiny.heads,
            "num_key_value_heads": tiny.kv_heads,
            "intermediate_size": tiny.ffn,
            "cross_attention_layers": list(tiny.cross),
            "rope_theta": tiny.rope_theta,
            "rope_scaling": tiny.rope_scaling,
            "max_position_embeddings": 1024,
            "rms_norm_eps": 1e-5,
            "bos_token_id": ids["<|begin_of_text|>"],
            "eos_token_id": stops,
            "pad_token_id": ids["<|finetune_right_pad_id|>"],
        },
        "vision_config": {
            "model_type": "mllama_vision_model",
            "hidden_size": tiny.vision_hidden,
            "attention_heads": tiny.vision_heads,
            "intermediate_size": tiny.vision_ffn,
            "num_hidden_layers": tiny.vision_layers,
            "num_global_layers": tiny.global_layers,
            "intermediate_layers_indices": list(tiny.intermediate),
            "vision_output_dim": tiny.vision_hidden * (1 + len(tiny.intermediate)),
            "image_size": tiny.image_size,
            "patch_size": tiny.patch_size,
            "max_num_tiles": tiny.max_tiles,
            "norm_eps": tiny.norm_eps,
            "supported_aspect_ratios": arrangements(tiny.max_tiles),
        },
    }


def arrangements(n: int) -> list[list[int]]:
    return [[r, c] for r in range(1, n + 1) for c in range(1, n + 1) if r * c <= n]


def shapes(tiny: Tiny) -> dict[str, tuple[int, ...]]:
    """Tensor name (transformers 4.45 form) → shape in numpy order."""
    head = tiny.hidden // tiny.heads
    kv = tiny.kv_heads * head
    table: dict[str, tuple[int, ...]] = {
        "language_model.model.embed_tokens.weight": (tiny.vocab + 8, tiny.hidden),
        "language_model.model.norm.weight": (tiny.hidden,),
        "language_model.lm_head.weight": (tiny.vocab, tiny.hidden),
        "multi_modal_projector.weight": (
            tiny.hidden,
            tiny.vision_hidden * (1 + len(tiny.intermediate)),
        ),
        "multi_modal_projector.bias": (tiny.hidden,),
    }
    for layer in range(tiny.layers):
        prefix = f"language_model.model.layers.{layer}."
        attention, sizes = "self_attn", {"q": tiny.hidden, "k": kv, "v": kv}
        if layer in tiny.cross:
            attention = "cross_attn"
            table[f"{prefix}cross_attn.q_norm.weight"] = (head,)
            table[f"{prefix}cross_attn.k_norm.weight"] = (head,)
            table[f"{prefix}cross_attn_attn_gate"] = (1,)
            table[f"{prefix}cross_attn_mlp_gate"] = (1,)
        for part, n in sizes.items():
            table[f"{prefix}{attention}.{part}_proj.weight"] = (n, tiny.hidden)
        table[f"{prefix}{attention}.o_proj.weight"] = (tiny.hidden, tiny.hidden)
        table[f"{prefix}input_layernorm.weight"] = (tiny.hidden,)
        table[f"{prefix}post_attention_layernorm.weight"] = (tiny.hidden,)
        table[f"{prefix}mlp.gate_proj.weight"] = (tiny.ffn, tiny.hidden)
        table[f"{prefix}mlp.up_proj.weight"] = (tiny.ffn, tiny.hidden)
        table[f"{prefix}mlp.down_proj.weight"] = (tiny.hidden, tiny.ffn)
    return table | _vision_shapes(tiny)


def _vision_shapes(tiny: Tiny) -> dict[str, tuple[int, ...]]:
    width, tiles = tiny.vision_hidden, tiny.max_tiles
    tokens = (tiny.image_size // tiny.patch_size) ** 2 + 1
    ids = len(arrangements(tiles)) + 1
    table: dict[str, tuple[int, ...]] = {
        "class_embedding": (width,),
        "patch_embedding.weight": (width, 3, tiny.patch_size, tiny.patch_size),
        "gated_positional_embedding.gate": (1,),
        "gated_positional_embedding.embedding": (tokens, width),
        "gated_positional_embedding.tile_embedding.weight": (ids, tiles * tokens * width),
        "pre_tile_positional_embedding.gate": (1,),
        "pre_tile_positional_embedding.embedding.weight": (ids, tiles * width),
        "post_tile_positional_embedding.gate": (1,),
        "post_tile_positional_embedding.embedding.weight": (ids, tiles * width),
    }
    for norm in ("layernorm_pre", "layernorm_post"):
        table[f"{norm}.weight"] = table[f"{norm}.bias"] = (width,)
    stacks = {"transformer": tiny.vision_layers, "global_transformer": tiny.global_layers}
    for stack, n_layers in stacks.items():
        for layer in range(n_layers):
            prefix = f"{stack}.layers.{layer}."
            for part in "qkvo":
                table[f"{prefix}self_attn.{part}_proj.weight"] = (width, width)
            for norm in ("input_layernorm", "post_attention_layernorm"):
                table[f"{prefix}{norm}.weight"] = table[f"{prefix}{norm}.bias"] = (width,)
            table[f"{prefix}mlp.fc1.weight"] = (tiny.vision_ffn, width)
            table[f"{prefix}mlp.fc1.bias"] = (tiny.vision_ffn,)
            table[f"{prefix}mlp.fc2.weight"] = (width, tiny.vision_ffn)
            table[f"{prefix}mlp.fc2.bias"] = (width,)
            if stack == "global_transformer":
                table[f"{prefix}gate_attn"] = table[f"{prefix}gate_ffn"] = (1,)
    return {f"vision_model.{name}": shape for name, shape in table.items()}


def weights(tiny: Tiny) -> dict[str, NDArray[np.float32]]:
    """Random weights that keep activations near 1 and leave no gate shut."""
    rng = np.random.default_rng(tiny.seed)
    made = {}
    for name, shape in shapes(tiny).items():
        values = rng.standard_normal(shape)
        if "gate" in name.rsplit(".", 1)[-1]:
            values = 0.4 + 0.3 * values
        elif "norm" in name and name.endswith("weight"):
            values = 1 + 0.2 * values
        elif len(shape) == 1:
            values = 0.1 * values
        elif "embed" in name and "patch" not in name:
            values = 0.5 * values
        else:
            values = values / np.sqrt(np.prod(shape[1:]))
        made[name] = values.astype(np.float32)
    return made


def byte_alphabet() -> list[str]:
    """The 256 characters that byte-level BPE writes bytes as (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    table = {byte: chr(byte) for byte in plain} | {b: chr(256 + i) for i, b in enumerate(rest)}
    return [table[byte] for byte in range(256)]


def tokenizer(tiny: Tiny) -> dict[str, Any]:
    """A tokenizer.json: bytes, no merges, GPT-2 split, Llama-3 special tokens."""
    table = byte_alphabet()
    pieces = ["".join(table[byte] for byte in piece.encode()) for piece in tiny.pieces]
    added = {text: 256 + i for i, text in enumerate(SPECIALS)} | {"<|image|>": tiny.image_token}
    return {
        "version": "1.0",
        "added_tokens": [
            {
                "id": identity,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for text, identity in added.items()
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        },
        "post_processor": None,
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {text: i for i, text in enumerate(table)}
            | {text: 256 + len(SPECIALS) + i for i, text in enumerate(pieces)},
            "merges": [],
        },
    }


def save(tiny: Tiny, folder: Path, *, dtype: str = "F32") -> Path:
    """Writes the checkpoint folder and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "config.json": config(tiny),
        "tokenizer.json": tokenizer(tiny),
        "tokenizer_config.json": {"eos_token": "<|eot_id|>", "pad_token": SPECIALS[2]},
        "preprocessor_config.json": preprocessor(tiny),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    save_safetensors(weights(tiny), folder / "model.safetensors", dtype=dtype)
    return folder


def preprocessor(tiny: Tiny) -> dict[str, Any]:
    return {
        "do_convert_rgb": True,
        "do_resize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_normalize": True,
        "rescale_factor": 1 / 255,
        "resample": 2,
        "size": {"height": tiny.image_size, "width": tiny.image_size},
        "max_image_tiles": tiny.max_tiles,
        "image_mean": MEAN,
        "image_std": STD,
    }


def save_safetensors(
    tensors: dict[str, NDArray[np.float32]], path: Path, *, dtype: str = "F32"
) -> None:
    """Our own few lines, so that tests can also write broken files."""
    header: dict[str, Any] = {}
    blobs, offset = [], 0
    for name, values in tensors.items():
        blob = _bytes(values, dtype)
        header[name] = {
            "dtype": dtype,
            "shape": list(values.shape),
            "data_offsets": [offset, offset + len(blob)],
        }
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def _bytes(values: NDArray[np.float32], dtype: str) -> bytes:
    if dtype == "F32":
        return values.astype("<f4").tobytes()
    if dtype == "F16":
        return values.astype("<f2").tobytes()
    return (values.view(np.uint32) >> np.uint32(16)).astype("<u2").tobytes()  # BF16, truncated
