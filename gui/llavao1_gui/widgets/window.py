"""The main window: history, picture, conversation; menus and keys from the table of actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtCore import QMimeData, Qt, Signal
from PySide6.QtGui import (
    QAction,
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QImage,
    QKeySequence,
    QResizeEvent,
)
from PySide6.QtWidgets import QLabel, QMainWindow, QMenu, QSplitter

from llavao1_gui.widgets.actions import ACTIONS, MENUS, action_text, menu_text
from llavao1_gui.widgets.answer_pane import AnswerPane
from llavao1_gui.widgets.given import may_hold_picture, out_of_reach, pictures_in
from llavao1_gui.widgets.layouts import Translated
from llavao1_gui.widgets.picture_pane import PicturePane
from llavao1_gui.widgets.sidebar import Sidebar

NARROW = 1000  # pixels: below, the history hides itself


class MainWindow(Translated, QMainWindow):
    """triggered: the name of an action. dropped: pictures as paths and bytes, in their order."""

    triggered = Signal(str)
    dropped = Signal(list)
    refused = Signal(str)
    closing = Signal()

    def __init__(self, samples: list[tuple[QImage, str]], shortcuts: Mapping[str, str]) -> None:
        super().__init__()
        self.setWindowTitle("llavao1-edge")
        self.setMinimumSize(900, 600)
        self.resize(1280, 800)
        self.setAcceptDrops(True)
        self.sidebar, self.picture, self.answers = Sidebar(), PicturePane(samples), AnswerPane()
        self.split = QSplitter(Qt.Orientation.Horizontal)
        for pane in (self.sidebar, self.picture, self.answers):
            self.split.addWidget(pane)
            self.split.setCollapsible(self.split.count() - 1, False)
        self.split.setHandleWidth(1)
        self.sidebar.setMinimumWidth(190)
        self.picture.setMinimumWidth(330)
        self.answers.setMinimumWidth(360)
        self.split.setSizes([220, 520, 540])
        for at, stretch in enumerate((0, 1, 1)):
            self.split.setStretchFactor(at, stretch)
        self.setCentralWidget(self.split)
        self.model_label, self.state_label = QLabel(), QLabel()
        self.statusBar().addWidget(self.state_label, 1)
        self.statusBar().addPermanentWidget(self.model_label)
        self.statusBar().setSizeGripEnabled(False)
        self.actions_by_name: dict[str, QAction] = {}
        self.menus: dict[str, QMenu] = {}
        self.may_close: Callable[[], bool] = lambda: True
        self._make_actions()
        self.set_shortcuts(shortcuts)
        self.retranslate()
        self._sidebar_wanted = True

    def _make_actions(self) -> None:
        for name in MENUS:
            self.menus[name] = self.menuBar().addMenu("")
        for entry in ACTIONS:
            action = QAction(self)
            action.triggered.connect(lambda _=False, name=entry.name: self.triggered.emit(name))
            self.menus[entry.menu].addAction(action)
            self.actions_by_name[entry.name] = action
        for name in ("sight", "sidebar"):
            self.actions_by_name[name].setCheckable(True)
        self.actions_by_name["sidebar"].setChecked(True)

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
        self.model_label.setAccessibleName(self.tr("Model"))
        self.state_label.setAccessibleName(self.tr("State"))

    def set_sidebar(self, shown: bool) -> None:
        self._sidebar_wanted = shown
        self.actions_by_name["sidebar"].setChecked(shown)
        self.sidebar.setVisible(shown)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.sidebar.setVisible(self._sidebar_wanted and self.width() >= NARROW)

    # --- pictures from outside ----------------------------------------------------------------
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        data = event.mimeData()
        if may_hold_picture(data):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        if self.take(event.mimeData()):
            event.acceptProposedAction()

    def take(self, data: QMimeData) -> bool:
        """Pictures out of a drop or a paste; False where there is none."""
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
