"""Conversations as a list; a row shows its title and when it was used last."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import (
    QAbstractListModel,
    QDateTime,
    QLocale,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    Qt,
)

from llavao1_gui.state.history import Conversation
from llavao1_gui.state.tips import tip

RUNNING = Qt.ItemDataRole.UserRole + 1  # whether an answer is on its way
Index = QModelIndex | QPersistentModelIndex


class HistoryModel(QAbstractListModel):
    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.conversations: list[Conversation] = []
        self.running: set[int] = set()

    def show(self, conversations: list[Conversation], running: set[int]) -> None:
        """running: those with an answer on its way."""
        self.beginResetModel()
        self.conversations, self.running = conversations, running
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: N802, B008
        return 0 if parent.isValid() else len(self.conversations)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self.conversations):
            return None
        found = self.conversations[index.row()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return f"● {found.title}" if found.id in self.running else found.title
        if role == RUNNING:
            return found.id in self.running
        if role == Qt.ItemDataRole.ToolTipRole:
            when = QDateTime.fromSecsSinceEpoch(int(found.updated))
            shown = QLocale().toString(when, QLocale.FormatType.ShortFormat)
            return tip(f"{found.title}\n{found.picture_name}\n{shown}")
        return None

    def row_of(self, conversation: int) -> int:
        """-1 where it is not in the list."""
        numbers = [found.id for found in self.conversations]
        return numbers.index(conversation) if conversation in numbers else -1
