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

Index = QModelIndex | QPersistentModelIndex


class HistoryModel(QAbstractListModel):
    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.conversations: list[Conversation] = []

    def show(self, conversations: list[Conversation]) -> None:
        self.beginResetModel()
        self.conversations = conversations
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: N802, B008
        return 0 if parent.isValid() else len(self.conversations)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self.conversations):
            return None
        found = self.conversations[index.row()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return found.title
        if role == Qt.ItemDataRole.ToolTipRole:
            when = QDateTime.fromSecsSinceEpoch(int(found.updated))
            shown = QLocale().toString(when, QLocale.FormatType.ShortFormat)
            return tip(f"{found.title}\n{found.picture_name}\n{shown}")
        return None

    def row_of(self, conversation: int) -> int:
        """-1 where it is not in the list."""
        numbers = [found.id for found in self.conversations]
        return numbers.index(conversation) if conversation in numbers else -1
