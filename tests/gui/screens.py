"""Opens the window on the screen that the environment describes, and prints what is cut off.

QT_QPA_PLATFORM=offscreen:configfile=screen.json python -m tests.gui.screens HOME
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from PySide6.QtCore import QRect
from PySide6.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QDialog,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QScrollArea,
    QStatusBar,
    QWidget,
)

from llavao1_edge import demo
from llavao1_gui import dialogs
from llavao1_gui.app import start
from llavao1_gui.state import preferences
from llavao1_gui.widgets.tree_view import TreeView
from tests.patience import PATIENCE_S

CONTROLS = (QAbstractButton, QComboBox, QLineEdit, QPlainTextEdit)


def scroll_area(widget: QWidget) -> QScrollArea | None:
    """The one that it is in: what scrolls may be below the edge, and never beside it."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QScrollArea):
        parent = parent.parentWidget()
    return parent


def beside(widget: QWidget, area: QScrollArea) -> bool:
    left = widget.mapTo(area.viewport(), widget.rect().topLeft()).x()
    return left < 0 or left + widget.width() > area.viewport().width()


def cut_off(window: QWidget) -> Iterator[str]:
    """Controls of a window that are not whole on its screen."""
    available = window.screen().availableGeometry()
    if not available.contains(window.frameGeometry()):
        yield f"{type(window).__name__} at {window.frameGeometry()} outside {available}"
    for widget in window.findChildren(QWidget):
        named = isinstance(widget, CONTROLS) or (
            isinstance(widget, QLabel) and isinstance(widget.parentWidget(), QStatusBar)
        )
        area = scroll_area(widget)
        if not named or not widget.isVisible():
            continue
        if area is not None:
            if not isinstance(area, TreeView) and beside(widget, area):
                yield f"{type(widget).__name__} {widget.accessibleName()!r} beside what scrolls"
            continue
        shown = QRect(widget.mapTo(window, widget.rect().topLeft()), widget.size())
        if not window.rect().contains(shown) or widget.visibleRegion().isEmpty():
            yield f"{type(widget).__name__} {widget.accessibleName()!r} at {shown}"


def main() -> None:
    home = Path(sys.argv[1])
    preferences.write(home / "settings.json", preferences.Preferences(language="en"))
    script = home / "script.json"
    script.write_text("{}")
    app = start(["--data", str(home), "--config", str(home), "--script", str(script)])
    window, talk = app.window, app.conversations
    found: dict[str, list[str]] = {}

    def wait(until: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not until():
            assert time.monotonic() < end, "it did not come"
            app.application.processEvents()
            time.sleep(0.002)

    def look(name: str, widget: QWidget) -> None:
        end = time.monotonic() + 0.1
        wait(lambda: time.monotonic() > end)
        found[name] = list(cut_off(widget))

    look("empty", window)
    app.pictures.add([sample.picture for sample in demo.samples()[:3]])
    wait(lambda: len(app.pictures.pictures) == 3)
    app.ask("How many shapes are there?")
    wait(lambda: not talk.busy)
    look("answer", window)
    app.tell("A sentence that is long enough to need more than one line in a window.", bad=True)
    look("banner", window)
    shown: list[tuple[str, QDialog | None]] = [
        ("candidates", dialogs.candidates(app, talk.exchanges[-1])),
        ("settings", dialogs.settings(app)),
        ("models", dialogs.models(app).dialog),
        ("batch", dialogs.batch(app).dialog),
        ("shortcuts", dialogs.shortcuts(app)),
        ("about", dialogs.about(app)),
    ]
    for name, dialog in shown:
        assert dialog is not None, name
        dialog.raise_()
        look(name, dialog)
        dialog.close()
    print(json.dumps(found))
    window.close()


if __name__ == "__main__":
    main()
