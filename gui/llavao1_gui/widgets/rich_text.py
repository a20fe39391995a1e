"""Text of the model: Markdown and formulas, selectable, as tall as it needs to be.

Links are not followed, and a picture that is named in the text is never read: Qt would open any
file of this computer for it.
"""

from __future__ import annotations

from typing import Any, Protocol

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt, QUrl, SignalInstance
from PySide6.QtGui import (
    QImage,
    QPainter,
    QResizeEvent,
    QTextBlockFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
)
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QSizePolicy, QTextBrowser, QWidget

from llavao1_gui.state.formulas import Formula, extract
from llavao1_gui.widgets import theme

LINE_HEIGHT = 130.0  # percent of a font's own height, which has some room already
LARGEST = 4096  # pixels: the longer side of a drawn formula; larger ones stay source
JOINER = "\u2060"  # has no width


class FormulaSource(Protocol):
    """Draws formulas somewhere else; `ready` tells when one is there."""

    @property
    def ready(self) -> SignalInstance: ...

    def svg(self, tex: str, *, size: float, colour: str) -> bytes | None: ...


class RichText(QTextBrowser):
    """`scale`: of the application's font size."""

    formulas: FormulaSource | None = None

    def __init__(self, parent: QWidget | None = None, *, scale: float = 1.0) -> None:
        super().__init__(parent)
        self.setObjectName("answerText")
        self.setOpenLinks(False)
        self.setReadOnly(True)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.document().setDocumentMargin(0)
        self._base, self._scale = self.font().pointSizeF(), 0.0
        self._text, self._has_formulas = "", False
        self.set_scale(scale)
        self.document().documentLayout().documentSizeChanged.connect(self._fit)
        if RichText.formulas is not None:
            RichText.formulas.ready.connect(self._draw_again)

    def set_scale(self, scale: float) -> None:
        """Of the application's font size."""
        if scale != self._scale:
            self._scale = scale
            font = self.font()
            font.setPointSizeF(self._base * scale)
            self.setFont(font)

    def loadResource(self, kind: int, url: QUrl | str) -> Any:  # noqa: N802, ARG002 (Qt's)
        return QByteArray()

    @property
    def markdown(self) -> str:
        """The text as it came."""
        return self._text

    def set_markdown(self, text: str) -> None:
        if text == self._text:
            return
        self._text = text
        self._show()

    def refresh(self) -> None:
        """Draws the same text with the present colours."""
        if self._text:
            self._show()

    def _draw_again(self) -> None:
        if self._has_formulas:
            self._show()

    def _show(self) -> None:
        marked, formulas = extract(self._text)
        self._has_formulas = bool(formulas)
        features = QTextDocument.MarkdownFeature
        # Every picture begins with these two; what cannot be parsed as one cannot be opened.
        harmless = marked.replace("![", f"!{JOINER}[")
        self.document().setMarkdown(
            harmless, features.MarkdownDialectGitHub | features.MarkdownNoHTML
        )
        for formula in formulas:
            self._insert(formula)
        self._space()
        self._fit()

    def _space(self) -> None:
        """Lines apart as in a book; not in code, where they belong together."""
        shape = QTextBlockFormat()
        shape.setLineHeight(LINE_HEIGHT, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
        block = self.document().begin()
        while block.isValid():
            if not block.blockFormat().hasProperty(QTextFormat.Property.BlockCodeFence):
                cursor = QTextCursor(block)
                cursor.mergeBlockFormat(shape)
            block = block.next()

    def _insert(self, formula: Formula) -> None:
        cursor = self.document().find(formula.mark)
        if cursor.isNull():
            return
        image = self._image(formula)
        if image is None:
            cursor.insertText(formula.source)
            return
        cursor.insertImage(image, formula.source)
        if not formula.block:
            cursor.movePosition(QTextCursor.MoveOperation.Left, QTextCursor.MoveMode.KeepAnchor)
            shape = cursor.charFormat()
            shape.setVerticalAlignment(shape.VerticalAlignment.AlignMiddle)
            cursor.setCharFormat(shape)

    def _image(self, formula: Formula) -> QImage | None:
        if RichText.formulas is None:
            return None
        size = self.fontMetrics().height() * (1.15 if formula.block else 0.95)
        svg = RichText.formulas.svg(formula.tex, size=size, colour=theme.current().text)
        if not svg:
            return None
        renderer = QSvgRenderer(QByteArray(svg))
        wanted, ratio = renderer.defaultSize(), self.devicePixelRatioF()
        if not 0 < max(wanted.width(), wanted.height()) * ratio <= LARGEST:
            return None
        image = QImage(wanted * ratio, QImage.Format.Format_ARGB32_Premultiplied)
        image.setDevicePixelRatio(ratio)
        image.fill(Qt.GlobalColor.transparent)
        painter = QPainter(image)
        renderer.render(painter, QRectF(0, 0, wanted.width(), wanted.height()))
        painter.end()
        return image

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        height = int(self.document().size().height()) + 4
        if height != self.height() and height > 4:
            self.setFixedHeight(height)

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(200, max(24, int(self.document().size().height()) + 4))
