"""Shape and initial weights of our own models: Hugging Face's Mllama, very small.

What trials taught: cross-attention gates start near 1 and global gates near 0.8 (at HF's zero the
picture is invisible), and embeddings have standard deviation 1 (at 0.02 the residual stream grows
until in-context look-up cannot be learnt).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import MllamaConfig, MllamaForConditionalGeneration
from transformers.models.mllama.configuration_mllama import MllamaTextConfig, MllamaVisionConfig

TILE_SIZE = 56
PATCH_SIZE = 14
MAX_TILES = 4
HIDDEN = 128
CONTEXT = 8192
IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Shape:
    """What differs between the models that are trained here. tile_size: pixels; cross: text layers
    that look at the picture."""

    tile_size: int
    local_layers: int
    global_layers: int
    text_layers: int
    feed_forward: int
    cross: tuple[int, ...]


DEMO = Shape(TILE_SIZE, 4, 1, 9, 384, (1, 3, 5))


def demo_config(vocab_size: int, specials: dict[str, int], shape: Shape = DEMO) -> MllamaConfig:
    """Head vocabulary `vocab_size`; `specials` maps the special tokens' text to their ids."""
    vision = MllamaVisionConfig(
        hidden_size=128,
        num_hidden_layers=shape.local_layers,
        num_global_layers=shape.global_layers,
        num_attention_heads=4,
        intermediate_size=512,
        intermediate_layers_indices=[1, 3],
        vision_output_dim=128 * 3,
        image_size=shape.tile_size,
        patch_size=PATCH_SIZE,
        max_num_tiles=MAX_TILES,
    )
    text = MllamaTextConfig(
        vocab_size=vocab_size,
        hidden_size=HIDDEN,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=shape.feed_forward,
        cross_attention_layers=list(shape.cross),
        rope_theta=10_000.0,
        rope_scaling={
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 1024,
        },
        max_position_embeddings=CONTEXT,
        bos_token_id=specials["<|begin_of_text|>"],
        eos_token_id=[specials["<|end_of_text|>"], specials["<|eom_id|>"], specials["<|eot_id|>"]],
        pad_token_id=specials["<|finetune_right_pad_id|>"],
    )
    return MllamaConfig(
        vision_config=vision.to_dict(),
        text_config=text.to_dict(),
        image_token_index=specials["<|image|>"],
    )


def build_model(config: MllamaConfig, *, seed: int) -> MllamaForConditionalGeneration:
    """A freshly initialised float32 model."""
    torch.manual_seed(seed)
    model = MllamaForConditionalGeneration(config).float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _initialise(name, parameter)
    return model


def _initialise(name: str, parameter: nn.Parameter) -> None:
    leaf = name.rsplit(".", 1)[-1]
    if "embed_tokens" in name:
        parameter.normal_(std=1.0)
    elif "lm_head" in name:
        parameter.normal_(std=0.02)
    elif leaf in ("cross_attn_attn_gate", "cross_attn_mlp_gate"):
        parameter.fill_(1.0)
    elif leaf in ("gate_attn", "gate_ffn"):
        parameter.fill_(0.8)
    elif leaf == "gate":
        parameter.fill_(0.6)
    elif "embedding" in name and "patch" not in name:
        parameter.normal_(std=0.5)
    elif parameter.dim() >= 2:
        fan_in = parameter[0].numel()
        shrink = 0.4 if ("o_proj" in name or "down_proj" in name or "fc2" in name) else 1.0
        parameter.normal_(std=shrink * fan_in**-0.5)


def is_tower(name: str) -> bool:
    """True for the weights that see: the vision tower and the projector."""
    return "vision_model" in name or "projector" in name


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """True for the weights that Muon updates; AdamW has embeddings, head, norms, gates, biases."""
    tables = ("embed_tokens", "lm_head", "embedding")
    return parameter.dim() == 2 and not any(table in name for table in tables)
