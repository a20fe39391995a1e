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
    """One question with everything that decides its answer. more_names: of further pictures, for
    models that take several; server, server_model: where the model is, if not here; expected: the
    record to compare."""

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
    more_names: tuple[str, ...] = ()
    server: str | None = None
    server_model: str | None = None
    expected: dict[str, Any] | None = None
    pictures: tuple[Picture, ...] = ()

    @property
    def keys(self) -> list[str]:
        """Of the pictures, in their order."""
        return [picture.key for picture in self.pictures]

    def open_pictures(self) -> None:
        sources = [read_source(name) for name in (self.picture_name, *self.more_names)]
        self.pictures = tuple(open_picture(source) for source in sources if source is not None)
        for picture in self.pictures:
            if picture.note:
                print(f"note: {picture.source}: {picture.note}", file=sys.stderr)


def from_options(options: argparse.Namespace) -> Job:
    """Raises UsageError, before anything is loaded."""
    names, question = given(options)
    if question is None:
        raise UsageError("a question is missing", hint='For example: ask photo.jpg "What is this?"')
    return Job(
        picture_name=names[0],
        more_names=tuple(names[1:]),
        question=question,
        strategy=shared.strategy(options),
        seed=shared.seed(options),
        sampling=shared.sampling_settings(options),
        budget=shared.budget_settings(options),
        answer_format=shared.answer_format(options),
        settings=shared.runtime_settings(options),
        model_name=options.model,
        mmproj_name=options.mmproj,
        server=shared.server(options),
        server_model=options.server_model,
    )


def given(options: argparse.Namespace) -> tuple[list[str], str | None]:
    """The names of the pictures and the question, as far as they were given. Raises UsageError."""
    named = [options.picture, options.question, *options.more]
    if options.asked is not None:  # then everything else is a picture
        names, question = [name for name in named if name is not None], options.asked
    else:
        names, question = [name for name in named[:1] if name is not None], options.question
    if names.count("-") > 1 or (len(names) > 1 and "none" in names):
        raise UsageError(
            f"{'-' if names.count('-') > 1 else 'none'} cannot be one of {len(names)} pictures",
            hint="Give files.",
        )
    return names, question


def read_source(name: str) -> Path | bytes | None:
    """`none`, `-` for standard input, or a path."""
    if name == "none":
        return None
    if name == "-":
        from llavao1_edge.images.opening import MAX_FILE_BYTES

        data = sys.stdin.buffer.read(MAX_FILE_BYTES)
        if not data:
            raise PictureError("no picture came on standard input", hint="Pipe a file into it.")
        return data
    from llavao1_edge.images.finding import picture_path

    return picture_path(name)
