"""Pictures of the screen, without the window that asks for them."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QImage

from llavao1_gui.widgets.region import RegionChooser
from llavao1_gui.widgets.window import MainWindow

DELAY_MS = 350  # until our own window is off the screen


class Screenshots(QObject):
    """taken: a QImage. failed: name, message and hint."""

    taken = Signal(object)
    failed = Signal(str, str, str)

    def __init__(self, window: MainWindow, parent: QObject) -> None:
        super().__init__(parent)
        self.window = window
        self._chooser: RegionChooser | None = None

    def take(self, *, region: bool) -> None:
        """Of the screen the window is on; region: of a part that is chosen on it."""
        self.window.hide()
        QTimer.singleShot(DELAY_MS, self, lambda: self._grab(region))

    def _grab(self, region: bool) -> None:
        screen = self.window.screen() or QGuiApplication.primaryScreen()
        shot = screen.grabWindow(0)
        if shot.isNull():
            self.window.show()
            self.failed.emit(
                self.tr("Screenshot"),
                self.tr("this desktop does not let programs take screenshots"),
                self.tr("Take one with the system's own tool and paste it here."),
            )
        elif region:
            self._chooser = RegionChooser(shot, screen.geometry())
            self._chooser.chosen.connect(self._give)
            self._chooser.left.connect(self.window.show)
            self._chooser.show()
        else:
            self._give(shot.toImage())

    def _give(self, image: QImage) -> None:
        self.window.show()
        self.taken.emit(image)
