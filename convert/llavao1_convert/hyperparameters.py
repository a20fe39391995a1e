"""Reads config.json and preprocessor_config.json into checked numbers.

Sparse configs are completed with the class defaults of transformers' `MllamaTextConfig` and
`MllamaVisionConfig`; both the 4.x and the 5.x way of writing RoPE are read. What this project
cannot compute is refused here, before anything is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llavao1_convert.checkpoint import Checkpoint, Json
from llavao1_edge.contract.tensors import MmprojShape
from llavao1_edge.errors import CheckpointError
from llavao1_edge.images import arrangements
from llavao1_edge.phrases import Phrase


@dataclass(frozen=True)
class Rope:
    """RoPE base and, if `factor` > 1, the llama3 scaling of its frequencies."""

    theta: float
    factor: float = 1.0
    low: float = 1.0
    high: float = 4.0
    original_context: int = 8192


@dataclass(frozen=True)
class TextShape:
    """The text half; `cross` are the indices of the cross-attention layers among `layers`."""

    vocab: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    context: int
    eps: float
    cross: tuple[int, ...]
    rope: Rope

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def embedding_rows(self) -> int:
        """HF gives the embedding table eight learnable rows more than the head."""
        return self.vocab + 8

    @property
    def self_layers(self) -> tuple[int, ...]:
        """Source indices of the self-attention layers, in order."""
        return tuple(i for i in range(self.layers) if i not in self.cross)

    @property
    def cross_after(self) -> tuple[int, ...]:
        """For each cross layer the (re-numbered) self-attention layer it follows."""
        return tuple(
            sum(1 for other in self.self_layers if other < layer) - 1 for layer in self.cross
        )


@dataclass(frozen=True)
class VisionShape:
    """The vision half."""

    width: int
    ffn: int
    layers: int
    global_layers: int
    heads: int
    image_size: int
    patch_size: int
    max_tiles: int
    eps: float
    intermediate: tuple[int, ...]

    @property
    def tokens_per_tile(self) -> int:
        return (self.image_size // self.patch_size) ** 2 + 1


@dataclass(frozen=True)
class Preprocessing:
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rescale: float


@dataclass(frozen=True)
class Hyperparameters:
    """Everything the converter knows about a checkpoint's shape."""

    text: TextShape
    vision: VisionShape
    preprocessing: Preprocessing
    image_token: int

    @property
    def mmproj(self) -> MmprojShape:
        text, vision = self.text, self.vision
        return MmprojShape(
            width=vision.width,
            ffn=vision.ffn,
            local_layers=vision.layers,
            global_layers=vision.global_layers,
            n_intermediate=len(vision.intermediate),
            patch_size=vision.patch_size,
            tokens_per_tile=vision.tokens_per_tile,
            max_tiles=vision.max_tiles,
            n_arrangements=len(arrangements(vision.max_tiles)),
            text_width=text.width,
            text_ffn=text.ffn,
            cross_layers=len(text.cross),
            cross_heads=text.heads,
            cross_kv_heads=text.kv_heads,
            head_width=text.head_width,
        )


def read_hyperparameters(checkpoint: Checkpoint) -> Hyperparameters:
    """Raises CheckpointError naming the value that cannot be used."""
    config = checkpoint.json("config.json")
    kind = config.get("model_type")
    if kind == "mllama_text_model":
        raise CheckpointError(
            "this checkpoint is the text half only (MllamaForCausalLM): it cannot see",
            hint="Convert the full MllamaForConditionalGeneration checkpoint.",
        )
    if kind != "mllama":
        raise CheckpointError(
            Phrase(
                "config.json: model_type is {kind}, supported is 'mllama' (Llama-3.2-Vision)",
                kind=repr(kind),
            ),
            hint="Use llama.cpp's own converter for other architectures.",
        )
    whole = _Section(config, "config.json")
    text, vision = _text(whole.section("text_config")), _vision(whole.section("vision_config"))
    image_token = whole.integer("image_token_index", whole.integer("image_token_id", 128256))
    if image_token >= text.embedding_rows:
        raise _bad("image_token_index", image_token, f"must be below {text.embedding_rows}")
    return Hyperparameters(text, vision, _preprocessing(checkpoint, vision), image_token)


