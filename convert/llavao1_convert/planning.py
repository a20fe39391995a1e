"""From a checkpoint to a plan of both files. Reads headers only and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llavao1_convert.adapter import merged, open_adapter
from llavao1_convert.checkpoint import Checkpoint, open_checkpoint
from llavao1_convert.folder import adapters_near, cached_snapshot, repository_name
from llavao1_convert.hyperparameters import Hyperparameters, read_hyperparameters
from llavao1_convert.imatrix import Importance, read_imatrix
from llavao1_convert.metadata import Identity, mmproj_metadata, text_metadata
from llavao1_convert.plan import Conversion, OutputFile
from llavao1_convert.routes import MMPROJ, TEXT, Route, rope_factors, routes
from llavao1_convert.source import SourceTensor
from llavao1_convert.storage import (
    Quantisation,
    TextRules,
    mmproj_type,
    parse_quantisation,
    text_type,
)
from llavao1_convert.stream import Job
from llavao1_convert.tokenizer import read_vocabulary
from llavao1_convert.writer import Entry, Planned, encode_header
from llavao1_edge.errors import CheckpointError, UsageError
from llavao1_edge.ggml.types import F32, StorageType
from llavao1_edge.phrases import Phrase

ROPE_FACTORS = "rope_freqs.weight"

LACKS = Phrase("the checkpoint lacks {n_listed} tensors: {shown}")
HAS_UNKNOWN = Phrase("the checkpoint has {n_listed} unknown tensors: {shown}")


@dataclass(frozen=True)
class Options:
    """What the caller asked for. name: base name of the files; adapter: a folder of PEFT's."""

    out: Path
    text: Quantisation
    vision: Quantisation
    name: str | None = None
    imatrix: Path | None = None
    adapter: Path | None = None


def plan_conversion(
    source: Path,
    out: Path,
    *,
    text_quantisation: str = "Q4_K_M",
    vision_quantisation: str = "Q8_0",
    name: str | None = None,
    imatrix: Path | None = None,
    adapter: Path | None = None,
) -> Conversion:
    """`source`: a checkpoint folder; adapter: the folder of a LoRA adapter to merge into it.

    Raises CheckpointError or UsageError; writes nothing.
    """
    wishes = Options(
        out,
        parse_quantisation(text_quantisation),
        parse_quantisation(vision_quantisation),
        name,
        imatrix,
        adapter,
    )
    try:
        source = cached_snapshot(source)
        checkpoint = open_checkpoint(source, with_adapter=adapter is not None)
    except OSError as error:
        raise CheckpointError(
            Phrase("cannot read {source}: {reason}", source=source, reason=error.strerror or error),
            hint="Check the permissions.",
        ) from error
    base = repository_name(source) or source.resolve().name
    return plan_checkpoint(checkpoint, wishes, base=base)


def plan_checkpoint(checkpoint: Checkpoint, wishes: Options, *, base: str) -> Conversion:
    """base: the base name where no other is wished. Raises CheckpointError."""
    try:
        if wishes.adapter is not None:
            adapter = open_adapter(wishes.adapter, name=repository_name(wishes.adapter))
            checkpoint = merged(checkpoint, adapter)
            base = f"{base}-{adapter.name}"
        return _plan(checkpoint, wishes, wishes.name or base)
    except OSError as error:
        raise CheckpointError(
            Phrase(
                "cannot read {folder}: {reason}",
                folder=checkpoint.folder,
                reason=error.strerror or error,
            ),
            hint="Check the permissions.",
        ) from error
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        # JSON of a shape that no checkpoint has, beyond what is checked one by one.
        raise CheckpointError(
            Phrase(
                "{origin}: a JSON file has an impossible value ({name}: {error})",
                origin=checkpoint.origin,
                name=type(error).__name__,
                error=error,
            ),
            hint="Download the whole checkpoint folder again.",
        ) from error


def _plan(checkpoint: Checkpoint, wishes: Options, base: str) -> Conversion:
    shape = read_hyperparameters(checkpoint)
    vocabulary = read_vocabulary(checkpoint, shape)
    generation = checkpoint.json_or_none("generation_config.json") or {}
    table = routes(shape)
    match(checkpoint.tensors, table)
    importance = _importance(wishes, table)
    types = chosen_types(table, shape, wishes, has_imatrix=bool(importance))
    factors = rope_factors(shape.text.rope, shape.text.head_width)
    computed = []
    if factors is not None:
        computed = [Job(Planned(ROPE_FACTORS, (len(factors),), F32), values=factors)]
    text_jobs = jobs_for(checkpoint.tensors, table, TEXT, types, importance) + computed
    mmproj_jobs = jobs_for(checkpoint.tensors, table, MMPROJ, types, {})
    identity = Identity(base)
    text_entries = text_metadata(
        identity, shape, vocabulary, quantisation=wishes.text, generation=generation
    )
    mmproj_entries = mmproj_metadata(identity, shape, quantisation=wishes.vision)
    text, mmproj = output_files(
        wishes, base, (text_entries, text_jobs), (mmproj_entries, mmproj_jobs)
    )
    return Conversion(
        text=text,
        mmproj=mmproj,
        sources=checkpoint.tensors,
        origin=checkpoint.origin,
        revision=checkpoint.revision,
        text_quantisation=wishes.text.name,
        vision_quantisation=wishes.vision.name,
        notes=_notes(checkpoint),
    )


