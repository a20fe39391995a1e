"""Brings a model into the store: a ready pair is fetched, anything else is converted first."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llavao1_convert.conversion import run
from llavao1_convert.sources import Request, plan_source
from llavao1_edge.errors import Cancelled
from llavao1_edge.store.catalogue import Entry, Store
from llavao1_edge.store.digest import Stop
from llavao1_edge.store.hub import Repository, find
from llavao1_edge.store.pull import choose_pair, no_model, pull_pair, ready_pairs

Report = Callable[[str, int, int], None]
"""What is being done, bytes done, of how many (0: not known)."""


@dataclass(frozen=True)
class PullOptions:
    """source: a hub id, a checkpoint's folder, an old file, ollama:NAME. None: the usual choice.

    memory: bytes that are free here: of ready files, the usual one that fits is chosen.
    """

    source: str
    quant: str | None = None
    vision_quant: str | None = None
    name: str | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Imported:
    """notes: what the conversion could not decide by itself."""

    entry: Entry
    notes: tuple[str, ...] = ()


def pull(
    store: Store,
    wish: PullOptions,
    *,
    report: Report,
    stop: Stop | None = None,
    converting: Callable[[], None] = lambda: None,
) -> Imported:
    """From the hub. What has come stays for the next try. converting: told before a conversion.

    Raises DownloadError, ModelFileError, CheckpointError, StoreError, UsageError, Cancelled.
    """
    repository = find(wish.source)
    if isinstance(repository, Path):
        return convert(store, wish, report=report, stop=stop, converting=converting)
    pairs = ready_pairs(repository)
    if pairs:
        sizes = {name: file.n_bytes for name, file in repository.files.items()}
        pair = choose_pair(pairs, wish.quant, repo=repository.name, sizes=sizes, room=wish.memory)
        return Imported(
            pull_pair(store, repository, pair, name=wish.name, stop=stop, report=report)
        )
    if not any(name.endswith(".safetensors") for name in repository.files):
        raise no_model(repository)
    return convert(
        store, wish, repository=repository, report=report, stop=stop, converting=converting
    )


def convert(
    store: Store,
    wish: PullOptions,
    *,
    repository: Repository | None = None,
    report: Report,
    stop: Stop | None = None,
    converting: Callable[[], None] = lambda: None,
) -> Imported:
    """Converted shard by shard, then taken in. Raises as `pull`."""
    version = "" if repository is None else repository.commit
    key = f"convert {wish.source} {version} {wish.quant} {wish.vision_quant}"
    folder = store.staging(key)
    with store.locked(key, stop=stop):
        request = Request(
            source=wish.source,
            out=folder,
            quant=wish.quant,
            vision_quant=wish.vision_quant,
            low_disk=repository is not None,
        )
        plan = plan_source(request, stop=stop)
        name = wish.name or plan.text.path.stem
        # The files' names tell the quantisation, which `name` may not.
        files = (plan.text.path.name, plan.mmproj.path.name)
        wanted = (wish.source, plan.revision, name, *files)
        for entry in store.entries() if plan.revision is not None else ():
            made = (entry.source, entry.revision, entry.name, entry.text.file, entry.mmproj.file)
            if made == wanted:
                shutil.rmtree(folder, ignore_errors=True)
                return Imported(entry)
        store.check_free(name)
        if plan.revision is None:  # it may have changed since a try that was cut off
            plan.text.path.unlink(missing_ok=True)
        if not (plan.text.path.is_file() and plan.mmproj.path.is_file()):
            converting()
            for step in run(plan, report=lambda done: report("", done, 0)):
                if stop is not None and stop():
                    raise Cancelled("stopped; the same command resumes")
                report(step.tensor, step.done, step.total)
        entry = store.add(
            plan.text.path,
            plan.mmproj.path,
            source=wish.source,
            name=name,
            revision=plan.revision,
            movable=(plan.text.path, plan.mmproj.path),
            stop=stop,
        )
        shutil.rmtree(folder, ignore_errors=True)
    return Imported(entry, tuple(plan.notes))
