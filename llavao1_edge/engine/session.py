"""A conversation about one picture (or none): its history stays in the cache between questions."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import ref

from llavao1_edge.engine.drafter import BatchDrafter, Point
from llavao1_edge.engine.runtime import Stop, View
from llavao1_edge.engine.turns import Stream
from llavao1_edge.errors import Cancelled, UsageError
from llavao1_edge.images import Picture, open_picture
from llavao1_edge.llama.sampler import Sampling
from llavao1_edge.prompt import user_turn
from llavao1_edge.search import (
    Answered,
    Branch,
    CandidateFinished,
    Drafter,
    Ending,
    Event,
    PictureReady,
    Staged,
    StageKept,
    Strategy,
    Token,
)
from llavao1_edge.search.answer import Answer, Counters, Trace
from llavao1_edge.settings import SamplingSettings
from llavao1_edge.stages import CONCLUSION, StageParser

if TYPE_CHECKING:
    from llavao1_edge.engine.engine import Engine

RESERVE = 64  # tokens an answer must at least have room for


class Session:
    """Made by `Engine.session`. Use it from one thread at a time."""

    def __init__(self, engine: Engine, picture: Picture | None) -> None:
        self._engine = engine
        self.picture = picture
        self.history: list[int] = []
        """All tokens so far, the picture's token included."""
        self._seat = engine.seats.add(self)
        self._stream_ref: Stream | None = None
        self.closed = False

    def close(self) -> None:
        """Ends an unfinished answer; the place in the cache is free for the next question."""
        if self._stream_ref is not None:
            self._engine.runtime.turns.abandon(self._stream_ref)
        self.closed = self._seat.abandoned = True

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def n_cached(self) -> int:
        """How many tokens of the history are in the cache."""
        return self._seat.n_cached

    def show(self, picture: Path | str | bytes | Picture) -> None:
        """Gives a conversation its picture, before the first question.

        Raises UsageError where it has one already, PictureError where it cannot be opened.
        """
        if self.picture is not None:
            raise UsageError(
                "a conversation has one picture, and this one has it already",
                hint="Start a new session for another picture.",
            )
        if self.history:
            raise UsageError(
                "a picture must come before the first question",
                hint="Start a new session with the picture.",
            )
        self.picture = picture if isinstance(picture, Picture) else open_picture(picture)

    def ask(
        self,
        question: str,
        *,
        search: Strategy | None = None,
        seed: int = 0,
        sampling: SamplingSettings | None = None,
        stop: Stop | None = None,
    ) -> Answer:
        """The answer. Raises LlavaError; the conversation is then as it was before."""
        *_, last = self.stream(question, search=search, seed=seed, sampling=sampling, stop=stop)
        assert isinstance(last, Answered)
        return last.answer

    def stream(
        self,
        question: str,
        *,
        search: Strategy | None = None,
        seed: int = 0,
        sampling: SamplingSettings | None = None,
        stop: Stop | None = None,
    ) -> Generator[Event, None, None]:
        """The same as events; the last is `Answered`. Closing the iterator cancels.

        One answer is written at a time: another question from the same thread raises UsageError
        until this stream is finished or closed, other threads wait.
        """
        stream = self._stream(
            question,
            search or Staged(),
            seed,
            sampling or SamplingSettings(),
            stop or (lambda: False),
        )
        self._stream_ref = ref(stream)
        return stream

    def _stream(
        self,
        question: str,
        strategy: Strategy,
        seed: int,
        settings: SamplingSettings,
        stop: Stop,
    ) -> Generator[Event, None, None]:
        if self.closed:
            raise UsageError("the conversation is closed", hint="Start a new session.")
        runtime = self._engine.runtime
        turn = user_turn(
            question,
            first=not self.history,
            picture=self.picture is not None,
            system_block=runtime.system_block,
        )
        with runtime.turns.take(self._stream_ref):
            self._engine.check_open()
            prompt = runtime.encode(turn)
            if self.history:
                prompt = [runtime.end_of_turn, *prompt]
            answering = _Answering(
                self, prompt, strategy=strategy, seed=seed, settings=settings, stop=stop
            )
            yield from answering.run()

    # --- for the answering ------------------------------------------------------------------
    def fork(self) -> tuple[int, int]:
        """A sequence that continues the history, and how many of its tokens are cached."""
        runtime = self._engine.runtime
        sequence = runtime.take_sequence()
        if self._seat.sequence is not None:
            runtime.context.fork(self._seat.sequence, sequence)
        return sequence, self._seat.n_cached

    def keep(self, sequence: int, *, history: list[int], n_cached: int) -> None:
        """The conversation goes on from `sequence`, which holds the first `n_cached` tokens."""
        self._engine.seats.clear(self._seat)
        self._seat.sequence, self._seat.n_cached = sequence, n_cached
        self.history = history

    def make_room(self, n_new: int) -> None:
        self._engine.seats.make_room(self._seat, len(self.history) + n_new)


