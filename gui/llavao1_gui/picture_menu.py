"""What can be done with a picture itself: copy it, save it, look at its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QObject, QPoint, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QFileDialog, QMenu

from llavao1_edge.errors import LlavaError
from llavao1_edge.files import write_whole
from llavao1_gui.pictures import Pictures
from llavao1_gui.state.export import browser_ending, for_browsers
from llavao1_gui.widgets.texts import told
from llavao1_gui.widgets.window import MainWindow
from llavao1_gui.work.background import Background
from llavao1_gui.work.pictures import SHOWN


class Shell(Protocol):
    """What it needs of the application."""

    window: MainWindow
    pictures: Pictures

    def tell(self, text: str, *, bad: bool = False) -> None:
        """A sentence that stays until it is closed."""

    def act(self, name: str) -> None: ...


class PictureMenu(QObject):
    """The menu of the picture that is shown."""

    def __init__(self, app: Shell, parent: QObject) -> None:
        super().__init__(parent)
        self.app = app
        self.menu = QMenu(app.window)
        self.background = Background(self)
        self.background.done.connect(self._saved)
        app.window.picture.view.menu_wanted.connect(self.show)

    def show(self, at: QPoint) -> None:
        view = self.app.window.picture.view
        self.menu.clear()
        self.menu.addAction(self.tr("Copy the picture"), self.copy)
        self.menu.addAction(self.tr("Save the picture…"), self.save)
        self.menu.addAction(self.tr("Show in its folder"), self.show_in_folder).setEnabled(
            self._origin() is not None
        )
        self.menu.addSeparator()
        rotate = self.app.pictures.rotate
        self.menu.addAction(self.tr("Turn right"), lambda: rotate(1))
        self.menu.addAction(self.tr("Turn left"), lambda: rotate(3))
        self.menu.addSeparator()
        self.menu.addAction(self.tr("Actual size (100 %)"), view.actual_size)
        self.menu.addAction(self.tr("Fit the picture"), view.fit)
        self.menu.addSeparator()
        self.menu.addAction(self.tr("Ask about a part"), lambda: self.app.act("part"))
        self.menu.addAction(self.tr("What the model sees"), lambda: self.app.act("sight"))
        self.menu.popup(at)

    def copy(self) -> None:
        """As large as it is shown: other programs take it as pixels."""
        image = self.app.pictures.pixels
        if not image.isNull():
            QGuiApplication.clipboard().setImage(image)
            text = self.tr("Copied, at most {0} pixels wide or high").format(SHOWN)
            self.app.window.statusBar().showMessage(text, 3000)

    def save(self) -> None:
        """The file itself, where every program can show it; else as PNG."""
        found = self.app.pictures.active
        if found is None:
            return
        try:
            path = self.app.pictures.file_of(found)
            with path.open("rb") as file:
                ending = browser_ending(file.read(16))
        except (OSError, LlavaError) as error:
            self.app.tell(told(error) if isinstance(error, LlavaError) else str(error), bad=True)
            return
        start = f"{Path(found.name).stem}.{ending}"
        chosen, _ = QFileDialog.getSaveFileName(
            self.app.window, self.tr("Save the picture"), start, f"*.{ending}"
        )
        if chosen:
            self.background.start(Path(chosen), lambda: _save(path, Path(chosen)))

    def _origin(self) -> Path | None:
        """The file that the picture was opened from; None for what was pasted or is gone."""
        found = self.app.pictures.active
        path = found.origin if found is not None else None
        return path if path is not None and path.is_file() else None

    def show_in_folder(self) -> None:
        path = self._origin()
        if path is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(path.parent)))

    def _saved(self, _: Path, problem: str) -> None:
        if problem:
            self.app.tell(self.tr("It cannot be saved: {0}").format(problem), bad=True)
        else:
            self.app.window.statusBar().showMessage(self.tr("Saved"), 3000)

    def close(self) -> None:
        self.background.close()


def _save(path: Path, target: Path) -> str:
    """What went wrong; empty for nothing."""
    try:
        shown = for_browsers(path.read_bytes())
        if shown is None:
            return f"{path.name} cannot be read any more"
        write_whole(target, shown[1])
    except OSError as error:
        return error.strerror or str(error)
    return ""
