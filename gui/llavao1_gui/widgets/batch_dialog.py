"""Many pictures, one question (or a table of questions): progress, pause, results as they come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFileDialog,
    QHeaderView,
    QLineEdit,
    QProgressBar,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from llavao1_gui.state.batch import Row
from llavao1_gui.state.tips import tip
from llavao1_gui.widgets.layouts import RetranslatedDialog, button, column, label, row
from llavao1_gui.widgets.placing import open_dialog
from llavao1_gui.widgets.texts import said

SHOWN = 500  # rows of results; all are in the file


class BatchDialog(RetranslatedDialog):
    """started: (source, question, results file). Source: a folder or a .csv."""

    started = Signal(str, str, str)
    paused = Signal()
    stopped = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        open_dialog(self, 860, 600)
        self.source, self.question, self.out = QLineEdit(), QLineEdit(), QLineEdit()
        self.folder_button = button(clicked=self._folder)
        self.table_button = button(clicked=self._csv)
        self.out_button = button(clicked=self._out)
        self.start_button = button(clicked=self._start, main=True)
        self.start_button.setDefault(True)  # Return starts, not the folder chooser
        self.pause_button = button(clicked=self.paused.emit)
        self.stop_button = button(clicked=self.stopped.emit)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.state = label(role="faint", wrap=True)
        self.problem = label(role="bad", wrap=True, select=True)
        self.problem.hide()
        self.table = QTableWidget(0, 4)
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        header = self.table.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        fit, fill = QHeaderView.ResizeMode.ResizeToContents, QHeaderView.ResizeMode.Stretch
        for at, mode in enumerate((fit, fill, fill, fit)):
            header.setSectionResizeMode(at, mode)
        self.names = tuple(label(role="faint") for _ in range(3))
        pictures, question, results = self.names
        self.setLayout(
            column(
                row(pictures, self.source, self.folder_button, self.table_button),
                row(question, self.question),
                row(results, self.out, self.out_button),
                row(self.start_button, self.pause_button, self.stop_button, self.state, None),
                self.bar, self.problem, self.table, margin=16, gap=10,
            )
        )  # fmt: skip
        self._paused, self._progress = False, (0, 0, 0)
        self.set_running(False)
        self.source.textChanged.connect(self._source_changed)
        self.retranslate()

    def retranslate(self) -> None:
        self.setWindowTitle(self.tr("Many pictures at once"))
        texts = (self.tr("Folder or table"), self.tr("Question"), self.tr("File of results"))
        for name, text in zip(self.names, texts, strict=True):
            name.setText(text)
        widest = max(name.sizeHint().width() for name in self.names)
        for name in self.names:
            name.setFixedWidth(widest)
        self.source.setAccessibleName(self.tr("Folder or table"))
        self.source.setPlaceholderText(
            self.tr("A folder of pictures, or a .csv with the columns picture and question")
        )
        self.question.setAccessibleName(self.tr("Question"))
        self.question.setPlaceholderText(self.tr("The question to every picture"))
        self.out.setAccessibleName(self.tr("File of results"))
        self.out.setPlaceholderText(self.tr("Where results go (.jsonl, and a .csv beside it)"))
        self.folder_button.setText(self.tr("Folder…"))
        self.table_button.setText(self.tr("Table…"))
        self.out_button.setText(self.tr("Results…"))
        self.start_button.setText(self.tr("Start"))
        self.pause_button.setText(self.tr("Go on") if self._paused else self.tr("Pause"))
        self.stop_button.setText(self.tr("Stop"))
        self.table.setAccessibleName(self.tr("Results"))
        self.table.horizontalHeader().setAccessibleName(self.tr("Results"))
        self.table.setHorizontalHeaderLabels(
            [self.tr("Picture"), self.tr("Question"), self.tr("Conclusion"), self.tr("Seconds")]
        )
        self._show_state()

    def _folder(self) -> None:
        if chosen := QFileDialog.getExistingDirectory(self, self.tr("A folder of pictures")):
            self.source.setText(chosen)

    def _csv(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, self.tr("A table"), "", "*.csv")
        if chosen:
            self.source.setText(chosen)

    def _out(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(
            self, self.tr("Results"), "results.jsonl", "*.jsonl",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )  # fmt: skip
        if chosen:
            self.out.setText(chosen)

    def _source_changed(self, text: str) -> None:
        self.question.setEnabled(not text.lower().endswith(".csv"))

    def _start(self) -> None:
        self.started.emit(self.source.text(), self.question.text(), self.out.text())

    # --- how it goes --------------------------------------------------------------------------
    def set_running(self, running: bool, *, paused: bool = False) -> None:
        self.start_button.setEnabled(not running)
        self.stop_button.setEnabled(running)
        self.pause_button.setEnabled(running)
        self._paused = paused
        self.pause_button.setText(self.tr("Go on") if paused else self.tr("Pause"))
        for field in (self.source, self.out):
            field.setEnabled(not running)

    def show_problem(self, text: str) -> None:
        self.problem.setText(text)
        self.problem.setVisible(bool(text))

    def show_progress(self, done: int, total: int, failed: int) -> None:
        self.bar.setRange(0, max(1, total))
        self.bar.setValue(done)
        self._progress = (done, total, failed)
        self._show_state()

    def _show_state(self) -> None:
        done, total, failed = self._progress
        text = self.tr("{0} of {1} done").format(done, total) if total else ""
        if failed:
            text += " · " + self.tr("{0} with an error").format(failed)
        self.state.setText(text)

    def add(self, asked: Row, found: dict[str, Any]) -> None:
        """A result, newest at the top."""
        self.table.insertRow(0)
        answer = found.get("conclusion") or f"✗ {said(found.get('error', ''))}"
        seconds = "" if found.get("seconds") is None else f"{found['seconds']:.1f}"
        texts = (Path(asked.picture).name, asked.question, answer, seconds)
        for at, text in enumerate(texts):
            item = QTableWidgetItem(text)
            item.setToolTip(tip(text))
            self.table.setItem(0, at, item)
        self.table.setRowCount(min(SHOWN, self.table.rowCount()))
