"""The right half: the conversation, newest at the bottom, and the question box below it."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

from llavao1_gui.state.history import Exchange
from llavao1_gui.widgets.answer_card import AnswerCard
from llavao1_gui.widgets.layouts import (
    IconButton,
    Retranslated,
    button,
    clear,
    column,
    label,
    row,
)
from llavao1_gui.widgets.question_box import QuestionBox


class Banner(QFrame):
    """A sentence above the question that stays until it is closed; perhaps with one action."""

    acted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("banner")
        self.text = label(wrap=True, select=True)
        self.action = button(clicked=self._act)
        self.action.hide()
        self.close_button = IconButton("close")
        self.close_button.clicked.connect(self.hide)
        layout = row(self.text, self.action, self.close_button, margin=8)
        layout.setStretch(0, 1)
        self.setLayout(layout)
        layout.setAlignment(self.close_button, Qt.AlignmentFlag.AlignTop)
        self.hide()

    def show_text(self, text: str, *, bad: bool = False, action: str = "") -> None:
        self.text.setText(text)
        self.action.setText(action)
        self.action.setVisible(bool(action))
        self.setProperty("kind", "bad" if bad else "note")
        self.style().unpolish(self)
        self.style().polish(self)
        self.close_button.refresh()
        self.show()

    def _act(self) -> None:
        self.hide()
        self.acted.emit()


class AnswerPane(Retranslated):
    """Cards are made from exchanges; `card` finds the one of an exchange."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.area = QScrollArea()
        self.area.setWidgetResizable(True)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setObjectName("answers")
        self.inside = QWidget()
        self.inside.setObjectName("answersInside")
        self.cards = column(gap=10)
        self.cards.setContentsMargins(0, 0, 6, 0)
        self.hint = label(role="faint", wrap=True)
        self.hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.inside.setLayout(column(self.hint, self.cards, None, gap=0))
        self.area.setWidget(self.inside)
        self.banner = Banner()
        self.box = QuestionBox()
        self.setLayout(column(self.area, self.banner, self.box, margin=10))
        self._stick = True
        bar = self.area.verticalScrollBar()
        bar.rangeChanged.connect(self._follow)
        bar.valueChanged.connect(self._look)
        self.has_picture = False
        self.retranslate()

    def retranslate(self) -> None:
        self.banner.close_button.name(self.tr("Close"))
        self.area.setAccessibleName(self.tr("Conversation"))
        self._show_hint()

    def show_exchanges(self, exchanges: list[Exchange]) -> list[AnswerCard]:
        """Replaces what is shown."""
        clear(self.cards)
        self._stick = True
        made = [self.add(exchange) for exchange in exchanges]
        self._show_hint()
        return made

    def add(self, exchange: Exchange) -> AnswerCard:
        card = AnswerCard(exchange)
        self.cards.addWidget(card)
        self._stick = True
        self._show_hint()
        return card

    def remove(self, exchange: Exchange) -> None:
        for card in self.all_cards():
            if card.exchange is exchange:
                self.cards.removeWidget(card)
                card.hide()
                card.deleteLater()
        self._show_hint()

    def all_cards(self) -> list[AnswerCard]:
        items = (self.cards.itemAt(at) for at in range(self.cards.count()))
        found = [item.widget() for item in items if item is not None]
        return [card for card in found if isinstance(card, AnswerCard)]

    def set_has_picture(self, has: bool) -> None:
        self.has_picture = has
        self._show_hint()

    def _show_hint(self) -> None:
        empty = self.cards.count() == 0
        self.hint.setVisible(empty)
        self.hint.setMinimumHeight(60 if empty else 0)
        self.hint.setText(
            self.tr("Ask your first question below.")
            if self.has_picture
            else self.tr("Answers appear here.")
        )

    def _follow(self, _: int, high: int) -> None:
        if self._stick:
            bar = self.area.verticalScrollBar()
            QTimer.singleShot(0, bar, lambda: bar.setValue(bar.maximum()))
            bar.setValue(high)

    def _look(self, value: int) -> None:
        """Whoever scrolled up wants to read there."""
        self._stick = value >= self.area.verticalScrollBar().maximum() - 24

    def recolour(self) -> None:
        for card in self.all_cards():
            card.recolour()
        self.banner.close_button.refresh()
        self.box.stop_button.refresh()
        self.box.whole_button.refresh()
