"""The left half: the picture, what can be done with it, and the other pictures at hand."""

from __future__ import annotations

from typing import Protocol

from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QIcon, QImage, QPixmap
from PySide6.QtWidgets import (
    QCheckBox,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QStackedWidget,
    QWidget,
)

from llavao1_gui.widgets.layouts import (
    ElidedLabel,
    IconButton,
    Retranslated,
    button,
    card,
    column,
    label,
    row,
    scrolled,
    set_tip,
)
from llavao1_gui.widgets.picture_view import PictureView
from llavao1_gui.widgets.strip import Strip

SAMPLE = QSize(56, 42)  # of the sample pictures, pixels of the screen at 100 %


class EmptyState(Retranslated):
    """What a first start shows: how to begin, and pictures to try."""

    opened = Signal()
    pasted = Signal()
    screenshot = Signal()
    sample = Signal(int)
    models_wanted = Signal()

    def __init__(self, samples: list[tuple[QImage, str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._private = True
        self.heading = label(role="heading", wrap=True)
        self.heading.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.about = label(role="faint", wrap=True)
        self.about.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.open_button = button(clicked=self.opened.emit, main=True)
        self.paste_button = button(clicked=self.pasted.emit)
        self.screen_button = button(clicked=self.screenshot.emit)
        self.try_label = label(role="section")
        self.demo = label(role="faint", wrap=True)
        self.models_button = button(clicked=self.models_wanted.emit)
        frame = card()
        self.samples: list[QPushButton] = []
        for number, (image, question) in enumerate(samples):
            made = button("", lambda number=number: self.sample.emit(number))  # type: ignore[misc]
            made.setProperty("role", "sample")
            made.setIcon(QIcon(QPixmap.fromImage(image)))
            made.setIconSize(SAMPLE)
            made.setFixedSize(SAMPLE + QSize(10, 10))
            made.setToolTip(question)
            made.setAccessibleName(question)
            self.samples.append(made)
        get = row(self.models_button, None)
        shown = [row(*self.samples[at : at + 4], None) for at in range(0, len(samples), 4)]
        frame.setLayout(column(self.try_label, *shown, self.demo, get, margin=14, gap=6))
        frame.setVisible(bool(samples))
        frame.setMaximumWidth(460)
        frame.setMinimumWidth(4 * (SAMPLE.width() + 10) + 3 * 8 + 2 * 14)
        buttons = row(None, self.open_button, self.paste_button, self.screen_button, None)
        middle = row(None, frame, None)
        middle.setStretch(1, 8)
        inside = QWidget()
        inside.setLayout(
            column(None, self.heading, self.about, 4, buttons, 16, middle, None, margin=16, gap=8)
        )
        self.setLayout(column(scrolled(inside)))
        self.retranslate()

    def retranslate(self) -> None:
        self.heading.setText(self.tr("Drop a picture here"))
        self._tell_about()
        self.open_button.setText(self.tr("Open…"))
        self.paste_button.setText(self.tr("Paste"))
        self.screen_button.setText(self.tr("Screenshot"))
        self.try_label.setText(self.tr("Or try one of these"))
        self.demo.setText(
            self.tr("The built-in demo model knows simple pictures like these, and no photographs.")
        )
        self.models_button.setText(self.tr("Get the real model…"))

    def set_private(self, private: bool) -> None:
        """Whether pictures stay on this computer."""
        self._private = private
        self._tell_about()

    def _tell_about(self) -> None:
        text = self.tr("Then ask about it. Everything stays on this computer.")
        self.about.setText(text if self._private else self.tr("Then ask about it."))


class Leaves(Protocol):
    """Which of the `n` pictures of a file: `at`, from 0. kind: `page` or `frame`."""

    @property
    def kind(self) -> str: ...
    @property
    def n(self) -> int: ...
    @property
    def at(self) -> int: ...


class PicturePane(Retranslated):
    """chosen, removed: the position of a picture in the strip. leaf_wanted: another page or frame
    of the file that is shown, from 0."""

    opened = Signal()
    pasted = Signal()
    screenshot = Signal()
    chosen = Signal(int)
    removed = Signal(int)
    leaf_wanted = Signal(int)
    sight_wanted = Signal(bool)

    def __init__(self, samples: list[tuple[QImage, str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.empty = EmptyState(samples)
        self.view = PictureView()
        self.name = ElidedLabel(role="faint")
        self.open_button, self.crop_button = IconButton("open"), IconButton("crop", checkable=True)
        self.eye_button, self.fit_button = IconButton("eye", checkable=True), IconButton("fit")
        self.remove_button = IconButton("close")
        self.leaf = QSpinBox()
        self.leaf.setMinimum(1)
        self.leaf.setKeyboardTracking(False)  # a number is typed to its end first
        self.leaf.setObjectName("leaf")
        self.leaf.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.leaf.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.before, self.after = IconButton("before"), IconButton("folded")
        self.leaf_tools = QWidget()
        self.leaf_tools.setLayout(row(self.before, self.leaf, self.after, gap=0))
        self.leaf_tools.hide()
        self.sight_text = label(role="faint", wrap=True)
        self.sight_text.hide()
        self.strip = Strip()
        self.strip.removed.connect(self.removed)
        self.together = QCheckBox()
        self.together.hide()
        self._several, self._flat, self._about = False, False, ""
        self._leaf_kind = ""
        tools = row(
            self.name, self.leaf_tools, self.crop_button, self.eye_button, self.fit_button,
            self.open_button, self.remove_button, gap=2,
        )  # fmt: skip
        shown = QWidget()
        shown.setLayout(
            column(tools, self.view, self.sight_text, self.strip, self.together, margin=10, gap=6)
        )
        self.pages = QStackedWidget()
        self.pages.addWidget(self.empty)
        self.pages.addWidget(shown)
        self.setLayout(column(self.pages))
        self._connect()
        self.retranslate()

    def _connect(self) -> None:
        self.empty.opened.connect(self.opened)
        self.empty.pasted.connect(self.pasted)
        self.empty.screenshot.connect(self.screenshot)
        self.open_button.clicked.connect(self.opened)
        self.fit_button.clicked.connect(self.view.fit)
        self.crop_button.toggled.connect(self.view.set_selecting)
        self.eye_button.toggled.connect(self.sight_wanted)
        self.view.part_chosen.connect(lambda _: self.crop_button.setChecked(False))
        self.strip.currentRowChanged.connect(self._choose)
        self.before.clicked.connect(self.leaf.stepDown)
        self.after.clicked.connect(self.leaf.stepUp)
        self.leaf.valueChanged.connect(self._bound)
        self.leaf.valueChanged.connect(lambda value: self.leaf_wanted.emit(value - 1))
        self.remove_button.clicked.connect(lambda: self.removed.emit(self.strip.currentRow()))

    def retranslate(self) -> None:
        self.open_button.name(self.tr("Open pictures"))
        self.crop_button.name(
            self.tr("Ask about a part"), more=self.tr("Draw a rectangle to ask about a part")
        )
        self.eye_button.name(self.tr("What the model sees"))
        self.fit_button.name(self.tr("Fit the picture"))
        self.remove_button.name(self.tr("Put the picture away"))
        self._show_together()
        self._name_leaf()
        self.strip.setAccessibleName(self.tr("Pictures"))
        self.view.setAccessibleName(self.tr("Picture"))
        self.view.setAccessibleDescription(
            self.tr("Plus and minus zoom, 0 fits. With Shift, the arrows choose a part.")
        )

    def add(self, name: str, image: QImage) -> None:
        """At the end of the strip, which shows itself from the second picture on."""
        self.strip.add(name, image)
        self._show_strip()

    def put(self, at: int, name: str, image: QImage) -> None:
        """Another picture in the place of one."""
        self.strip.put(at, name, image)

    def show_leaf(self, leaf: Leaves | None) -> None:
        """Which of the pictures of its file is shown; None: it has only one."""
        self.leaf_tools.setVisible(leaf is not None)
        if leaf is None:
            return
        with QSignalBlocker(self.leaf):
            self.leaf.setMaximum(leaf.n)
            self.leaf.setValue(leaf.at + 1)
        self._bound(leaf.at + 1)
        self._leaf_kind = leaf.kind
        self._name_leaf()

    def _bound(self, number: int) -> None:
        """The arrows end where the file does."""
        self.before.setEnabled(number > 1)
        self.after.setEnabled(number < self.leaf.maximum())

    def _name_leaf(self) -> None:
        page = self._leaf_kind == "page"
        kind = self.tr("Page {0} of {1}") if page else self.tr("Frame {0} of {1}")
        self.leaf.setSuffix(f" / {self.leaf.maximum()}")
        self.leaf.setAccessibleName(self.tr("Page") if page else self.tr("Frame"))
        set_tip(self.leaf, kind.format(self.leaf.value(), self.leaf.maximum()))
        self.before.name(self.tr("The one before"))
        self.after.name(self.tr("The next one"))

    def _show_strip(self) -> None:
        self.strip.setVisible(self.strip.count() > 1 and not self._flat)
        self._show_name()
        self._show_together()

    def set_several(self, several: bool) -> None:
        """Whether the loaded model takes several pictures in one question."""
        self._several = several
        self._show_together()

    def _show_together(self) -> None:
        n = self.strip.count()
        possible = self._several and n > 1
        if not possible:
            self.together.setChecked(False)
        self.together.setVisible(possible)
        self.together.setText(self.tr("Ask about all {0} pictures together").format(n))

    def take(self, at: int) -> None:
        with QSignalBlocker(self.strip):
            self.strip.takeItem(at)
        self._show_strip()

    def take_all(self) -> None:
        with QSignalBlocker(self.strip):
            self.strip.clear()
        self._show_strip()

    def show_picture(self, at: int, name: str, image: QImage, width: int, height: int) -> None:
        self.pages.setCurrentIndex(1)
        self._select(at)
        self.eye_button.setChecked(False)
        self.crop_button.setChecked(False)
        self.show_sight_text("")
        self.view.show_picture(image, width, height)
        shown = self.name.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, 220)
        self._about = f"{shown}  {width} × {height}"
        self._show_name()
        set_tip(self.name, name)
        self.view.setAccessibleName(self.tr("Picture {0}, {1} × {2}").format(name, width, height))

    def _show_name(self) -> None:
        n, at = self.strip.count(), self.strip.currentRow()
        where = self.tr("{0} of {1}").format(at + 1, n) if n > 1 and at >= 0 else ""
        self.name.setText("  ".join(filter(None, (self._about, where))))

    def _select(self, at: int) -> None:
        with QSignalBlocker(self.strip):
            self.strip.setCurrentRow(at)

    def show_empty(self) -> None:
        self.pages.setCurrentIndex(0)
        self._select(-1)
        self.view.clear()

    def show_sight_text(self, text: str) -> None:
        self.sight_text.setText(text)
        self.sight_text.setVisible(bool(text))

    def set_flat(self, flat: bool) -> None:
        """Whether there is little height: the other pictures are then reached by the keys."""
        self._flat = flat
        self._show_strip()

    def recolour(self) -> None:
        for made in (self.before, self.after, self.open_button, self.crop_button,
                     self.eye_button, self.fit_button, self.remove_button):  # fmt: skip
            made.refresh()
        self.view.update()

    def _choose(self, at: int) -> None:
        if at >= 0:
            self.chosen.emit(at)
