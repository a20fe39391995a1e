"""A question with its answer: the conclusion first, how it got there on demand."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QImage
from PySide6.QtWidgets import QFrame, QLabel, QProgressBar, QSizePolicy, QVBoxLayout, QWidget

from llavao1_gui.state.history import Exchange
from llavao1_gui.state.live import NAMES, LiveAnswer
from llavao1_gui.widgets.fading_text import FadingText
from llavao1_gui.widgets.layouts import (
    Fold,
    IconButton,
    Retranslated,
    column,
    label,
    row,
    set_role,
    show_chip,
)
from llavao1_gui.widgets.rich_text import RichText
from llavao1_gui.widgets.texts import duration_text, preset_name, said, stage_name

BEFORE = NAMES[:3]
CONCLUSION_SCALE = 1.6
LONG_QUESTION = 600  # characters; the rest is folded away
SHORT = 160  # characters; a longer conclusion is read, not seen at a glance
LEAST_LEFT_S = 3  # less is not worth an estimate


class StageSection(QWidget):
    """A stage's name and text."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage = stage
        self.title = label(role="stage")
        self.text = RichText()
        self.setLayout(column(self.title, self.text, gap=2))

    def set_text(self, text: str) -> None:
        self.text.set_markdown(text)
        self.setVisible(bool(text))


