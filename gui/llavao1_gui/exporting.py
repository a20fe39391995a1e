"""Writes the conversation that is shown into a file, behind the window."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QCoreApplication, QObject
from PySide6.QtWidgets import QFileDialog

from llavao1_edge.errors import LlavaError
from llavao1_edge.phrases import Phrase
from llavao1_gui.conversations import Conversations
from llavao1_gui.state.export import file_name, write
from llavao1_gui.state.formulas import extract
from llavao1_gui.state.history import History
from llavao1_gui.widgets.texts import said, told
from llavao1_gui.widgets.window import MainWindow
from llavao1_gui.work.background import Background
from llavao1_gui.work.formulas import Drawer

SIZE = 18.0  # pixels: of a formula in text of 16


class Shell(Protocol):
    """What an export needs of the application."""

    window: MainWindow
    history: History
    conversations: Conversations

    def tell(self, text: str, *, bad: bool = False) -> None:
        """A sentence that stays until it is closed."""


class Exporter(QObject):
    def __init__(self, app: Shell, parent: QObject) -> None:
        super().__init__(parent)
        self.app = app
        self.background = Background(self)
        self.background.done.connect(self._tell)
        self.drawer = Drawer()

    def ask(self) -> None:
        """Asks for the file's name, whose ending says how, and writes it."""
        talk, translate = self.app.conversations, QCoreApplication.translate
        if talk.current is None or not talk.exchanges:
            self.app.tell(translate("Dialogs", "There is nothing to export yet."))
            return
        kinds = "Markdown (*.md);;HTML (*.html);;JSON (*.json)"
        start = f"{file_name(talk.current.title)}.md"
        chosen, kind = QFileDialog.getSaveFileName(
            self.app.window, translate("Dialogs", "Export"), start, kinds
        )
        if not chosen:
            return
        path = Path(chosen)
        if not path.suffix:  # the dialog has asked about overwriting the name without it
            path = path.with_suffix({"H": ".html", "J": ".json"}.get(kind[:1], ".md"))
            if path.exists():
                text = translate("Dialogs", "{0} is there already.")
                hint = translate("Dialogs", "Choose that file to replace it.")
                self.app.tell(f"{text.format(path.name)}\n{hint}", bad=True)
                return
        self.write(path)

    def write(self, path: Path) -> None:
        talk = self.app.conversations
        assert talk.current is not None
        digest, exchanges = talk.current.picture, list(talk.exchanges)
        picture = None if digest is None else self.app.history.picture_path(digest)
        conversation = talk.current

        def work() -> list[Path] | LlavaError:
            try:
                return write(
                    path,
                    conversation,
                    exchanges,
                    picture=picture,
                    rendered=self._rendered,
                    said=said,
                )
            except LlavaError as error:
                return error
            except Exception as error:  # a parser of foreign text raises anything
                return LlavaError(
                    Phrase(
                        "cannot write {path}: {reason}",
                        path=path.name,
                        reason=f"{type(error).__name__} {error}",
                    )
                )

        self.background.start(path, work)

    def close(self) -> None:
        self.background.close()
        self.drawer.close()

    def _rendered(self, text: str) -> str:
        """Markdown with its formulas as drawings; one that cannot be drawn stays source."""
        from markdown_it import MarkdownIt

        renderer = MarkdownIt("js-default", {"html": False}).disable("image")
        marked, formulas = extract(text)
        page: str = renderer.render(marked)
        for formula in formulas:
            svg = self.drawer.draw(formula.tex, SIZE, "currentColor").decode()
            source = renderer.renderInline(formula.source.replace("\\", "\\\\"))
            page = page.replace(formula.mark, svg or source)
        return page

    def _tell(self, _: Path, written: list[Path] | LlavaError) -> None:
        if isinstance(written, LlavaError):
            self.app.tell(told(written), bad=True)
            return
        names = ", ".join(found.name for found in written)
        text = QCoreApplication.translate("Dialogs", "Written: {0}").format(names)
        self.app.window.statusBar().showMessage(text, 5000)
