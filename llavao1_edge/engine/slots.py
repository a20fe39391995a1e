"""Where conversations sit in the cache; who must give up a place when room is short."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from weakref import ReferenceType, ref

from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.errors import ContextFullError
from llavao1_edge.phrases import Phrase
from llavao1_edge.vision import Place

SPARE_SEQUENCES = 4  # an answer needs its branch and its candidates


@dataclass
class Root:
    """What stands before the questions about a picture, the picture included: all turns, the judge
    and parked branches fork from it.

    tokens: the text before the picture; sequence: holds it all up to `place`; None: it was given
    up, and is placed again with the next question. pictures: the keys of those it was placed with.
    """

    tokens: list[int]
    sequence: int | None = None
    place: Place = field(default_factory=Place)
    pictures: tuple[str, ...] = ()

    @property
    def held(self) -> int:
        """Its sequence, which it must have."""
        assert self.sequence is not None
        return self.sequence


@dataclass(eq=False)
class Slot:
    """One conversation: all its tokens after the root, and its place in the cache.

    sequence: holds the root and the first `n_cached` tokens of the history; None: no place. owner:
    whoever goes on with the conversation; a slot whose owner is gone is given to others.
    """

    slots: Slots
    owner: ReferenceType[object]
    root: Root | None = None  # of a conversation about a picture
    history: list[int] = field(default_factory=list)
    sequence: int | None = None
    n_cached: int = 0
    used_at: float = field(default_factory=time.monotonic)
    abandoned: bool = False
    in_use: bool = False  # an answer is being written: it is not cleared for another

    @property
    def start(self) -> int:
        """The position of the history's first token."""
        return 0 if self.root is None else self.root.place.position

    @property
    def is_held(self) -> bool:
        """Whether it holds anything in the cache."""
        return self.sequence is not None or (
            self.root is not None and self.root.sequence is not None
        )

    @property
    def n_cells(self) -> int:
        """Cells of the cache that it holds."""
        rooted = self.root is not None and self.root.sequence is not None
        return self.n_cached + (self.root.place.cells if rooted and self.root else 0)

    def fork(self, sequence: int) -> int:
        """Lets a free sequence continue the history; how many of its tokens are cached."""
        context = self.slots.runtime.context
        if self.sequence is not None:
            context.fork(self.sequence, sequence)
        elif self.root is not None:
            context.fork(self.root.held, sequence)
        return self.n_cached

    def keep(self, sequence: int | None, *, history: list[int], n_cached: int) -> None:
        """The conversation goes on from `sequence`, which holds the first `n_cached` tokens (None:
        there was no room for it, the next question computes it again)."""
        if self.sequence is not None:
            self.slots.runtime.release(self.sequence)
        self.sequence, self.n_cached, self.history = sequence, n_cached, history

    def evict_another(self) -> bool:
        """Makes room at another conversation's cost; False where there is none."""
        return self.slots.evict(self)

    def make_room(self, n_new: int) -> None:
        """For so many cells more. Raises ContextFullError where they cannot fit."""
        self.slots.make_room(self, len(self.history) + n_new)


class Slots:
    """All slots of an engine. Owners are held weakly: one that is dropped gives its slot back.

    `add` may be called from any thread, the rest only inside a turn.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._lock = threading.Lock()
        self._seats: list[Slot] = []

    def add(self, owner: object) -> Slot:
        slot = Slot(self, ref(owner))
        with self._lock:
            self._seats.append(slot)
        return slot

    def clear(self, slot: Slot) -> None:
        """Gives up the cached history; the next question computes it again."""
        if slot.sequence is not None:
            self.runtime.release(slot.sequence)
            slot.sequence, slot.n_cached = None, 0
        if slot.root is not None and slot.root.sequence is not None:
            self.runtime.release(slot.root.sequence)
            slot.root.sequence = None

    def sweep(self) -> None:
        """Frees the slots of conversations that were closed or that nobody holds any more."""
        with self._lock:
            seats = [slot for slot in self._seats if not slot.in_use]
            gone = [slot for slot in seats if slot.abandoned or slot.owner() is None]
            self._seats = [slot for slot in self._seats if slot not in gone]
        for slot in gone:
            self.clear(slot)

    def evict(self, keep: Slot) -> bool:
        """Clears the longest unused slot but `keep`; False where none is left."""
        self.sweep()
        with self._lock:
            others = [other for other in self._seats if other is not keep and not other.in_use]
        held = [other for other in others if other.is_held]
        if not held:
            return False
        self.clear(min(held, key=lambda other: other.used_at))
        return True

    def make_room(self, slot: Slot | None, n_tokens: int) -> None:
        """Clears other slots, the longest unused first, until `n_tokens` fit into half the context
        (the other half is for the answer) and sequences are free.

        Raises ContextFullError where the conversation alone is too long.
        """
        runtime = self.runtime
        n_ctx = runtime.context.n_ctx
        if n_tokens > n_ctx:
            raise ContextFullError(
                Phrase(
                    "the conversation needs {n_tokens} tokens, the context holds {n_ctx}",
                    n_tokens=n_tokens,
                    n_ctx=n_ctx,
                ),
                hint="Ask in a new conversation, or start with a larger --context.",
            )
        self.sweep()
        if slot is not None:
            slot.used_at = time.monotonic()
        with self._lock:
            others = [other for other in self._seats if other is not slot]
        others = sorted((o for o in others if o.is_held), key=lambda o: o.used_at)
        used = sum(other.n_cells for other in others)
        for other in others:
            roomy = used + n_tokens <= n_ctx // 2
            if roomy and runtime.n_free_sequences >= SPARE_SEQUENCES:
                break
            if other.in_use:
                continue
            used -= other.n_cells
            self.clear(other)