def _notes(checkpoint: Checkpoint) -> tuple[str, ...]:
    if checkpoint.adapter is not None:
        return (checkpoint.adapter,)
    home = checkpoint.folder.resolve().parent  # the card names no folder of this machine
    return tuple(
        Phrase(
            "the LoRA adapter {adapter} is not part of this; --adapter merges one",
            adapter=path.resolve().relative_to(home),
        )
        for path in adapters_near(checkpoint.folder)
        if path.resolve().is_relative_to(home)
    )


Content = tuple[list[Entry], list[Job]]


def output_files(
    wishes: Options, base: str, text: Content, mmproj: Content
) -> tuple[OutputFile, OutputFile]:
    """Both files, under their names and with their headers."""
    made = [
        OutputFile(path, encode_header(entries, [job.planned for job in jobs]), jobs)
        for path, (entries, jobs) in zip(paths(wishes, base), (text, mmproj), strict=True)
    ]
    return made[0], made[1]


def paths(wishes: Options, base: str) -> tuple[Path, Path]:
    """`NAME-QUANT.gguf` and `mmproj-NAME-QUANT[-VISION].gguf`: the cross layers in the second
    file follow the text's quantisation too."""
    if not base or base in (".", "..") or any(c in base for c in "/\\:\0"):
        raise UsageError(
            Phrase("{base} cannot be the name of a file", base=repr(base)),
            hint="Give another --name.",
        )
    text, vision = wishes.text.name, wishes.vision.name
    suffix = text if text == vision else f"{text}-{vision}"
    return wishes.out / f"{base}-{text}.gguf", wishes.out / f"mmproj-{base}-{suffix}.gguf"


def match(tensors: Mapping[str, SourceTensor], table: list[Route]) -> None:
    """Every tensor is there, has its shape, and none is left over. Raises CheckpointError."""
    wanted = {route.source: route.source_shape for route in table}
    missing = sorted(set(wanted) - set(tensors))
    unknown = sorted(set(tensors) - set(wanted))
    for problem, listed in ((LACKS, missing), (HAS_UNKNOWN, unknown)):
        if listed:
            shown = ", ".join(listed[:5]) + (", …" if len(listed) > 5 else "")
            raise CheckpointError(
                Phrase(problem, n_listed=len(listed), shown=shown),
                hint="It is incomplete, or its config.json belongs to another model.",
            )
    for source, shape in wanted.items():
        found = tensors[source].shape
        if found != shape:
            raise CheckpointError(
                Phrase(
                    "tensor {name} has shape {found}, expected {shape}",
                    name=repr(tensors[source].name),
                    found=found,
                    shape=shape,
                ),
                hint="The config.json belongs to another model.",
            )


def chosen_types(
    table: list[Route], shape: Hyperparameters, wishes: Options, *, has_imatrix: bool
) -> dict[str, StorageType]:
    """Output tensor → storage type."""
    text = shape.text
    rules = TextRules(len(text.self_layers), text.heads // text.kv_heads, has_imatrix)
    return {
        route.name: text_type(route.name, route.shape, wishes.text, rules)
        if route.file == TEXT
        else mmproj_type(
            route.name, route.shape, wishes.text, wishes.vision, cross_layers=len(text.cross)
        )
        for route in table
    }


def jobs_for(
    tensors: Mapping[str, SourceTensor],
    table: list[Route],
    file: str,
    types: Mapping[str, StorageType],
    importance: Importance,
) -> list[Job]:
    """The jobs of one output file."""
    return [
        Job(
            Planned(route.name, route.shape, types[route.name]),
            route,
            tensors[route.source],
            importance=importance.get(route.name),
        )
        for route in table
        if route.file == file
    ]


def _importance(wishes: Options, table: list[Route]) -> Importance:
    """Raises CheckpointError where the matrix was made for another model."""
    if wishes.imatrix is None:
        return {}
    found = read_imatrix(wishes.imatrix)
    shapes = {route.name: route.shape for route in table if route.file == TEXT}
    for name, values in found.items():
        if name not in shapes or len(values) != shapes[name][0]:
            raise CheckpointError(
                Phrase(
                    "{name}: {tensor} with {n_values} columns is not in this model",
                    name=wishes.imatrix.name,
                    tensor=repr(name),
                    n_values=len(values),
                ),
                hint="Make it with llama-imatrix from a text file of this very model.",
            )
    return found
