"""Two texts word by word: what is in one and not in the other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

WORDS = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True)
class Piece:
    text: str
    differs: bool


def compare(first: str, second: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Both texts whole, in pieces that are alike or differ."""
    words = [WORDS.findall(text) for text in (first, second)]
    sides: tuple[list[Piece], list[Piece]] = ([], [])
    matcher = SequenceMatcher(None, words[0], words[1], autojunk=False)
    for kind, *ends in matcher.get_opcodes():
        for side, own, start, stop in zip(sides, words, ends[::2], ends[1::2], strict=True):
            if start < stop:
                side.append(Piece("".join(own[start:stop]), kind != "equal"))
    return tuple(sides[0]), tuple(sides[1])
