"""What fine-tuning needs on each card, before anything is loaded. Pure: headers and numbers.

Bytes for a weight: trained in full with AdamW in float32 beside it 4 (weight) + 4 (gradient) + 8
(moments), in pure bfloat16 2 + 2 + 4; frozen 2 in bfloat16, 0.55 in 4 bits. FSDP divides what is
trained in full by the number of cards. Activations, with checkpoints of every layer: the layers'
inputs, one layer's inside, and the logits.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from llavao1_convert.checkpoint import read_shard
from llavao1_edge.errors import CheckpointError

CARDS = (16, 24, 40, 48, 80)  # GB, as people have them
RESERVE = 1.5e9  # of a card: the driver, kernels, fragments


class Method(StrEnum):
    FULL = "full"
    LORA = "lora"
    QLORA = "qlora"


@dataclass(frozen=True)
class Base:
    """A checkpoint's numbers. adapted: (rows, columns) of the matrices that LoRA is put on."""

    weights: int
    vision_weights: int
    layers: int
    width: int
    ffn: int
    vocabulary: int
    adapted: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Load:
    """How it is trained. bf16: with weights in bfloat16; vision: the tower, too."""

    method: Method
    cards: int
    batch: int
    length: int
    rank: int
    bf16: bool
    checkpointing: bool
    vision: bool


def read_base(checkpoint: Path) -> Base:
    """Raises CheckpointError for what is no Llama-3.2-Vision checkpoint."""
    try:
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        text = config["text_config"]
        shapes = _shapes(checkpoint)
        numbers = [
            int(text[name])
            for name in ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{checkpoint} is no checkpoint of a Llama-3.2-Vision: {error}",
            hint="Give a folder with config.json, tokenizer.json and safetensors.",
        ) from None
    if config.get("model_type") != "mllama":
        raise CheckpointError(
            f"{checkpoint} is a {config.get('model_type')}, not an mllama",
            hint="Only Llama-3.2-Vision and what was made from it can be fine-tuned here.",
        )
    layers, width, ffn, vocabulary = numbers
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    return Base(
        weights=sum(sizes.values()),
        vision_weights=sum(n for name, n in sizes.items() if is_vision(name)),
        layers=layers,
        width=width,
        ffn=ffn,
        vocabulary=vocabulary,
        adapted=tuple((shape[0], shape[1]) for name, shape in shapes.items() if is_adapted(name)),
    )


def is_vision(name: str) -> bool:
    return "vision_model" in name


def is_adapted(name: str) -> bool:
    """Whether LoRA is put on a weight: the text model's attention and MLP, cross layers too."""
    parts = name.removesuffix(".weight").rsplit(".", 1)
    known = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    return "language_model" in name and parts[-1] in known


def _shapes(checkpoint: Path) -> dict[str, tuple[int, ...]]:
    """From the headers of the safetensors files alone. Raises CheckpointError."""
    files = sorted(checkpoint.glob("*.safetensors"))
    found = {tensor.name: tensor.shape for path in files for tensor in read_shard(path)}
    if not found:
        raise ValueError("there are no safetensors")
    return found


@dataclass(frozen=True)
class Need:
    """Bytes on each card."""

    weights: float
    trained: float
    activations: float

    @property
    def total(self) -> float:
        return self.weights + self.trained + self.activations + RESERVE


def need(base: Base, load: Load) -> Need:
    number = 2 if load.bf16 else 4
    if load.method is Method.FULL:
        trained = base.weights - (0 if load.vision else base.vision_weights)
        frozen = base.weights - trained
        return Need(
            weights=(trained / load.cards + frozen) * number,
            trained=trained / load.cards * 3 * number,  # gradient and two moments
            activations=_activations(base, load),
        )
    lora = sum(rows + columns for rows, columns in base.adapted) * load.rank
    quantised = 0
    if load.method is Method.QLORA:
        quantised = sum(rows * columns for rows, columns in base.adapted)
    return Need(
        weights=0.55 * quantised + (base.weights - quantised) * number,
        trained=lora * 16,  # in float32
        activations=_activations(base, load),
    )


def _activations(base: Base, load: Load) -> float:
    number = 2 if load.bf16 else 4
    rows = load.batch * load.length
    inside = rows * (8 * base.width + 3 * base.ffn) * number
    kept = base.layers * rows * base.width * number
    layers = kept + inside if load.checkpointing else base.layers * inside
    return layers + rows * base.vocabulary * (number + 8)  # logits, their softmax and gradient


def lines(base: Base, load: Load, card: float | None) -> list[str]:
    """For people. card: bytes of each card that is there, None without any."""
    found = need(base, load)
    told = [
        f"{base.weights / 1e9:.2f} billion weights; {load.method.value}, {load.cards} "
        f"process{'es' if load.cards > 1 else ''}, {load.batch} examples of {load.length} tokens",
        f"each needs about {found.total / 1e9:.1f} GB: weights {found.weights / 1e9:.2f}, what is "
        f"trained {found.trained / 1e9:.2f}, activations {found.activations / 1e9:.2f}",
    ]
    fitting = [size for size in CARDS if found.total <= size * 1e9]
    told.append(
        f"a card of {fitting[0]} GB is enough" if fitting else "no card of 80 GB or less is enough"
    )
    if card is not None and found.total > card:
        told.append(f"the cards here have {card / 1e9:.1f} GB")
    return told
