"""The tree of a search: a column a stage, the kept path marked, a click to read."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QCoreApplication, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QKeyEvent, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import (
    QGraphicsItem,
    QGraphicsScene,
    QGraphicsView,
    QSplitter,
    QStyleOptionGraphicsItem,
    QVBoxLayout,
    QWidget,
)

from llavao1_gui.state.tips import tip
from llavao1_gui.state.tree import Box, Column, Reason, columns
from llavao1_gui.widgets import theme
from llavao1_gui.widgets.layouts import RetranslatedDialog, arrow, label
from llavao1_gui.widgets.layouts import column as stack
from llavao1_gui.widgets.placing import open_dialog
from llavao1_gui.widgets.rich_text import RichText
from llavao1_gui.widgets.texts import stage_name

WIDTH, HEIGHT, GAP_X, GAP_Y, TOP = 210.0, 74.0, 46.0, 12.0, 34.0


class BoxItem(QGraphicsItem):
    """A candidate. Its place follows from its column and row."""

    def __init__(self, box: Box, note: str, font: QFont) -> None:
        super().__init__()
        self.box, self.note, self.font = box, note, font
        self.picked = False
        self.setPos(box.column * (WIDTH + GAP_X), TOP + box.row * (HEIGHT + GAP_Y))
        self.setToolTip(tip(box.text[:400]))
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def boundingRect(self) -> QRectF:  # noqa: N802
        return QRectF(-2, -2, WIDTH + 4, HEIGHT + 4)

    def paint(
        self, painter: QPainter, _: QStyleOptionGraphicsItem, __: QWidget | None = None
    ) -> None:
        colours = theme.current()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        chosen = self.box.chosen
        painter.setBrush(QColor(colours.note_back if chosen else colours.surface))
        edge = colours.accent if chosen or self.picked else colours.line
        painter.setPen(QPen(QColor(edge), 2.5 if self.picked else 1.6 if chosen else 1))
        painter.drawRoundedRect(QRectF(0, 0, WIDTH, HEIGHT), 7, 7)
        metrics = QFontMetricsF(self.font)
        painter.setFont(self.font)
        painter.setPen(QColor(colours.text))
        room = QRectF(10, 7, WIDTH - 20, metrics.lineSpacing() * 2)
        painter.drawText(room, int(Qt.TextFlag.TextWordWrap), self._cut(metrics, WIDTH * 1.75))
        painter.setPen(QColor(colours.accent if chosen else colours.faint))
        mark = "✓ " if chosen else ""
        note = metrics.elidedText(mark + self.note, Qt.TextElideMode.ElideRight, WIDTH - 20)
        painter.drawText(QPointF(10, HEIGHT - 10), note)

    def _cut(self, metrics: QFontMetricsF, width: float) -> str:
        text = " ".join(self.box.text.split()) or "–"
        return metrics.elidedText(text, Qt.TextElideMode.ElideRight, width)


class TreeView(QGraphicsView):
    """picked: a Box. The arrows walk through the candidates."""

    picked = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setScene(QGraphicsScene(self))
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.setRenderHint(QPainter.RenderHint.Antialiasing)
        self.setFrameShape(QGraphicsView.Shape.NoFrame)
        self.items_by_key: dict[int, BoxItem] = {}
        self.current: BoxItem | None = None

    def show_columns(self, found: tuple[Column, ...]) -> None:
        scene = self.scene()
        scene.clear()
        self.items_by_key.clear()
        self.current = None
        self.setBackgroundBrush(QColor(theme.current().back))
        for at, column in enumerate(found):
            title = scene.addText(stage_name(column.stage), self.font())
            title.setDefaultTextColor(QColor(theme.current().faint))
            title.setPos(at * (WIDTH + GAP_X) - 4, 2)
            for box in column.boxes:
                item = BoxItem(box, reason_text(box.reason), self.font())
                scene.addItem(item)
                self.items_by_key[box.key] = item
        for item in self.items_by_key.values():
            self._connect(item)
        scene.setSceneRect(scene.itemsBoundingRect().adjusted(-14, -6, 14, 14))
        final = [item for item in self.items_by_key.values() if item.box.chosen]
        if final:
            self.pick(final[-1])

    def _connect(self, item: BoxItem) -> None:
        parent = self.items_by_key.get(item.box.parent)
        if parent is None:
            return
        start = parent.pos() + QPointF(WIDTH, HEIGHT / 2)
        end = item.pos() + QPointF(0, HEIGHT / 2)
        path = QPainterPath(start)
        middle = (start.x() + end.x()) / 2
        path.cubicTo(QPointF(middle, start.y()), QPointF(middle, end.y()), end)
        both = item.box.chosen and parent.box.chosen
        colours = theme.current()
        pen = QPen(QColor(colours.accent if both else colours.line), 2.4 if both else 1.2)
        drawn = self.scene().addPath(path, pen)
        drawn.setZValue(-1)

    def pick(self, item: BoxItem) -> None:
        if self.current is not None:
            self.current.picked = False
            self.current.update()
        self.current = item
        item.picked = True
        item.update()
        self.ensureVisible(item, 20, 20)
        self.picked.emit(item.box)

    def mousePressEvent(self, event: Any) -> None:  # noqa: N802
        found = self.itemAt(event.position().toPoint())
        if isinstance(found, BoxItem):
            self.pick(found)
        super().mousePressEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        step = arrow(event)
        if step is None or self.current is None:
            super().keyPressEvent(event)
            return
        column, line = self.current.box.column + step[0], self.current.box.row + step[1]
        there = [item for item in self.items_by_key.values() if item.box.column == column]
        near = min(there, key=lambda item: abs(item.box.row - line), default=None)
        if near is not None:
            self.pick(near)


def reason_text(reason: Reason) -> str:
    """Why a candidate stands where it does, in a few words."""
    if reason.kind == "judge":
        text = QCoreApplication.translate("Reasons", "won {0} of {1} comparisons")
        return text.format(reason.wins, reason.comparisons)
    if reason.kind == "score" and reason.score is not None:
        text = QCoreApplication.translate("Reasons", "{0}: {1}")
        return text.format(reason.by, f"{reason.score:.3f}")
    return {
        "alone": QCoreApplication.translate("Reasons", "the only one"),
        "equal": QCoreApplication.translate("Reasons", "all say the same"),
        "greedy": QCoreApplication.translate("Reasons", "finished greedily"),
        "open": QCoreApplication.translate("Reasons", "went on"),
        "lost": QCoreApplication.translate("Reasons", "not chosen"),
    }.get(reason.kind, "")


class CandidatesDialog(RetranslatedDialog):
    """For one answer's trace."""

    def __init__(self, question: str, trace: dict[str, Any], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        open_dialog(self, 1080, 640)
        self.trace = trace
        self.tree = TreeView()
        self.title = label(role="stage")
        self.why = label(role="faint", wrap=True, select=True)
        self.text = RichText(scale=1.1)
        reading = QWidget()
        reading.setLayout(stack(self.title, self.text, self.why, None, margin=12))
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self.tree)
        split.addWidget(reading)
        split.setSizes([420, 200])
        self.setLayout(QVBoxLayout())
        self.about = label(role="faint", wrap=True)
        for widget in (label(question, role="question", wrap=True), self.about, split):
            self.layout().addWidget(widget)  # type: ignore[union-attr]
        self.tree.picked.connect(self._read)
        self.retranslate()
        self.tree.setFocus()

    def retranslate(self) -> None:
        self.setWindowTitle(self.tr("Candidates"))
        self.tree.setAccessibleName(self.tr("Tree of candidates"))
        self.about.setText(self._about())
        found = columns(self.trace)
        self._stages = [column.stage for column in found]
        self.tree.show_columns(found)

    def _about(self) -> str:
        trace = self.trace
        options = ", ".join(f"{name} {value}" for name, value in trace["options"].items())
        counters = trace["counters"]
        parts = [
            trace["strategy"] + (f" ({options})" if options else ""),
            self.tr("{0} candidates").format(len(trace["candidates"])),
            self.tr("{0} tokens").format(counters["sampled_tokens"]),
            self.tr("seed {0}").format(trace["seed"]),
            *trace["remarks"],
        ]
        return " · ".join(parts)

    def _read(self, box: Box) -> None:
        self.title.setText(stage_name(self._stages[box.column]))
        self.text.set_markdown(box.text)
        chosen = self.tr("part of the answer") if box.chosen else self.tr("not part of the answer")
        sure = self.tr("mean log-probability {0}").format(f"{box.certainty:.3f}")
        tokens = self.tr("{0} tokens").format(box.tokens)
        self.why.setText(" · ".join([chosen, reason_text(box.reason), sure, tokens]))
