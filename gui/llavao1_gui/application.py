"""Qt's application object, and what is shown where there is no window yet."""

from __future__ import annotations

import sys
from pathlib import Path

from PySide6.QtGui import QIcon, QImage
from PySide6.QtWidgets import QApplication, QMessageBox

from llavao1_edge.errors import LlavaError
from llavao1_gui.widgets.texts import said

ICON = Path(__file__).parent / "resources" / "llavao1-edge.svg"


def samples() -> list[tuple[QImage, str]]:
    from llavao1_edge import demo

    return [(QImage(str(sample.picture)), sample.question) for sample in demo.samples()]


def make_application() -> QApplication:
    """The one application of this process."""
    existing = QApplication.instance()
    if isinstance(existing, QApplication):
        return existing
    QApplication.setStyle("Fusion")
    application = QApplication(["llavao1-edge"])
    application.setApplicationName("llavao1-edge")
    application.setDesktopFileName("llavao1-edge")
    application.setWindowIcon(QIcon(str(ICON)))
    return application


def show_failure(error: LlavaError) -> None:
    """Whoever starts the program from a menu sees no terminal."""
    make_application()
    asked = QMessageBox(QMessageBox.Icon.Critical, "llavao1-edge", said(error.message))
    asked.setInformativeText(said(error.hint))
    print(f"error: {error}", file=sys.stderr)
    asked.exec()
