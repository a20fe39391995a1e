"""Makes candidates: forks the branch, decodes all live candidates in lock-step, stops each one.

Forced tags are appended as tokens in the same batch as what was pending, never sampled. Every
candidate has a sampler of its own, seeded from (seed, stage, candidate number).
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.engine.runtime import Runtime, Stop, View
from llavao1_edge.errors import Cancelled, ContextFullError
from llavao1_edge.llama.context import Row
from llavao1_edge.llama.sampler import Grammar, Sampler, Sampling
from llavao1_edge.search.answer import Counters
from llavao1_edge.search.events import CandidateFinished, Token
from llavao1_edge.search.seam import Branch, Candidate, Ending
from llavao1_edge.stages import Stage, stage_grammar
from llavao1_edge.stages.stage import GAP


@dataclass
class Point:
    """The native side of a branch: `pending` tokens are decided but not decoded yet."""

    sequence: int
    n_past: int
    pending: list[int]
    tokens: list[int]  # all tokens of the turn so far
    owed: str = ""  # text to force before the next opening tag


@dataclass
class _Lane:
    """A candidate being written."""

    number: int
    sequence: int
    n_past: int
    sampler: Sampler
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    shown: int = 0
    logprob: float = 0.0
    ending: Ending | None = None
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )


class BatchDrafter:
    """The drafter of one answer. `close` frees every branch that was not taken out."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        view: View | None,
        sampling: Sampling,
        max_tokens: int,
        seed: int,
        counters: Counters,
        stop: Stop,
    ) -> None:
        self._runtime, self._view, self._sampling = runtime, view, sampling
        self._seed, self._counters, self._stop = seed, counters, stop
        self._tokens_left = max_tokens
        self._points: dict[int, Point] = {}
        self._next_key = 0

    # --- branches ---------------------------------------------------------------------------
    def root(self, *, sequence: int, n_past: int, prompt: list[int]) -> Branch:
        """The branch at the end of the prompt; takes over `sequence`."""
        return self._branch(Point(sequence, n_past, list(prompt), []), ())

    def take(self, branch: Branch) -> Point:
        """Hands the branch's sequence to the caller."""
        return self._points.pop(branch.key)

    def drop(self, branch: Branch) -> None:
        point = self._points.pop(branch.key, None)
        if point is not None:
            self._runtime.release(point.sequence)

    def close(self) -> None:
        for point in self._points.values():
            self._runtime.release(point.sequence)
        self._points.clear()

    def _branch(self, point: Point, stages: tuple[tuple[Stage, str], ...]) -> Branch:
        self._next_key += 1
        self._points[self._next_key] = point
        return Branch(self._next_key, stages)

    # --- drafting ---------------------------------------------------------------------------
    def draft(
        self, branch: Branch, stage: Stage | None, *, n: int
    ) -> Iterator[Token | CandidateFinished]:
        """See `search.seam.Drafter`. Closing the generator frees unfinished candidates."""
        point = self._points[branch.key]
        if self._tokens_left <= 0:
            yield from self._nothing_left(branch, point, stage, Ending.LENGTH)
            return
        base: Point | None = None
        lanes: list[_Lane] = []
        try:
            try:
                base, first = self._advance(point, stage)
            except ContextFullError:
                if not branch.stages:
                    raise  # not even the question fits
                yield from self._nothing_left(branch, point, stage, Ending.CONTEXT)
                return
            for number in range(n):
                lanes.append(self._lane(base, branch, stage, number))
            live, logits = lanes, [first] * n
            while live:
                yield from self._draw(live, logits, stage)
                yield from self._finished(live, branch, base, stage)
                live = [lane for lane in live if lane.ending is None]
                if live and not (logits := self._step(live)):
                    yield from self._finished(live, branch, base, stage)
                    live = []
        finally:
            for lane in lanes:
                lane.sampler.close()
                if lane.sequence >= 0:
                    self._runtime.release(lane.sequence)
            if base is not None:
                self._runtime.release(base.sequence)

    def _nothing_left(
        self, branch: Branch, point: Point, stage: Stage | None, ending: Ending
    ) -> Iterator[CandidateFinished]:
        """A limit is reached: an empty candidate, nothing is computed."""
        sequence = self._runtime.take_sequence()
        self._runtime.context.fork(point.sequence, sequence)
        same = replace(point, sequence=sequence, pending=[*point.pending], tokens=[*point.tokens])
        stages = branch.stages if stage is None else (*branch.stages, (stage, ""))
        reached = self._branch(same, stages)
        yield CandidateFinished(0, Candidate(reached, stage, "", 0, 0.0, ending))

    def _advance(self, point: Point, stage: Stage | None) -> tuple[Point, NDArray[np.float32]]:
        """A copy of the branch with the forced opening, and the logits after it.

        What is pending is decoded for the branch and its copy at once, so that the branch can be
        drafted from again without computing it twice.
        """
        forced: list[int] = []
        if stage is not None:
            forced = self._runtime.model.tokenise(point.owed + stage.opening)
            self._counters.forced_tokens += len(forced)
        elif not point.pending:
            raise ValueError("a free text needs at least one token before it")
        copied = self._runtime.take_sequence()
        try:
            self._runtime.context.fork(point.sequence, copied)
            n_pending = len(point.pending)
            rows = [
                Row(token, point.n_past + i, copied, also=point.sequence if i < n_pending else -1)
                for i, token in enumerate([*point.pending, *forced])
            ]
            self._decode_all(rows)
        except BaseException:
            self._runtime.release(copied)
            self._runtime.context.forget(point.sequence, start=point.n_past)
            raise
        point.n_past += n_pending
        point.pending = []
        base = Point(copied, point.n_past + len(forced), [], [*point.tokens, *forced])
        return base, self._runtime.context.logits((len(rows) - 1) % self._n_batch).copy()

    @property
    def _n_batch(self) -> int:
        return self._runtime.context.n_batch

    def _decode_all(self, rows: list[Row]) -> None:
        """In batches; the last row's logits are kept."""
        rows[-1] = replace(rows[-1], output=True)
        for start in range(0, len(rows), self._n_batch):
            self._runtime.decode(rows[start : start + self._n_batch], self._view, stop=self._stop)

    def _lane(self, base: Point, branch: Branch, stage: Stage | None, number: int) -> _Lane:
        runtime = self._runtime
        sequence = runtime.take_sequence()
        runtime.context.fork(base.sequence, sequence)
        grammar = None if stage is None else Grammar(runtime.model, stage_grammar(stage))
        sampler = Sampler(
            self._sampling,
            seed=derive_seed(self._seed, branch, stage, number),
            n_vocab=runtime.model.n_vocab,
            banned=runtime.banned,
            grammar=grammar,
        )
        self._counters.candidates += 1
        sampler.accept(base.tokens[-self._sampling.repeat_last_n :])
        return _Lane(number, sequence, base.n_past, sampler)

    def _draw(
        self, live: list[_Lane], logits: list[NDArray[np.float32]], stage: Stage | None
    ) -> Iterator[Token]:
        if self._stop():
            raise Cancelled("stopped")
        for lane, row in zip(live, logits, strict=True):
            drawn = lane.sampler.draw(row)
            lane.tokens.append(drawn.token)
            lane.logprob += drawn.logprob
            self._counters.generated_tokens += 1
            self._tokens_left -= 1
            self._extend(lane, drawn.token, stage)
            text = _ready(lane, stage)
            if text:
                yield Token(stage, lane.number, text)

    def _extend(self, lane: _Lane, token: int, stage: Stage | None) -> None:
        if token in self._runtime.stop_tokens:  # only in free text: a stage's grammar forbids them
            lane.ending = Ending.CLOSED
            lane.text += lane.decoder.decode(b"", final=True)
            return
        lane.text += lane.decoder.decode(self._runtime.model.piece(token))
        if stage is not None and stage.closing in lane.text[-len(stage.closing) - 64 :]:
            lane.ending = Ending.CLOSED
        elif self._tokens_left <= 0:
            lane.ending = Ending.LENGTH

    def _step(self, live: list[_Lane]) -> list[NDArray[np.float32]]:
        """Decodes one token of each lane; their logits, or none where the context is full."""
        rows = [Row(lane.tokens[-1], lane.n_past, lane.sequence, output=True) for lane in live]
        try:
            self._runtime.decode(rows, self._view, stop=self._stop)
        except ContextFullError:
            for lane in live:
                lane.ending = Ending.CONTEXT
            return []
        for lane in live:
            lane.n_past += 1
        context = self._runtime.context
        return [context.logits(i).copy() for i in range(len(live))]

    def _finished(
        self, lanes: list[_Lane], branch: Branch, base: Point, stage: Stage | None
    ) -> Iterator[CandidateFinished]:
        for lane in lanes:
            if lane.ending is not None:
                yield self._finish(lane, branch, base, stage)

    def _finish(
        self, lane: _Lane, branch: Branch, base: Point, stage: Stage | None
    ) -> CandidateFinished:
        assert lane.ending is not None
        text, _, after = lane.text.partition(stage.closing) if stage else (lane.text, "", "")
        owed = "" if stage is None else _owed(lane.ending, stage, after)
        pending = [lane.tokens[-1]]
        reached = Point(lane.sequence, lane.n_past, pending, base.tokens + lane.tokens, owed)
        lane.sequence = -1  # the branch owns it now
        self._counters.grammar_misses += lane.sampler.grammar_misses
        stages = branch.stages if stage is None else (*branch.stages, (stage, text.strip()))
        n = max(1, len(lane.tokens))
        candidate = Candidate(
            branch=self._branch(reached, stages),
            stage=stage,
            text=text.strip(),
            n_tokens=len(lane.tokens),
            mean_logprob=lane.logprob / n,
            ending=lane.ending,
        )
        return CandidateFinished(lane.number, candidate)


def _ready(lane: _Lane, stage: Stage | None) -> str:
    """Text that may be shown: nothing that can still become the closing tag."""
    end = len(lane.text)
    if stage is not None:
        at = lane.text.find(stage.closing)
        if at >= 0:
            end = at
        elif lane.ending is None:
            for n in range(min(len(stage.closing) - 1, end), 0, -1):
                if lane.text.endswith(stage.closing[:n]):
                    end -= n
                    break
    text, lane.shown = lane.text[lane.shown : end], max(lane.shown, end)
    return text


def _owed(ending: Ending, stage: Stage, after: str) -> str:
    """What must stand between this stage and the next opening tag."""
    if ending is not Ending.CLOSED:
        return f" {stage.closing}{GAP}"
    written = len(after) - len(after.lstrip("\n"))
    return GAP[written:]


def derive_seed(seed: int, branch: Branch, stage: Stage | None, number: int) -> int:
    """A 32-bit seed that depends on nothing but its arguments (not on what runs beside it)."""
    path = "/".join(f"{done.name}:{text}" for done, text in branch.stages)
    name = f"{seed}|{path}|{stage.name if stage else 'free'}|{number}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
