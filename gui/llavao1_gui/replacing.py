"""Asking again in the place of an answer: the old one goes when the new one is there."""

from __future__ import annotations

from PySide6.QtCore import QObject

from llavao1_gui.conversations import Conversations
from llavao1_gui.state.history import Exchange


class Replacing(QObject):
    """Until the new answer is whole both are kept, and after one that failed too."""

    def __init__(self, talk: Conversations) -> None:
        super().__init__(talk)
        self._talk = talk
        self._old: list[tuple[Exchange, Exchange]] = []  # what comes, and what goes then
        talk.instead.connect(self.again)
        talk.answered.connect(self._answered)

    def again(self, exchange: Exchange) -> None:
        """The same question with the next seed; `exchange` is deleted when it is answered."""
        if self._talk.again(exchange):
            self._old.append((self._talk.exchanges[-1], exchange))

    def _answered(self, exchange: Exchange) -> None:
        for new, old in [pair for pair in self._old if pair[0] is exchange]:
            self._old.remove((new, old))
            if old.id and not new.error:
                self._talk.saver.drop(old)
                self._talk.remove(old)
