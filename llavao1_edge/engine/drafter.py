"""Makes candidates: forks branches, decodes all live candidates in lock-step, stops each one.

Forced tags are appended as tokens in the same batch as what was pending, never sampled. Every
candidate has a sampler of its own, seeded from (seed, its branch's path, stage, draw). Where the
context cannot hold all candidates, some wait and are written in a later wave.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from llavao1_edge.backend import Stop
from llavao1_edge.engine.branches import NO_LOGITS, BranchCache, BranchState, Logits
from llavao1_edge.engine.guessing import Guesser
from llavao1_edge.engine.lookup import Lookup
from llavao1_edge.engine.stream import CandidateStream
from llavao1_edge.engine.wave import Wave
from llavao1_edge.errors import Cancelled, ContextFullError
from llavao1_edge.llama.guide import FormGrammar
from llavao1_edge.llama.sampler import BatchSampler, Grammar, Rules, Sampler, Sampling
from llavao1_edge.phrases import Phrase
from llavao1_edge.scoring import JudgeRunner, Part
from llavao1_edge.search import Branch, Budget, Candidate, CandidateFinished, Ending, Token, Unit
from llavao1_edge.stages import CONCLUSION, TAGS, Stage, called, stage_grammar
from llavao1_edge.stages.stage import GAP

IN_GROUPS = Phrase("{name}: {n} branches went on in {groups} groups")
IN_WAVES = Phrase("{name}: written in {waves} waves of at most {n}; the context holds {n_ctx}")


class BatchDrafter:
    """The drafter of one answer. `close` frees every branch that was not taken out."""

    def __init__(
        self,
        cache: BranchCache,
        *,
        sampling: Sampling,
        max_tokens: int,
        stage_tokens: int | None,
        seed: int,
        budget: Budget,
        stop: Stop,
        judge: JudgeRunner | None = None,
        form: str = "",
        top_logprobs: int = 0,
    ) -> None:
        self.cache, self._runtime = cache, cache.runtime
        self.batch_sampler = BatchSampler(sampling, self._runtime.banned, n_top=top_logprobs)
        self._seed = seed
        self.max_tokens, self.stage_tokens = max_tokens, stage_tokens or max_tokens
        self.budget, self.stop, self._judge = budget, stop, judge
        self._form = form
        self.guesser: Guesser = Lookup(most=0)
        self.remarks: list[str] = []

    # --- branches ---------------------------------------------------------------------------
    def root(self, state: BranchState, *, path: tuple[int, ...] = ()) -> Branch:
        """The branch at the end of the prompt; takes over the state's sequence."""
        return Branch(self.cache.add(state), path=path)

    @property
    def judge(self) -> JudgeRunner:
        assert self._judge is not None, "this drafter has no judge"
        return self._judge

    @property
    def ended(self) -> Ending | None:
        if self.stop():
            return Ending.CANCELLED
        return Ending.BUDGET if self.budget.ended else None

    def drop(self, branch: Branch) -> None:
        self.cache.drop(branch.key)

    def close(self) -> None:
        self.guesser.close()
        self.cache.close()

    # --- drafting ---------------------------------------------------------------------------
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
        """See `search.seam.Drafter`. Closing the generator frees unfinished candidates."""
        waiting = list(enumerate(branches))
        groups = 0
        while waiting and not self.stop() and (greedy or not self.budget.ended):
            draft = _Draft(self, stage, n=n, first=first, unit=unit, greedy=greedy)
            try:
                waiting = yield from draft.open(waiting)
                yield from draft.run()
            finally:
                draft.wave.close()
            groups += 1
        if groups > 1:
            said = Phrase(IN_GROUPS, name=called(stage), n=len(branches), groups=groups)
            self.remarks.append(said)

    def seed_for(self, branch: Branch, stage: Stage | None, draw: int) -> int:
        """A 32-bit seed that does not depend on what runs beside it."""
        name = f"{self._seed}|{branch.path}|{stage.name if stage else 'free'}|{draw}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")

    def sampler(self, branch: Branch, base: BranchState, stage: Stage | None, draw: int) -> Sampler:
        model = self._runtime.model
        grammars: list[Rules] = []
        if stage is CONCLUSION and self._form:
            vocabulary = self._runtime.vocabulary
            grammars = [FormGrammar(vocabulary, self._form, tags=TAGS, closing=stage.closing)]
        elif stage is not None:
            grammars = [Grammar(model, stage_grammar(stage))]
        sampler = Sampler(seed=self.seed_for(branch, stage, draw), grammars=grammars)
        sampler.begin(base.tokens, n_open=base.n_open)
        return sampler

    def n_left(self, stream: CandidateStream) -> int:
        """How many tokens the stream may still have."""
        base, n = stream.base, len(stream.tokens)
        return min(self.max_tokens - base.n_sampled, self.stage_tokens - base.n_open) - n

    def limit(self, stream: CandidateStream) -> Ending | None:
        """LENGTH where the stream has used up its tokens."""
        return Ending.LENGTH if self.n_left(stream) <= 0 else None


