"""The tree of candidates, drawn: each one is a button, so keys and screen readers reach it."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QKeyEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QAbstractButton, QLabel, QScrollArea, QWidget

from llavao1_gui.state.tips import tip
from llavao1_gui.state.tree import Box, Column, Reason
from llavao1_gui.widgets import theme
from llavao1_gui.widgets.layouts import arrow, label
from llavao1_gui.widgets.texts import score_text, scorer_name, stage_name

WIDTH, HEIGHT, GAP_X, GAP_Y, TOP, MARGIN = 210, 74, 46, 12, 30, 14


class BoxButton(QAbstractButton):
    """A candidate, or several that say the same."""

    def __init__(self, box: Box, stage: str | None, parent: QWidget) -> None:
        super().__init__(parent)
        self.box, self.note = box, count_text(box) or short_reason(box.reason)
        self.picked = False
        x, y = MARGIN + box.column * (WIDTH + GAP_X), TOP + box.row * (HEIGHT + GAP_Y)
        self.setGeometry(x, y, WIDTH, HEIGHT)
        self.setToolTip(tip(box.text[:400]))
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the arrows walk; Tab leaves the tree
        chosen = QCoreApplication.translate("Reasons", "part of the answer") if box.chosen else ""
        parts = (stage_name(stage), " ".join(box.text.split())[:200], self.note, chosen)
        self.setAccessibleName(", ".join(filter(None, parts)))
        self.setAccessibleDescription(note_text(box))

    def paintEvent(self, _: QPaintEvent) -> None:  # noqa: N802
        colours, chosen = theme.current(), self.box.chosen
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(QColor(colours.note_back if chosen else colours.surface))
        edge = colours.accent if chosen or self.picked else colours.line
        painter.setPen(QPen(QColor(edge), 2.5 if self.picked else 1.6 if chosen else 1))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1.5, 1.5, -1.5, -1.5), 7, 7)
        metrics = QFontMetricsF(self.font())
        painter.setPen(QColor(colours.text))
        lines = two_lines(" ".join(self.box.text.split()) or "–", metrics, WIDTH - 20)
        for at, line in enumerate(lines):
            painter.drawText(QPointF(10, 7 + metrics.ascent() + at * metrics.lineSpacing()), line)
        painter.setPen(QColor(colours.accent if chosen else colours.faint))
        mark = "✓ " if chosen else ""
        note = metrics.elidedText(mark + self.note, Qt.TextElideMode.ElideRight, WIDTH - 20)
        painter.drawText(QPointF(10, HEIGHT - 10), note)
        painter.end()


def two_lines(text: str, metrics: QFontMetricsF, width: float) -> list[str]:
    """As many words as fit into the first line; what is left, with … where it does not fit."""
    words = text.split(" ")
    n = 1
    while n < len(words) and metrics.horizontalAdvance(" ".join(words[: n + 1])) <= width:
        n += 1
    lines = [" ".join(words[:n]), " ".join(words[n:])]
    return [metrics.elidedText(line, Qt.TextElideMode.ElideRight, width) for line in lines if line]


class Canvas(QWidget):
    """The boxes' home; draws the lines between them."""

    def __init__(self) -> None:
        super().__init__()
        self.boxes: dict[int, BoxButton] = {}

    def paintEvent(self, _: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colours = theme.current()
        for button in self.boxes.values():
            parent = self.boxes.get(button.box.parent)
            if parent is None:
                continue
            start = QPointF(parent.x() + WIDTH, parent.y() + HEIGHT / 2)
            end = QPointF(button.x(), button.y() + HEIGHT / 2)
            middle = (start.x() + end.x()) / 2
            path = QPainterPath(start)
            path.cubicTo(QPointF(middle, start.y()), QPointF(middle, end.y()), end)
            both = button.box.chosen and parent.box.chosen
            pen = QPen(QColor(colours.accent if both else colours.line), 2.4 if both else 1.2)
            painter.strokePath(path, pen)
        painter.end()


class TreeView(QScrollArea):
    """picked: a Box. The arrows walk through the candidates."""

    picked = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.boxes: dict[int, BoxButton] = {}
        self.current: BoxButton | None = None

    def show_columns(self, found: tuple[Column, ...]) -> None:
        canvas = Canvas()
        self.boxes, self.current = canvas.boxes, None
        for at, column in enumerate(found):
            title: QLabel = label(stage_name(column.stage), role="faint")
            title.setParent(canvas)
            title.move(MARGIN + at * (WIDTH + GAP_X), 6)
            for box in column.boxes:
                button = self.boxes[box.key] = BoxButton(box, column.stage, canvas)
                button.clicked.connect(lambda _=False, button=button: self.pick(button))
        rows = max((len(column.boxes) for column in found), default=0)
        canvas.resize(
            QSize(
                2 * MARGIN + len(found) * (WIDTH + GAP_X) - GAP_X,
                TOP + rows * (HEIGHT + GAP_Y) + MARGIN,
            )
        )
        self.setWidget(canvas)
        final = [button for button in self.boxes.values() if button.box.chosen]
        if final:
            self.pick(final[-1])

    def pick(self, button: BoxButton) -> None:
        if self.current is not None:
            self.current.picked = False
            self.current.update()
        self.current = button
        button.picked = True
        button.update()
        middle = button.geometry().center()
        self.ensureVisible(middle.x(), middle.y(), WIDTH // 2 + 20, HEIGHT // 2 + 20)
        self.picked.emit(button.box)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        step = arrow(event)
        if step is None or self.current is None:
            super().keyPressEvent(event)
            return
        column, line = self.current.box.column + step[0], self.current.box.row + step[1]
        there = [button for button in self.boxes.values() if button.box.column == column]
        near = min(there, key=lambda button: abs(button.box.row - line), default=None)
        if near is not None:
            self.pick(near)


def count_text(box: Box) -> str:
    """How many say it; empty for a single one."""
    if box.count == 1:
        return ""
    if box.count == box.of:
        return QCoreApplication.translate("Reasons", "{0} of {1} agree").format(box.count, box.of)
    return QCoreApplication.translate("Reasons", "{0} of {1} say this").format(box.count, box.of)


def note_text(box: Box) -> str:
    """How many say it, and why it stands where it does."""
    agreed = box.count == box.of > 1
    return " · ".join(filter(None, (count_text(box), "" if agreed else reason_text(box.reason))))


def short_reason(reason: Reason) -> str:
    """Of a score the number alone: whose it is stands above all boxes."""
    if reason.kind == "score" and reason.score is not None:
        return score_text(reason.score)
    return reason_text(reason)


def reason_text(reason: Reason) -> str:
    """Why a candidate stands where it does, in a few words."""
    if reason.kind == "judge":
        text = QCoreApplication.translate("Reasons", "won {0} of {1} comparisons")
        return text.format(reason.wins, reason.comparisons)
    if reason.kind == "score" and reason.score is not None:
        text = QCoreApplication.translate("Reasons", "{0}: {1}")
        return text.format(scorer_name(reason.by), score_text(reason.score))
    return {
        "alone": QCoreApplication.translate("Reasons", "the only one"),
        "equal": QCoreApplication.translate("Reasons", "all say the same"),
        "greedy": QCoreApplication.translate("Reasons", "finished greedily"),
        "open": QCoreApplication.translate("Reasons", "went on"),
        "lost": QCoreApplication.translate("Reasons", "not chosen"),
    }.get(reason.kind, "")
