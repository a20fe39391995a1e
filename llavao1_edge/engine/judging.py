"""Lets the model judge: asks run as parallel sequences in the same batches, the picture is reused.

What the asks of a round have in common (the question, the stages so far) is computed once and kept
for the next round.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llavao1_edge.backend import Stop
from llavao1_edge.engine.branches import BranchCache, BranchState
from llavao1_edge.engine.drafter import BatchDrafter
from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.engine.slots import Root
from llavao1_edge.errors import Cancelled, ContextFullError
from llavao1_edge.llama.context import Row
from llavao1_edge.llama.sampler import Sampling
from llavao1_edge.scoring import Ask
from llavao1_edge.search import Budget, CandidateFinished

REPLY_TOKENS = 256


@dataclass
class _Shared:
    """The beginning that asks had in common last time, in the cache."""

    sequence: int | None = None
    tokens: list[int] = field(default_factory=list)


class LocalJudge:
    """See `scoring.JudgeRunner`. `room` may park the search's own branches."""

    def __init__(
        self,
        room: BranchCache,
        *,
        question: str,
        sight: Any,
        root: Root | None,
        sampling: Sampling,
        seed: int,
        budget: Budget,
        stop: Stop,
    ) -> None:
        self.question, self.seed = question, seed
        self._room, self._sight, self._root, self._sampling = room, sight, root, sampling
        self._runtime: Runtime = room.runtime
        self._counters, self._budget, self._stop = room.counters, budget, stop
        self._shared = {True: _Shared(), False: _Shared()}
        room.reserves.append(self._forget_shared)

    def close(self) -> None:
        while self._forget_shared():
            pass

    def _forget_shared(self) -> bool:
        return any(self._forget(shared) for shared in self._shared.values())

    def _forget(self, shared: _Shared) -> bool:
        """Whether there was something to forget."""
        if shared.sequence is None:
            return False
        self._runtime.release(shared.sequence)
        shared.sequence, shared.tokens = None, []
        return True

    # --- reading logits ---------------------------------------------------------------------
    def weigh(
        self, asks: Sequence[Ask], options: tuple[str, ...]
    ) -> list[tuple[float, ...] | None]:
        """See `scoring.JudgeRunner`."""
        started = time.perf_counter()
        weighed: list[tuple[float, ...] | None] = [None] * len(asks)
        for picture in (True, False):
            chosen = [i for i, ask in enumerate(asks) if ask.picture == picture]
            while chosen and not self._budget.ended and not self._stop():
                n = len(chosen)
                read = self._weigh([asks[i] for i in chosen[:n]], options)
                while read is None and (self._room.make_room() or n > 1):
                    n = max(1, n // 2)
                    read = self._weigh([asks[i] for i in chosen[:n]], options)
                for i, values in zip(chosen[:n], read or [None] * n, strict=True):
                    weighed[i] = values
                chosen = chosen[n:]
        self._counters.judge_ms += (time.perf_counter() - started) * 1000
        return weighed

    def _weigh(
        self, asks: Sequence[Ask], options: tuple[str, ...]
    ) -> list[tuple[float, ...] | None] | None:
        """All in one batch; None where there is no room for it."""
        model = self._runtime.model
        labels, prompts = [], []
        for ask in asks:
            endings = [model.tokenise(ask.opening + option) for option in options]
            n = _n_shared(endings)
            labels.append([ending[n] for ending in endings])
            prompts.append(self._prompt(ask) + endings[0][:n])
        cache = self._cache(asks[0].picture)
        opened: list[BranchState] = []
        try:
            opened = self._open(prompts, asks[0].picture, cache)
            rows = [
                Row(token, state.n_past + i, state.held, output=i == len(state.pending) - 1)
                for state in opened
                for i, token in enumerate(state.pending)
            ]
            self._counters.judge_tokens += len(rows)
            logits = cache.decode(rows)
        except Cancelled:
            return [None] * len(asks)
        except ContextFullError:
            return None
        finally:
            for state in opened:
                cache.free(state)
        self._counters.judge_calls += len(asks)
        return [
            tuple(float(row[label]) for label in wanted)
            for row, wanted in zip(logits, labels, strict=True)
        ]

    # --- written replies --------------------------------------------------------------------
    def reply(self, asks: Sequence[Ask]) -> list[str]:
        """See `scoring.JudgeRunner`."""
        started = time.perf_counter()
        replies = [""] * len(asks)
        for picture in (True, False):
            chosen = [i for i, ask in enumerate(asks) if ask.picture == picture]
            n = len(chosen)
            while chosen:
                try:
                    written = self._reply([asks[i] for i in chosen[:n]])
                except ContextFullError:  # too many at once
                    if n > 1:
                        n = (n + 1) // 2
                        continue
                    written = [""]
                for i, text in zip(chosen[:n], written, strict=True):
                    replies[i] = text
                chosen = chosen[n:]
                n = min(n, len(chosen))
        self._counters.judge_ms += (time.perf_counter() - started) * 1000
        return replies

    def _reply(self, asks: Sequence[Ask]) -> list[str]:
        prompts = [self._prompt(ask) + self._runtime.model.tokenise(ask.opening) for ask in asks]
        cache = self._cache(asks[0].picture)
        drafter = BatchDrafter(
            cache,
            sampling=self._sampling,
            max_tokens=REPLY_TOKENS,
            stage_tokens=None,
            seed=self.seed,
            budget=self._budget,
            stop=self._stop,
        )
        before = self._counters.candidates
        replies = [""] * len(asks)
        try:
            opened = self._room.with_room(lambda: self._open(prompts, asks[0].picture, cache))
        except Cancelled:
            return replies
        try:
            branches = [
                drafter.root(state, path=(zlib.crc32(ask.text.encode()),))
                for state, ask in zip(opened, asks, strict=True)
            ]
            self._counters.judge_calls += len(asks)
            self._counters.judge_tokens += sum(len(state.pending) for state in opened)
            for event in drafter.draft(branches, None, n=1):
                if isinstance(event, CandidateFinished):
                    replies[event.number] = event.candidate.text
        except ContextFullError:
            pass  # what could not be asked is undecided
        finally:
            drafter.close()
            self._counters.candidates = before  # a reply is none
        return replies

    # --- prompts ----------------------------------------------------------------------------
    def _prompt(self, ask: Ask) -> list[int]:
        """The tokens of an ask; those about the picture come after the root."""
        if ask.picture and self._root is not None:
            return self._runtime.encode(self._runtime.words.chat.question(ask.text))
        words = self._runtime.words
        return self._runtime.encode(words.chat.turn(ask.text, system=words.system))

    def _cache(self, picture: bool) -> BranchCache:
        cache = BranchCache(
            self._runtime,
            sight=self._sight if picture else None,
            stop=self._stop,
            counters=self._counters,
            parking=False,
        )
        cache.reserves.append(self._room.make_room)
        return cache

    def _open(
        self, prompts: list[list[int]], picture: bool, cache: BranchCache
    ) -> list[BranchState]:
        """A state for each prompt: what all have in common is decoded, the rest is pending."""
        n_common = min(_n_shared(prompts), min(map(len, prompts)) - 1)
        shared = self._shared[picture]
        root = self._root if picture else None
        base = 0 if root is None else root.place.position
        n_kept = min(_n_shared([shared.tokens, prompts[0]]), n_common)
        if shared.sequence is None:
            shared.sequence, n_kept = cache.take_sequence(), 0
            if root is not None:
                self._runtime.context.fork(root.held, shared.sequence)
        if not self._runtime.rewind(shared.sequence, base + n_kept):
            self._runtime.context.forget(shared.sequence)
            n_kept = 0
            if root is not None:
                self._runtime.context.fork(root.held, shared.sequence)
        shared.tokens = prompts[0][:n_common]
        sequence = shared.sequence
        rows = [Row(prompts[0][i], base + i, sequence) for i in range(n_kept, n_common)]
        opened: list[BranchState] = []
        try:
            if rows:
                self._counters.judge_tokens += len(rows)
                cache.decode(rows)
            for prompt in prompts:
                forked = cache.fork(sequence, (), 0)
                opened.append(BranchState(forked, base + n_common, prompt[n_common:]))
            if shared.sequence is None:  # it was given up to make room for its own forks
                raise ContextFullError("no room for the judge")
        except BaseException:
            self._forget(shared)
            for state in opened:
                cache.free(state)
            raise
        return opened


def _n_shared(sequences: Sequence[list[int]]) -> int:
    """How many first elements are the same in all."""
    n = 0
    for column in zip(*sequences, strict=False):
        if len(set(column)) > 1:
            break
        n += 1
    return n
