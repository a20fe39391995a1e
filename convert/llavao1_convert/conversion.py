"""The conversion itself: plan everything, check everything, then write both files, then publish.

plan = plan_conversion(folder, out, text_quantisation="Q8_0", vision_quantisation="F16")
for step in run(plan): print(step.done / step.total)
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llavao1_convert.checkpoint import Checkpoint, SourceTensor, open_checkpoint
from llavao1_convert.hyperparameters import read_hyperparameters
from llavao1_convert.metadata import Identity, mmproj_metadata, text_metadata
from llavao1_convert.routes import MMPROJ, TEXT, Route, rope_factors, routes
from llavao1_convert.storage import parse_quantisation, storage_type
from llavao1_convert.tokenizer import read_vocabulary
from llavao1_convert.writer import GgufWriter, Planned, encode_header, file_size
from llavao1_edge.errors import CheckpointError
from llavao1_edge.ggml.quantise import quantise
from llavao1_edge.ggml.types import F32

BLOCK_WEIGHTS = 1 << 22  # weights in memory at a time, besides one row
ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True)
class Job:
    """One output tensor: from a route, or computed (`values`)."""

    planned: Planned
    route: Route | None = None
    source: SourceTensor | None = None
    values: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class OutputFile:
    path: Path
    header: bytes
    jobs: list[Job]

    @property
    def n_bytes(self) -> int:
        return file_size(self.header, [job.planned for job in self.jobs])


@dataclass(frozen=True)
class Conversion:
    """Everything that will be written; nothing has been yet."""

    text: OutputFile
    mmproj: OutputFile
    pair_id: str

    @property
    def n_bytes(self) -> int:
        return self.text.n_bytes + self.mmproj.n_bytes


@dataclass(frozen=True)
class Progress:
    """Bytes written so far of the total, and the tensor just finished."""

    done: int
    total: int
    tensor: str


def plan_conversion(
    folder: Path,
    out: Path,
    *,
    text_quantisation: str = "Q8_0",
    vision_quantisation: str = "Q8_0",
    name: str | None = None,
) -> Conversion:
    """Reads and checks all headers. Raises CheckpointError or UsageError; writes nothing."""
    text_type = parse_quantisation(text_quantisation)
    vision_type = parse_quantisation(vision_quantisation)
    try:
        return _plan(folder, out, text_type, vision_type, name or folder.resolve().name)
    except OSError as error:
        raise CheckpointError(
            f"cannot read {folder}: {error.strerror or error}", hint="Check the permissions."
        ) from error
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        # JSON of a shape that no checkpoint has, beyond what is checked one by one.
        raise CheckpointError(
            f"{folder}: a JSON file has an impossible value ({type(error).__name__}: {error})",
            hint="Download the whole checkpoint folder again.",
        ) from error


def _plan(folder: Path, out: Path, text_type: str, vision_type: str, base: str) -> Conversion:
    checkpoint = open_checkpoint(folder)
    shape = read_hyperparameters(checkpoint)
    vocabulary = read_vocabulary(checkpoint, shape)
    generation = checkpoint.json_or_none("generation_config.json") or {}
    table = routes(shape)
    _match(checkpoint, table)
    identity = Identity(base, checkpoint.fingerprint())
    text_jobs = _jobs(checkpoint, table, TEXT, text_type)
    factors = rope_factors(shape.text.rope, shape.text.head_width)
    if factors is not None:
        planned = Planned(ROPE_FACTORS, (len(factors),), F32)
        text_jobs.append(Job(planned, values=factors))
    mmproj_jobs = _jobs(checkpoint, table, MMPROJ, vision_type)
    text_entries = text_metadata(
        identity, shape, vocabulary, quantisation=text_type, generation=generation
    )
    mmproj_entries = mmproj_metadata(identity, shape, quantisation=vision_type)
    return Conversion(
        text=OutputFile(
            out / f"{base}-{text_type}.gguf",
            encode_header(text_entries, [job.planned for job in text_jobs]),
            text_jobs,
        ),
        mmproj=OutputFile(
            out / f"mmproj-{base}-{vision_type}.gguf",
            encode_header(mmproj_entries, [job.planned for job in mmproj_jobs]),
            mmproj_jobs,
        ),
        pair_id=identity.pair_id,
    )


def run(plan: Conversion) -> Iterator[Progress]:
    """Writes both files; they appear together at the end, or not at all."""
    out = plan.text.path.parent
    try:
        out.mkdir(parents=True, exist_ok=True)
        for output in (plan.text, plan.mmproj):
            if output.path.exists() and not output.path.is_file():
                raise CheckpointError(
                    f"{output.path} exists and is not a file",
                    hint="Choose another --out or --name.",
                )
        free = shutil.disk_usage(out).free
        if free < plan.n_bytes:
            raise _no_space(out, plan.n_bytes, free)
        yield from _write_both(plan)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _no_space(out, plan.n_bytes, shutil.disk_usage(out).free) from error
        raise CheckpointError(
            f"cannot write to {out}: {error.strerror or error}",
            hint="Choose another folder with --out.",
        ) from error


def _write_both(plan: Conversion) -> Iterator[Progress]:
    writers: list[GgufWriter] = []
    done = 0
    try:
        for output in (plan.text, plan.mmproj):
            writer = GgufWriter(output.path, output.header)
            writers.append(writer)
            for job in output.jobs:
                _write_tensor(writer, job)
                done += job.planned.n_bytes
                yield Progress(done, plan.n_bytes, job.planned.name)
            writer.finish()
        _publish(*writers)
    finally:  # also when the caller stops iterating or presses Ctrl-C
        for writer in writers:
            writer.discard()


def _publish(text: GgufWriter, mmproj: GgufWriter) -> None:
    """Both or neither: a new text file beside an old mmproj file would be a false pair."""
    text.publish()
    try:
        mmproj.publish()
    except OSError:
        text.path.unlink(missing_ok=True)
        raise


def _no_space(out: Path, needed: int, free: int) -> CheckpointError:
    return CheckpointError(
        f"not enough space in {out}: {needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free",
        hint="Free some space, choose another folder with --out, or a smaller quantisation.",
    )


def _match(checkpoint: Checkpoint, table: list[Route]) -> None:
    """Every tensor is there, has its shape, and none is left over."""
    wanted = {route.source: route.source_shape for route in table}
    missing = sorted(set(wanted) - set(checkpoint.tensors))
    unknown = sorted(set(checkpoint.tensors) - set(wanted))
    for problem, listed in (("lacks", missing), ("has unknown", unknown)):
        if listed:
            shown = ", ".join(listed[:5]) + (", …" if len(listed) > 5 else "")
            raise CheckpointError(
                f"the checkpoint {problem} {len(listed)} tensors: {shown}",
                hint="It is incomplete, or its config.json belongs to another model.",
            )
    for source, shape in wanted.items():
        found = checkpoint.tensors[source].shape
        if found != shape:
            raise CheckpointError(
                f"tensor {checkpoint.tensors[source].name!r} has shape {found}, expected {shape}",
                hint="The config.json belongs to another model.",
            )


def _jobs(checkpoint: Checkpoint, table: list[Route], file: str, quantisation: str) -> list[Job]:
    jobs = []
    for route in table:
        if route.file == file:
            kind = storage_type(route.name, route.shape, quantisation)
            planned = Planned(route.name, route.shape, kind)
            jobs.append(Job(planned, route, checkpoint.tensors[route.source]))
    return jobs


def _write_tensor(writer: GgufWriter, job: Job) -> None:
    writer.begin(job.planned)
    for rows in _blocks(job):
        try:
            data = quantise(rows, job.planned.kind)
        except OverflowError as error:
            raise CheckpointError(
                f"tensor {job.planned.name!r}: {error}", hint="Convert with BF16, F32 or Q8_0."
            ) from error
        writer.write(data.tobytes())
    writer.end()


def _blocks(job: Job) -> Iterator[NDArray[np.float32]]:
    """The tensor's rows as float32, a few at a time, shape (n, row length)."""
    if job.values is not None:
        yield job.values.reshape(1, -1)
        return
    assert job.route is not None
    assert job.source is not None
    route, source = job.route, job.source
    step = max(1, BLOCK_WEIGHTS // source.row_length)
    for start in range(0, source.n_rows, step):
        stop = min(start + step, source.n_rows)
        if route.rows is None:
            rows = source.rows(start, stop)
        else:
            rows = _gather(source, route.rows[start:stop])
        yield rows if route.columns is None else np.ascontiguousarray(rows[:, route.columns])
    if route.zero_rows:
        yield np.zeros((route.zero_rows, source.row_length), dtype=np.float32)


def _gather(source: SourceTensor, order: NDArray[np.int64]) -> NDArray[np.float32]:
    """Rows in a given order; reads the span they lie in (permutations stay within a head)."""
    low, high = int(order.min()), int(order.max()) + 1
    return source.rows(low, high)[order - low]
