"""Conversations as a list; a row shows its title, its picture, and the day it was used last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import (
    QAbstractListModel,
    QCoreApplication,
    QDate,
    QDateTime,
    QLocale,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    Qt,
)
from PySide6.QtGui import QPixmap

from llavao1_gui.state.history import Conversation
from llavao1_gui.state.tips import tip

RUNNING = Qt.ItemDataRole.UserRole + 1  # whether an answer is on its way
GROUP = Qt.ItemDataRole.UserRole + 2  # the heading above the first row of a day or month
SEARCHED = Qt.ItemDataRole.UserRole + 3  # what was searched for
MOST_PICTURES = 500  # in memory at once
Index = QModelIndex | QPersistentModelIndex


class HistoryModel(QAbstractListModel):
    """path_of: the file of a picture's thumbnail, by its digest."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.conversations: list[Conversation] = []
        self.running: set[int] = set()
        self.searched = ""
        self.path_of: Callable[[str], Path] | None = None
        self._pictures: dict[str, QPixmap] = {}

    def show(
        self, conversations: list[Conversation], running: set[int], searched: str = ""
    ) -> None:
        """running: those with an answer on its way."""
        self.beginResetModel()
        self.conversations, self.running, self.searched = conversations, running, searched
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
        if role == SEARCHED:
            return self.searched
        if role == GROUP:
            return self._group(index.row())
        if role == Qt.ItemDataRole.DecorationRole:
            return self._picture(found.picture)
        if role == Qt.ItemDataRole.ToolTipRole:
            when = QDateTime.fromSecsSinceEpoch(int(found.updated))
            shown = QLocale().toString(when, QLocale.FormatType.ShortFormat)
            return tip(f"{found.title}\n{found.picture_name}\n{shown}")
        return None

    def _group(self, row: int) -> str:
        """Of the first row of each; the others have none."""
        here = day_text(self.conversations[row].updated)
        before = day_text(self.conversations[row - 1].updated) if row else ""
        return here if here != before else ""

    def _picture(self, digest: str | None) -> QPixmap:
        if digest is None or self.path_of is None:
            return QPixmap()
        if digest not in self._pictures:
            if len(self._pictures) >= MOST_PICTURES:
                self._pictures.clear()
            # Qt's own reader may see it: this program wrote it.
            self._pictures[digest] = QPixmap(str(self.path_of(digest)))
        return self._pictures[digest]

    def row_of(self, conversation: int) -> int:
        """-1 where it is not in the list."""
        numbers = [found.id for found in self.conversations]
        return numbers.index(conversation) if conversation in numbers else -1


def day_text(seconds: float, *, today: QDate | None = None) -> str:
    """Today, yesterday, this week, or the month."""
    today = today or QDate.currentDate()
    day = QDateTime.fromSecsSinceEpoch(int(seconds)).date()
    translate = QCoreApplication.translate
    age = day.daysTo(today)
    if age <= 0:
        return translate("Days", "Today")
    if age == 1:
        return translate("Days", "Yesterday")
    if age < 7:
        return translate("Days", "This week")
    month = QLocale().standaloneMonthName(day.month())
    return month if day.year() == today.year() else f"{month} {day.year()}"
