"""A checkpoint on the hub: planned from headers alone, its shards fetched one at a time."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from llavao1_convert.checkpoint import (
    MAX_HEADER,
    Checkpoint,
    collect,
    describe,
    open_checkpoint,
    read_json,
)
from llavao1_convert.folder import ADAPTER_FILES, HINT, INDEX, SINGLE
from llavao1_convert.source import Shard, SourceTensor
from llavao1_edge.errors import CheckpointError
from llavao1_edge.phrases import Phrase
from llavao1_edge.store.digest import Report, Stop
from llavao1_edge.store.hub import Repository, find

SMALL = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.json",
    "chat_template.jinja",
)
SMALL_BYTES = 64 << 20


class HubShard(Shard):
    """A shard that is fetched when it is needed. keep False: deleted once it was consumed."""

    def __init__(
        self,
        repository: Repository,
        name: str,
        folder: Path,
        *,
        keep: bool,
        stop: Stop | None,
    ) -> None:
        super().__init__(name, Path(name))
        self._fetched = False
        self._repository, self._folder = repository, folder
        self._keep, self._stop = keep, stop

    @property
    def n_bytes(self) -> int:
        return self._repository.files[self.name].n_bytes

    def fetch(self, report: Report | None = None) -> None:
        self.path = self._repository.fetch(self.name, self._folder, report=report, stop=self._stop)
        self._fetched = True

    def finish(self) -> None:
        if self._fetched and not self._keep and self.path.parent == self._folder:
            self.path.unlink(missing_ok=True)

    def state(self) -> str:
        remote = self._repository.files[self.name]
        return f"{self._repository.name} {remote.sha256} {remote.n_bytes}"


def open_hub_checkpoint(
    text: str,
    *,
    staging: Callable[[Repository], Path],
    low_disk: bool,
    with_adapter: bool = False,
    stop: Stop | None = None,
) -> Checkpoint:
    """`owner/name[@revision]`; offline, what the hub's cache holds.

    staging: where files are fetched to. low_disk: a shard is deleted once it was read. Raises
    CheckpointError, DownloadError, Cancelled.
    """
    repository = find(text)
    if isinstance(repository, Path):
        return open_checkpoint(repository, with_adapter=with_adapter)
    folder = staging(repository)
    for name in (*SMALL, INDEX):
        remote = repository.files.get(name)
        if remote is not None and remote.n_bytes <= SMALL_BYTES:
            _copy(repository.fetch(name, folder, stop=stop), folder / name)
    shards = [
        HubShard(repository, name, folder, keep=not low_disk, stop=stop)
        for name in _shard_names(repository, folder)
    ]
    tensors = collect(tensor for shard in shards for tensor in _tensors(repository, shard))
    return Checkpoint(folder, tensors, origin=repository.name, revision=repository.commit)


def fetch_adapter(
    text: str, *, staging: Callable[[Repository], Path], stop: Stop | None = None
) -> Path:
    """The folder of a repository's LoRA adapter; offline, what the hub's cache holds.

    Raises DownloadError, Cancelled.
    """
    repository = find(text)
    if isinstance(repository, Path):
        return repository
    folder = staging(repository)
    for name in ADAPTER_FILES[:2]:
        if name in repository.files:
            _copy(repository.fetch(name, folder, stop=stop), folder / name)
    return folder


def _copy(found: Path, target: Path) -> None:
    """A small file that lies in the hub's cache belongs beside the others."""
    if found != target:
        shutil.copyfile(found, target)


def _shard_names(repository: Repository, folder: Path) -> list[str]:
    if INDEX in repository.files:
        weights = read_json(folder / INDEX).get("weight_map")
        if not isinstance(weights, dict) or not weights:
            raise CheckpointError(Phrase("{index} has no weight_map", index=INDEX), hint=HINT)
        names = sorted(set(map(str, weights.values())))
    else:
        names = [SINGLE]
    missing = [name for name in names if name not in repository.files]
    if missing:
        raise CheckpointError(
            Phrase("{name} holds no {missing}", name=repository.name, missing=missing[0]),
            hint="Only safetensors can be converted; pickle files can run code.",
        )
    return names


def _tensors(repository: Repository, shard: HubShard) -> Iterator[SourceTensor]:
    size = shard.n_bytes
    (n,) = struct.unpack("<Q", repository.read(shard.name, 0, 8))
    if not 2 <= n <= min(MAX_HEADER, size - 8):
        raise CheckpointError(
            Phrase("{name}: damaged header ({n} bytes)", name=shard.name, n=n), hint=HINT
        )
    try:
        header = json.loads(repository.read(shard.name, 8, n))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            Phrase("{name}: damaged header: {error}", name=shard.name, error=error), hint=HINT
        ) from error
    yield from describe(header, shard, start=8 + n, size=size)
