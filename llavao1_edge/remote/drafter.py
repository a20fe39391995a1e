"""Makes candidates on a server that goes on in the assistant's message.

The first request of an answer goes alone until its first token is there, so that the picture is
read once; or all draws of a branch are one request, where the server counts seeds as we do.
"""

from __future__ import annotations

import hashlib
import queue
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from llavao1_edge.errors import ServerError
from llavao1_edge.phrases import Phrase
from llavao1_edge.remote.client import TICK_S
from llavao1_edge.remote.context import Context
from llavao1_edge.remote.dialect import grammar_fields
from llavao1_edge.remote.growing import Growing, State, told_tokens, whole_text
from llavao1_edge.remote.judge import RemoteJudge
from llavao1_edge.remote.probe import PATH
from llavao1_edge.remote.requests import sampling_fields
from llavao1_edge.scoring import Part
from llavao1_edge.search import Branch, Candidate, CandidateFinished, Ending, Token, Unit
from llavao1_edge.stages import CONCLUSION, GAP, Stage, stage_grammar
from llavao1_edge.stages.gbnf import renamed

ANSWER = "the-answer"  # a rule
SEED_BITS = 0x3FFF_FFFF  # leaves room for the numbers of draws


@dataclass
class _Job:
    """One request, of one or several candidates of a branch. They are in the order of their
    choices."""

    growing: list[Growing]
    body: dict[str, Any]
    future: Future[None] | None = None
    ends_itself: bool = False
    over: bool = False
    usage: dict[str, Any] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        return all(one.ending is not None for one in self.growing)

    @property
    def is_done(self) -> bool:
        """What the server ends itself, by the grammar or before, still tells what it cost, and
        is heard to its end."""
        closed = self.ends_itself and all(one.ending is Ending.CLOSED for one in self.growing)
        ends = closed or all(one.finished for one in self.growing)
        return self.has_ended and (self.over or not ends)


