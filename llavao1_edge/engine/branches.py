"""The native side of branches: which sequence holds them, and who makes room when cells run out.

Branches share the cells of what they have in common. Where the context or the sequences do not
hold all of them, a branch is *parked*: its cells are freed and its tokens remembered; when it is
needed again it is computed from the end of the prompt. So running out of room costs time only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.errors import Cancelled, ContextFullError
from llavao1_edge.llama.context import Row
from llavao1_edge.phrases import Phrase
from llavao1_edge.search import Told, Work, tell_nobody
from llavao1_edge.search.answer import Counters
from llavao1_edge.vision import Stop

T = TypeVar("T")
Logits = NDArray[np.float32]
NO_LOGITS: Logits = np.empty((0, 0), dtype=np.float32)


@dataclass
class BranchState:
    """Where a branch stands. `pending` tokens are decided but not decoded yet.

    sequence None: parked. tokens: all of the turn so far, the pending ones included. n_sampled: how
    many of them were not forced. owed: text to force before the next opening tag. open_text: what
    stands in the stage that is still open, its last `n_open` tokens.
    """

    sequence: int | None
    n_past: int
    pending: list[int]
    tokens: list[int] = field(default_factory=list)
    n_sampled: int = 0
    owed: str = ""
    open_text: str = ""
    n_open: int = 0
    decoder_state: tuple[bytes, int] = (b"", 0)  # the first bytes of an unfinished character

    @property
    def held(self) -> int:
        """Its sequence, which it must have."""
        assert self.sequence is not None
        return self.sequence


class BranchCache:
    """The branches of one answer. `reserves` are asked for room after parking did not help."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        sight: Any,
        stop: Stop,
        counters: Counters,
        parking: bool = True,
        restart: Callable[[], int] | None = None,
        told: Told = tell_nobody,
    ) -> None:
        """sight: what all of them see, None for no picture; parking: whether all branches come from
        the first one, so that they can be parked; restart: a new sequence that holds what was
        there before the first state's pending tokens (needed where memory cannot be rewound). told:
        hears how far rows are that need several batches, which only a prompt's do."""
        self.told = told
        self.runtime, self.sight, self.stop, self.counters = runtime, sight, stop, counters
        self.reserves: list[Callable[[], bool]] = []
        self.parking, self._restart = parking, restart
        self._pinned: list[BranchState] = []
        self._states: dict[int, BranchState] = {}
        self._root: BranchState | None = None
        self._root_end = 0
        self._next_key = 0

    def __getitem__(self, key: int) -> BranchState:
        return self._states[key]

    def add(self, state: BranchState) -> int:
        """Its key. The first state is the root: the end of the prompt."""
        self._next_key += 1
        self._states[self._next_key] = state
        if self._root is None:
            self._root, self._root_end = state, state.n_past + len(state.pending)
        return self._next_key

    def drop(self, key: int) -> None:
        state = self._states.pop(key, None)
        # The root stays to the end: parked branches are computed from it, and they share its cells.
        if state is not None and state is not self._root:
            self.free(state)

    def take(self, key: int) -> BranchState:
        """Hands a state with its sequence to the caller."""
        state = self._states.pop(key)
        self.restore(state)
        if state is self._root:
            self._root = None
        return state

    def free(self, state: BranchState) -> None:
        if state.sequence is not None:
            self.runtime.release(state.sequence)
            state.sequence = None

    def close(self) -> None:
        for state in self._states.values():
            self.free(state)
        self._states.clear()
        if self._root is not None:
            self.free(self._root)
            self._root = None

    # --- room -------------------------------------------------------------------------------
    def make_room(self) -> bool:
        """Frees some cells and a sequence; False where nothing is left to free."""
        for state in reversed(self._states.values()):
            if self.parking and self._can_wait(state):
                self.free(state)
                return True
        return any(reserve() for reserve in self.reserves)

    def _can_wait(self, state: BranchState) -> bool:
        needed = state is self._root or any(state is pinned for pinned in self._pinned)
        return state.sequence is not None and not needed

    def with_room(self, work: Callable[[], T]) -> T:
        """What `work` comes to; where that takes more room than there is, room is made, and it is
        tried again. It must leave nothing behind where it raises ContextFullError, which is raised
        in the end where there is nothing to free."""
        while True:
            try:
                return work()
            except ContextFullError:
                if not self.make_room():
                    raise

    def take_sequence(self) -> int:
        """A free sequence, parking a branch for it where needed. Raises ContextFullError."""
        while not self.runtime.n_free_sequences:
            if not self.make_room():
                raise ContextFullError(
                    Phrase(
                        "all {n_sequences} sequences are in use",
                        n_sequences=self.runtime.n_sequences,
                    ),
                    hint="Ask for fewer candidates, or close conversations.",
                )
        return self.runtime.take_sequence()

    def restore(self, state: BranchState) -> None:
        """Makes sure that the state has its sequence. Raises ContextFullError."""
        if state.sequence is not None:
            return
        assert self._root is not None
        n = state.n_past - self._root_end
        state.sequence = self.fork(self._root.held, state.tokens[:n], self._root_end)

    def fork(self, source: int, tokens: Sequence[int], start: int) -> int:
        """A new sequence that shares `source` and goes on with `tokens` at position `start`.

        Raises ContextFullError.
        """
        return self.with_room(lambda: self._fork(source, tokens, start))

    def _fork(self, source: int, tokens: Sequence[int], start: int) -> int:
        sequence = self.take_sequence()
        try:
            self.runtime.context.fork(source, sequence)
            if tokens:
                self.counters.restored_tokens += len(tokens)
                self.decode([Row(token, start + i, sequence) for i, token in enumerate(tokens)])
        except BaseException:
            self.runtime.release(sequence)
            raise
        return sequence

    # --- computing --------------------------------------------------------------------------
    def decode(self, rows: Sequence[Row]) -> Logits:
        """Decodes any number of rows; logits (n, n_vocab) of the n with `output`, in their order.

        After an error the rows' cells must be forgotten. Raises ContextFullError, Cancelled.
        """
        n_batch, logits = self.runtime.context.n_batch, []
        for start in range(0, len(rows), n_batch):
            chunk = rows[start : start + n_batch]
            if start and self.stop():
                raise Cancelled("stopped")
            if len(rows) > n_batch:
                self.told(Work.PROMPT, start / len(rows))
            self.counters.decode_steps += 1
            logits.append(self.runtime.step(chunk, self.sight, stop=self.stop))
        return logits[0] if len(logits) == 1 else np.concatenate(logits or [NO_LOGITS])

    def extend(
        self, jobs: Sequence[tuple[BranchState, list[int]]]
    ) -> tuple[list[BranchState], Logits]:
        """For each (state, forced tokens) a copy that went on with them, and the logits there
        (n, n_vocab).

        What is pending is decoded for the state and its copy at once, so that the state can be gone
        on from again without computing it twice. All in one batch. Raises ContextFullError where
        parking everything else does not help.
        """
        self._pinned = [state for state, _ in jobs]
        try:
            while True:
                try:
                    return self._extend(jobs)
                except ContextFullError:
                    lost = any(state.sequence is None for state, _ in jobs)
                    if (lost and not self.parking) or not self.make_room():
                        raise
        finally:
            self._pinned = []

    def _take_back(self, state: BranchState) -> None:
        """Frees the cells of what is still pending, or where that cannot be, all of its cells."""
        if self.runtime.rewind(state.held, state.n_past):
            return
        self.free(state)
        if state is self._root and self._restart is not None:
            state.sequence = self._restart()

    def _extend(
        self, jobs: Sequence[tuple[BranchState, list[int]]]
    ) -> tuple[list[BranchState], Logits]:
        copies: list[int] = []
        rows: list[Row] = []
        try:
            for state, forced in jobs:
                self.restore(state)
                copied = self.fork(state.held, (), 0)
                copies.append(copied)
                n_pending = len(state.pending)
                rows += [
                    Row(
                        token,
                        state.n_past + i,
                        copied,
                        also=state.held if i < n_pending else -1,
                        output=i == n_pending + len(forced) - 1,
                    )
                    for i, token in enumerate([*state.pending, *forced])
                ]
            logits = self.decode(rows)
        except BaseException:
            for copied in copies:
                self.runtime.release(copied)
            for state, _ in jobs:
                if state.sequence is not None and state.pending:
                    self._take_back(state)
            raise
        reached = []
        for (state, forced), copied in zip(jobs, copies, strict=True):
            state.n_past += len(state.pending)
            state.pending = []
            base = replace(
                state,
                sequence=copied,
                n_past=state.n_past + len(forced),
                pending=[],
                tokens=[*state.tokens, *forced],
            )
            reached.append(base)
        return reached, logits
