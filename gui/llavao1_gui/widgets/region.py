"""Choosing a region of a screenshot: the frozen screen, and a rectangle drawn on it."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect, Qt, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
)
from PySide6.QtWidgets import QWidget

SMALLEST = 4  # pixels; less is a click


class RegionChooser(QWidget):
    """chosen: a QImage of the region. left: Escape, or no region. One of them, when it closes."""

    chosen = Signal(object)
    left = Signal()

    def __init__(self, shot: QPixmap, geometry: QRect) -> None:
        super().__init__(None, Qt.WindowType.FramelessWindowHint | Qt.WindowType.Tool)
        self.setAttribute(Qt.WidgetAttribute.WA_QuitOnClose, False)  # the window is hidden now
        self._shot = shot
        self._from: QPoint | None = None
        self._to = QPoint()
        self._region = QRect()
        self.setGeometry(geometry)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(self.tr("Draw a rectangle; Escape leaves"))

    def paintEvent(self, _: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.drawPixmap(self.rect(), self._shot)
        painter.fillRect(self.rect(), QColor(0, 0, 0, 90))
        if self._from is not None:
            region = QRect(self._from, self._to).normalized()
            painter.drawPixmap(region, self._shot, self._scaled(region))
            painter.setPen(QPen(QColor("#ffffff"), 2))
            painter.drawRect(region)
        painter.end()

    def _scaled(self, region: QRect) -> QRect:
        """From the widget's to the screenshot's pixels (a scaled desktop has more of those)."""
        ratio = self._shot.width() / max(1, self.width())
        return QRect(region.topLeft() * ratio, region.size() * ratio)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        self._from = self._to = event.position().toPoint()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        self._to = event.position().toPoint()
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if self._from is not None:
            self._region = QRect(self._from, event.position().toPoint()).normalized()
        self.close()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if event.key() == Qt.Key.Key_Escape:
            self.close()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """However it is closed, whoever waits is told."""
        super().closeEvent(event)
        region, self._region = self._region, QRect()
        if min(region.width(), region.height()) < SMALLEST:
            self.left.emit()
        else:
            self.chosen.emit(self._shot.copy(self._scaled(region)).toImage())
