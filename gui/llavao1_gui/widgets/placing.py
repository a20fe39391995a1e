"""Where windows are on the screen: inside what the desktop leaves free, as they were left."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QPoint, QRect, QSize
from PySide6.QtGui import QCursor, QGuiApplication, QScreen
from PySide6.QtWidgets import QSplitter, QWidget

FRAME = QSize(12, 40)  # what a desktop draws around a window, until it has said so itself


def screen_here(widget: QWidget | None = None) -> QScreen:
    """The screen of a window that is shown; else the one under the pointer."""
    if widget is not None and widget.isVisible():
        return widget.screen()
    found = QGuiApplication.screenAt(QCursor.pos())
    return found or QGuiApplication.primaryScreen()


def inside(wanted: QRect, available: QRect, frame: QSize) -> QRect:
    """`wanted` (without its frame), shrunk and moved until it fits into `available` with it."""
    room = available.size() - frame
    size = wanted.size().boundedTo(room)
    border = frame.width() // 2
    left, top = available.x() + border, available.y() + frame.height() - border
    x = min(max(wanted.x(), left), left + room.width() - size.width())
    y = min(max(wanted.y(), top), top + room.height() - size.height())
    return QRect(QPoint(x, y), size)


def frame_of(widget: QWidget) -> QSize:
    """The title bar and borders of a window."""
    drawn = widget.frameGeometry().size() - widget.geometry().size()
    return drawn if widget.isVisible() and not drawn.isEmpty() else FRAME


def open_window(window: QWidget, size: QSize, stored: str = "") -> None:
    """Before the window is shown: as it was left, where that is still on a screen; else `size` in
    the middle of the screen under the pointer. stored: from `state_of`."""
    known = _bytes(stored)
    if not (known and window.restoreGeometry(known)):
        middle = screen_here().availableGeometry()
        wanted = QRect(QPoint(0, 0), size.boundedTo(middle.size() - FRAME))
        wanted.moveCenter(middle.center())
        window.setGeometry(wanted)
    screens = [screen.availableGeometry() for screen in QGuiApplication.screens()]
    at = window.geometry()
    home = max(screens, key=lambda one: _area(one.intersected(at)))
    if not _area(home.intersected(at)):
        home = screen_here().availableGeometry()
    if not window.isMaximized() and not window.isFullScreen():
        window.setGeometry(inside(at, home, frame_of(window)))


def open_dialog(dialog: QWidget, width: int, height: int) -> None:
    """As large as wished and as the screen of its parent allows."""
    parent = dialog.parentWidget()
    available = screen_here(parent.window() if parent else None).availableGeometry()
    dialog.resize(QSize(width, height).boundedTo(available.size() - FRAME))


def state_of(widget: QWidget | QSplitter) -> str:
    """A window's place, or a splitter's sizes, as text for the settings."""
    state = widget.saveState() if isinstance(widget, QSplitter) else widget.saveGeometry()
    return bytes(state.toBase64().data()).decode("ascii")


def restore(splitter: QSplitter, stored: str) -> None:
    """Sizes from `state_of`; what is no state is left alone."""
    known = _bytes(stored)
    if known:
        orientation = splitter.orientation()
        splitter.restoreState(known)
        splitter.setOrientation(orientation)


def _area(rectangle: QRect) -> int:
    return 0 if rectangle.isEmpty() else rectangle.width() * rectangle.height()


def _bytes(stored: str) -> QByteArray:
    return QByteArray.fromBase64(stored.encode("ascii", "ignore"))
