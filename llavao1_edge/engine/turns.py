"""One answer at a time: what is native is not made for two."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import ReferenceType

from llavao1_edge.errors import UsageError
from llavao1_edge.vision import Stop

# Weak, so that a stream nobody holds any more is closed at once, not at the next collection.
Stream = ReferenceType[Generator[Any, None, None]]


class Turns:
    """Other threads wait for their turn; the same thread gets an error instead of a deadlock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._stream: Stream | None = None

    @contextmanager
    def take(self, stream: Stream | None = None) -> Iterator[None]:
        """`stream`: the generator that holds this turn, if one does.

        Raises UsageError inside an answer that this thread has not finished reading.
        """
        if self._owner == threading.get_ident():
            raise UsageError(
                "another answer is still being written", hint="Finish or close its stream first."
            )
        with self._lock:
            self._owner, self._stream = threading.get_ident(), stream
            try:
                yield
            finally:
                self._owner, self._stream = None, None

    def abandon(self, only: Stream | None = None) -> None:
        """Closes the stream of this turn (or only that one) unless somebody is reading it now."""
        current = self._stream
        stream = current() if current is not None else None
        if stream is not None and only in (None, current):
            with suppress(ValueError):  # it is being read at this moment
                stream.close()


class Latch:
    """A stop request that stays: once seen, it is seen by everybody."""

    def __init__(self, asked: Stop) -> None:
        self._asked, self.closed = asked, False

    def __call__(self) -> bool:
        self.closed = self.closed or self._asked()
        return self.closed
