"""Asking again in the place of an answer: the old one goes when the new one is there."""

from __future__ import annotations

from PySide6.QtCore import QObject

from llavao1_gui.conversations import Conversations
from llavao1_gui.state.history import Exchange


class Replacing(QObject):
    """Until the new answer is whole and in the history both are kept, and after one that failed
    too."""

    def __init__(self, talk: Conversations) -> None:
        super().__init__(talk)
        self._talk = talk
        self._pairs: list[tuple[Exchange, Exchange]] = []  # what comes, and what goes then
        talk.instead.connect(self.again)
        talk.answered.connect(self._answered)
        talk.saver.removed.connect(self._removed)

    def again(self, exchange: Exchange) -> None:
        """The same question with the next seed; `exchange` is deleted when it is answered."""
        if self._talk.again(exchange):
            self._pairs.append((self._talk.exchanges[-1], exchange))

    def _answered(self, exchange: Exchange) -> None:
        gone = [old for new, old in self._pairs if new is exchange and not new.error]
        self._pairs = [pair for pair in self._pairs if pair[0].status == "asked"]
        for old in gone:
            self._talk.saver.remove(old)

    def _removed(self, old: Exchange) -> None:
        talk, known = self._talk, (old.id, old.asked)
        for one in list(talk.exchanges):  # another object, where it was opened again
            if one is old or (one.id, one.asked) == known:
                talk.exchanges.remove(one)
                talk.window.answers.remove(one)
        talk.listed.emit()