def _bad(name: str, value: object, reason: str) -> CheckpointError:
    return CheckpointError(
        Phrase("config: {name} is {value}, {reason}", name=name, value=repr(value), reason=reason),
        hint="This checkpoint differs from Llama-3.2-Vision in a way this program cannot compute.",
    )


class _Section:
    """Typed look-ups in a part of config.json, with class defaults."""

    def __init__(self, values: Json, name: str) -> None:
        self.values, self.name = values, name

    def integer(self, key: str, default: int) -> int:
        value = self.values.get(key, default)
        if type(value) is not int or value < 0:
            raise _bad(f"{self.name}.{key}", value, "expected a whole number")
        return value

    def positive(self, key: str, default: int, *, most: int = 1 << 24) -> int:
        value = self.integer(key, default)
        if not 1 <= value <= most:
            raise _bad(f"{self.name}.{key}", value, f"expected 1 to {most}")
        return value

    def section(self, key: str) -> _Section:
        value = self.values.get(key) or {}
        if not isinstance(value, dict):
            raise _bad(f"{self.name}.{key}", value, "expected an object")
        return _Section(value, key)

    def number(self, key: str, default: float) -> float:
        """A positive, finite number."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
            raise _bad(f"{self.name}.{key}", value, "expected a positive number")
        return float(value)

    def indices(self, key: str, default: list[int], *, below: int) -> tuple[int, ...]:
        value = self.values.get(key)
        value = default if value is None else value
        whole = isinstance(value, list) and all(type(i) is int and 0 <= i < below for i in value)
        if not whole or sorted(set(value)) != value:
            raise _bad(f"{self.name}.{key}", value, f"expected rising indices below {below}")
        return tuple(value)

    def must(self, key: str, wanted: object) -> None:
        value = self.values.get(key, wanted)
        if value != wanted:
            raise _bad(f"{self.name}.{key}", value, f"supported is {wanted!r}")


def _text(section: _Section) -> TextShape:
    section.must("hidden_act", "silu")
    section.must("tie_word_embeddings", False)
    layers = section.positive("num_hidden_layers", 40, most=1024)
    shape = TextShape(
        vocab=section.positive("vocab_size", 128256),
        width=section.positive("hidden_size", 4096),
        layers=layers,
        heads=section.positive("num_attention_heads", 32),
        kv_heads=section.positive("num_key_value_heads", 8),
        ffn=section.positive("intermediate_size", 14336),
        context=section.positive("max_position_embeddings", 131072),
        eps=section.number("rms_norm_eps", 1e-5),
        cross=section.indices(
            "cross_attention_layers", [3, 8, 13, 18, 23, 28, 33, 38], below=layers
        ),
        rope=_rope(section),
    )
    _check_text(section, shape)
    return shape


def _check_text(section: _Section, shape: TextShape) -> None:
    if shape.width % shape.heads or shape.head_width % 2 or shape.heads % shape.kv_heads:
        heads = (shape.width, shape.heads, shape.kv_heads)
        raise _bad("text_config hidden_size, heads, key-value heads", heads, "do not divide evenly")
    if section.values.get("head_dim") not in (None, shape.head_width):
        raise _bad("text_config.head_dim", section.values["head_dim"], "must be hidden_size/heads")
    if not shape.cross:
        raise _bad("text_config.cross_attention_layers", [], "needs at least one layer")
    if shape.cross[0] == 0 or shape.cross[-1] >= shape.self_layers[-1]:
        raise _bad(
            "text_config.cross_attention_layers",
            list(shape.cross),
            "a cross layer must stand between self-attention layers",
        )


def _rope(section: _Section) -> Rope:
    modern = section.values.get("rope_parameters")
    scaling: Any = modern or section.values.get("rope_scaling") or {}
    if not isinstance(scaling, dict):
        raise _bad(f"{section.name}.rope_scaling", scaling, "expected an object")
    inner = _Section(scaling, f"{section.name}.rope")
    theta = inner.number("rope_theta", section.number("rope_theta", 500_000.0))
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return Rope(theta)
    if kind != "llama3":
        raise _bad(f"{section.name}.rope_scaling type", kind, "supported are default and llama3")
    return Rope(
        theta=theta,
        factor=inner.number("factor", 8.0),
        low=inner.number("low_freq_factor", 1.0),
        high=inner.number("high_freq_factor", 4.0),
        original_context=inner.positive("original_max_position_embeddings", 8192),
    )


def _vision(section: _Section) -> VisionShape:
    section.must("hidden_act", "gelu")
    section.must("num_channels", 3)
    layers = section.positive("num_hidden_layers", 32, most=1024)
    shape = VisionShape(
        width=section.positive("hidden_size", 1280),
        ffn=section.positive("intermediate_size", 5120),
        layers=layers,
        global_layers=section.positive("num_global_layers", 8, most=1024),
        heads=section.positive("attention_heads", section.positive("num_attention_heads", 16)),
        image_size=section.positive("image_size", 448, most=4096),
        patch_size=section.positive("patch_size", 14),
        max_tiles=section.positive("max_num_tiles", 4, most=64),
        eps=section.number("norm_eps", 1e-5),
        intermediate=section.indices(
            "intermediate_layers_indices", [3, 7, 15, 23, 30], below=layers
        ),
    )
    if shape.width % shape.heads or shape.image_size < shape.patch_size:
        sizes = (shape.width, shape.heads, shape.image_size, shape.patch_size)
        raise _bad("vision_config sizes", sizes, "do not divide evenly")
    output = shape.width * (1 + len(shape.intermediate))
    if section.positive("vision_output_dim", output) != output:
        raise _bad("vision_config.vision_output_dim", section.values["vision_output_dim"],
                   f"expected {output}")  # fmt: skip
    grids = [list(grid) for grid in arrangements(shape.max_tiles)]
    given = section.values.get("supported_aspect_ratios") or grids
    if given != grids and given != [tuple(grid) for grid in grids]:
        raise _bad("vision_config.supported_aspect_ratios", given, f"supported is {grids}")
    return shape


def _preprocessing(checkpoint: Checkpoint, vision: VisionShape) -> Preprocessing:
    values = checkpoint.json_or_none("preprocessor_config.json")
    if values is None:
        nested = (checkpoint.json_or_none("processor_config.json") or {}).get("image_processor")
        if not isinstance(nested, dict):
            raise CheckpointError(
                Phrase("{folder}: preprocessor_config.json is missing", folder=checkpoint.folder),
                hint="It says how pictures are normalised; there is no safe guess.",
            )
        values = nested
    section = _Section(values, "preprocessor_config")
    for switch in ("do_resize", "do_rescale", "do_normalize", "do_pad", "do_convert_rgb"):
        section.must(switch, True)
    section.must("resample", 2)
    size = section.section("size").values
    if (size.get("height"), size.get("width")) != (vision.image_size, vision.image_size):
        raise _bad("preprocessor_config.size", size, f"the model reads {vision.image_size} pixels")
    if section.positive("max_image_tiles", 4) != vision.max_tiles:
        raise _bad("preprocessor_config.max_image_tiles", values["max_image_tiles"],
                   f"the model reads {vision.max_tiles}")  # fmt: skip
    mean, std = values.get("image_mean"), values.get("image_std")
    for name, three in (("image_mean", mean), ("image_std", std)):
        if (
            not isinstance(three, list)
            or len(three) != 3
            or not all(isinstance(v, int | float) and abs(v) < 1e6 for v in three)
        ):
            raise _bad(f"preprocessor_config.{name}", three, "expected three numbers")
    assert mean is not None
    assert std is not None
    return Preprocessing(
        tuple(map(float, mean)), tuple(map(float, std)), section.number("rescale_factor", 1 / 255)
    )
