"""What a conversion will write, as a record: made by `planning` and `legacy_plan`, run by
`conversion`, described by `card`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from llavao1_convert.source import Shard, SourceTensor
from llavao1_convert.stream import Job, Times
from llavao1_convert.writer import file_size
from llavao1_edge import __version__


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
    """Everything that will be written; nothing has been yet.

    origin: where the source came from; revision: which version of it, where that is known; notes:
    what had to be decided on the way, for people; staging: a folder to remove at the end.
    """

    text: OutputFile
    mmproj: OutputFile
    sources: dict[str, SourceTensor]
    origin: str
    text_quantisation: str
    vision_quantisation: str
    revision: str | None = None
    notes: tuple[str, ...] = ()
    staging: Path | None = None
    times: Times = field(default_factory=Times, compare=False)

    @property
    def files(self) -> tuple[OutputFile, OutputFile]:
        return self.text, self.mmproj

    @property
    def n_bytes(self) -> int:
        return self.text.n_bytes + self.mmproj.n_bytes

    @property
    def source_bytes(self) -> int:
        return sum(job.n_bytes for output in self.files for job in output.jobs)

    @property
    def shards(self) -> list[Shard]:
        found = {tensor.shard.name: tensor.shard for tensor in self.sources.values()}
        return [found[name] for name in sorted(found)]

    def key(self) -> str:
        """Equal for runs that write the same from the same."""
        digest = hashlib.sha256(f"{__version__} {self.origin} {self.revision}\n".encode())
        for output in self.files:
            digest.update(output.header)
            for job in output.jobs:
                digest.update(job.identity())
        for shard in self.shards:
            digest.update(f"{shard.name} {shard.state()}\n".encode())
        for name, tensor in sorted(self.sources.items()):
            place = f"{tensor.kind.name} {tensor.shape} {tensor.offset} {tensor.recipe()}"
            digest.update(f"{name} {place}\n".encode())
        return digest.hexdigest()
