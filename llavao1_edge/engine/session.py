"""A conversation about a picture, none, or several: its history stays in the cache."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from threading import Event as Flag
from typing import Protocol
from weakref import ref

from llavao1_edge.engine.answering import Answering, Request
from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.engine.seats import Root, Seats
from llavao1_edge.engine.turns import Stream
from llavao1_edge.errors import UsageError
from llavao1_edge.images import Picture, open_picture
from llavao1_edge.lifetime import Closing
from llavao1_edge.search import Answered, Event, Staged, Strategy
from llavao1_edge.search.answer import Answer
from llavao1_edge.settings import BudgetSettings, SamplingSettings
from llavao1_edge.stages import GAP, STAGES, AnswerFormat
from llavao1_edge.vision import Stop


class Host(Protocol):
    """What a conversation needs of its engine."""

    runtime: Runtime
    seats: Seats

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

    def __init__(self, engine: Host, pictures: Sequence[Picture]) -> None:
        """Raises UsageError for more pictures than the model takes."""
        self.engine = engine
        self.pictures: tuple[Picture, ...] = ()
        self._seat = engine.seats.add(self)
        self._control: _Control | None = None  # of the present answer, or of the coming one
        self._running: _Control | None = None
        self.closed = False
        for picture in pictures:
            self.show(picture)

    def close(self) -> None:
        """Ends an unfinished answer; the place in the cache is free for the next question."""
        if self._running is not None:
            self.engine.runtime.turns.abandon(self._running.stream)
        self.closed = self._seat.abandoned = True

    @property
    def history(self) -> list[int]:
        """All tokens so far, those before the picture and its own included."""
        root = self._seat.root
        return [*(root.tokens if root and self._seat.history else ()), *self._seat.history]

    @property
    def n_cached(self) -> int:
        """How many tokens of the history are in the cache."""
        root = self._seat.root
        return self._seat.n_cached + (len(root.tokens) if root and root.sequence is not None else 0)

    def show(self, picture: Path | str | bytes | Picture) -> None:
        """Gives a conversation a picture, before the first question.

        Raises UsageError where it has as many as the model takes, PictureError where it cannot be
        opened.
        """
        most = self.engine.runtime.vision.max_pictures
        if most is not None and len(self.pictures) >= most:
            raise UsageError(
                f"a conversation has {'one picture' if most == 1 else f'{most} pictures'} with "
                "this model, and this one has it already",
                hint="Start a new session for another picture.",
            )
        if self.history:
            raise UsageError(
                "a picture must come before the first question",
                hint="Start a new session with the picture.",
            )
        opened = picture if isinstance(picture, Picture) else open_picture(picture)
        self.pictures = (*self.pictures, opened)

    def recall(self, question: str, stages: Mapping[str, str]) -> None:
        """Goes on from a turn of an earlier conversation, as if it had been answered here.

        stages: name → text, as `Answer.stages`. Computed with the next question. Raises UsageError.
        """
        runtime = self.engine.runtime
        said = GAP.join(
            f"{stage.opening}{stages[stage.name]}{stage.closing}"
            for stage in STAGES
            if stage.name in stages
        )
        with runtime.turns.take():
            self.engine.check_open()
            self._seat.history = [
                *self._seat.history,
                *self._prompt(question),
                *runtime.encode([said]),
            ]

    def _prompt(self, question: str) -> list[int]:
        """The tokens of a user's turn."""
        runtime, seat = self.engine.runtime, self._seat
        words = runtime.words
        if self.pictures and not seat.history:
            if seat.root is None:
                seat.root = Root(runtime.encode(words.chat.opening(system=words.stage_prompt)))
            return runtime.encode(words.chat.question(question))
        if seat.history:
            return runtime.encode([*words.chat.close, *words.chat.turn(question, first=False)])
        system = words.system + words.stage_prompt
        return runtime.encode(words.chat.turn(question, system=system))

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
    ) -> Generator[Event, None, None]:
        """The same as events; the last is `Answered`. Closing the iterator ends the answer.

        One answer is written at a time: another question from the same thread raises UsageError
        until this stream is finished or closed, other threads wait.
        """
        request = Request(
            question,
            search or Staged(),
            seed,
            sampling or SamplingSettings(),
            budget or BudgetSettings(),
            answer_format,
        )
        control = _Control(stop)
        stream = self._stream(request, control)
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

    def _stream(self, request: Request, control: _Control) -> Generator[Event, None, None]:
        if self.closed:
            raise UsageError("the conversation is closed", hint="Start a new session.")
        runtime = self.engine.runtime
        with runtime.turns.take(control.stream):
            self._control = self._running = control
            try:
                self.engine.check_open()
                prompt = self._prompt(request.question)
                yield from Answering(
                    runtime, self._seat, self.pictures, prompt, request, stop=control
                ).run()
            finally:
                self._running = None
