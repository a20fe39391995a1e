"""How a conversation looks in the list: its picture, its title in two lines, its day above it."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QPainter,
    QPixmap,
    QTextCharFormat,
    QTextLayout,
    QTextOption,
)
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from llavao1_gui.models.history import GROUP, RUNNING, SEARCHED
from llavao1_gui.widgets import theme

PICTURE, ROOM, GAP = 36, 7, 8
Index = QModelIndex | QPersistentModelIndex


class HistoryRows(QStyledItemDelegate):
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:  # noqa: N802
        line = option.fontMetrics.lineSpacing()
        height = max(PICTURE, 2 * line) + 2 * ROOM
        return QSize(120, height + (self._heading_height(option) if index.data(GROUP) else 0))

    def _heading_height(self, option: QStyleOptionViewItem) -> int:
        return round(option.fontMetrics.lineSpacing() * 1.7)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        box: QRect = option.rect
        colours = theme.current()
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        heading = index.data(GROUP)
        if heading:
            above = self._heading_height(option)
            painter.setPen(QColor(colours.faint))
            place = QRect(box.left() + 6, box.top(), box.width() - 6, above - 3)
            bottom = Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignLeft
            painter.drawText(place, int(bottom), heading)
            box = box.adjusted(0, above, 0, 0)
        self._paint_ground(painter, option, box)
        picture = index.data(Qt.ItemDataRole.DecorationRole)
        left = box.left() + ROOM
        if isinstance(picture, QPixmap) and not picture.isNull():
            self._paint_picture(painter, picture, QRect(left, box.top() + ROOM, PICTURE, PICTURE))
        left += PICTURE + GAP
        text = QRect(left, box.top() + ROOM, box.right() - ROOM - left, box.height() - 2 * ROOM)
        self._paint_title(painter, option.font, text, index)
        painter.restore()

    def _paint_ground(self, painter: QPainter, option: QStyleOptionViewItem, box: QRect) -> None:
        colours, state = theme.current(), option.state
        selected = bool(state & QStyle.StateFlag.State_Selected)
        over = bool(state & QStyle.StateFlag.State_MouseOver)
        if selected or over:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.note_back if selected else colours.raised))
            painter.drawRoundedRect(QRectF(box), 6, 6)
        if selected and state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(QColor(colours.accent))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(box).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)

    def _paint_picture(self, painter: QPainter, picture: QPixmap, place: QRect) -> None:
        """The middle of it, cut to a square."""
        side = min(picture.width(), picture.height())
        source = QRect((picture.width() - side) // 2, (picture.height() - side) // 2, side, side)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawPixmap(place, picture, source)

    def _paint_title(self, painter: QPainter, font: QFont, place: QRect, index: Index) -> None:
        """In two lines, the second ends in dots where there are more."""
        title = str(index.data(Qt.ItemDataRole.DisplayRole))
        layout = self._laid_out(title, font, place.width(), index)
        if layout.lineCount() > 2:
            start = layout.lineAt(1).textStart()
            dots = Qt.TextElideMode.ElideRight
            rest = painter.fontMetrics().elidedText(title[start:], dots, place.width() - 2)
            layout = self._laid_out(title[:start] + rest, font, place.width(), index)
        height = layout.boundingRect().height()
        painter.setPen(QColor(theme.current().text))
        layout.draw(painter, QPointF(place.left(), place.top() + (place.height() - height) / 2))

    def _laid_out(self, title: str, font: QFont, width: int, index: Index) -> QTextLayout:
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        layout = QTextLayout(title, font)
        layout.setTextOption(option)
        layout.setFormats(self._formats(title, index))
        layout.beginLayout()
        y = 0.0
        while (line := layout.createLine()).isValid():
            line.setLineWidth(max(10, width))
            line.setPosition(QPointF(0, y))
            y += line.height()
        layout.endLayout()
        return layout

    def _formats(self, title: str, index: Index) -> list[QTextLayout.FormatRange]:
        """What was searched for, marked; a running answer's dot in the accent's colour."""
        colours, found = theme.current(), []
        searched = str(index.data(SEARCHED) or "").casefold()
        at = title.casefold().find(searched) if searched else -1
        if at >= 0:
            found.append(_range(at, len(searched), colours.accent, bold=True))
        if index.data(RUNNING):
            found.append(_range(0, 1, colours.accent, bold=True))
        return found


def _range(start: int, length: int, colour: str, *, bold: bool) -> QTextLayout.FormatRange:
    made = QTextLayout.FormatRange()
    made.start, made.length = start, length
    shape = QTextCharFormat()
    shape.setForeground(QColor(colour))
    if bold:
        shape.setFontWeight(QFont.Weight.DemiBold)
    made.format = shape
    return made
