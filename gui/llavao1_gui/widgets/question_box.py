"""Where a question is written, and how it is to be answered."""

from __future__ import annotations

from PySide6.QtCore import QMimeData, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QImage, QKeyEvent, QTextOption
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPlainTextEdit,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from llavao1_edge.search.presets import PRESETS
from llavao1_gui.state.preferences import EXPERT
from llavao1_gui.widgets.given import is_text
from llavao1_gui.widgets.layouts import (
    ElidedLabel,
    IconButton,
    Retranslated,
    button,
    column,
    label,
    name_choice,
    row,
    set_tip,
    show_chip,
)
from llavao1_gui.widgets.texts import preset_help, preset_name

LONGEST = 20_000  # characters: more does not fit any model's context
FORMS = ("", "choices", "number", "yes-no", "json")


class QuestionField(QPlainTextEdit):
    """Return asks, Shift+Return starts a new line; it grows with its text."""

    asked = Signal()
    picture_given = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("question")
        self.setTabChangesFocus(True)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.textChanged.connect(self._grow)
        self._grow()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        plain = not event.modifiers() & Qt.KeyboardModifier.ShiftModifier
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and plain:
            self.asked.emit()
        else:
            super().keyPressEvent(event)

    def canInsertFromMimeData(self, data: QMimeData) -> bool:  # noqa: N802
        return holds_picture(data) or super().canInsertFromMimeData(data)

    def insertFromMimeData(self, data: QMimeData) -> None:  # noqa: N802
        """A picture that is pasted or dropped here is a picture, not the text of its path."""
        if holds_picture(data):
            self.picture_given.emit(data)
        else:
            super().insertFromMimeData(data)

    def _grow(self) -> None:
        lines = min(6, max(2, int(self.document().size().height())))
        self.setFixedHeight(self.fontMetrics().lineSpacing() * lines + 14)


def holds_picture(data: QMimeData) -> bool:
    inline = any(url.isLocalFile() or url.scheme() == "data" for url in data.urls())
    return inline or (data.hasImage() and not is_text(data))


class QuestionBox(Retranslated):
    """asked: the question. form: ("choices", "A,B") and the like, or None."""

    asked = Signal(str)
    stopped = Signal()
    preset_chosen = Signal(str)
    part_dropped = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        frame = QFrame()
        frame.setObjectName("questionBox")
        self.field = QuestionField()
        self.preset = QComboBox()
        self.preset.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.form_kind = QComboBox()
        self.choices = QLineEdit()
        self.choices.hide()
        self.ask_button = button(main=True)
        self.stop_button = IconButton("stop")
        self.stop_button.setIconSize(QSize(16, 16))
        self.stop_button.hide()
        self.part = label(role="faint")
        self.whole_button = IconButton("close")
        self._part_row = QWidget()
        self.part_image = QLabel()
        self._part_row.setLayout(row(self.part_image, self.part, self.whole_button, None, gap=6))
        self._part_row.hide()
        self.hint = ElidedLabel(role="faint")
        self.hint.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        controls = row(
            self.preset, self.form_kind, self.choices, None, self.stop_button, self.ask_button
        )
        frame.setLayout(column(self._part_row, self.field, controls, margin=8, gap=6))
        self.model_button = QToolButton()
        self.model_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.model_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self.models = QMenu(self)
        self.model_button.setMenu(self.models)
        self.setLayout(column(frame, self._last_row(), gap=4))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._busy = False
        self.field.asked.connect(self._ask)
        self.field.textChanged.connect(self._changed)
        self.ask_button.clicked.connect(self._ask)
        self.stop_button.clicked.connect(self.stopped)
        self.preset.activated.connect(
            lambda: self.preset_chosen.emit(str(self.preset.currentData()))
        )
        self.form_kind.currentIndexChanged.connect(self._form_changed)
        self.whole_button.clicked.connect(self.part_dropped)
        self.retranslate()
        self._changed()

    def retranslate(self) -> None:
        self.field.setPlaceholderText(self.tr("Ask something about the picture"))
        self.field.setAccessibleName(self.tr("Question"))
        self.ask_button.setText(self.tr("Ask"))
        self.stop_button.name(self.tr("Stop"), shown=True)
        self.whole_button.name(self.tr("Ask about the whole picture"))
        name_choice(self.preset, self.tr("How carefully to answer"))
        name_choice(self.form_kind, self.tr("Form of the answer"))
        self.choices.setAccessibleName(self.tr("Choices"))
        self.choices.setPlaceholderText(self.tr("A, B, C, D"))
        self.hint.setText(self.tr("Return asks, Shift+Return starts a new line"))
        chosen = self.preset.currentData()
        self.preset.clear()
        for number, name in enumerate([*(known.name for known in PRESETS), EXPERT]):
            self.preset.addItem(preset_name(name), name)
            self.preset.setItemData(number, preset_help(name), Qt.ItemDataRole.ToolTipRole)
        self.set_preset(str(chosen or "careful"))
        texts = {
            "": self.tr("Free answer"),
            "choices": self.tr("One of…"),
            "number": self.tr("A number"),
            "yes-no": self.tr("Yes or no"),
            "json": "JSON",
        }
        at = max(0, self.form_kind.currentIndex())
        with QSignalBlocker(self.form_kind):
            self.form_kind.clear()
            for form in FORMS:
                self.form_kind.addItem(texts[form], form)
            self.form_kind.setCurrentIndex(at)

    @property
    def form(self) -> tuple[str, str] | None:
        kind = self.form_kind.currentData()
        if not kind:
            return None
        if kind != "choices":
            return ("answer", str(kind))
        parts = [part.strip() for part in self.choices.text().split(",") if part.strip()]
        return ("choices", ",".join(parts)) if parts else None

    def _last_row(self) -> QHBoxLayout:
        made = row(self.model_button, self.hint)
        made.setStretch(1, 1)
        return made

    def set_model(self, text: str, more: str) -> None:
        """What answers; more: where it runs."""
        self.model_button.setText(f"{text} ▾")
        self.model_button.setAccessibleName(self.tr("Model: {0}").format(text))
        set_tip(self.model_button, more)

    def set_preset(self, name: str) -> None:
        self.preset.setCurrentIndex(max(0, self.preset.findData(name)))
        self.preset.setToolTip(preset_help(name))

    def set_busy(self, busy: bool) -> None:
        """While an answer is written: Stop instead of Ask."""
        self._busy = busy
        self.ask_button.setVisible(not busy)
        self.stop_button.setVisible(busy)
        self._changed()

    def set_part(self, text: str, image: QImage) -> None:
        """What part of the picture is asked about; empty for all of it."""
        show_chip(self.part_image, image)
        self.part.setText(text)
        self._part_row.setVisible(bool(text))

    def set_text(self, text: str) -> None:
        self.field.setPlainText(text)

    def _changed(self) -> None:
        self.ask_button.setEnabled(bool(self.field.toPlainText().strip()))

    def _form_changed(self) -> None:
        self.choices.setVisible(self.form_kind.currentData() == "choices")

    def _ask(self) -> None:
        if not self._busy:
            self.asked.emit(self.field.toPlainText())
