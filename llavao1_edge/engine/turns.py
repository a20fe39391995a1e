"""Who may use the engine: one thread at a time computes, what is native is not made for two.

Several answers may still be written at once, each by a thread of its own. Each goes on until it
needs its next tokens decoded, and waits there for the others: then all rows go through the model
together, in one batch. Weights are read once for all of them, as for the candidates of one answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from weakref import ReferenceType

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.errors import BackendError, Cancelled, UsageError
from llavao1_edge.llama.context import Row
from llavao1_edge.vision import Stop

# Weak, so that a stream nobody holds any more is closed at once, not at the next collection.
Stream = ReferenceType[Generator[Any, None, None]]

TICK_S = 0.05  # between looks at whether a waiting answer is still wanted


@dataclass(eq=False)
class Step:
    """Rows that one answer needs decoded next, all of which see `sight`.

    Then: `logits` (n, n_vocab) of the n rows with `output`, or the `error` that it has come to.
    """

    rows: Sequence[Row]
    sight: Any
    stop: Stop
    logits: NDArray[np.float32] | None = None
    error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return self.logits is not None or self.error is not None


@dataclass(eq=False)
class _Waiter:
    """An answer that waits for room."""

    until: Callable[[], bool]
    stop: Stop
    blocked: bool = True
    reached: bool = False


class Turns:
    """At most `at_once` answers are written; other threads wait for their turn. The same thread
    gets an error instead of a deadlock."""

    def __init__(self, at_once: int = 1) -> None:
        self.at_once = at_once
        self._door, self._places = threading.Lock(), threading.Semaphore(at_once)
        # Whoever holds it computes. No reentrant lock: a stream may be closed by another thread.
        self._baton = threading.Condition(threading.Lock())
        self._count = threading.Lock()
        self._n_active = 0  # those on their way to the baton included
        self._n_ended = 0
        self._reserved: dict[int, int] = {}  # room, by thread
        self._queue: list[int] = []  # threads that wait for room, the first one first
        self._steps: list[Step] = []
        self._waiters: list[_Waiter] = []
        self._streams: dict[int, Stream | None] = {}  # by thread

    def take(self, stream: Stream | None = None) -> AbstractContextManager[None]:
        """`stream`: the generator that holds this turn, if one does.

        Raises UsageError inside an answer that this thread has not finished reading.
        """
        return self._taken(stream, n_places=1)

    def take_all(self) -> AbstractContextManager[None]:
        """The only turn there is, once all others have ended. Raises UsageError as `take`."""
        return self._taken(None, n_places=self.at_once)

    @contextmanager
    def _taken(self, stream: Stream | None, *, n_places: int) -> Iterator[None]:
        thread = threading.get_ident()
        if thread in self._streams:
            raise UsageError(
                "another answer is still being written", hint="Finish or close its stream first."
            )
        with ExitStack() as stack:
            with self._door:  # one by one: two that each want all places would wait for each other
                for _ in range(n_places):
                    stack.enter_context(self._places)
            try:
                self._add(1)  # from now on the others wait for this one
                stack.enter_context(self._baton)
            except BaseException:  # Ctrl-C
                self._add(-1)
                with self._baton:
                    self._baton.notify_all()
                raise
            self._streams[thread] = stream
            try:
                yield
            finally:
                del self._streams[thread]
                self._reserved.pop(thread, None)
                self._add(-1)
                self._n_ended += 1
                self._baton.notify_all()

    def _add(self, n: int) -> None:
        with self._count:
            self._n_active += n

    def abandon(self, only: Stream | None = None) -> None:
        """Closes the streams of all turns (or only that one) unless somebody reads them now."""
        for current in list(self._streams.values()):
            stream = current() if current is not None else None
            if stream is not None and only in (None, current):
                with suppress(ValueError):  # it is being read at this moment
                    stream.close()

    # --- inside a turn --------------------------------------------------------------------------
    @property
    def alone(self) -> bool:
        """Whether no other answer is written or about to be."""
        return self._n_active <= 1

    @property
    def _n_blocked(self) -> int:
        """Answers that nobody waits for, as they wait themselves."""
        return sum(waiter.blocked for waiter in self._waiters)

    def meet(self, step: Step, run: Callable[[Sequence[Step]], None]) -> None:
        """Waits until all answers need something decoded, and `run` has done all of it at once."""
        self._steps.append(step)
        try:
            while not step.is_done:
                self._look_after_waiters()
                if len(self._steps) >= self._n_active - self._n_blocked:
                    self._run(run)
                else:
                    self._baton.wait()
        except BaseException:  # Ctrl-C: its rows must not be decoded any more
            self._steps = [other for other in self._steps if other is not step]
            raise

    def _run(self, run: Callable[[Sequence[Step]], None]) -> None:
        steps, self._steps = self._steps, []
        try:
            run(steps)
        finally:
            for step in steps:  # Ctrl-C must leave nobody waiting
                if not step.is_done:
                    step.error = BackendError("the computation was interrupted", hint="Ask again.")
            self._baton.notify_all()

    def reserve(self, n: int, *, of: int, stop: Stop) -> None:
        """Waits until what the answers expect to need is at most `of`, or there is no other. An
        answer that needs more in the end finds out by itself: see `wait_for_another`. Raises
        Cancelled once `stop` says so."""
        thread = threading.get_ident()
        self._queue.append(thread)

        def fits() -> bool:
            there = sum(self._reserved.values())
            return self._queue[0] == thread and (not there or there + n <= of)

        try:
            if not self._wait(fits, stop):
                raise Cancelled("stopped")
        finally:
            self._queue.remove(thread)
        self._reserved[thread] = n
        self._baton.notify_all()

    def wait_for_another(self, stop: Stop) -> bool:
        """Until another answer has ended and left its room. False: there is none to wait for, or
        `stop` says so."""
        if self._n_blocked + 1 >= self._n_active:
            return False
        ended = self._n_ended

        def over() -> bool:  # or everybody waits for everybody: then one must give way
            return self._n_ended != ended or self._n_blocked >= self._n_active

        self._wait(over, stop)
        return self._n_ended != ended

    def _wait(self, until: Callable[[], bool], stop: Stop) -> bool:
        """Whether it came to that, and not to `stop`."""
        waiter = _Waiter(until, stop)
        self._waiters.append(waiter)
        try:
            self._baton.notify_all()  # the others do not wait for this one
            while True:
                self._look_after_waiters()
                if not waiter.blocked:
                    return waiter.reached
                self._baton.wait(TICK_S)
        finally:
            self._waiters.remove(waiter)

    def _look_after_waiters(self) -> None:
        """Whoever computes does this for those that wait: alone it would never pass the baton on.
        Those that need not wait any longer are waited for again."""
        for waiter in self._waiters:
            if waiter.blocked and ((reached := waiter.until()) or waiter.stop()):
                waiter.blocked, waiter.reached = False, reached
                self._baton.notify_all()


class Latch:
    """A stop request that stays: once seen, it is seen by everybody."""

    def __init__(self, asked: Stop) -> None:
        self._asked, self.closed = asked, False

    def __call__(self) -> bool:
        self.closed = self.closed or self._asked()
        return self.closed
