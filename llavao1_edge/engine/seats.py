"""Where conversations sit in the cache; who must give up a place when room is short."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import ReferenceType, ref

from llavao1_edge.errors import ContextFullError

if TYPE_CHECKING:
    from llavao1_edge.engine.runtime import Runtime
    from llavao1_edge.engine.session import Session

SPARE_SEQUENCES = 4  # an answer needs its branch and its candidates


@dataclass(eq=False)
class Seat:
    """One conversation's place: `sequence` holds its first `n_cached` tokens; None: no place."""

    owner: ReferenceType[Session]
    sequence: int | None = None
    n_cached: int = 0
    used_at: float = field(default_factory=time.monotonic)
    abandoned: bool = False


class Seats:
    """All seats of an engine. Sessions are held weakly: one that is dropped gives its seat back.

    `add` may be called from any thread, the rest only inside a turn.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock = threading.Lock()
        self._seats: list[Seat] = []

    def add(self, session: Session) -> Seat:
        seat = Seat(ref(session))
        with self._lock:
            self._seats.append(seat)
        return seat

    def clear(self, seat: Seat) -> None:
        """Gives up the cached history; the next question computes it again."""
        if seat.sequence is not None:
            self._runtime.release(seat.sequence)
            seat.sequence, seat.n_cached = None, 0

    def sweep(self) -> None:
        """Frees the seats of sessions that were closed or that nobody holds any more."""
        with self._lock:
            gone = [s for s in self._seats if s.abandoned or s.owner() is None]
            self._seats = [seat for seat in self._seats if seat not in gone]
        for seat in gone:
            self.clear(seat)

    def evict(self, keep: Seat) -> bool:
        """Clears the longest unused seat but `keep`; False where none is left."""
        self.sweep()
        with self._lock:
            others = [other for other in self._seats if other is not keep]
        held = [other for other in others if other.sequence is not None]
        if not held:
            return False
        self.clear(min(held, key=lambda other: other.used_at))
        return True

    def make_room(self, seat: Seat | None, n_tokens: int) -> None:
        """Clears other seats, the longest unused first, until `n_tokens` fit into half the context
        (the other half is for the answer) and sequences are free.

        Raises ContextFullError where the conversation alone is too long.
        """
        runtime = self._runtime
        n_ctx = runtime.context.n_ctx
        if n_tokens > n_ctx:
            raise ContextFullError(
                f"the conversation needs {n_tokens} tokens, the context holds {n_ctx}",
                hint="Ask in a new conversation, or start with a larger --context.",
            )
        self.sweep()
        if seat is not None:
            seat.used_at = time.monotonic()
        with self._lock:
            others = [other for other in self._seats if other is not seat]
        others = sorted((o for o in others if o.sequence is not None), key=lambda o: o.used_at)
        used = sum(other.n_cached for other in others)
        for other in others:
            roomy = used + n_tokens <= n_ctx // 2
            if roomy and runtime.n_free_sequences >= SPARE_SEQUENCES:
                break
            used -= other.n_cached
            self.clear(other)
