"""What was weighed for one answer: the tree of candidates, and the one that is picked, to read."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from llavao1_gui.state.tree import Box, columns
from llavao1_gui.widgets.layouts import RetranslatedDialog, label
from llavao1_gui.widgets.layouts import column as stack
from llavao1_gui.widgets.placing import open_dialog
from llavao1_gui.widgets.rich_text import RichText
from llavao1_gui.widgets.texts import said, score_text, search_text, stage_name
from llavao1_gui.widgets.tree_view import TreeView, note_text


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
        counters = trace["counters"]
        parts = [
            search_text(trace["strategy"], trace["options"]),
            self.tr("{0} candidates").format(len(trace["candidates"])),
            self.tr("{0} tokens").format(counters["sampled_tokens"]),
            self.tr("seed {0}").format(trace["seed"]),
            *map(said, trace["remarks"]),
        ]
        return " · ".join(parts)

    def _read(self, box: Box) -> None:
        self.title.setText(stage_name(self._stages[box.column]))
        self.text.set_markdown(box.text)
        chosen = self.tr("part of the answer") if box.chosen else self.tr("not part of the answer")
        sure = self.tr("mean log-probability {0}").format(score_text(box.certainty))
        tokens = self.tr("{0} tokens").format(box.tokens)
        self.why.setText(" · ".join([chosen, note_text(box), sure, tokens]))