class RemoteDrafter:
    """See `search.seam.Drafter`. `states`: what is known of each branch, by its key."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.judge = RemoteJudge(context)
        self.states: dict[int, State] = {}
        self._next = 0
        self._warm = False

    def root(self) -> Branch:
        return Branch(self.add(State()))

    def add(self, state: State) -> int:
        self._next += 1
        self.states[self._next] = state
        return self._next

    @property
    def ended(self) -> Ending | None:
        if self.context.stop():
            return Ending.CANCELLED
        return Ending.BUDGET if self.context.budget.ended else None

    def drop(self, branch: Branch) -> None:
        self.states.pop(branch.key, None)

    def draft(
        self,
        branches: Sequence[Branch],
        stage: Stage | None,
        *,
        n: int,
        first: int = 0,
        unit: Unit = Unit.STAGE,
        greedy: bool = False,
    ) -> Iterator[Token | CandidateFinished]:
        """See `search.seam.Drafter`. Raises ServerError."""
        started = time.perf_counter()
        if self.context.stop() or (self.context.budget.ended and not greedy):
            return
        jobs: list[_Job] = []
        for position, branch in enumerate(branches):
            most = self._most(branch)
            if most <= 0:
                yield self._nothing_left(branch, stage, position * n)
                continue
            growing = [
                self._growing(branch, stage, position * n + i, first + i, unit, most)
                for i in range(n)
            ]
            jobs += self._jobs(growing, greedy=greedy)
        yield from self._run(jobs, stage, started, greedy=greedy)

    def _most(self, branch: Branch) -> int:
        """Tokens that a candidate of the branch may have."""
        state, request = self.states[branch.key], self.context.request
        most = request.sampling.max_tokens - state.n_sampled
        limit = request.budget.stage_tokens
        return most if limit is None else min(most, limit - state.n_open)

    def _growing(
        self, branch: Branch, stage: Stage | None, number: int, draw: int, unit: Unit, most: int
    ) -> Growing:
        state = self.states[branch.key]
        opening = state.owed + stage.opening if stage is not None and not branch.open else ""
        return Growing(
            number, draw, branch, state, stage, unit, prefix=state.text + opening, most=most
        )

    def _jobs(self, growing: list[Growing], *, greedy: bool) -> list[_Job]:
        """All draws of a branch: one request where the server can, else one for each."""
        several = self.context.server.dialect.choices and growing[0].unit is Unit.STAGE
        size = self.context.server.slots if several else 1
        return [
            _Job(part, self._body(part, greedy=greedy), ends_itself=self.context.server.grammar)
            for i in range(0, len(growing), size)
            if (part := growing[i : i + size])
        ]

    def _body(self, part: list[Growing], *, greedy: bool) -> dict[str, Any]:
        context, one = self.context, part[0]
        server, request = context.server, context.request
        prefix = one.prefix or None
        body: dict[str, Any] = {
            "model": server.model,
            "messages": context.messages.asking(request.question, prefix),
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": one.most,
            "seed": self._seed(one),
            **sampling_fields(server, request.sampling, greedy=greedy),
        }
        if len(part) > 1:
            body["n"] = len(part)
        if server.logprobs:
            body |= {"logprobs": True, "top_logprobs": max(1, request.top_logprobs)}
        if prefix is not None:
            body |= dict(server.dialect.continues or {})
        if one.stage is not None:
            body |= self._ending(one.stage)
        return body

    def _ending(self, stage: Stage) -> dict[str, Any]:
        """What makes a server end a stage: a grammar, or its closing tag."""
        server, form = self.context.server, self.context.request.form
        if not server.grammar:
            return {"stop": [stage.closing], **server.dialect.keeps_stop}
        gbnf = stage_grammar(stage, newlines=False)
        if stage is CONCLUSION and form is not None and form.grammar:
            gbnf = f'root ::= [ \\n]* {ANSWER} [ \\n]* "{stage.closing}"\n'
            gbnf += f"{renamed(form.grammar, ANSWER)}\n"
        return grammar_fields(server.dialect.grammar, gbnf)

    def _seed(self, one: Growing) -> int:
        """Of a draw, whatever runs beside it: counted from one of its branch and stage."""
        stage = one.stage.name if one.stage else "free"
        name = f"{self.context.request.seed}|{one.branch.path}|{stage}"
        first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little") & SEED_BITS
        return first + one.draw

    # --- running ------------------------------------------------------------------------------
    def _run(
        self, jobs: list[_Job], stage: Stage | None, started: float, *, greedy: bool
    ) -> Iterator[Token | CandidateFinished]:
        inbox: queue.Queue[tuple[_Job, dict[str, Any] | None]] = queue.Queue()
        waiting, running = list(jobs), list[_Job]()
        try:
            while waiting or running:
                while waiting and (self._warm or not running):
                    running.append(self._begin(waiting.pop(0), inbox))
                job, event = self._heard(inbox)
                if job is not None and event is None:
                    self._check_over(job)
                elif job is not None and event is not None:
                    self._warm = True
                    for one in self._feed(job, event, greedy=greedy):
                        if text := one.ready():
                            yield Token(stage, one.number, text)
                self._end_by_limits([*running, *waiting], greedy=greedy)
                waiting = [one for one in waiting if not one.has_ended]
                stopped = self.context.stop()
                for done in [one for one in running if one.is_done or (one.has_ended and stopped)]:
                    running.remove(done)
                    self._count(done.usage)
                    if done.future is not None:
                        done.future.cancel()
                    for one in done.growing:
                        if one.n_tokens or one.ending not in (Ending.BUDGET, Ending.CANCELLED):
                            yield CandidateFinished(one.number, self._candidate(one, started))
        finally:
            for job in running:
                if job.future is not None:
                    job.future.cancel()

    def _begin(self, job: _Job, inbox: queue.Queue[tuple[_Job, dict[str, Any] | None]]) -> _Job:
        self.context.counters.decode_steps += 1
        self.context.counters.candidates += len(job.growing)
        job.future = self.context.client.stream(
            PATH, job.body, lambda event: inbox.put((job, event))
        )
        job.future.add_done_callback(lambda _: inbox.put((job, None)))
        return job

    @staticmethod
    def _heard(
        inbox: queue.Queue[tuple[_Job, dict[str, Any] | None]],
    ) -> tuple[_Job | None, dict[str, Any] | None]:
        try:
            return inbox.get(timeout=TICK_S)
        except queue.Empty:
            return None, None

    def _feed(self, job: _Job, event: dict[str, Any], *, greedy: bool) -> Iterator[Growing]:
        usage = event.get("usage")
        if isinstance(usage, dict):
            job.usage = usage  # some tell it again with every piece
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else []:
            index = choice.get("index", 0) if isinstance(choice, dict) else -1
            if type(index) is not int or not 0 <= index < len(job.growing):
                raise ServerError(
                    Phrase(
                        "{name} sends an odd choice: {index}",
                        name=self.context.client.name,
                        index=repr(index),
                    )
                )
            one = job.growing[index]
            delta = choice.get("delta")
            text = delta.get("content") if isinstance(delta, dict) else None
            if one.ending is None and (text or choice.get("logprobs")):
                told = told_tokens(choice)
                n = len(told) or 1
                if not greedy and self.context.budget.take(n) < n:
                    one.ending = Ending.BUDGET
                self.context.counters.sampled_tokens += n
                one.add(whole_text(text), told, n)
                yield one
            if choice.get("finish_reason"):
                one.finish(str(choice["finish_reason"]))
                yield one

    def _count(self, usage: dict[str, Any]) -> None:
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else 0
        prompt = usage.get("prompt_tokens")
        if type(prompt) is int and prompt >= 0:
            known = min(cached, prompt) if type(cached) is int and cached > 0 else 0
            self.context.counters.cached_tokens += known
            self.context.counters.prefill_tokens += max(0, prompt - known)

    def _end_by_limits(self, jobs: list[_Job], *, greedy: bool) -> None:
        ending = self.ended
        if ending is None or (greedy and ending is not Ending.CANCELLED):
            return
        for job in jobs:
            for one in job.growing:
                one.ending = one.ending or ending

    def _check_over(self, job: _Job) -> None:
        """A request has ended, after all it sent. Raises ServerError where that was too early."""
        assert job.future is not None
        job.over = True
        if job.has_ended or job.future.cancelled():
            return
        job.future.result()
        raise ServerError(
            Phrase("{name} ended a reply without saying why", name=self.context.client.name),
            hint="Ask again.",
        )

    # --- what comes of it ---------------------------------------------------------------------
    def _nothing_left(self, branch: Branch, stage: Stage | None, number: int) -> CandidateFinished:
        """A limit is reached: an empty candidate."""
        state = self.states[branch.key]
        parts, text = branch.parts, state.text
        if stage is not None and not branch.open:
            parts = (*parts, Part(stage, "", finished=False))
        owed = f" {stage.closing}{GAP}" if stage is not None and branch.open else state.owed
        key = self.add(State(text, owed, n_sampled=state.n_sampled))
        reached = Branch(key, parts, (*branch.path, 0))
        made = Candidate(reached, branch.key, 0, stage, "", 0, 0.0, 0.0, Ending.LENGTH)
        return CandidateFinished(number, made)

    def _candidate(self, one: Growing, started: float) -> Candidate:
        assert one.ending is not None
        total, least = one.logprobs
        return Candidate(
            branch=Branch(
                self.add(self._reached(one)),
                self._parts(one, total, least),
                (*one.branch.path, one.draw),
                one.still_open,
            ),
            parent=one.branch.key,
            number=one.draw,
            stage=one.stage,
            text=one.own_text,
            n_tokens=one.n_tokens,
            logprob=total,
            min_logprob=least,
            ending=one.ending,
            milliseconds=(time.perf_counter() - started) * 1000,
            tokens=tuple(one.tokens),
        )

    @staticmethod
    def _reached(one: Growing) -> State:
        written = one.text[len(one.base.open_text) :]
        n = one.base.n_sampled + one.n_tokens
        if one.stage is None:
            return State(one.prefix + written, n_sampled=n)
        if one.still_open:
            n_open = one.base.n_open + one.n_tokens
            return State(one.prefix + written, "", one.text, n, n_open)
        if one.ending is Ending.CLOSED:
            before = written.partition(one.closing)[0].rstrip()
            return State(f"{one.prefix}{before} {one.closing}", GAP, n_sampled=n)
        return State(one.prefix + written, f" {one.closing}{GAP}", n_sampled=n)

    @staticmethod
    def _parts(one: Growing, total: float, least: float) -> tuple[Part, ...]:
        before = one.branch.parts
        if one.stage is None:
            return before
        finished = one.ending in (Ending.CLOSED, Ending.SENTENCE)
        if not one.branch.open:
            part = Part(one.stage, one.stage_text, one.n_tokens, total, least, finished=finished)
            return (*before, part)
        last = before[-1]
        grown = Part(
            one.stage,
            one.stage_text,
            last.n_tokens + one.n_tokens,
            last.logprob + total,
            min(last.min_logprob, least),
            finished=finished,
        )
        return (*before[:-1], grown)
