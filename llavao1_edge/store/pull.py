"""Fetching a ready pair from a repository into the store."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llavao1_edge.contract.naming import is_mmproj, mmproj_for
from llavao1_edge.contract.pair import read_pair
from llavao1_edge.errors import DownloadError, UsageError
from llavao1_edge.phrases import Phrase
from llavao1_edge.store.blobs import ENVIRONMENT, StoreError
from llavao1_edge.store.catalogue import Entry, Store
from llavao1_edge.store.digest import Stop
from llavao1_edge.store.hub import Repository

PREFERRED = ("Q4_K_M", "Q5_K_M", "Q4_K_S", "Q8_0")
SMALLER = ("Q4_0", "IQ4_NL", "IQ4_XS", "Q3_K_M", "Q3_K_S", "Q2_K")
OVERHEAD = 1.15  # of the files: what a conversation and a picture take besides
SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf$")

PullReport = Callable[[str, int, int], None]
"""File, bytes so far, bytes in all."""


@dataclass(frozen=True)
class RemotePair:
    """Two files of a repository that may belong together; only their headers can tell."""

    text: str
    mmproj: str


def ready_pairs(repository: Repository) -> list[RemotePair]:
    """Text files with the mmproj file that belongs to each, by their names."""
    names = [n for n in repository.files if n.endswith(".gguf") and not SPLIT.search(n)]
    found = []
    for text in sorted(name for name in names if not is_mmproj(name)):
        folder = text.rpartition("/")[0]
        mmproj = mmproj_for(text, [n for n in names if n.rpartition("/")[0] == folder])
        if mmproj is None and folder:  # one folder for each quantisation, the projector above
            mmproj = mmproj_for(text, [n for n in names if "/" not in n])
        if mmproj is not None:
            found.append(RemotePair(text, mmproj))
    return found


def choose_pair(
    pairs: list[RemotePair],
    quant: str | None,
    *,
    repo: str,
    sizes: Mapping[str, int] | None = None,
    room: int | None = None,
) -> RemotePair:
    """The wished quantisation, or the usual one; a smaller one where that does not fit `room`
    bytes of memory (sizes: bytes by file). Raises UsageError where that is not clear."""
    names = {pair.text.rpartition("/")[2]: pair for pair in pairs}
    found = []
    for wish in (quant,) if quant else (*PREFERRED, *SMALLER):
        fitting = [
            n for n in names if re.search(rf"[-._]{re.escape(wish)}\.gguf$", n, re.IGNORECASE)
        ]
        if len(fitting) == 1:
            found.append(names[fitting[0]])
    if not found and not quant and len(pairs) == 1:
        return pairs[0]
    for pair in found:
        needed = sum((sizes or {}).get(file, 0) for file in (pair.text, pair.mmproj))
        if room is None or needed * OVERHEAD <= room:
            return pair
    if found:
        return found[0]  # the memory plan says it better, with numbers
    held = ", ".join(sorted(names))
    raise UsageError(
        Phrase("{repo} holds {held}, none of {quant}", repo=repo, held=held, quant=quant)
        if quant
        else Phrase("{repo} holds {held}", repo=repo, held=held),
        hint="Say which one with --quant.",
    )


def pull_pair(
    store: Store,
    repository: Repository,
    pair: RemotePair,
    *,
    name: str | None = None,
    stop: Stop | None = None,
    report: PullReport | None = None,
) -> Entry:
    """Fetches both files and takes them in. What has come stays for the next try.

    Raises DownloadError, ModelFileError, PairError, StoreError, Cancelled.
    """
    key = f"{repository.name} {repository.commit} {pair.text}"
    folder = store.staging(key)
    with store.locked(key, stop=stop):
        present = _present(store, repository, pair, name)
        if present is not None:
            shutil.rmtree(folder, ignore_errors=True)
            return present
        _check_space(repository, pair, store)
        paths: list[Path] = []
        for file in (pair.text, pair.mmproj):
            total = repository.files[file].n_bytes

            def tell(done: int, file: str = file, total: int = total) -> None:
                if report is not None:
                    report(file, done, total)

            paths.append(repository.fetch(file, folder, report=tell, stop=stop))
        try:
            read_pair(*paths)
        except Exception:
            shutil.rmtree(folder, ignore_errors=True)  # the same bytes would come again
            raise
        entry = store.add(
            *paths,
            source=repository.name,
            name=name,
            revision=repository.commit,
            movable=[path for path in paths if path.is_relative_to(folder)],  # not the hub's
            stop=stop,
        )
        shutil.rmtree(folder, ignore_errors=True)
        return entry


def _present(
    store: Store, repository: Repository, pair: RemotePair, name: str | None
) -> Entry | None:
    """The entry that another process, or an earlier run, has made of the very same files."""
    wanted = tuple(repository.files[file].sha256 for file in (pair.text, pair.mmproj))
    for entry in store.entries():
        same = (entry.text.sha256, entry.mmproj.sha256) == wanted
        if same and name in (None, entry.name):
            return entry
    return None


def _check_space(repository: Repository, pair: RemotePair, store: Store) -> None:
    store.root.mkdir(parents=True, exist_ok=True)
    needed = sum(repository.files[file].n_bytes for file in (pair.text, pair.mmproj))
    free = shutil.disk_usage(store.root).free
    if free < needed:
        raise StoreError(
            Phrase(
                "not enough space in {root}: {needed:.2f} GB needed, {free:.2f} GB free",
                root=store.root,
                needed=needed / 1e9,
                free=free / 1e9,
            ),
            hint=Phrase(
                "Free some space, or set {environment} to a folder on another disk.",
                environment=ENVIRONMENT,
            ),
        )


def no_model(repository: Repository) -> DownloadError:
    if any(name.endswith(".gguf") for name in repository.files):
        return DownloadError(
            Phrase(
                "{name} holds GGUF files, but no mmproj file that fits one of them",
                name=repository.name,
            ),
            hint="A text model alone cannot see. Files in parts (-00001-of-…) are not taken.",
        )
    return DownloadError(
        Phrase("{name} holds neither a pair of GGUF files nor safetensors", name=repository.name),
        hint="docs/models.md lists models that run here; LLaVA-o1 is Xkev/Llama-3.2V-11B-cot.",
    )