class AnswerCard(Retranslated):
    """copied, candidates, again, instead, edited: what the user wants of this answer."""

    copied = Signal(object)
    candidates = Signal(object)
    again = Signal(object)
    instead = Signal(object)
    edited = Signal(object)

    def __init__(self, exchange: Exchange, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.exchange = exchange
        self.live: LiveAnswer | None = None
        frame = QFrame()
        frame.setObjectName("card")
        self.steps = label(role="faint")
        self.status = label(role="faint", wrap=True)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setRange(0, 100)
        self.thought = FadingText()
        self.conclusion = RichText(scale=CONCLUSION_SCALE)
        self.problem = label(role="bad", wrap=True, select=True)
        self.notes = label(role="faint", wrap=True)
        self.sections = {stage: StageSection(stage) for stage in BEFORE}
        self.details = QWidget()
        self.details.setLayout(column(*self.sections.values(), gap=10))
        self.details.layout().setContentsMargins(24, 0, 0, 4)  # type: ignore[union-attr]
        self.how = Fold(self.details, gap=8)
        self.fold = self.how.button
        self.tree_button, self.again_button = IconButton("tree"), IconButton("again")
        self.copy_button = IconButton("copy")
        self.facts = label(role="faint", wrap=True)
        self.edit_button = IconButton("edit")
        actions = row(
            self.facts, self.edit_button, self.tree_button, self.again_button, self.copy_button,
            gap=2,
        )  # fmt: skip
        actions.setStretch(0, 1)
        inside = column(
            self._asked(exchange.question),
            self.conclusion,
            self.problem,
            self.steps,
            self.bar,
            self.status,
            self.thought,
            self.notes,
            self.how,
            actions,
            margin=14,
            gap=8,
        )
        frame.setLayout(inside)
        self.setLayout(QVBoxLayout())
        self.layout().setContentsMargins(0, 0, 0, 0)  # type: ignore[union-attr]
        self.layout().addWidget(frame)  # type: ignore[union-attr]
        self.fold.toggled.connect(self.refresh)
        self.tree_button.clicked.connect(lambda: self.candidates.emit(self.exchange))
        self.again_button.clicked.connect(lambda: self.again.emit(self.exchange))
        self.again_action, self.instead_action = QAction(self), QAction(self)  # of its menu
        self.again_action.triggered.connect(lambda: self.again.emit(self.exchange))
        self.instead_action.triggered.connect(lambda: self.instead.emit(self.exchange))
        self.again_button.addActions([self.again_action, self.instead_action])
        self.again_button.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        self.edit_button.clicked.connect(lambda: self.edited.emit(self.exchange))
        self.copy_button.clicked.connect(lambda: self.copied.emit(self.exchange))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.retranslate()

    def _asked(self, question: str) -> QVBoxLayout:
        """The question with the part it is about; the rest of a long one folded away."""
        long = len(question) > LONG_QUESTION
        start = f"{question[:LONG_QUESTION].rstrip()} …" if long else question
        self.question = label(start, role="question", wrap=True, select=True)
        self.whole_question = Fold(label(question, wrap=True, select=True))
        self.whole_question.setVisible(long)
        self.part = QLabel()
        self.part.hide()
        first = row(self.part, self.question, gap=10)
        first.setStretch(1, 1)
        return column(first, self.whole_question)

    def retranslate(self) -> None:
        self.how.name(self.tr("How it got there"))
        self.whole_question.name(self.tr("The whole question"))
        self.tree_button.name(self.tr("Candidates"), more=self.tr("What was weighed, and why"))
        again = self.tr("Ask again with another seed")
        more = self.tr("Right-click: ask again in place of this answer")
        self.again_button.name(again, more=f"{again}\n{more}")
        self.again_action.setText(again)
        self.instead_action.setText(self.tr("Ask again in place of this answer"))
        self.edit_button.name(self.tr("Reword the question"))
        self.copy_button.name(self.tr("Copy the answer"))
        self.part.setAccessibleName(self.tr("The part that was asked about"))
        self.conclusion.setAccessibleName(self.tr("Conclusion"))
        for stage, section in self.sections.items():
            section.title.setText(stage_name(stage))
            section.text.setAccessibleName(stage_name(stage))
        self.refresh()

    def set_part(self, image: QImage) -> None:
        """What the question is about, where that is a part of the picture."""
        show_chip(self.part, image)

    @property
    def _buttons(self) -> tuple[IconButton, ...]:
        return self.edit_button, self.tree_button, self.again_button, self.copy_button

    def follow(self, live: LiveAnswer) -> None:
        """Shows an answer while it is written; `refresh` after every message."""
        self.live = live
        self.refresh()

    def recolour(self) -> None:
        """After a change of the theme."""
        for text in (self.conclusion, *(section.text for section in self.sections.values())):
            text.refresh()
        for made in (*self._buttons, self.fold, self.whole_question.button):
            made.refresh()
        self.refresh()

    def refresh(self) -> None:
        """Shows what is known now."""
        live, exchange = self.live, self.exchange
        running = live is not None and not live.done
        stages = live.stages if running and live is not None else exchange.stages
        answer = stages.get("conclusion", "") if running else exchange.conclusion
        self.conclusion.setVisible(bool(answer))
        self.conclusion.set_scale(CONCLUSION_SCALE if len(answer) <= SHORT else 1.15)
        self.conclusion.set_markdown(answer)
        for stage, section in self.sections.items():
            if self.fold.isChecked():
                section.set_text(stages.get(stage, ""))
        self.how.setVisible(any(stages.get(stage) for stage in BEFORE))
        self.problem.setText(self._problem(running))
        set_role(self.problem, "bad" if exchange.error else "faint")
        self.problem.setVisible(bool(self.problem.text()))
        self.notes.setText("\n".join(map(said, exchange.notes)))
        self.notes.setVisible(bool(exchange.notes) and not running)
        for shown in (self.steps, self.bar, self.status):
            shown.setVisible(running)
        for made in self._buttons:
            made.setVisible(not running)
        self.copy_button.setEnabled(bool(exchange.conclusion or exchange.stages))
        self.tree_button.setEnabled(exchange.trace is not None)
        self.facts.setText("" if running else self._facts())
        self.facts.setVisible(not running)
        thinking = live.stages.get(live.stage, "") if running and live is not None else ""
        self.thought.setVisible(bool(thinking) and not self.fold.isChecked() and not answer)
        if running and live is not None:
            self.thought.show_text(thinking)
            self._progress(live)

    def _problem(self, running: bool) -> str:
        if running:
            return ""
        if self.exchange.error:
            return said(self.exchange.error)
        if self.exchange.status == "asked":
            return self.tr("The program ended before this answer was finished.")
        if self.exchange.status == "stopped" and not self.exchange.conclusion:
            return self.tr("Stopped before the conclusion.")
        return ""

    def _progress(self, live: LiveAnswer) -> None:
        at = NAMES.index(live.stage) if live.stage in NAMES else -1
        marks = ["✓" if n < at else "●" if n == at else "○" for n in range(len(NAMES))]
        self.steps.setText(
            "   ".join(
                f"{mark} {stage_name(name)}" for mark, name in zip(marks, NAMES, strict=True)
            )
        )
        if live.phase in ("seeing", "prompt"):
            self.bar.setValue(round(100 * max(0.02, live.share)))
        else:
            self.bar.setValue(round(100 * max(0.02, (max(0, at) + live.stage_share) / len(NAMES))))
        self.status.setText(self._status(live))

    def _status(self, live: LiveAnswer) -> str:
        phases = {
            "queued": self.tr("Waiting for another answer"),
            "waiting": self.tr("Waiting"),
            "loading": self.tr("Loading the model"),
            "seeing": self.tr("Reading the picture"),
            "prompt": self.tr("Reading the question"),
            "judging": self.tr("Comparing candidates"),
        }
        parts = [phases.get(live.phase, stage_name(live.stage))]
        if live.is_stuck:
            parts[0] = self.tr("It does not react. Stop again ends the engine")
        elif live.stopping:
            parts[0] = self.tr("Stopping")
        if live.phase in ("seeing", "prompt") and live.share > 0:
            parts.append(f"{100 * live.share:.0f} %")
        if live.phase == "writing" and live.candidates > 1:
            done = self.tr("{0} of {1} candidates")
            parts.append(done.format(live.finished, live.candidates))
        if live.tokens_per_second >= 0.05 and live.phase == "writing":
            parts.append(self.tr("{0} tokens/s").format(f"{live.tokens_per_second:.1f}"))
        if live.returns:
            parts.append(self.tr("went back {0} times").format(live.returns))
        parts.append(self.tr("{0} s").format(f"{live.elapsed:.0f}"))
        left = live.seconds_left or live.seconds_of_work_left
        if left is not None and left >= LEAST_LEFT_S:
            parts.append(self.tr("about {0} left").format(duration_text(left)))
        return " · ".join(parts)

    def _facts(self) -> str:
        exchange, parts = self.exchange, []
        preset = exchange.request.get("preset")
        if preset:
            parts.append(preset_name(preset))
        if exchange.seconds is not None:
            parts.append(self.tr("{0} s").format(f"{exchange.seconds:.1f}"))
        counters = (exchange.trace or {}).get("counters", {})
        if counters.get("sampled_tokens"):
            parts.append(self.tr("{0} tokens").format(counters["sampled_tokens"]))
        if exchange.request.get("seed"):
            parts.append(self.tr("seed {0}").format(exchange.request["seed"]))
        if exchange.status == "stopped" and exchange.conclusion:  # else `problem` says it
            parts.append(self.tr("stopped"))
        if exchange.request.get("reused"):
            parts.append(self.tr("picture known"))
        if exchange.request.get("model") == "demo":
            parts.append(self.tr("demo model"))
        return " · ".join(parts)
