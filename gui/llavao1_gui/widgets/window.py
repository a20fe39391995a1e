"""The main window: history, picture, conversation; menus and keys from the table of actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtCore import QMimeData, QSize, Qt, Signal
from PySide6.QtGui import (
    QAction,
    QCloseEvent,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QImage,
    QKeySequence,
    QResizeEvent,
)
from PySide6.QtWidgets import QMainWindow, QMenu, QSplitter, QWidget

from llavao1_gui.widgets.actions import ACTIONS, MENUS, action_text, menu_text
from llavao1_gui.widgets.answer_pane import AnswerPane
from llavao1_gui.widgets.drop_overlay import DropOverlay
from llavao1_gui.widgets.given import folder_in, may_hold_picture, out_of_reach, pictures_in
from llavao1_gui.widgets.layouts import StatusLabel, Translated
from llavao1_gui.widgets.picture_pane import PicturePane
from llavao1_gui.widgets.placing import open_window, restore, state_of
from llavao1_gui.widgets.sidebar import Sidebar

NARROW = 1000  # pixels: below, the history hides itself
SLIM = 720  # pixels for picture and answers: below, the picture is above the answers
SMALLEST = QSize(480, 400)
USUAL = QSize(1280, 800)


class MainWindow(Translated, QMainWindow):
    """triggered: the name of an action. dropped: pictures as paths and bytes, in their order."""

    triggered = Signal(str)
    dropped = Signal(list)
    refused = Signal(str)
    folder_dropped = Signal(object)
    closing = Signal()

    def __init__(self, samples: list[tuple[QImage, str]], shortcuts: Mapping[str, str]) -> None:
        super().__init__()
        self.setWindowTitle("llavao1-edge")
        self.setMinimumSize(SMALLEST)
        self.setAcceptDrops(True)
        self.sidebar, self.picture, self.answers = Sidebar(), PicturePane(samples), AnswerPane()
        self.panes = _splitter(self.picture, self.answers, sizes=(520, 540), stretch=(1, 1))
        self.split = _splitter(self.sidebar, self.panes, sizes=(220, 1060), stretch=(0, 1))
        self.sidebar.setMinimumWidth(190)
        self.picture.setMinimumWidth(300)
        self.answers.setMinimumWidth(340)
        self.setCentralWidget(self.split)
        self.model_label, self.state_label = StatusLabel(), StatusLabel()
        self.statusBar().addWidget(self.state_label, 1)
        self.statusBar().addPermanentWidget(self.model_label)
        self.statusBar().setSizeGripEnabled(False)
        self.overlay = DropOverlay(self)
        self.actions_by_name: dict[str, QAction] = {}
        self.menus: dict[str, QMenu] = {}
        self.may_close: Callable[[], bool] = lambda: True
        self.impossible: Callable[[], set[str]] = set  # actions that have nothing to act on now
        self._make_actions()
        self.set_shortcuts(shortcuts)
        self.retranslate()
        self._sidebar_wanted = True

    def place(self, stored: Mapping[str, str]) -> None:
        """As it was left (`layout`), or as is usual; on a screen in any case."""
        if stored.get("sidebar") == "hidden":
            self.set_sidebar(False)
        open_window(self, USUAL, stored.get("window", ""))
        for name, splitter in (("split", self.split), ("panes", self.panes)):
            restore(splitter, stored.get(name, ""))

    def layout_now(self) -> dict[str, str]:
        """What `place` takes."""
        found = {"window": state_of(self), "split": state_of(self.split)}
        if self.panes.orientation() is Qt.Orientation.Horizontal:
            found["panes"] = state_of(self.panes)
        return found | ({} if self._sidebar_wanted else {"sidebar": "hidden"})

    def _make_actions(self) -> None:
        for name in MENUS:
            menu = self.menus[name] = self.menuBar().addMenu("")
            menu.aboutToShow.connect(self._show_possible)
            menu.aboutToHide.connect(self._allow_all)
        for entry in ACTIONS:
            action = QAction(self)
            action.triggered.connect(lambda _=False, name=entry.name: self.triggered.emit(name))
            if entry.apart:
                self.menus[entry.menu].addSeparator()
            self.menus[entry.menu].addAction(action)
            self.actions_by_name[entry.name] = action
        for name in ("sight", "sidebar"):
            self.actions_by_name[name].setCheckable(True)
        self.actions_by_name["sidebar"].setChecked(True)

    def _show_possible(self) -> None:
        impossible = self.impossible()
        for name, action in self.actions_by_name.items():
            action.setEnabled(name not in impossible)

    def _allow_all(self) -> None:
        """Keys act at any time."""
        for action in self.actions_by_name.values():
            action.setEnabled(True)

    def set_shortcuts(self, changed: Mapping[str, str]) -> None:
        """changed: action → keys; the table's own for the others."""
        for entry in ACTIONS:
            keys = changed.get(entry.name, entry.keys)
            found = [QKeySequence(keys)] if keys else []
            if entry.name == "shortcuts" and entry.name not in changed:
                found.append(QKeySequence("?"))
            self.actions_by_name[entry.name].setShortcuts(found)

    def retranslate(self) -> None:
        for name, menu in self.menus.items():
            menu.setTitle(menu_text(name))
        for name, action in self.actions_by_name.items():
            action.setText(action_text(name))
        self.model_label.name(self.tr("Model"))
        self.state_label.name(self.tr("State"))

    def set_sidebar(self, shown: bool) -> None:
        self._sidebar_wanted = shown
        self.actions_by_name["sidebar"].setChecked(shown)
        self.sidebar.setVisible(shown)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        shown = self._sidebar_wanted and self.width() >= NARROW
        self.sidebar.setVisible(shown)
        self.actions_by_name["sidebar"].setChecked(shown)
        slim = self.width() < SLIM
        wanted = Qt.Orientation.Vertical if slim else Qt.Orientation.Horizontal
        if self.panes.orientation() is not wanted:
            self.panes.setOrientation(wanted)
            self.panes.setSizes([1, 2] if slim else [520, 540])
        self.picture.set_flat(slim)

    # --- pictures from outside ----------------------------------------------------------------
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        data = event.mimeData()
        if may_hold_picture(data):
            event.acceptProposedAction()
            self.overlay.say(self._drop_text(data))

    def _drop_text(self, data: QMimeData) -> str:
        n = max(1, len(data.urls()))
        if folder_in(data) is not None:
            return self.tr("Drop the folder to ask one question about all its pictures")
        if n > 1:
            return self.tr("Drop to open {0} pictures").format(n)
        return self.tr("Drop to open the picture")

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:  # noqa: N802
        self.overlay.hide()
        super().dragLeaveEvent(event)

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        self.overlay.hide()
        if self.take(event.mimeData()):
            event.acceptProposedAction()

    def take(self, data: QMimeData) -> bool:
        """Pictures out of a drop or a paste; False where there is none."""
        folder = folder_in(data)
        if folder is not None:
            self.folder_dropped.emit(folder)
            return True
        found = pictures_in(data)
        if found:
            self.dropped.emit(found)
        elif may_hold_picture(data):
            self.refused.emit(out_of_reach(data))
        return bool(found)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        if not self.may_close():
            event.ignore()
            return
        self.closing.emit()
        super().closeEvent(event)

    def recolour(self) -> None:
        self.picture.recolour()
        self.answers.recolour()
        self.sidebar.new_button.refresh()


def _splitter(*panes: QWidget, sizes: tuple[int, ...], stretch: tuple[int, ...]) -> QSplitter:
    """Side by side, none of them to be closed by dragging."""
    made = QSplitter(Qt.Orientation.Horizontal)
    for at, pane in enumerate(panes):
        made.addWidget(pane)
        made.setCollapsible(at, False)
        made.setStretchFactor(at, stretch[at])
    made.setHandleWidth(1)
    made.setSizes(list(sizes))
    return made
