"""The plan for an old file: sizes from its tensors, class defaults for the rest, and routes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llavao1_convert.hyperparameters import (
    Hyperparameters,
    Preprocessing,
    Rope,
    TextShape,
    VisionShape,
)
from llavao1_convert.legacy import (
    POSITION_GATE,
    ROPE,
    Choices,
    Evidence,
    LegacyFiles,
    check_position_gate,
    legacy_tensors,
    open_legacy,
    raw_gate,
    weigh,
)
from llavao1_convert.legacy_vocabulary import legacy_vocabulary
from llavao1_convert.metadata import Identity, mmproj_metadata, text_metadata
from llavao1_convert.plan import Conversion
from llavao1_convert.planning import (
    ROPE_FACTORS,
    Options,
    chosen_types,
    jobs_for,
    match,
    output_files,
)
from llavao1_convert.routes import MMPROJ, TEXT, Route, pair_rows, rope_factors, routes
from llavao1_convert.source import SourceTensor
from llavao1_convert.storage import QUANTISATIONS, Quantisation
from llavao1_convert.stream import Job
from llavao1_convert.writer import Planned
from llavao1_edge.contract import tensors as names
from llavao1_edge.contract.gguf import GgufHeader
from llavao1_edge.errors import CheckpointError
from llavao1_edge.ggml.types import F16, F32, PLAIN, StorageType
from llavao1_edge.phrases import Phrase

# Of Llama-3.2-Vision; old files do not say them.
CLIP = Preprocessing(
    (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), 1 / 255
)
LLAMA3_ROPE = Rope(500_000.0, factor=8.0)
HINT = "The file is damaged, or was made in a way that is not known here."


@dataclass(frozen=True)
class LegacySource:
    """Where an old model is. origin: for people; name: base name where no other is wished."""

    text: Path
    projector: Path | None
    name: str
    origin: str


def plan_legacy(
    source: LegacySource, wishes: Options, choices: Choices, *, keep: bool
) -> Conversion:
    """keep: tensors keep their types; otherwise unquantised ones get the wished ones.

    Raises CheckpointError or UsageError; writes nothing.
    """
    if wishes.imatrix is not None and keep:
        raise CheckpointError(
            "an importance matrix changes nothing where tensors keep their types",
            hint="Give --quant too; only unquantised tensors of an old file can be quantised.",
        )
    files = open_legacy(source.text, source.projector)
    check_position_gate(files)
    tensors = legacy_tensors(files)
    shape = _shape(files, tensors)
    evidence = weigh(files, tensors, choices)
    vocabulary, spoken = legacy_vocabulary(files.text, shape, choices)
    table = _routes(shape, tensors, evidence)
    match(tensors, table)
    types = _types(table, tensors, shape, wishes, keep=keep)
    text, vision = _labels(table, types, wishes, keep=keep)
    wishes = replace(wishes, text=text, vision=vision)
    base = wishes.name or source.name
    text_jobs = jobs_for(tensors, table, TEXT, types, {})
    notes = [*evidence.notes, *spoken]
    if ROPE not in tensors:
        factors = rope_factors(LLAMA3_ROPE, shape.text.head_width)
        assert factors is not None
        text_jobs.append(Job(Planned(ROPE_FACTORS, (len(factors),), F32), values=factors))
        notes.append("RoPE factors were missing: computed as for Llama 3.2")
    mmproj_jobs = jobs_for(tensors, table, MMPROJ, types, {})
    identity = Identity(base)
    text_entries = text_metadata(identity, shape, vocabulary, quantisation=text, generation={})
    mmproj_entries = mmproj_metadata(identity, shape, quantisation=vision)
    text_file, mmproj_file = output_files(
        wishes, base, (text_entries, text_jobs), (mmproj_entries, mmproj_jobs)
    )
    return Conversion(
        text=text_file,
        mmproj=mmproj_file,
        sources=tensors,
        origin=source.origin,
        text_quantisation=text.name,
        vision_quantisation=vision.name,
        notes=tuple(notes),
    )


# --- sizes ----------------------------------------------------------------------------------------
def _shape(files: LegacyFiles, tensors: dict[str, SourceTensor]) -> Hyperparameters:
    try:
        text = _text_shape(_Numbers(files.text), tensors)
        vision = _vision_shape(_Numbers(files.vision), tensors)
    except KeyError as error:
        raise CheckpointError(
            Phrase("the file lacks tensor {name}", name=repr(error.args[0])), hint=HINT
        ) from error
    metadata = files.text.metadata.get("mllama.image_token_index")
    image = metadata if type(metadata) is int else text.vocab
    return Hyperparameters(text, vision, CLIP, image)


class _Numbers:
    """Metadata, where zero and absence mean: not known (a converter wrote zeros)."""

    def __init__(self, header: GgufHeader) -> None:
        self.header = header

    def integer(self, key: str, default: int) -> int:
        value = self.header.metadata.get(f"mllama.{key}")
        return value if type(value) is int and value > 0 else default

    def number(self, key: str, default: float) -> float:
        value = self.header.metadata.get(f"mllama.{key}")
        good = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        return float(value) if good else default  # type: ignore[arg-type]

    def integers(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        full = f"mllama.{key}"
        return self.header.integers(full) if full in self.header.metadata else default

    def agree(self, key: str, seen: int) -> int:
        """What the tensors say. Raises CheckpointError where the metadata says otherwise."""
        if self.integer(key, seen) != seen:
            raise CheckpointError(
                Phrase(
                    "mllama.{key} is {value}, but the tensors say {seen}",
                    key=key,
                    value=self.integer(key, seen),
                    seen=seen,
                ),
                hint=HINT,
            )
        return seen


def _layers(tensors: dict[str, SourceTensor], prefix: str) -> int:
    numbers = {
        int(name.removeprefix(prefix).split(".")[0])
        for name in tensors
        if name.startswith(prefix) and name.removeprefix(prefix).split(".")[0].isdigit()
    }
    if not numbers or numbers != set(range(len(numbers))):
        raise CheckpointError(
            Phrase("the layers {prefix}* are not complete", prefix=prefix), hint=HINT
        )
    return len(numbers)


def _text_shape(numbers: _Numbers, tensors: dict[str, SourceTensor]) -> TextShape:
    rows, width = tensors["text.embed_tokens.weight"].shape
    layers = numbers.agree("block_count", _layers(tensors, "text.layers."))
    cross = tuple(
        i for i in range(layers) if f"text.layers.{i}.cross_attn.q_proj.weight" in tensors
    )
    if not cross or cross != numbers.integers("attention.cross_attention_layers", cross):
        raise CheckpointError(
            Phrase(
                "cross-attention stands in layers {cross}, the metadata says {told}",
                cross=list(cross),
                told=list(numbers.integers("attention.cross_attention_layers", ())),
            ),
            hint=HINT,
        )
    first = f"text.layers.{cross[0]}."
    head = tensors[f"{first}cross_attn.q_norm.weight"].shape[0]
    keys = tensors[f"{first}cross_attn.k_proj.weight"].shape[0]
    vocab = tensors["head.weight"].shape[0]
    if width % head or keys % head or head % 2 or rows < vocab:
        raise CheckpointError(
            Phrase(
                "impossible sizes {width}, {keys}, {head}, {vocab}",
                width=width,
                keys=keys,
                head=head,
                vocab=vocab,
            ),
            hint=HINT,
        )
    if rows != vocab + 8:
        raise CheckpointError(
            Phrase(
                "the embedding table has {rows} rows and the head {vocab}: expected 8 more",
                rows=rows,
                vocab=vocab,
            ),
            hint=HINT,
        )
    return TextShape(
        vocab=vocab,
        width=numbers.agree("embedding_length", width),
        layers=layers,
        heads=numbers.agree("attention.head_count", width // head),
        kv_heads=numbers.agree("attention.head_count_kv", keys // head),
        ffn=numbers.agree(
            "feed_forward_length", tensors["text.layers.0.mlp.gate_proj.weight"].shape[0]
        ),
        context=numbers.integer("context_length", 131_072),
        eps=numbers.number("attention.layer_norm_rms_epsilon", 1e-5),
        cross=cross,
        rope=Rope(numbers.number("rope.freq_base", LLAMA3_ROPE.theta)),
    )


def _vision_shape(numbers: _Numbers, tensors: dict[str, SourceTensor]) -> VisionShape:
    width = tensors["vision.class_embedding"].shape[0]
    patch = tensors["vision.patch_embedding.weight"].shape[-1]
    tokens = tensors["vision.gated_positional_embedding.embedding"].shape[0]
    tiles = tensors["vision.pre_tile_positional_embedding.embedding.weight"].shape[1] // width
    side = math.isqrt(tokens - 1)
    size = numbers.integer("vision.image_size", side * patch)
    if (size // patch) ** 2 + 1 != tokens:
        raise CheckpointError(
            Phrase(
                "a tile of {size} pixels has {wanted} tokens, the file {tokens}",
                size=size,
                wanted=(size // patch) ** 2 + 1,
                tokens=tokens,
            ),
            hint=HINT,
        )
    n_states = tensors["projector.weight"].shape[1] // width - 1
    intermediate = numbers.integers("vision.intermediate_layers_indices", (3, 7, 15, 23, 30))
    layers = numbers.agree("vision.block_count", _layers(tensors, "vision.transformer.layers."))
    if len(intermediate) != n_states or list(intermediate) != sorted(set(intermediate)) or (
        intermediate and not 0 <= intermediate[-1] < layers
    ):  # fmt: skip
        raise CheckpointError(
            Phrase(
                "intermediate layers {intermediate}, the projector reads {n_states} states",
                intermediate=list(intermediate),
                n_states=n_states,
            ),
            hint=HINT,
        )
    heads = numbers.integer("vision.attention.head_count", 16)
    if width % heads:
        raise CheckpointError(
            Phrase("{heads} vision heads do not divide {width}", heads=heads, width=width),
            hint=HINT,
        )
    return VisionShape(
        width=numbers.agree("vision.embedding_length", width),
        ffn=numbers.agree(
            "vision.feed_forward_length",
            tensors["vision.transformer.layers.0.mlp.fc1.weight"].shape[0],
        ),
        layers=layers,
        global_layers=numbers.agree(
            "vision.global.block_count", _layers(tensors, "vision.global_transformer.layers.")
        ),
        heads=heads,
        image_size=size,
        patch_size=numbers.agree("vision.patch_size", patch),
        max_tiles=numbers.agree("vision.max_num_tiles", tiles),
        eps=numbers.number("vision.attention.layer_norm_epsilon", 1e-5),
        intermediate=intermediate,
    )


# --- routes and types -----------------------------------------------------------------------------
def _routes(
    shape: Hyperparameters, tensors: dict[str, SourceTensor], evidence: Evidence
) -> list[Route]:
    """The usual routes, less what the file has done already, and undoing what it did besides."""
    text, vision = shape.text, shape.vision

    def back(heads: int, head_width: int) -> NDArray[np.int64]:
        return np.argsort(pair_rows(heads, head_width))

    def adapted(route: Route) -> Route:
        source = route.source
        if ".self_attn." in source and source.startswith("text."):
            return replace(route, rows=None)  # in llama.cpp's order already
        if evidence.cross_permuted and ".cross_attn.q_proj" in source:
            return replace(route, rows=back(text.heads, text.head_width))
        if evidence.cross_permuted and ".cross_attn.k_proj" in source:
            return replace(route, rows=back(text.kv_heads, text.head_width))
        moved = (".self_attn.q_proj", ".self_attn.k_proj")
        if evidence.vision_permuted and any(part in source for part in moved):
            return replace(route, rows=back(vision.heads, vision.width // vision.heads))
        return replace(route, change=_undo(source, evidence))

    table = [adapted(route) for route in routes(shape)]
    if ROPE in tensors:
        n = shape.text.head_width // 2
        table.append(Route(TEXT, ROPE_FACTORS, (n,), ROPE, (n,)))
    return table


def _undo(source: str, evidence: Evidence) -> Callable[..., np.ndarray] | None:
    """Position gates were always folded, those of the global layers by later versions."""
    folded = source == POSITION_GATE or source.endswith("_tile_positional_embedding.gate")
    if source.endswith((".gate_attn", ".gate_ffn")) and not evidence.raw_gates:
        folded = True
    return raw_gate if folded else None


def _types(
    table: list[Route],
    tensors: dict[str, SourceTensor],
    shape: Hyperparameters,
    wishes: Options,
    *,
    keep: bool,
) -> dict[str, StorageType]:
    wanted = chosen_types(table, shape, wishes, has_imatrix=False)
    types = {}
    for route in table:
        kind = tensors[route.source].kind
        if len(route.shape) == 1:
            types[route.name] = F32
        elif kind not in PLAIN:
            # Quantised numbers cannot be taken apart by columns.
            types[route.name] = kind if route.columns is None else F16
        elif keep:
            fine = route.name not in names.TABLES or kind in (F32, F16)
            types[route.name] = kind if fine else F32
        else:
            types[route.name] = wanted[route.name]
    return types


def _labels(
    table: list[Route], types: dict[str, StorageType], wishes: Options, *, keep: bool
) -> tuple[Quantisation, Quantisation]:
    """What to call the files: after the wish, or after what most weights are stored in."""
    found = []
    for file, wish in ((TEXT, wishes.text), (MMPROJ, wishes.vision)):
        share: Counter[StorageType] = Counter()
        for route in table:
            if route.file == file and len(route.shape) > 1 and not route.name.startswith("cross"):
                share[types[route.name]] += math.prod(route.shape)
        most = share.most_common(1)[0][0]
        if not keep and most is wish.base:
            found.append(wish)
            continue
        named = [made for made in QUANTISATIONS.values() if made.base is most]
        mixed = file == TEXT and any(kind is not most for kind in share if kind not in PLAIN)
        medium = [made for made in named if made.name.endswith("_M")] if mixed else []
        found.append((medium or named or [Quantisation(most.name, most, 0)])[0])
    return found[0], found[1]
