"""The Llama-3 chat format, built in. Knows no tokens: pieces of text and names of special tokens.

A template found in a model file is never rendered (it is a program from a stranger).
"""

from llavao1_edge.prompt.llama3 import (
    END_OF_TURN,
    Piece,
    Special,
    picture_opening,
    picture_question,
    user_turn,
)

__all__ = [
    "END_OF_TURN",
    "Piece",
    "Special",
    "picture_opening",
    "picture_question",
    "user_turn",
]
