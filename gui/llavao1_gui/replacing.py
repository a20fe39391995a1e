"""Asking again in the place of an answer: the old one goes when the new one is there."""

from __future__ import annotations

import time

from PySide6.QtCore import QObject, QTimer

from llavao1_gui.conversations import Conversations
from llavao1_gui.saving import PATIENCE_S, RETRY_MS, SOON_MS
from llavao1_gui.state.history import Exchange, HistoryError
from llavao1_gui.widgets.texts import said


class Replacing(QObject):
    """Until the new answer is whole and in the history both are kept, and after one that failed
    too. What cannot be deleted now (another window writes) is tried again."""

    def __init__(self, talk: Conversations) -> None:
        super().__init__(talk)
        self._talk = talk
        self._pairs: list[tuple[Exchange, Exchange]] = []  # what comes, and what goes then
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(SOON_MS)
        self._later.timeout.connect(self._settle)
        self._failing_since: float | None = None
        talk.instead.connect(self.again)
        talk.answered.connect(self._settle)
        talk.saver.recovered.connect(self._settle)

    def again(self, exchange: Exchange) -> None:
        """The same question with the next seed; `exchange` is deleted when it is answered."""
        if self._talk.again(exchange):
            self._pairs.append((self._talk.exchanges[-1], exchange))

    def _settle(self, _: object = None) -> None:
        waiting = []
        failure: HistoryError | None = None
        for new, old in self._pairs:
            if new.status == "answered" and not new.error and not self._talk.saver.holds(new):
                try:
                    self._replace(old)
                    continue
                except HistoryError as error:
                    failure = error
            if new.status == "asked" or (new.status == "answered" and not new.error):
                waiting.append((new, old))
        self._pairs = waiting
        if failure is None:
            self._failing_since = None
        else:
            self._try_later(failure)

    def _replace(self, old: Exchange) -> None:
        """Raises HistoryError; it is all there then."""
        talk = self._talk
        talk.history.remove(old)
        talk.saver.drop(old)
        known = old.id, old.asked
        for one in list(talk.exchanges):  # another object, where it was opened again
            if one is old or (one.id and (one.id, one.asked) == known):
                talk.exchanges.remove(one)
                talk.window.answers.remove(one)
        talk.listed.emit()

    def _try_later(self, failure: HistoryError) -> None:
        """As the saver does: soon, where another window writes; else it is said, and later."""
        now = time.monotonic()
        first = self._failing_since is None
        since = self._failing_since = now if self._failing_since is None else self._failing_since
        patient = failure.locked and now - since < PATIENCE_S
        if not patient and (first or self._later.interval() == SOON_MS):
            self._talk.problem.emit(said(failure.message), said(failure.hint))
        self._later.start(SOON_MS if patient else RETRY_MS)
