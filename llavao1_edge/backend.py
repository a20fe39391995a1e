"""A model behind the engine, wherever it runs: conversations with it, and attempts at an answer.

The engine above knows strategies, stages, budgets and forms; it sees no tokens and no cache. There
are the model on this machine (`engine.local`) and a script (`testing`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from llavao1_edge.images import Picture
from llavao1_edge.search import Branch, Budget, Drafter, PictureReady, Told, tell_nobody
from llavao1_edge.search.answer import Counters
from llavao1_edge.settings import BudgetSettings, SamplingSettings
from llavao1_edge.stages import AnswerFormat

Stop = Callable[[], bool]


@dataclass(frozen=True)
class ModelInfo:
    """identity: the same for all conversions of one checkpoint. kind: who runs its vision
    (`mllama`, `native`). device: what reads pictures.

    context: cells of the cache; memory: the plan, a line each; hooks: how many layers run inside
    llama.cpp's; tile_size (pixels), max_tiles: how pictures are cut, 0 where they are not cut into
    one grid; max_pictures: of a conversation, None for any number; chat_format: its name.
    """

    identity: str
    kind: str
    device: str
    context: int = 0
    n_threads: int = 0
    memory: tuple[str, ...] = ()
    hooks: int = 0
    tile_size: int = 0
    max_tiles: int = 0
    max_pictures: int | None = 1
    chat_format: str = ""


@dataclass(frozen=True)
class Request:
    """A question and how its candidates are drawn. form: of the conclusion. top_logprobs: how many
    of the likeliest tokens are told beside each that was drawn. width: candidates side by side.
    weighs_stages: whether the search chooses among several ways to go on in an answer.
    told: hears how far reading the picture and the prompt is."""

    question: str
    seed: int = 0
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    form: AnswerFormat | None = None
    top_logprobs: int = 0
    width: int = 1
    weighs_stages: bool = False
    told: Told = tell_nobody


class Attempt(Protocol):
    """One answer on its way. Made and used inside a turn; closed whatever happens."""

    counters: Counters

    def see(self) -> PictureReady | None:
        """Reads the conversation's pictures, unless they were read before; None without any.

        Raises ContextFullError, OutOfMemory, Cancelled.
        """
        ...

    def begin(self) -> Branch:
        """The branch at the end of the prompt. Raises ContextFullError, Cancelled."""
        ...

    @property
    def drafter(self) -> Drafter:
        """After `begin`."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What happened on the way that people should know."""
        ...

    def keep(self, branch: Branch) -> None:
        """The conversation goes on from this branch."""
        ...

    def close(self) -> None:
        """Frees what the attempt holds; what was kept stays."""
        ...


class Conversation(Protocol):
    """What was said so far about some pictures. Used inside turns."""

    pictures: tuple[Picture, ...]
    resumable: bool
    """Whether it may be told again in another process, and is kept on disk for that."""

    @property
    def begun(self) -> bool:
        """Whether a question was answered or recalled."""
        ...

    def recall(self, question: str, stages: Mapping[str, str]) -> None:
        """A turn of an earlier conversation (`Answer.stages`). Raises UsageError."""
        ...

    def attempt(self, request: Request, *, budget: Budget, stop: Stop) -> Attempt:
        """Nothing is computed yet. Raises UsageError for a question that is none."""
        ...

    def close(self) -> None:
        """May be called from any thread, at any time: what is held is given up later."""
        ...


class Backend(Protocol):
    """An open model. Not for two threads at a time."""

    @property
    def about(self) -> ModelInfo: ...

    def conversation(self) -> Conversation: ...

    def interrupt(self) -> None:
        """The answer that is being written, if any, ends soon. Called from any thread."""
        ...

    def close(self) -> None: ...