class _Answering:
    """One question on its way to an answer."""

    def __init__(
        self,
        session: Session,
        prompt: list[int],
        *,
        strategy: Strategy,
        seed: int,
        settings: SamplingSettings,
        stop: Stop,
    ) -> None:
        self.session, self.runtime = session, session._engine.runtime
        self.prompt, self.strategy, self.seed, self.stop = prompt, strategy, seed, stop
        self.settings = settings
        self.counters = Counters(prompt_tokens=len(prompt))
        self.notes: list[str] = []
        self.free_text = ""

    def run(self) -> Iterator[Event]:
        self.session.make_room(len(self.prompt) + RESERVE)  # before the picture, which costs more
        view = None
        if self.session.picture is not None:
            ready, view = self._see(self.session.picture)
            yield ready
        calls = self.runtime.decode_calls
        drafter = BatchDrafter(
            self.runtime,
            view=view,
            sampling=self._sampling(),
            max_tokens=self.settings.max_tokens,
            seed=self.seed,
            counters=self.counters,
            stop=self.stop,
        )
        try:
            sequence, n_cached = self.session.fork()
            before = self.session.history[n_cached:]
            root = drafter.root(sequence=sequence, n_past=n_cached, prompt=before + self.prompt)
            chosen = yield from self._search(root, drafter)
            self.counters.decode_calls = self.runtime.decode_calls - calls
            answer = self._answer(chosen)
            self._remember(drafter.take(chosen))
        finally:
            drafter.close()
        yield Answered(answer)

    def _see(self, picture: Picture) -> tuple[PictureReady, View]:
        def checkpoint(_: float) -> None:
            if self.stop():
                raise Cancelled("stopped")

        passes = self.runtime.vision_passes
        states, milliseconds = self.runtime.encode_picture(picture, checkpoint=checkpoint)
        reused = self.runtime.vision_passes == passes
        self.counters.vision_passes = self.runtime.vision_passes - passes
        self.counters.picture_ms = milliseconds
        canvas = self.runtime.canvas(picture)
        ready = PictureReady(
            canvas.rows, canvas.columns, canvas.width, canvas.height, reused, milliseconds
        )
        tokens = self.session.history + self.prompt
        return ready, View(states, tokens.index(self.runtime.image_token))

    def _sampling(self) -> Sampling:
        given = {
            name: value
            for name in ("temperature", "top_p", "top_k", "min_p", "repeat_penalty")
            if (value := getattr(self.settings, name)) is not None
        }
        return replace(self.runtime.default_sampling(), **given)

    def _search(self, root: Branch, drafter: Drafter) -> Generator[Event, None, Branch]:
        """Runs the strategy and keeps the time: until the first token, and after it."""
        started = time.perf_counter()
        first: float | None = None
        search = self.strategy.run(root, drafter)
        try:
            while True:
                event = next(search)
                if first is None and isinstance(event, Token | CandidateFinished):
                    first = time.perf_counter()
                self._note(event)
                yield event
        except StopIteration as finished:
            ended = time.perf_counter()
            first = first or ended
            self.counters.prefill_ms = (first - started) * 1000
            self.counters.decode_ms = (ended - first) * 1000
            branch: Branch = finished.value
            return branch
        finally:
            search.close()

    def _note(self, event: Event) -> None:
        if not isinstance(event, StageKept):
            return
        candidate = event.candidate
        if event.stage is None:
            self.free_text = candidate.text
        if candidate.ending is not Ending.CLOSED:
            name = event.stage.name if event.stage else "answer"
            self.notes.append(f"{name} ended early ({candidate.ending})")

    def _answer(self, chosen: Branch) -> Answer:
        trace = Trace(self.strategy.name, self.seed, self.counters)
        if self.free_text and not chosen.stages:
            parser = StageParser()
            parser.feed(self.free_text)
            parsed = parser.finish()
            notes = (*self.notes, *parsed.problems)
            return Answer(parsed.conclusion, parsed.stages, trace, notes)
        stages = {stage.name: text for stage, text in chosen.stages}
        return Answer(stages.get(CONCLUSION.name, ""), stages, trace, tuple(self.notes))

    def _remember(self, point: Point) -> None:
        """Adds the turn to the conversation; its last token is decoded with the next turn."""
        whole = self.session.history + self.prompt + point.tokens
        if whole[-1] in self.runtime.stop_tokens:
            whole.pop()  # the next turn begins with the end of this one
        self.session.keep(point.sequence, history=whole, n_cached=point.n_past)
