"""Asking again in the place of an answer: the old one goes when the new one is there."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer

from llavao1_gui.conversations import Conversations
from llavao1_gui.saving import SOON_MS
from llavao1_gui.state.history import Exchange, HistoryError


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
        talk.instead.connect(self.again)
        talk.answered.connect(self._settle)

    def again(self, exchange: Exchange) -> None:
        """The same question with the next seed; `exchange` is deleted when it is answered."""
        if self._talk.again(exchange):
            self._pairs.append((self._talk.exchanges[-1], exchange))

    def _settle(self, _: object = None) -> None:
        waiting = []
        for new, old in self._pairs:
            if new.status == "asked" or (new.status == "answered" and not self._replaced(new, old)):
                waiting.append((new, old))
        self._pairs = waiting
        if any(new.status == "answered" for new, _ in waiting):
            self._later.start()

    def _replaced(self, new: Exchange, old: Exchange) -> bool:
        """Whether nothing is left to do."""
        if new.error:
            return True
        if self._talk.saver.holds(new):
            return False
        try:
            self._talk.remove(old)
        except HistoryError:
            return False
        self._talk.saver.drop(old)
        self._talk.listed.emit()
        return True