class _Draft:
    """One round of candidates."""

    def __init__(
        self,
        drafter: BatchDrafter,
        stage: Stage | None,
        *,
        n: int,
        first: int,
        unit: Unit,
        greedy: bool,
    ) -> None:
        self.drafter, self.stage, self.n, self.first = drafter, stage, n, first
        self.unit, self.greedy = unit, greedy
        self.cache, self.counters = drafter.cache, drafter.cache.counters
        self.runtime = drafter.cache.runtime
        self.wave = Wave(self.cache)
        self.roomy = True  # cells for guesses
        self.started = time.perf_counter()

    # --- opening ----------------------------------------------------------------------------
    def open(
        self, branches: Sequence[tuple[int, Branch]]
    ) -> Generator[Token | CandidateFinished, None, list[tuple[int, Branch]]]:
        """The forced tags of all branches in one batch, and the first token of every candidate.

        Branches that cannot go on end here; those for which there is no room now are returned.
        """
        cache = self.cache
        able: list[tuple[int, Branch]] = []
        later: list[tuple[int, Branch]] = []
        for position, branch in branches:
            if self._used_up(branch):
                yield self._nothing_left(branch, position, Ending.LENGTH)
            else:
                able.append((position, branch))
        rows = NO_LOGITS
        while able and not len(rows):
            jobs = [(cache[branch.key], self._forced(branch)) for _, branch in able]
            try:
                reached = cache.extend(jobs)
            except Cancelled:
                return []
            except ContextFullError:
                if len(able) > 1:
                    half = len(able) // 2
                    able, later = able[:half], able[half:] + later
                    continue
                position, branch = able.pop()
                if not branch.parts:
                    raise  # not even the question fits
                yield self._nothing_left(branch, position, Ending.CONTEXT)
                continue
            self.wave.bases, logits = reached
            rows = np.repeat(logits, self.n, axis=0)
            self.counters.forced_tokens += sum(len(forced) for _, forced in jobs)
        for (position, branch), base in zip(able, self.wave.bases, strict=True):
            self._start(position, branch, base)
        yield from self._draw(rows)
        return later

    def _used_up(self, branch: Branch) -> bool:
        state = self.cache[branch.key]
        of_stage = branch.open and state.n_open >= self.drafter.stage_tokens
        return state.n_sampled >= self.drafter.max_tokens or of_stage

    def _forced(self, branch: Branch) -> list[int]:
        state = self.cache[branch.key]
        if self.stage is None or branch.open:
            assert state.pending, "there must be a token to go on from"
            return []
        return self.runtime.model.tokenise(state.owed + self.stage.opening)

    def _nothing_left(self, branch: Branch, position: int, ending: Ending) -> CandidateFinished:
        """A limit is reached: an empty candidate, nothing is computed."""
        state = self.cache[branch.key]
        same = replace(state, sequence=None, pending=[*state.pending], tokens=[*state.tokens])
        parts = branch.parts
        if self.stage is not None and branch.open:
            same.owed, same.open_text, same.n_open = f" {self.stage.closing}{GAP}", "", 0
            parts = (*parts[:-1], replace(parts[-1], finished=False))
        elif self.stage is not None:
            parts = (*parts, Part(self.stage, "", finished=False))
        reached = Branch(self.cache.add(same), parts, (*branch.path, 0))
        made = Candidate(reached, branch.key, 0, self.stage, "", 0, 0.0, 0.0, ending)
        return CandidateFinished(position * self.n, made)

    def _start(self, position: int, branch: Branch, base: BranchState) -> None:
        """The streams of one branch. They need no sequence before their first token is drawn."""
        for number in range(self.n):
            draw = self.first + number
            sampler = self.drafter.sampler(branch, base, self.stage, draw)
            stream = CandidateStream(
                number=position * self.n + number,
                draw=draw,
                branch=branch,
                base=base,
                stage=self.stage,
                unit=self.unit,
                sampler=sampler,
            )
            self.counters.candidates += 1
            self.wave.running.append(stream)

    # --- running ----------------------------------------------------------------------------
    def run(self) -> Iterator[Token | CandidateFinished]:
        """Step by step until every candidate has ended, in waves where room is short."""
        yield from self._finish_ended()
        while self.wave.next():
            rows = self._step()
            if len(rows):
                yield from self._draw(rows)
            yield from self._finish_ended()
        wave = self.wave
        if wave.n_waves > 1:
            name, n_ctx = called(self.stage), self.runtime.context.n_ctx
            said = Phrase(IN_WAVES, name=name, waves=wave.n_waves, n=wave.widest, n_ctx=n_ctx)
            self.drafter.remarks.append(said)

    def _draw(self, rows: Logits) -> Iterator[Token]:
        """Tokens for every running stream, or endings: one, and one more behind every guess that
        was drawn."""
        try:
            start = 0
            for depth in itertools.count():
                held = [stream for stream in self.wave.running if len(stream.guess) >= depth]
                going = [i for i, stream in enumerate(held) if stream.goes_on(depth)]
                if not going:
                    break
                here = rows[start : start + len(held)]
                if len(going) < len(held):
                    here = here[going]
                yield from self._draw_each([held[i] for i in going], here)
                start += len(held)
        finally:
            for stream in self.wave.running:
                self.drafter.guesser.learn(stream)
            self.counters.draft_n_accepted += self.wave.settle()

    def _draw_each(self, streams: list[CandidateStream], rows: Logits) -> Iterator[Token]:
        """One token for each stream, or an ending."""
        drafter = self.drafter
        n, ending = len(streams), Ending.BUDGET
        if drafter.stop():
            n, ending = 0, Ending.CANCELLED
        elif not self.greedy:
            n = drafter.budget.take(n)
        for stream in streams[n:]:
            stream.ending = ending
        if not n:
            return
        streams = streams[:n]
        samplers = [stream.sampler for stream in streams]
        self.counters.sampled_tokens += n
        for stream, drawn in zip(
            streams, drafter.batch_sampler.draw(samplers, rows[:n], greedy=self.greedy), strict=True
        ):
            # Only in free text: a stage's grammar forbids the end of the turn.
            last = drawn.token in self.runtime.stop_tokens
            top = tuple((self.runtime.piece(token), logprob) for token, logprob in drawn.top)
            text = stream.add(drawn, self.runtime.piece(drawn.token), last=last, top=top)
            if stream.ending is None:
                stream.ending = drafter.limit(stream)
            drafter.guesser.heard(stream)
            if text:
                yield Token(self.stage, stream.number, text)

    def _step(self) -> Logits:
        """Decodes the last token of every running stream, and guesses behind it; the logits of the
        last tokens, then of the first guesses, and so on. Streams that the context cannot hold
        wait. Empty where no stream can go on: they have their endings then."""
        wave = self.wave
        try:
            while True:
                wave.restore_all()
                wave.widest = max(wave.widest, len(wave.running))
                if all(stream.ending is not None for stream in wave.running):
                    break
                self._guess()
                try:
                    logits = self.cache.decode(wave.rows())
                except ContextFullError:
                    guessed = any(stream.guess for stream in wave.running)
                    wave.forget_last()
                    if not guessed:
                        wave.give_way()
                    self.roomy = False  # no more guesses in this round
                    continue
                for stream in wave.running:
                    stream.n_decoded += 1
                    self.counters.draft_n += len(stream.guess)
                return logits
        except Cancelled:
            wave.forget_last()
            wave.end_all(Ending.CANCELLED)
        return NO_LOGITS

    def _guess(self) -> None:
        """Gives the running streams guesses where that pays."""
        drafter, streams = self.drafter, self.wave.running
        # A budget of tokens is shared: who is ahead of the others would get more of it.
        if drafter.guesser.idle or not self.roomy or drafter.budget.tokens is not None:
            return
        most = self.runtime.context.n_batch // len(streams) - 1
        drafter.guesser.guess(streams, [min(most, drafter.n_left(s) - 1) for s in streams])

    def _finish_ended(self) -> Iterator[CandidateFinished]:
        running = self.wave.running
        for stream in [stream for stream in running if stream.ending is not None]:
            running.remove(stream)  # one by one: a closed generator must find the others here
            self.counters.grammar_misses += stream.sampler.grammar_misses
            stream.sampler.close()
            if stream.tokens:
                yield CandidateFinished(stream.number, self._candidate(stream))
            else:  # the search ended before its first token
                self.wave.park(stream)

    def _candidate(self, stream: CandidateStream) -> Candidate:
        assert stream.ending is not None
        if stream.sequence is None and len(stream.tokens) == 1 and stream.base.sequence is not None:
            with suppress(ContextFullError):  # it stays parked
                stream.sequence = self.cache.take_sequence()
                self.runtime.context.fork(stream.base.held, stream.sequence)
        elif (
            stream.sequence is not None
            and stream.n_decoded == len(stream.tokens)
            # Its last token stays pending, as every state has one.
            and not self.runtime.rewind(stream.sequence, stream.n_past - 1)
        ):
            self.wave.park(stream)
        state = stream.reached()
        key = self.cache.add(state)
        path = (*stream.branch.path, stream.draw)
        return Candidate(
            branch=Branch(key, stream.parts(), path, stream.still_open),
            parent=stream.branch.key,
            number=stream.draw,
            stage=self.stage,
            text=stream.own_text,
            n_tokens=len(stream.tokens),
            logprob=stream.logprob,
            min_logprob=stream.min_logprob,
            ending=stream.ending,
            milliseconds=(time.perf_counter() - self.started) * 1000,
            tokens=tuple(stream.told),
        )
