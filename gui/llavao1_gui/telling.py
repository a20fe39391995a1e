"""Sentences above the question: they stay until they are closed or are no news any more."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from PySide6.QtCore import QObject

from llavao1_gui.widgets.answer_pane import Banner

MOST_NAMED = 4  # bad files; the others are counted


class Topic(Enum):
    """What a sentence is about, and so what makes it old news."""

    OTHER = "other"
    PICTURES = "pictures"  # files that could not be opened: until others are given
    WORLD = "world"  # what the demo model knows: until another picture or model
    SAVING = "saving"  # until it is saved
    QUESTION = "question"  # what could not be asked or answered: until an answer comes


class Teller(QObject):
    def __init__(self, banner: Banner, parent: QObject) -> None:
        super().__init__(parent)
        self._banner = banner
        self._action: Callable[[], object] = lambda: None
        self._topic = Topic.OTHER
        self._bad: list[str] = []
        banner.acted.connect(lambda: self._action())

    def tell(
        self, text: str, *, bad: bool = False, action: str = "",
        acted: Callable[[], object] = lambda: None, topic: Topic = Topic.OTHER,
    ) -> None:  # fmt: skip
        self._action, self._topic = acted, topic
        self._banner.show_text(text, bad=bad, action=action)

    def problem(self, text: str, hint: str, topic: Topic) -> None:
        """What went wrong, and what to do."""
        self.tell(f"{text}\n{hint}".strip(), bad=True, topic=topic)

    def picture_failed(self, name: str, message: str, hint: str) -> None:
        """All bad files of one drop are named, not only the last."""
        if self._topic is not Topic.PICTURES:
            self._bad = []
        said = message if name in message else f"{name}: {message}"
        self._bad.append(f"{said}\n{hint}".strip())
        shown, more = self._bad[:MOST_NAMED], len(self._bad) - MOST_NAMED
        if more > 0:
            shown.append(self.tr("And {0} more that cannot be opened.").format(more))
        self.tell("\n".join(shown), bad=True, topic=Topic.PICTURES)

    @property
    def is_free(self) -> bool:
        """Whether nothing is said that a hint must not replace."""
        return not self._banner.isVisible() or self._topic is Topic.WORLD

    def clear(self) -> None:
        """A question is asked; what is not saved, and what the model does not know, stays said."""
        if self._topic not in (Topic.SAVING, Topic.WORLD):
            self._banner.hide()

    def no_news(self, topic: Topic) -> None:
        """It has worked since, or there are others."""
        if self._topic is topic:
            self._banner.hide()
            self._topic = Topic.OTHER
