"""Two answers side by side, with the words that differ marked."""

from __future__ import annotations

from PySide6.QtGui import QColor, QFont, QTextBlockFormat, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QComboBox, QDialogButtonBox, QTextBrowser, QWidget

from llavao1_gui.state.compare import Piece, compare
from llavao1_gui.state.history import Exchange
from llavao1_gui.state.live import NAMES
from llavao1_gui.widgets import theme
from llavao1_gui.widgets.layouts import RetranslatedDialog, column, name_choice, row
from llavao1_gui.widgets.placing import open_dialog
from llavao1_gui.widgets.texts import preset_name, stage_name

ORDER = ("conclusion", *NAMES[:-1])


class CompareDialog(RetranslatedDialog):
    """exchanges: answered ones of a conversation, at least two; the last two answers to the same
    question are chosen at first."""

    def __init__(self, exchanges: list[Exchange], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        open_dialog(self, 980, 620)
        self.exchanges = exchanges
        self.chosen = (QComboBox(), QComboBox())
        self.texts = (QTextBrowser(), QTextBrowser())
        for text in self.texts:
            text.setOpenLinks(False)
            text.document().setDocumentMargin(10)
        self.box = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.box.rejected.connect(self.reject)
        sides = row(
            *(column(chosen, text) for chosen, text in zip(self.chosen, self.texts, strict=True)),
            gap=12,
        )
        self.setLayout(column(sides, self.box, margin=16))
        self._fill()
        for chosen, at in zip(self.chosen, self._first_two(), strict=True):
            chosen.setCurrentIndex(at)
            chosen.currentIndexChanged.connect(self._show)
        self.retranslate()

    def _first_two(self) -> tuple[int, int]:
        last = len(self.exchanges) - 1
        same = [
            at
            for at, one in enumerate(self.exchanges[:last])
            if one.question == self.exchanges[last].question
        ]
        return (same[-1] if same else last - 1), last

    def _fill(self) -> None:
        for chosen in self.chosen:
            for number, one in enumerate(self.exchanges, start=1):
                chosen.addItem(f"{number}. {one.question[:60]}")

    def retranslate(self) -> None:
        self.setWindowTitle(self.tr("Compare answers"))
        names = (self.tr("The first answer"), self.tr("The second answer"))
        for name, chosen, text in zip(names, self.chosen, self.texts, strict=True):
            name_choice(chosen, name)
            text.setAccessibleName(name)
        self.box.button(QDialogButtonBox.StandardButton.Close).setText(self.tr("Close"))
        self._show()

    def _show(self, *_: object) -> None:
        first, second = (self.exchanges[chosen.currentIndex()] for chosen in self.chosen)
        for text in self.texts:
            text.clear()
        heads = tuple(self._facts(one) for one in (first, second))
        self._write(heads, compare(*heads), faint=True)
        for name in ORDER:
            said = tuple(self._said(one, name) for one in (first, second))
            if any(said):
                title = stage_name(name)
                self._write((title, title), None, faint=True)
                self._write(said, compare(*said), large=name == "conclusion")
        for text in self.texts:
            text.moveCursor(QTextCursor.MoveOperation.Start)

    def _said(self, exchange: Exchange, stage: str) -> str:
        if stage == "conclusion":
            return exchange.conclusion
        return exchange.stages.get(stage, "")

    def _facts(self, exchange: Exchange) -> str:
        """What may have made the difference."""
        request = exchange.request
        parts = [
            preset_name(str(request.get("preset", ""))),
            str(request.get("model", "")),
            self.tr("seed {0}").format(request.get("seed", 0)),
        ]
        return " · ".join(filter(None, parts))

    def _write(
        self,
        said: tuple[str, ...],
        pieces: tuple[tuple[Piece, ...], ...] | None,
        *,
        faint: bool = False,
        large: bool = False,
    ) -> None:
        """A paragraph on each side. pieces: of `compare`, None for what is no answer's."""
        colours = theme.current()
        for at, text in enumerate(self.texts):
            cursor = text.textCursor()
            cursor.movePosition(QTextCursor.MoveOperation.End)
            if not text.document().isEmpty():
                block = QTextBlockFormat()
                block.setTopMargin(12 if pieces is None else 2)
                cursor.insertBlock(block)
            for piece in pieces[at] if pieces is not None else (Piece(said[at], False),):
                shape = QTextCharFormat()
                shape.setForeground(QColor(colours.faint if faint else colours.text))
                if pieces is None:
                    shape.setFontWeight(QFont.Weight.DemiBold)
                if large:
                    shape.setFontPointSize(text.font().pointSizeF() * 1.4)
                if piece.differs:
                    shape.setBackground(QColor(colours.note_back))
                    shape.setFontUnderline(True)  # a colour alone is not seen by everybody
                cursor.insertText(piece.text, shape)
