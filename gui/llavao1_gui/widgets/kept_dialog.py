"""What is kept on the disk: how much, what was deleted and can come back, and the way to be rid
of it."""

from __future__ import annotations

from PySide6.QtCore import QDateTime, QLocale, Qt, Signal, SignalInstance
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialogButtonBox,
    QListWidget,
    QListWidgetItem,
    QMessageBox,
    QWidget,
)

from llavao1_gui.state.history import UNDO_S, Conversation
from llavao1_gui.widgets.layouts import RetranslatedDialog, button, column, label, row
from llavao1_gui.widgets.placing import open_dialog

DAY_S = 24 * 3600


class KeptDialog(RetranslatedDialog):
    """restored, erased: numbers of deleted conversations. cleared: all of the history."""

    restored = Signal(list)
    erased = Signal(list)
    cleared = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        open_dialog(self, 520, 420)
        self.taken = label(wrap=True)
        self.heading = label(role="section")
        self.nothing = label(role="faint", wrap=True)
        self.list = QListWidget()
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.restore_button = button(clicked=lambda: self._tell(self.restored), main=True)
        self.erase_button = button(clicked=self._erase)
        self.clear_button = button(clicked=self._clear)
        self.box = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.box.rejected.connect(self.reject)
        self.setLayout(
            column(
                self.taken, self.heading, self.nothing, self.list,
                row(self.restore_button, self.erase_button, None),
                row(self.clear_button, None, self.box), margin=16, gap=10,
            )
        )  # fmt: skip
        self.list.itemSelectionChanged.connect(self._selected)
        self.list.itemActivated.connect(lambda _: self._tell(self.restored))
        self.retranslate()

    def retranslate(self) -> None:
        self.setWindowTitle(self.tr("What is kept"))
        self.heading.setText(self.tr("Recently deleted"))
        self.nothing.setText(
            self.tr("Nothing. What you delete can be brought back from here for {0} days.").format(
                round(UNDO_S / DAY_S)
            )
        )
        self.list.setAccessibleName(self.tr("Recently deleted"))
        self.restore_button.setText(self.tr("Bring back"))
        self.erase_button.setText(self.tr("Delete now…"))
        self.clear_button.setText(self.tr("Clear the history…"))
        self.box.button(QDialogButtonBox.StandardButton.Close).setText(self.tr("Close"))

    def show_kept(self, size: str, deleted: list[Conversation], *, anything: bool) -> None:
        """size: as text. anything: whether there is any history to clear."""
        self.taken.setText(self.tr("Conversations and their pictures take {0}.").format(size))
        self.list.clear()
        for found in deleted:
            when = QDateTime.fromSecsSinceEpoch(int(found.deleted or 0))
            shown = QLocale().toString(when, QLocale.FormatType.ShortFormat)
            text = self.tr("{0}\n{1}, deleted {2}").format(found.title, found.picture_name, shown)
            item = QListWidgetItem(text)
            item.setData(Qt.ItemDataRole.UserRole, found.id)
            self.list.addItem(item)
        self.list.setVisible(bool(deleted))
        self.nothing.setVisible(not deleted)
        self.clear_button.setEnabled(anything)
        if deleted:
            self.list.setCurrentRow(0)
        self._selected()

    def chosen(self) -> list[int]:
        return [item.data(Qt.ItemDataRole.UserRole) for item in self.list.selectedItems()]

    def _selected(self) -> None:
        for made in (self.restore_button, self.erase_button):
            made.setEnabled(bool(self.chosen()))

    def _tell(self, signal: SignalInstance) -> None:
        if self.chosen():
            signal.emit(self.chosen())

    def _erase(self) -> None:
        text = self.tr("Delete for good, with the pictures that nothing else refers to?")
        if self.chosen() and self._sure(text, self.tr("Delete now")):
            self.erased.emit(self.chosen())

    def _clear(self) -> None:
        text = self.tr("Delete all conversations and their pictures for good?")
        if self._sure(text, self.tr("Clear the history")):
            self.cleared.emit()

    def _sure(self, text: str, what: str) -> bool:
        asked = QMessageBox(self)
        asked.setText(text)
        asked.setInformativeText(self.tr("This cannot be undone."))
        yes = asked.addButton(what, QMessageBox.ButtonRole.DestructiveRole)
        asked.addButton(self.tr("Cancel"), QMessageBox.ButtonRole.RejectRole)
        asked.exec()
        return asked.clickedButton() is yes
