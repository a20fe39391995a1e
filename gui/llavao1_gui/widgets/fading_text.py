"""The last lines of a text that is being written, older ones paler."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QSize
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QTextLayout
from PySide6.QtWidgets import QSizePolicy, QWidget

from llavao1_gui.widgets import theme

LINES = (0.35, 0.65, 1.0)  # how strong each of them is, the newest last
LOOKED_AT = 600  # characters: more than three lines of any width


class FadingText(QWidget):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def show_text(self, text: str) -> None:
        if text != self._text:
            self._text = " ".join(text[-LOOKED_AT:].split())
            self.setAccessibleName(self._text)
            self.update()

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(200, round(self.fontMetrics().lineSpacing() * 1.25 * len(LINES)))

    def paintEvent(self, _: QPaintEvent) -> None:  # noqa: N802
        layout = QTextLayout(self._text, self.font())
        layout.beginLayout()
        lines = []
        while (line := layout.createLine()).isValid():
            line.setLineWidth(self.width())
            lines.append(line)
        layout.endLayout()
        painter = QPainter(self)
        step = self.fontMetrics().lineSpacing() * 1.25
        shown = lines[-len(LINES) :]
        for at, (line, strength) in enumerate(
            zip(shown, LINES[-len(shown) :] if shown else (), strict=True)
        ):
            colour = QColor(theme.current().text)
            colour.setAlphaF(strength)
            painter.setPen(colour)
            line.draw(painter, QPointF(0, at * step - line.y()))
        painter.end()
