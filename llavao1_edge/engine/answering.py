"""One question on its way to an answer: the search, its events, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing

from llavao1_edge.backend import Attempt, Conversation, Request, Stop
from llavao1_edge.engine.formats import problem
from llavao1_edge.engine.turns import Latch
from llavao1_edge.errors import Cancelled
from llavao1_edge.phrases import Phrase
from llavao1_edge.scoring.decision import Reason
from llavao1_edge.search import (
    Answered,
    Branch,
    Budget,
    CandidateFinished,
    Ending,
    Event,
    Strategy,
    Token,
    options_of,
)
from llavao1_edge.search.answer import Answer, Node, Recorder, Trace
from llavao1_edge.stages import CONCLUSION, called, parse


class Answering:
    """Answers one question in a conversation. Made and used inside a turn."""

    def __init__(
        self,
        conversation: Conversation,
        request: Request,
        search: Strategy,
        *,
        remember: bool,
        stop: Stop,
    ) -> None:
        """remember: whether the conversation goes on from the answer."""
        self.request, self.search, self._remember = request, search, remember
        self.stop, self.recorder = Latch(stop), Recorder()
        self.budget = Budget(request.budget.token_budget, request.budget.time_budget)
        self.attempt: Attempt = conversation.attempt(request, budget=self.budget, stop=self.stop)

    def run(self) -> Iterator[Event]:
        attempt = self.attempt
        with closing(attempt):
            ready = attempt.see()
            if ready is not None:
                yield ready
            self.budget.started = self.budget.clock()
            started = time.perf_counter()
            root = attempt.begin()
            chosen = yield from self._search(root, started)
            path = self.recorder.chosen(chosen)
            if self.stop.closed and not path:
                raise Cancelled("stopped before the answer began")
            cancelled = self.stop.closed
            if not cancelled and self._remember:
                attempt.keep(chosen)
        yield Answered(self._answer(chosen, path, cancelled=cancelled))

    def _search(self, root: Branch, started: float) -> Generator[Event, None, Branch]:
        """Runs the strategy and keeps the time: until the first token, and after it. started: when
        the prompt was begun."""
        first: float | None = None
        search = self.search.run(root, self.attempt.drafter)
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
            self.attempt.counters.prefill_ms = (first - started) * 1000
            self.attempt.counters.decode_ms = (ended - first) * 1000
            branch: Branch = finished.value
            return branch
        finally:
            search.close()

    def _answer(self, chosen: Branch, path: list[Node], *, cancelled: bool) -> Answer:
        notes = _early_endings(path)
        if cancelled:
            notes.append("stopped; this is the best there was")
        elif self.budget.ended and any(node.by == Reason.GREEDY for node in path):
            notes.append(
                Phrase("the {told} is used up; the best branch was finished", told=self.budget.told)
            )
        trace = Trace(
            self.search.name,
            options_of(self.search),
            self.request.seed,
            self.attempt.counters,
            self.recorder.nodes,
            self.recorder.comparisons,
            (*self.attempt.remarks, *self.recorder.remarks),
            self.budget.ended,
        )
        if path and path[-1].candidate.stage is None:
            parsed = parse(path[-1].candidate.text)
            notes += parsed.problems
            return Answer(parsed.conclusion, parsed.stages, trace, tuple(notes), cancelled)
        stages = {stage.name: text for stage, text in chosen.stages}
        conclusion = stages.get(CONCLUSION.name, "")
        form_problem = ""
        if self.request.form is not None:
            last = path[-1].candidate if path else None
            closed = last is not None and last.stage is CONCLUSION and last.ending is Ending.CLOSED
            form_problem = problem(self.request.form, conclusion, closed=closed)
            notes += [form_problem] if form_problem else []
        return Answer(conclusion, stages, trace, tuple(notes), cancelled, form_problem)


def _early_endings(path: list[Node]) -> list[str]:
    """What stayed cut off. A stage that was gone on with later is not."""
    last = {node.candidate.stage: node.candidate for node in path}
    return [
        Phrase(
            "{name} ended early ({ending})",
            name=called(stage),
            ending=candidate.ending,
        )
        for stage, candidate in last.items()
        if candidate.truncated and candidate.ending is not Ending.CANCELLED
    ]
