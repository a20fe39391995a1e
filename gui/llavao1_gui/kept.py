"""Shows what is kept on the disk, and brings back or deletes what the user says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from PySide6.QtCore import QCoreApplication

from llavao1_edge.errors import LlavaError
from llavao1_edge.state_cache import StateCache
from llavao1_gui.conversations import Conversations
from llavao1_gui.pictures import Pictures
from llavao1_gui.state.history import History
from llavao1_gui.widgets.kept_dialog import KeptDialog
from llavao1_gui.widgets.texts import size_text, told
from llavao1_gui.widgets.window import MainWindow


class Shell(Protocol):
    """What it needs of the application."""

    window: MainWindow
    history: History
    conversations: Conversations
    pictures: Pictures

    def tell(
        self, text: str, *, bad: bool = False, action: str = "",
        acted: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        """A sentence that stays until it is closed."""

    def refresh_history(self) -> None: ...


class Kept:
    """Deleting conversations, bringing them back, and what is on the disk."""

    def __init__(self, app: Shell) -> None:
        self.app = app
        self._deleted: list[int] = []
        self.dialog: KeptDialog | None = None

    def delete(self, number: int) -> None:
        if self.app.conversations.delete(number):
            self._deleted.append(number)
            translate = QCoreApplication.translate
            text = translate("Kept", "The conversation was deleted.")
            self.app.tell(text, action=translate("Kept", "Undo"), acted=self.undo)

    @property
    def can_undo(self) -> bool:
        return bool(self._deleted)

    def undo(self) -> None:
        """Brings back what was deleted last; again, what was deleted before that. Where nothing is
        open it is shown."""
        talk = self.app.conversations
        if self._deleted and talk.restore(self._deleted[-1]):
            number = self._deleted.pop()
            self.app.window.answers.banner.hide()
            if talk.current is None:
                talk.open(number)

    def show(self) -> KeptDialog:
        self.dialog = KeptDialog(self.app.window)
        self.dialog.restored.connect(lambda some: self._change(lambda: self._restore(some)))
        self.dialog.erased.connect(lambda some: self._change(lambda: self._erase(some)))
        self.dialog.cleared.connect(lambda: self._change(lambda: self._erase(None)))
        self.dialog.finished.connect(self.dialog.deleteLater)
        self._refresh()
        self.dialog.open()
        return self.dialog

    def _restore(self, numbers: list[int]) -> None:
        self.app.history.restore(*numbers)
        self._deleted = [one for one in self._deleted if one not in numbers]

    def _erase(self, numbers: list[int] | None) -> None:
        self.app.conversations.forget(numbers)
        self.app.history.erase(numbers, shown=self.app.pictures.digests)
        # What the model made of the pictures goes with them; it is only a cache.
        StateCache.of_user(0).clear()
        gone = set(self._deleted if numbers is None else numbers)
        self._deleted = [one for one in self._deleted if one not in gone]

    def _change(self, what: Callable[[], object]) -> None:
        try:
            what()
        except LlavaError as error:
            self.app.tell(told(error), bad=True)
        self._refresh()

    def _refresh(self) -> None:
        assert self.dialog is not None
        history = self.app.history
        try:
            deleted = history.deleted()
            anything = bool(deleted or history.conversations())
            self.dialog.show_kept(size_text(history.n_bytes()), deleted, anything=anything)
        except LlavaError as error:
            self.app.tell(told(error), bad=True)
        self.app.refresh_history()
