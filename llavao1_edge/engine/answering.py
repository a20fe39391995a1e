"""One question on its way to an answer: picture, prompt, search, and what is remembered."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llavao1_edge.engine.drafter import BatchDrafter
from llavao1_edge.engine.formats import check_fits, compiled, problem
from llavao1_edge.engine.panel import ModelPanel
from llavao1_edge.engine.points import Point, Points
from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.engine.seats import Seat
from llavao1_edge.engine.turns import Latch
from llavao1_edge.errors import Cancelled, ContextFullError
from llavao1_edge.images import Picture
from llavao1_edge.llama.sampler import Sampling
from llavao1_edge.scoring.decision import Reason
from llavao1_edge.search import (
    Answered,
    Branch,
    Budget,
    CandidateFinished,
    Ending,
    Event,
    PictureReady,
    Staged,
    Strategy,
    Token,
    options_of,
)
from llavao1_edge.search.answer import Answer, Counters, Node, Recorder, Trace
from llavao1_edge.settings import BudgetSettings, SamplingSettings
from llavao1_edge.stages import CONCLUSION, AnswerFormat, StageParser
from llavao1_edge.vision import Stop

RESERVE = 64  # tokens an answer must at least have room for


@dataclass(frozen=True)
class Request:
    """A question and how to answer it."""

    question: str
    strategy: Strategy = field(default_factory=Staged)
    seed: int = 0
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    answer_format: AnswerFormat | None = None

    def __post_init__(self) -> None:
        check_fits(self.strategy, self.answer_format)


class Answering:
    """Runs one request in a conversation. Made and used inside a turn.

    prompt: the tokens of the question's turn.
    """

    def __init__(
        self,
        runtime: Runtime,
        seat: Seat,
        pictures: Sequence[Picture],
        prompt: list[int],
        request: Request,
        *,
        stop: Stop,
    ) -> None:
        self.runtime, self.seat, self.pictures = runtime, seat, pictures
        self.prompt, self.request, self.stop = prompt, request, Latch(stop)
        self.counters = Counters()
        self.recorder = Recorder()
        self.budget = Budget(request.budget.token_budget, request.budget.time_budget)

    def run(self) -> Iterator[Event]:
        self._make_room()  # before the picture, which costs more
        sight = None
        if self.pictures:
            ready, sight = self._see()
            yield ready
        calls = self.runtime.decode_calls
        self.budget.started = self.budget.clock()
        points = Points(
            self.runtime,
            sight=sight,
            stop=self.stop,
            counters=self.counters,
            restart=lambda: self.seat.fork()[0],
        )
        panel, drafter = self._desk(points, sight)
        points.reserves.append(self.seat.evict_another)
        try:
            self._place(points, sight)
            sequence, n_cached = self.seat.fork()
            pending = self.seat.history[n_cached:] + self.prompt
            self.counters.prefill_tokens += len(pending)
            root = drafter.root(Point(sequence, self.seat.start + n_cached, pending))
            chosen = yield from self._search(root, drafter)
            self.counters.decode_steps = self.runtime.decode_calls - calls
            answer = self._answer(chosen, drafter)
            if not answer.cancelled:
                self._remember(points, chosen.key)
        finally:
            panel.close()
            drafter.close()
        yield Answered(answer)

    def _make_room(self) -> None:
        """For the question, the picture's cells and the beginning of an answer."""
        n_cells = len(self.prompt) + RESERVE
        if self.seat.root is not None and self.pictures:
            preview = self.runtime.vision.preview(*self.pictures)
            n_cells += len(self.seat.root.tokens) + preview.n_cells
        self.seat.make_room(n_cells)

    def _place(self, points: Points, sight: Any) -> None:
        """Computes what stands before the questions, unless it is in the cache already."""
        root = self.seat.root
        if root is None or root.sequence is not None:
            return
        while True:
            sequence = points.take_sequence()
            if sequence is None:
                raise ContextFullError(
                    "no sequence is free for the picture", hint="Close some conversations."
                )
            try:
                place = self.runtime.vision.place(sight, sequence, root.tokens, stop=self.stop)
            except BaseException as error:
                self.runtime.release(sequence)
                if isinstance(error, ContextFullError) and points.make_room():
                    continue
                raise
            self.runtime.decode_calls += 1
            self.counters.prefill_tokens += len(root.tokens)
            root.sequence, root.place = sequence, place
            return

    def _desk(self, points: Points, sight: Any) -> tuple[ModelPanel, BatchDrafter]:
        request = self.request
        sampling = self._sampling()
        panel = ModelPanel(
            points,
            question=request.question,
            sight=sight,
            root=self.seat.root,
            sampling=sampling,
            seed=request.seed,
            budget=self.budget,
            stop=self.stop,
        )
        drafter = BatchDrafter(
            points,
            sampling=sampling,
            max_tokens=request.sampling.max_tokens,
            stage_tokens=request.budget.stage_tokens,
            seed=request.seed,
            budget=self.budget,
            stop=self.stop,
            panel=panel,
            form=compiled(request.answer_format) if request.answer_format else "",
        )
        return panel, drafter

    def _see(self) -> tuple[PictureReady, Any]:
        def checkpoint(_: float) -> None:
            if self.stop():
                raise Cancelled("stopped")

        vision = self.runtime.vision
        before = vision.n_seen
        sight, milliseconds = vision.see(*self.pictures, checkpoint=checkpoint)
        self.counters.vision_passes = vision.n_seen - before
        self.counters.picture_ms = milliseconds
        seen = vision.preview(*self.pictures)
        reused = vision.n_seen == before
        return PictureReady(
            seen.rows,
            seen.columns,
            seen.width,
            seen.height,
            reused,
            milliseconds,
            seen.n_cells,
            seen.looks,
        ), sight

    def _sampling(self) -> Sampling:
        given = {
            name: value
            for name in ("temperature", "top_p", "top_k", "min_p", "repeat_penalty")
            if (value := getattr(self.request.sampling, name)) is not None
        }
        return replace(self.runtime.default_sampling(), **given)

    def _search(self, root: Branch, drafter: BatchDrafter) -> Generator[Event, None, Branch]:
        """Runs the strategy and keeps the time: until the first token, and after it."""
        started = time.perf_counter()
        first: float | None = None
        search = self.request.strategy.run(root, drafter)
        try:
            while True:
                event = next(search)
                if first is None and isinstance(event, Token | CandidateFinished):
                    first = time.perf_counter()
                self.recorder.feed(event)
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

    def _answer(self, chosen: Branch, drafter: BatchDrafter) -> Answer:
        path = self.recorder.chosen(chosen)
        cancelled = self.stop.closed
        if cancelled and not path:
            raise Cancelled("stopped before the answer began")
        notes = _early_endings(path)
        if cancelled:
            notes.append("stopped; this is the best there was")
        elif self.budget.ended and any(node.by == Reason.GREEDY for node in path):
            notes.append(f"the {self.budget.told} is used up; the best branch was finished")
        strategy = self.request.strategy
        trace = Trace(
            strategy.name,
            options_of(strategy),
            self.request.seed,
            self.counters,
            self.recorder.nodes,
            self.recorder.comparisons,
            (*drafter.remarks, *self.recorder.remarks),
            self.budget.ended,
        )
        if path and path[-1].candidate.stage is None:
            parser = StageParser()
            parser.feed(path[-1].candidate.text)
            parsed = parser.finish()
            notes += parsed.problems
            return Answer(parsed.conclusion, parsed.stages, trace, tuple(notes), cancelled)
        stages = {stage.name: text for stage, text in chosen.stages}
        conclusion = stages.get(CONCLUSION.name, "")
        form_problem = ""
        if self.request.answer_format is not None:
            last = path[-1].candidate if path else None
            closed = last is not None and last.stage is CONCLUSION and last.ending is Ending.CLOSED
            form_problem = problem(self.request.answer_format, conclusion, closed=closed)
            notes += [form_problem] if form_problem else []
        return Answer(conclusion, stages, trace, tuple(notes), cancelled, form_problem)

    def _remember(self, points: Points, key: int) -> None:
        """Adds the turn to the conversation; its last token is decoded with the next turn."""
        whole = self.seat.history + self.prompt + points[key].tokens
        if whole[-1] in self.runtime.stop_tokens:
            whole.pop()  # the next turn begins with the end of this one
        try:
            point = points.take(key)
        except ContextFullError:  # it was parked and does not fit any more: the answer counts
            self.seat.keep(None, history=whole, n_cached=0)
        else:
            self.seat.keep(point.seated, history=whole, n_cached=point.n_past - self.seat.start)


def _early_endings(path: list[Node]) -> list[str]:
    """What stayed cut off. A stage that was gone on with later is not."""
    last = {node.candidate.stage: node.candidate for node in path}
    return [
        f"{stage.name if stage else 'answer'} ended early ({candidate.ending})"
        for stage, candidate in last.items()
        if candidate.truncated and candidate.ending is not Ending.CANCELLED
    ]
