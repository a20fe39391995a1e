"""The candidates that are written side by side, and the cells that they hold.

Where the context cannot hold all of them, some wait without cells, and are written in a later wave.
"""

from __future__ import annotations

from collections.abc import Sequence

from llavao1_edge.engine.branches import BranchCache, BranchState
from llavao1_edge.engine.stream import CandidateStream
from llavao1_edge.errors import ContextFullError
from llavao1_edge.llama.context import Row
from llavao1_edge.search import Ending


class Wave:
    """The streams of one draft: `running` side by side, `waiting` for room.

    bases: where their branches stand after the forced opening.
    """

    def __init__(self, cache: BranchCache) -> None:
        self.cache = cache
        self.bases: list[BranchState] = []
        self.running: list[CandidateStream] = []
        self.waiting: list[CandidateStream] = []
        self.n_waves, self.widest = 1, 0

    def close(self) -> None:
        for stream in [*self.running, *self.waiting]:
            stream.sampler.close()
            self.park(stream)
        for base in self.bases:
            self.cache.free(base)

    def park(self, stream: CandidateStream) -> None:
        """Gives its cells up; they are computed again when it goes on."""
        if stream.sequence is not None:
            self.cache.runtime.release(stream.sequence)
            stream.sequence, stream.n_decoded = None, 0

    def next(self) -> bool:
        """Lets those that wait go on where none is running; False where there is none left."""
        if not self.running and self.waiting:
            self.running, self.waiting = self.waiting, []
            self.n_waves += 1
        return bool(self.running)

    def rows(self) -> list[Row]:
        """The last token of every stream, then their first guesses, their second ones, …"""
        rows = [Row(s.tokens[-1], s.n_past, s.held, output=True) for s in self.running]
        for i in range(max(len(stream.guess) for stream in self.running)):
            rows += [
                Row(stream.guess[i], stream.n_past + 1 + i, stream.held, output=True)
                for stream in self.running
                if i < len(stream.guess)
            ]
        return rows

    def settle(self) -> int:
        """Forgets guesses that were not drawn; how many were. A stream's last token stays to be
        decoded."""
        n_drawn = 0
        for stream in self.running:
            if stream.guess:
                before = stream.n_decoded
                stream.n_decoded = min(before + stream.n_right, len(stream.tokens) - 1)
                n_drawn += max(0, stream.n_decoded - before)
                self._rewind(stream)
                stream.guess, stream.sureness, stream.n_right = [], [], 0
        return n_drawn

    def end_all(self, ending: Ending) -> None:
        """Ends every stream."""
        self.running, self.waiting = [*self.running, *self.waiting], []
        for stream in self.running:
            stream.ending = ending

    def restore_all(self) -> None:
        """Gives every running stream a sequence; those for which there is none wait."""
        for position, stream in enumerate(self.running):
            if stream.sequence is not None:
                continue
            done = stream.tokens[:-1]
            try:
                self.cache.restore(stream.base)
                stream.sequence = self.cache.fork(stream.base.held, done, stream.base.n_past)
                stream.n_decoded = len(done)
            except ContextFullError:
                if not position and self._free_base(but=[stream.base]):
                    self.restore_all()
                    return
                later = self.running[position:]
                self.running = self.running[:position]
                if self.running:
                    self.waiting = later + self.waiting
                else:  # not even alone it fits
                    later[0].ending = Ending.CONTEXT
                    self.running, self.waiting = later[:1], later[1:] + self.waiting
                return

    def give_way(self) -> None:
        """Frees cells: of finished branches first, then of the stream that came last."""
        # Streams that had to give up their cells need their bases to come back.
        needed = [stream.base for stream in self.running if stream.sequence is None]
        if self.cache.make_room() or self._free_base(but=needed):
            return
        last = self.running[-1]
        if len(self.running) == 1:
            last.ending = Ending.CONTEXT
        else:
            self.park(self.running.pop())
            self.waiting.insert(0, last)

    def _free_base(self, *, but: Sequence[BranchState]) -> bool:
        """Frees a base; streams that need it again compute it again. False where none is left."""
        kept = set(map(id, but))
        held = [base for base in self.bases if base.sequence is not None and id(base) not in kept]
        if not held or not self.cache.parking:
            return False
        self.cache.free(held[-1])
        return True

    def forget_last(self) -> None:
        """Forgets the rows that could not be decoded, and guesses with them."""
        for stream in self.running:
            stream.guess, stream.sureness = [], []
            if stream.sequence is not None:
                self._rewind(stream)

    def _rewind(self, stream: CandidateStream) -> None:
        """Back to what was decoded of its tokens."""
        if not self.cache.runtime.rewind(stream.held, stream.n_past):
            self.park(stream)
