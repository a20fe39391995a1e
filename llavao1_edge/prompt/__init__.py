"""Chat formats, built in. Knows no tokens: pieces of text and names of special tokens.

A template found in a model file is never rendered (it is a program from a stranger).
"""

from llavao1_edge.prompt.chat import BEGIN, EMPTY_THOUGHT, ChatFormat, Piece, Special, joined
from llavao1_edge.prompt.formats import (
    FORMATS,
    GUESSES,
    LLAMA3_VISION,
    STAGE_PROMPT,
    SYSTEM_BLOCK,
    chat_format,
)

__all__ = [
    "BEGIN",
    "EMPTY_THOUGHT",
    "FORMATS",
    "GUESSES",
    "LLAMA3_VISION",
    "STAGE_PROMPT",
    "SYSTEM_BLOCK",
    "ChatFormat",
    "Piece",
    "Special",
    "chat_format",
    "joined",
]
