"""How a conversation is written for a model: a chat format as pieces, never as a program.

A piece is a special token or text. Text is tokenised without recognising special tokens, so that
nobody's question can become one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from llavao1_edge.errors import UsageError
from llavao1_edge.files import is_text
from llavao1_edge.phrases import Phrase


@dataclass(frozen=True)
class Special:
    """A special token by its text, for example `<|eot_id|>`."""

    text: str


Piece = Special | str
"""A special token, or text that is tokenised without recognising special tokens."""

BEGIN = Special("")
"""The model's own first token, if its vocabulary says that a text begins with one."""

EMPTY_THOUGHT = (Special("<think>"), "\n\n", Special("</think>"), "\n\n")
"""For models that think before they answer: the thinking then happens in the reasoning stage."""


def joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Neighbouring texts as one: they are tokenised together, as in one string."""
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        if text:
            yield text
            text = ""
        yield piece
    if text:
        yield text


@dataclass(frozen=True)
class ChatFormat:
    """begin: opens a conversation. system: what stands around a system text; None: it stands at the
    start of the first question instead. user, assistant: what stands around a question, and what an
    answer begins after. close: what follows an answer before the next turn; its first piece is the
    token that ends an answer. picture: what holds the picture's place, if anything does;
    after_picture: what stands between it and the question; gap: what stands before a question
    without a picture.
    """

    name: str
    begin: tuple[Piece, ...]
    system: tuple[tuple[Piece, ...], tuple[Piece, ...]] | None
    user: tuple[tuple[Piece, ...], tuple[Piece, ...]]
    assistant: tuple[Piece, ...]
    close: tuple[Piece, ...]
    picture: tuple[Piece, ...] = ()
    after_picture: str = ""
    gap: str = ""

    @property
    def specials(self) -> frozenset[str]:
        """The special tokens that a vocabulary must have."""
        around = self.system or ((), ())
        groups = (self.begin, *around, *self.user, self.assistant, self.close, self.picture)
        return frozenset(
            piece.text
            for group in groups
            for piece in group
            if isinstance(piece, Special) and piece != BEGIN
        )

    @property
    def without_thinking(self) -> ChatFormat:
        """The same, with a thought that is empty before every answer."""
        return replace(self, assistant=(*self.assistant, *EMPTY_THOUGHT))

    def opening(self, *, system: str = "") -> list[Piece]:
        """How a conversation about a picture begins, up to the picture."""
        return [*self._first(system), *self.picture]

    def question(self, text: str) -> list[Piece]:
        """What follows the picture, to where the assistant begins to write. Raises UsageError for
        an empty question."""
        return [*([self.after_picture] if self.after_picture else []), *self._asked(text)]

    def _asked(self, text: str) -> list[Piece]:
        return [checked_question(text), *self.user[1], *self.assistant]

    def turn(self, text: str, *, first: bool = True, system: str = "") -> list[Piece]:
        """A whole turn without a picture. system: only of the first one. Raises UsageError."""
        before = self._first(system) if first else [*self.user[0]]
        asked = [self.gap] if self.gap else []
        return [*before, *asked, *self._asked(text)]

    def _first(self, system: str) -> list[Piece]:
        """The beginning of a conversation, up to its first question."""
        pieces = [*self.begin]
        if system and self.system is not None:
            pieces += [*self.system[0], system, *self.system[1]]
        pieces += self.user[0]
        if system and self.system is None:
            pieces += [f"{system}\n\n"]
        return pieces


def checked_question(question: str) -> str:
    """Raises UsageError for an empty one, and for what is no text."""
    if not question.strip():
        raise UsageError("the question is empty", hint="Ask something about the picture.")
    if not is_text(question):
        raise UsageError(
            Phrase("the question is not text: {question}", question=repr(question)),
            hint="Check the terminal's encoding (UTF-8).",
        )
    return question
