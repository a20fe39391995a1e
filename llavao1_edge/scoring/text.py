"""When two texts say the same, and how close they are."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from decimal import Decimal

_EDGES = " \t\n.,;:!?\"'`*()[]{}"
_DECIMAL = re.compile(r"\.\d")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)", re.ASCII)
_LEAD = re.compile(r"^(?:the )?(?:final |correct )?(?:answer|option|choice)(?: is)?[:\s]+")


def normalise(text: str) -> str:
    """Equal for texts that differ in case, blanks, or punctuation at the ends only."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    text = " ".join(folded.split()).rstrip(_EDGES).lstrip(_EDGES.replace(".", ""))
    while text and text[0] in _EDGES and not _DECIMAL.match(text):  # ".5" is not "5"
        text = text[1:]
    return text


def normalise_answer(text: str) -> str:
    """`normalise`, and what answers differ in without meaning to: "The answer is (B)." → "b",
    "3.0" → "3"."""
    answer = normalise(_LEAD.sub("", normalise(text)))
    if not _NUMBER.fullmatch(answer):
        return answer
    number = Decimal(answer)
    return f"{number.normalize():f}" if number else "0"


def closeness(first: str, second: str) -> float:
    """Dice overlap of words and word pairs, 0 to 1.

    Symmetric, independent of length, linear in it, and word pairs make it notice order.
    """
    a, b = _grams(first), _grams(second)
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 1.0


def _grams(text: str) -> Counter[tuple[str, ...]]:
    words = re.findall(r"\w+|[^\w\s]", normalise(text))
    return Counter([*((word,) for word in words), *itertools.pairwise(words)])
