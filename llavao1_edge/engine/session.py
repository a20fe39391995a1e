"""A conversation about a picture, none, or several: its history stays with the model."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from threading import Event as Flag
from typing import Protocol
from weakref import ref

from llavao1_edge.backend import Backend, Request, Stop
from llavao1_edge.engine.answering import Answering
from llavao1_edge.engine.formats import check_fits
from llavao1_edge.engine.turns import Stream, Turns
from llavao1_edge.errors import UsageError
from llavao1_edge.images import Picture, open_picture
from llavao1_edge.lifetime import Closing
from llavao1_edge.phrases import Phrase
from llavao1_edge.search import Answered, Event, Staged, Strategy, Told, tell_nobody
from llavao1_edge.search.answer import Answer
from llavao1_edge.settings import BudgetSettings, SamplingSettings
from llavao1_edge.stages import AnswerFormat


class Host(Protocol):
    """What a conversation needs of its engine."""

    backend: Backend
    turns: Turns

    def check_open(self) -> None:
        """Raises UsageError after it was closed."""


class _Control:
    """What stops one answer: its caller's `stop`, or `cancelled` from any thread."""

    def __init__(self, stop: Stop | None) -> None:
        self._stop = stop
        self.cancelled = Flag()
        self.stream: Stream | None = None

    def __call__(self) -> bool:
        return self.cancelled.is_set() or bool(self._stop and self._stop())


class Session(Closing):
    """Made by `Engine.session`. Use it from one thread at a time."""

    def __init__(
        self, engine: Host, pictures: Sequence[Picture], *, resumable: bool = False
    ) -> None:
        """Raises UsageError for more pictures than the model takes."""
        self.engine = engine
        self.conversation = engine.backend.conversation()
        self.conversation.resumable = resumable
        self._control: _Control | None = None  # of the present answer, or of the coming one
        self._running: _Control | None = None
        self.closed = False
        for picture in pictures:
            self.show(picture)

    def close(self) -> None:
        """Ends an unfinished answer; the place in the cache is free for the next question."""
        if self._running is not None:
            self.engine.turns.abandon(self._running.stream)
        self.closed = True
        self.conversation.close()

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return self.conversation.pictures

    def show(self, picture: Path | str | bytes | Picture) -> None:
        """Gives a conversation a picture, before the first question.

        Raises UsageError where it has as many as the model takes, PictureError where it cannot be
        opened.
        """
        most = self.engine.backend.about.max_pictures
        if most is not None and len(self.pictures) >= most:
            raise UsageError(
                "a conversation has one picture with this model, and this one has it already"
                if most == 1
                else Phrase(
                    "a conversation has {most} pictures with this model at most", most=most
                ),
                hint="Start a new session for another picture.",
            )
        if self.conversation.begun:
            raise UsageError(
                "a picture must come before the first question",
                hint="Start a new session with the picture.",
            )
        opened = picture if isinstance(picture, Picture) else open_picture(picture)
        self.conversation.pictures = (*self.pictures, opened)

    def recall(self, question: str, stages: Mapping[str, str]) -> None:
        """Goes on from a turn of an earlier conversation, as if it had been answered here.

        stages: name → text, as `Answer.stages`. Computed with the next question. Raises UsageError.
        """
        with self.engine.turns.take():
            self.engine.check_open()
            self.conversation.recall(question, stages)

    def ask(
        self,
        question: str,
        *,
        search: Strategy | None = None,
        seed: int = 0,
        sampling: SamplingSettings | None = None,
        budget: BudgetSettings | None = None,
        answer_format: AnswerFormat | None = None,
        stop: Stop | None = None,
    ) -> Answer:
        """The answer. Raises LlavaError; the conversation is then as it was before.

        budget: what the search may cost. answer_format: what the conclusion must look like. stop:
        asked at every token; once it says True the best so far is returned, marked `cancelled` and
        not remembered (Cancelled is raised where there is nothing yet).
        """
        *_, last = self.stream(
            question,
            search=search,
            seed=seed,
            sampling=sampling,
            budget=budget,
            answer_format=answer_format,
            stop=stop,
        )
        assert isinstance(last, Answered)
        return last.answer

    def stream(
        self,
        question: str,
        *,
        search: Strategy | None = None,
        seed: int = 0,
        sampling: SamplingSettings | None = None,
        budget: BudgetSettings | None = None,
        answer_format: AnswerFormat | None = None,
        stop: Stop | None = None,
        top_logprobs: int = 0,
        remember: bool = True,
        told: Told = tell_nobody,
    ) -> Generator[Event, None, None]:
        """The same as events; the last is `Answered`. Closing the iterator ends the answer.

        top_logprobs: how many of the likeliest tokens are told beside each (`Candidate.tokens`).
        remember: whether the conversation goes on from this answer; without it the same question
        can be asked again as if for the first time. told: hears how far reading the picture and the
        prompt is, which on a CPU takes longer than the first token.

        One answer is written at a time: another question from the same thread raises UsageError
        until this stream is finished or closed, other threads wait.
        """
        strategy = search or Staged()
        check_fits(strategy, answer_format)
        request = Request(
            question,
            seed,
            sampling or SamplingSettings(),
            budget or BudgetSettings(),
            answer_format,
            top_logprobs,
            strategy.width,
            strategy.weighs_stages,
            told,
        )
        control = _Control(stop)
        stream = self._stream(request, strategy, control, remember=remember)
        control.stream = ref(stream)
        if self._running is None:
            self._control = control
        return stream

    def cancel(self) -> None:
        """Stops the present answer within one token; it may be called from any thread.

        The stream then ends with the best answer so far, marked `cancelled`.
        """
        if self._control is not None:
            self._control.cancelled.set()

    def _stream(
        self, request: Request, search: Strategy, control: _Control, *, remember: bool
    ) -> Generator[Event, None, None]:
        if self.closed:
            raise UsageError("the conversation is closed", hint="Start a new session.")
        with self.engine.turns.take(control.stream):
            self._control = self._running = control
            try:
                self.engine.check_open()
                if self.closed:  # while it waited
                    raise UsageError("the conversation is closed", hint="Start a new session.")
                yield from Answering(
                    self.conversation, request, search, remember=remember, stop=control
                ).run()
            finally:
                self._running = None
