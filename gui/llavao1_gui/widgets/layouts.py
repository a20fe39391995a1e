"""Small pieces that every window is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from PySide6.QtCore import QCoreApplication, QEvent, QObject, Qt
from PySide6.QtGui import QImage, QKeyEvent, QPainter, QPaintEvent, QPixmap, QResizeEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from llavao1_gui.state.tips import tip
from llavao1_gui.widgets.icons import icon

Layout = TypeVar("Layout", bound=QBoxLayout)
ARROWS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}


class Translated:
    """Calls `retranslate` when the language changes. Texts are set there and nowhere else."""

    def retranslate(self) -> None:
        raise NotImplementedError

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        if event.type() is QEvent.Type.LanguageChange:
            self.retranslate()
        super().changeEvent(event)  # type: ignore[misc]


class Retranslated(Translated, QWidget):
    """A part of a window."""


class RetranslatedDialog(Translated, QDialog):
    """A dialog that stays."""


def column(
    *things: QWidget | QBoxLayout | int | None, margin: int = 0, gap: int = 8
) -> QVBoxLayout:
    """A number is space in pixels, None takes the room that is left."""
    return _fill(QVBoxLayout(), things, margin, gap)


def row(*things: QWidget | QBoxLayout | int | None, margin: int = 0, gap: int = 8) -> QHBoxLayout:
    return _fill(QHBoxLayout(), things, margin, gap)


def _fill(
    layout: Layout, things: tuple[QWidget | QBoxLayout | int | None, ...], margin: int, gap: int
) -> Layout:
    layout.setContentsMargins(margin, margin, margin, margin)
    layout.setSpacing(gap)
    for thing in things:
        if thing is None:
            layout.addStretch(1)
        elif isinstance(thing, int):
            layout.addSpacing(thing)
        elif isinstance(thing, QWidget):
            layout.addWidget(thing)
        else:
            layout.addLayout(thing)
    return layout


def label(text: str = "", *, role: str = "", wrap: bool = False, select: bool = False) -> QLabel:
    made = QLabel(text)
    made.setTextFormat(Qt.TextFormat.PlainText)
    made.setWordWrap(wrap)
    if role:
        made.setProperty("role", role)
    if select:
        made.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
    return made


def button(
    text: str = "", clicked: Callable[[], object] | None = None, *, main: bool = False
) -> QPushButton:
    made = QPushButton(text)
    if main:
        made.setProperty("role", "main")
    if clicked is not None:
        made.clicked.connect(lambda: clicked())
    return made


CHIP = 40  # pixels: the height of a part of a picture beside text


def show_chip(made: QLabel, image: QImage) -> None:
    """A small picture in a label, sharp on every screen; hidden where there is none."""
    made.setVisible(not image.isNull())
    if not image.isNull():
        ratio = made.devicePixelRatioF()
        small = image.scaledToHeight(
            round(CHIP * ratio), Qt.TransformationMode.SmoothTransformation
        )
        small.setDevicePixelRatio(ratio)
        made.setPixmap(QPixmap.fromImage(small))


def arrow(event: QKeyEvent) -> tuple[int, int] | None:
    """The step (right, down) of an arrow key."""
    return ARROWS.get(Qt.Key(event.key()))


def decision_box(dialog: QDialog, restore: Callable[[], object]) -> QDialogButtonBox:
    """OK, Cancel, and back to the defaults."""
    kinds = QDialogButtonBox.StandardButton
    box = QDialogButtonBox(kinds.Ok | kinds.Cancel | kinds.RestoreDefaults)
    box.accepted.connect(dialog.accept)
    box.rejected.connect(dialog.reject)
    defaults = box.button(kinds.RestoreDefaults)
    defaults.clicked.connect(lambda: restore())
    defaults.setText(QCoreApplication.translate("Buttons", "Restore defaults"))
    box.button(kinds.Ok).setText(QCoreApplication.translate("Buttons", "OK"))
    box.button(kinds.Cancel).setText(QCoreApplication.translate("Buttons", "Cancel"))
    return box


def set_tip(widget: QWidget, text: str) -> None:
    """Foreign text as a tooltip for those who see it, and as plain text for those who do not: a
    tooltip that is markup would be read out as markup."""
    widget.setToolTip(tip(text))
    widget.setAccessibleDescription(text)


class StatusLabel(QLabel):
    """A value that is read out with what it is: a name alone would hide it."""

    def __init__(self) -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self._what = ""

    def name(self, what: str) -> None:
        self._what = what
        self.setText(self.text())

    def setText(self, text: str) -> None:  # noqa: N802
        super().setText(text)
        self.setAccessibleName(f"{self._what}: {text}")


class ElidedLabel(QLabel):
    """One line that ends in dots where there is no room; all of it is read out, and in its tip."""

    def __init__(self, *, role: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        if role:
            self.setProperty("role", role)

    def setText(self, text: str) -> None:  # noqa: N802
        super().setText(text)
        self._tip()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._tip()

    def _tip(self) -> None:
        room = self.contentsRect().width()
        fits = self.fontMetrics().horizontalAdvance(self.text()) <= room
        set_tip(self, "" if fits else self.text())

    def paintEvent(self, _: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        room = self.contentsRect()
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, room.width())
        self.style().drawItemText(
            painter, room, self.alignment(), self.palette(), self.isEnabled(), text,
            self.foregroundRole(),
        )  # fmt: skip
        painter.end()


class IconButton(QToolButton):
    """An icon with a name for those who do not see it, and a tip for those who do."""

    def __init__(
        self, name: str, parent: QWidget | None = None, *, checkable: bool = False
    ) -> None:
        super().__init__(parent)
        self._icon = name
        self.setCheckable(checkable)
        self.refresh()

    def refresh(self) -> None:
        """Draws the icon with the present colours."""
        self.setIcon(icon(self._icon))

    def show_icon(self, name: str) -> None:
        """Another one from now on."""
        self._icon = name
        self.refresh()

    def name(self, text: str, *, more: str = "", shown: bool = False) -> None:
        self.setAccessibleName(text)
        self.setToolTip(more or text)
        if shown:
            self.setText(text)
            self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)


def name_choice(combo: QComboBox, purpose: str) -> None:
    """Qt calls a choice by its value where it cannot be labelled (on Linux): what it is for is its
    description too."""
    combo.setAccessibleName(purpose)
    combo.setAccessibleDescription(purpose)


def scrolled(inside: QWidget) -> QScrollArea:
    """`inside`, reachable however small the room is."""
    made = QScrollArea()
    made.setWidgetResizable(True)
    made.setFrameShape(QFrame.Shape.NoFrame)
    made.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    made.viewport().setAutoFillBackground(False)
    inside.setAutoFillBackground(False)
    made.setWidget(inside)
    return made


class Fold(QWidget):
    """A line to click on, and what it shows and hides."""

    def __init__(self, inside: QWidget, *, gap: int = 4) -> None:
        super().__init__()
        self.button = IconButton("folded", checkable=True)
        set_role(self.button, "fold")
        self.inside = inside
        inside.hide()
        self.setLayout(column(row(self.button, None, gap=0), inside, gap=gap))
        self.button.toggled.connect(self._unfold)

    def name(self, text: str) -> None:
        self.button.name(text, shown=True)

    def _unfold(self, opened: bool) -> None:
        self.inside.setVisible(opened)
        self.button.show_icon("unfolded" if opened else "folded")


def card() -> QFrame:
    made = QFrame()
    made.setObjectName("card")
    return made


def set_role(widget: QWidget, role: str) -> None:
    """Changes what the style sheet sees; nothing is done where it saw that already."""
    if widget.property("role") == role:
        return
    widget.setProperty("role", role)
    widget.style().unpolish(widget)
    widget.style().polish(widget)


def clear(layout: QBoxLayout) -> None:
    """Removes everything from a layout."""
    while (item := layout.takeAt(0)) is not None:
        found: QObject | None = item.widget()
        if isinstance(found, QWidget):
            found.hide()
            found.deleteLater()
