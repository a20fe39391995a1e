"""One thread that does one thing after the other while the window goes on.

The thread dies with the program: nothing that it does can hold up the end.
"""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, Signal


class Background(QObject):
    """done: (what the work was for, what came of it), in the order in which it was given."""

    done = Signal(object, object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._jobs: queue.Queue[tuple[Any, Callable[[], Any]] | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self.closed = False
        self._telling = threading.Lock()  # held while somebody is told, who must live so long

    def start(self, purpose: Any, work: Callable[[], Any]) -> None:
        """`work` must not raise; it sees no widget."""
        self._jobs.put((purpose, work))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            purpose, work = job
            if not self.closed:
                try:
                    found = work()
                except Exception:  # a fault of ours: the next piece of work is done all the same
                    traceback.print_exc()
                    self._jobs.task_done()
                    continue
                with self._telling:
                    if not self.closed:
                        self.done.emit(purpose, found)
                del found
            self._jobs.task_done()
            del job, purpose, work
        self._jobs.task_done()

    def wait(self) -> None:
        """Until all work is done (for tests)."""
        self._jobs.join()

    def close(self) -> None:
        """What has not begun is left, and nothing is told any more: this may be deleted then."""
        with self._telling:
            self.closed = True
        if self._thread is not None:
            self._jobs.put(None)  # it ends
