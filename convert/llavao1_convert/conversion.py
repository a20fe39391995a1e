"""The conversion itself: plan everything, check everything, then write both files, then publish.

plan = plan_conversion(source, out, text_quantisation="Q4_K_M", vision_quantisation="Q8_0")
for step in run(plan): print(step.done / step.total)

One pass: the source is read front to back, shard by shard, and every tensor is written at its place
in the output, so nothing is held in memory and nothing lies beside the output. A run that was
stopped or killed goes on where it was.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llavao1_convert.card import write_notes
from llavao1_convert.metadata import PLACEHOLDER
from llavao1_convert.plan import Conversion
from llavao1_convert.source import Shard, pair_id
from llavao1_convert.stream import Job, Pipeline
from llavao1_convert.work import Work, is_begun
from llavao1_convert.writer import Slots
from llavao1_edge.errors import CheckpointError, UsageError
from llavao1_edge.files import size_text
from llavao1_edge.phrases import Phrase
from llavao1_edge.store.digest import file_sha256


@dataclass(frozen=True)
class Progress:
    """Bytes of the source that are done, of how many, and what is being done."""

    done: int
    total: int
    tensor: str


def run(
    plan: Conversion,
    *,
    n_threads: int | None = None,
    report: Callable[[int], None] | None = None,
) -> Iterator[Progress]:
    """Writes both files; they appear together at the end, or not at all.

    Closing the iterator keeps what was done for the next run. report: told the bytes of a shard
    that is being fetched. Raises CheckpointError, DownloadError.
    """
    out = plan.text.path.parent
    try:
        out.mkdir(parents=True, exist_ok=True)
        for output in plan.files:
            if output.path.exists() and not output.path.is_file():
                raise CheckpointError(
                    Phrase("{path} exists and is not a file", path=output.path),
                    hint="Choose another --out or --name.",
                )
            _check_sources(plan, output.path)
        folder = work_folder(plan)
        _check_space(plan, out, folder)
        work = Work(folder, plan.key())
        try:
            yield from _convert(plan, work, n_threads or os.cpu_count() or 1, report)
        except BaseException as error:
            if isinstance(error, CheckpointError) and not isinstance(error.__cause__, OSError):
                work.discard()  # the source is bad, and would be again
            else:  # Ctrl-C, a disk or a connection that failed, or the caller stopped
                work.keep()
            raise
        work.discard()
        if plan.staging is not None:
            shutil.rmtree(plan.staging, ignore_errors=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _no_space(out, plan.n_bytes, shutil.disk_usage(out).free) from error
        raise CheckpointError(
            Phrase("cannot write to {out}: {reason}", out=out, reason=error.strerror or error),
            hint="Choose another folder with --out.",
        ) from error


def work_folder(plan: Conversion) -> Path:
    """Where the files grow; left behind by a run that was stopped."""
    return plan.text.path.parent / f".{plan.text.path.stem}.partial"


def check_free(plan: Conversion) -> None:
    """Raises UsageError where files would be written over, unless by a run that goes on."""
    goes_on = is_begun(work_folder(plan), plan.key())
    for path in (*(output.path for output in plan.files), plan.text.path.with_suffix(".md")):
        if path.is_file() and not goes_on:
            raise UsageError(
                Phrase("{path} is there already", path=path),
                hint="Choose another --name or --out, or write over it with --overwrite.",
            )


def _check_sources(plan: Conversion, path: Path) -> None:
    """Raises CheckpointError where a file is what is converted."""
    for shard in plan.shards:
        if path.exists() and shard.path.exists() and path.samefile(shard.path):
            raise CheckpointError(
                Phrase("{path} is the source itself", path=path),
                hint="Choose another --out or --name.",
            )


def _check_space(plan: Conversion, out: Path, folder: Path) -> None:
    there = sum(path.stat().st_blocks * 512 for path in folder.glob("*.gguf")) if hasattr(
        os.stat_result, "st_blocks"
    ) else 0  # fmt: skip
    free = shutil.disk_usage(out).free + there
    needed = plan.n_bytes
    if plan.staging is not None:  # a shard at a time lies there too
        needed += max((shard.n_bytes for shard in plan.shards), default=0)
    if free < needed:
        raise _no_space(out, needed, free)


def _no_space(out: Path, needed: int, free: int) -> CheckpointError:
    return CheckpointError(
        Phrase(
            "not enough space in {out}: {needed} needed, {free} free",
            out=out,
            needed=size_text(needed),
            free=size_text(free),
        ),
        hint="Free some space, choose another folder with --out, or a smaller quantisation.",
    )


def _convert(
    plan: Conversion, work: Work, n_threads: int, report: Callable[[int], None] | None
) -> Iterator[Progress]:
    slots = [
        work.add(Slots(work.folder / f"{name}.gguf", o.header, [job.planned for job in o.jobs]))
        for name, o in zip(("text", "mmproj"), plan.files, strict=True)
    ]
    states = {shard.name: shard.state() for shard in plan.shards}
    pipeline = Pipeline(n_threads, plan.times)
    try:
        for shard, jobs in _by_shard(plan, slots):
            if shard is not None and _is_left(plan, work, shard, jobs):
                yield Progress(_done(plan, work), plan.source_bytes, f"fetching {shard.name}")
                shard.fetch(report)
            yield from _convert_shard(plan, work, pipeline, shard, jobs)
            if shard is not None:
                _unchanged(shard, states[shard.name])
    finally:
        pipeline.close()
    identity = pair_id(plan.sources, work.digests)
    for output, slot in zip(plan.files, slots, strict=True):
        slot.write(0, output.header.replace(PLACEHOLDER.encode(), identity.encode()))
    work.sync()
    _publish(plan, work, slots)


def _unchanged(shard: Shard, before: str) -> None:
    if shard.state() != before:
        raise CheckpointError(
            Phrase("{name} was changed while it was converted", name=shard.name),
            hint="Convert again when nothing writes to it any more.",
        )


Placed = tuple[Job, Slots]


def _by_shard(plan: Conversion, slots: list[Slots]) -> list[tuple[Shard | None, list[Placed]]]:
    """The jobs of each shard in the order of the source; first those that need no source."""
    by_name: dict[str, list[Placed]] = {}
    for output, slot in zip(plan.files, slots, strict=True):
        for job in output.jobs:
            name = "" if job.source is None else job.source.shard.name
            by_name.setdefault(name, []).append((job, slot))
    shards: list[tuple[Shard | None, list[Placed]]] = [(None, by_name.get("", []))]
    for shard in plan.shards:
        placed = by_name.get(shard.name, [])
        shards.append((shard, sorted(placed, key=_offset)))
    return shards


def _offset(placed: Placed) -> int:
    source = placed[0].source
    return 0 if source is None else source.offset


def _convert_shard(
    plan: Conversion, work: Work, pipeline: Pipeline, shard: Shard | None, jobs: list[Placed]
) -> Iterator[Progress]:
    total = plan.source_bytes
    left = [(job, slot) for job, slot in jobs if _label(job, slot) not in work.done]
    for name in _undigested(plan, work, shard):
        work.digest(name, plan.sources[name].digest())
    done = _done(plan, work)
    for (label, last), n_bytes in pipeline.run(_blocks(pipeline, left)):
        done += n_bytes
        if last:
            work.finish(label)
        yield Progress(done, total, label.partition("/")[2])
    if shard is not None:
        work.sync()
        shard.finish()
    yield Progress(_done(plan, work), total, "" if shard is None else shard.name)


def _is_left(plan: Conversion, work: Work, shard: Shard, jobs: list[Placed]) -> bool:
    """Whether something of a shard must still be read."""
    undone = any(_label(job, slot) not in work.done for job, slot in jobs)
    return undone or bool(_undigested(plan, work, shard))


def _undigested(plan: Conversion, work: Work, shard: Shard | None) -> list[str]:
    return [
        name
        for name, tensor in plan.sources.items()
        if tensor.shard is shard and name not in work.digests
    ]


def _blocks(
    pipeline: Pipeline, jobs: list[Placed]
) -> Iterator[tuple[tuple[str, bool], Callable[[], int]]]:
    """((tensor, whether it ends with this block), block): one tensor's end overlaps the next."""
    for job, slot in jobs:
        *blocks, last = pipeline.tasks(job, slot)
        for block in blocks:
            yield (_label(job, slot), False), block
        yield (_label(job, slot), True), last


def _label(job: Job, slot: Slots) -> str:
    return f"{slot.path.stem}/{job.planned.name}"


def _done(plan: Conversion, work: Work) -> int:
    return sum(
        job.n_bytes
        for name, output in zip(("text", "mmproj"), plan.files, strict=True)
        for job in output.jobs
        if f"{name}/{job.planned.name}" in work.done
    )


def _publish(plan: Conversion, work: Work, slots: list[Slots]) -> None:
    """Both or neither: a new text file beside an old mmproj file would be a false pair."""
    for slot in slots:
        slot.close()
    pairs = [(s.path, o.path) for s, o in zip(slots, plan.files, strict=True)]
    sums = [file_sha256(partial) for partial, _ in pairs]
    work.seal()
    for at, (partial, path) in enumerate(pairs):
        try:
            partial.replace(path)
        except OSError:
            for _, earlier in pairs[:at]:
                earlier.unlink(missing_ok=True)
            raise
    write_notes(plan, sums)
