"""What `ask` has to do. From the record of an earlier answer: `record`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llavao1_edge.cli import options as shared
from llavao1_edge.errors import PictureError, UsageError
from llavao1_edge.images import Picture, open_picture
from llavao1_edge.search import Strategy
from llavao1_edge.settings import BudgetSettings, RuntimeSettings, SamplingSettings
from llavao1_edge.stages import AnswerFormat


@dataclass
class Job:
    """One question with everything that decides its answer. `expected`: the record to compare."""

    picture_name: str
    question: str
    strategy: Strategy
    seed: int
    sampling: SamplingSettings
    budget: BudgetSettings
    answer_format: AnswerFormat | None
    settings: RuntimeSettings
    model_name: str
    mmproj_name: str | None
    expected: dict[str, Any] | None = None
    picture: Picture | None = None

    @property
    def picture_key(self) -> str | None:
        return self.picture.key if self.picture is not None else None

    def open_picture(self) -> None:
        source = read_source(self.picture_name)
        self.picture = None if source is None else open_picture(source)
        if self.picture is not None and self.picture.note:
            print(f"note: {self.picture.source}: {self.picture.note}", file=sys.stderr)


def from_options(options: argparse.Namespace) -> Job:
    """Raises UsageError, before anything is loaded."""
    if not options.question:
        raise UsageError("a question is missing", hint='For example: ask photo.jpg "What is this?"')
    return Job(
        picture_name=options.picture,
        question=options.question,
        strategy=shared.strategy(options),
        seed=shared.seed(options),
        sampling=shared.sampling_settings(options),
        budget=shared.budget_settings(options),
        answer_format=shared.answer_format(options),
        settings=shared.runtime_settings(options),
        model_name=options.model,
        mmproj_name=options.mmproj,
    )


def read_source(name: str) -> Path | bytes | None:
    """`none`, `-` for standard input, or a path."""
    if name == "none":
        return None
    if name == "-":
        from llavao1_edge.images.opening import MAX_FILE_BYTES

        data = b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_FILE_BYTES)
        if not data:
            raise PictureError("no picture came on standard input", hint="Pipe a file into it.")
        return data
    from llavao1_edge.images.finding import picture_path

    return picture_path(name)
