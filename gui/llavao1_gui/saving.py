"""Writes exchanges into the history as they change; what cannot be written waits.

Nothing is lost while the program runs: another window writes, or the disk is full, and then not.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer, Signal

from llavao1_gui.state.history import Conversation, Exchange, History, HistoryError
from llavao1_gui.widgets.texts import said

RETRY_MS = 5000
SOON_MS = 100  # another window's write is over in a moment: nothing is said of it for a second
PATIENCE_S = 1.0


class Saver(QObject):
    """problem: what failed and what to do. recovered: what waited is written. removed: an exchange
    that is not in the history any more."""

    problem = Signal(str, str)
    recovered = Signal()
    removed = Signal(object)

    def __init__(self, history: History, parent: QObject) -> None:
        super().__init__(parent)
        self._history = history
        self._unsaved: list[tuple[Conversation, Exchange]] = []
        self._unwanted: list[Exchange] = []
        self._failing_since: float | None = None
        self._told_failure = False
        self._pieces_from = 0.0
        self._retry = QTimer(self)
        self._retry.setInterval(RETRY_MS)
        self._retry.timeout.connect(self._save_unsaved)

    def save(self, conversation: Conversation, exchange: Exchange) -> None:
        """Now, or with the next change."""
        if not any(waiting is exchange for _, waiting in self._unsaved):
            self._unsaved.append((conversation, exchange))
        self._save_unsaved()

    def save_stages(self, exchange: Exchange) -> None:
        """What is written of an answer so far. What fails now comes with a later piece, or at the
        end; not with the next one, since every try holds up the window while another one writes."""
        if not exchange.id or time.monotonic() < self._pieces_from:
            return
        try:
            self._history.save_stages(exchange.id, exchange.stages)
        except HistoryError:
            self._pieces_from = time.monotonic() + SOON_MS / 1000

    def _save_unsaved(self) -> None:
        waiting, self._unsaved = self._unsaved, []
        failure: HistoryError | None = None
        for conversation, exchange in waiting:
            try:
                if failure is None or not failure.locked:
                    self._history.save(conversation, exchange)
                    continue
            except HistoryError as error:
                failure = error
            self._unsaved.append((conversation, exchange))
        failure = failure or self._remove_unwanted()
        if failure is None:
            self._retry.stop()
            if self._failing_since is not None:
                self._failing_since, self._told_failure = None, False
                self.recovered.emit()
        else:
            self._fail_to_save(failure)

    def remove(self, exchange: Exchange) -> None:
        """For good, when everything that waits is written: now, or as soon as that is possible."""
        self._unwanted.append(exchange)
        self._save_unsaved()

    def _remove_unwanted(self) -> HistoryError | None:
        while self._unwanted:
            try:
                self._history.remove(self._unwanted[0])
            except HistoryError as error:
                return error
            self.removed.emit(self._unwanted.pop(0))
        return None

    def _fail_to_save(self, failure: HistoryError) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        patient = failure.locked and now - self._failing_since < PATIENCE_S
        if not patient and not self._told_failure:
            self._told_failure = True
            self.problem.emit(said(failure.message), said(failure.hint))
        self._retry.start(SOON_MS if patient else RETRY_MS)

    def waiting(self, conversation: int) -> list[Exchange]:
        """Of a conversation, in the order they were asked."""
        return [exchange for owner, exchange in self._unsaved if owner.id == conversation]

    def forget(self, gone: Callable[[Conversation], bool]) -> None:
        """What waits of these conversations is not written any more."""
        self._unsaved = [pair for pair in self._unsaved if not gone(pair[0])]

    def save_for(self, seconds: float) -> bool:
        """Tries for so long; whether nothing waits any more."""
        end = time.monotonic() + seconds
        while self._unsaved and time.monotonic() < end:
            time.sleep(0.02)
            self._save_unsaved()
        return not self._unsaved

    def stop(self) -> None:
        self._retry.stop()
