"""One user turn as pieces, equal to what the model's own template writes."""

from __future__ import annotations

from dataclasses import dataclass

from llavao1_edge.errors import UsageError

# The template's own fallback date: a fixed one, so that the same question gives the same tokens.
SYSTEM_BLOCK = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"


@dataclass(frozen=True)
class Special:
    """A special token by its text, for example `<|eot_id|>`."""

    text: str


Piece = Special | str
"""A special token, or text that is tokenised without recognising special tokens."""

BEGIN = Special("<|begin_of_text|>")
START, END = Special("<|start_header_id|>"), Special("<|end_header_id|>")
END_OF_TURN = Special("<|eot_id|>")
IMAGE = Special("<|image|>")


def picture_opening() -> list[Piece]:
    """How a conversation about a picture begins, up to the picture."""
    return [BEGIN, *_header("user"), "\n\n", IMAGE]


def picture_question(question: str) -> list[Piece]:
    """What follows the picture. Raises UsageError for an empty question."""
    turn = user_turn(question, first=True, picture=True, system_block=False)
    return turn[len(picture_opening()) :]


def user_turn(question: str, *, first: bool, picture: bool, system_block: bool) -> list[Piece]:
    """The pieces from the turn's start to where the assistant begins to write.

    picture: whether the conversation has one; it stands before the first question. system_block:
    whether this model's template opens a conversation *without* a picture with one. Raises
    UsageError for an empty question.
    """
    if not question.strip():
        raise UsageError("the question is empty", hint="Ask something about the picture.")
    try:
        question.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"the question is not text: {question!r}", hint="Check the terminal's encoding (UTF-8)."
        ) from None
    pieces: list[Piece] = []
    if first:
        pieces.append(BEGIN)
        if system_block and not picture:
            pieces += [*_header("system"), "\n\n", SYSTEM_BLOCK, END_OF_TURN]
    pieces += [*_header("user"), "\n\n"]
    if first and picture:
        pieces.append(IMAGE)
    return [*pieces, question, END_OF_TURN, *_header("assistant"), "\n\n"]


def _header(role: str) -> list[Piece]:
    return [START, role, END]
