"""Whether a conclusion is right. Pure: texts in, verdict out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from llavao1_edge.evaluation.items import CHOICE, NUMBER, OUTSIDE, YES_NO, Item
from llavao1_edge.scoring.text import normalise, normalise_answer

RELATIVE = Fraction(1, 1000)  # numbers this close are the same, where no tolerance is stated
_LETTER_FIRST = re.compile(r"^\W*([A-Z])\s*(?:[.:)\]]|$)")
_LETTER_SAID = re.compile(
    r"(?:answer|option|choice)\s*(?:is|:)?\s*[:\s]*[\[(*\"']*([A-Z])(?![\w'])", re.IGNORECASE
)
_LETTER_ALONE = re.compile(r"(?<![\w'])([A-Z])(?![\w'])")
_STATED = re.compile(r"(?:answer|result|total)\s*(?:is|:|=)\s*(.*)", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(
    r"(?P<sign>[-+−])?(?P<money>[$€£])?"
    r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?:[eE](?P<power>[-+]?\d{1,2}))?(?:\s*/\s*(?P<under>\d+))?"
    r"\s*(?P<unit>%|°\s?[CF]?|[A-Za-zµ²³]+)?"
)


@dataclass(frozen=True)
class Match:
    """answered: what the conclusion was taken to say; None: nothing of the kind was found in it.

    right: None where only another model could say.
    """

    right: bool | None
    answered: str | None


def match(item: Item, conclusion: str) -> Match:
    """Compares a conclusion with the answers of a question."""
    if item.kind == OUTSIDE or not item.answers:
        return Match(None, conclusion.strip() or None)
    if item.kind == CHOICE:
        said = choice(conclusion, item.options)
        wanted = {choice(answer, item.options) or answer for answer in item.answers}
        return Match(said in wanted, said)
    if item.kind == YES_NO:
        word = yes_no(conclusion)
        return Match(word is not None and word in map(yes_no, item.answers), word)
    if item.kind == NUMBER:
        return _match_number(item, conclusion)
    text = normalise_answer(conclusion)
    same = text in {normalise_answer(answer) for answer in item.answers}
    return Match(same, text or None)


def choice(text: str, options: Mapping[str, str]) -> str | None:
    """The letter that a text chooses: as a letter, or in the words of one option only."""
    text = unicodedata.normalize("NFKC", text).strip()
    bare = normalise_answer(text).upper()
    if bare in options:
        return bare
    exact = [letter for letter, words in options.items() if normalise(words) == normalise(text)]
    if len(exact) == 1:
        return exact[0]
    for pattern in (_LETTER_FIRST, _LETTER_SAID):
        for found in pattern.finditer(text):
            letter = str(found[1])
            if letter in options:
                return letter
    said = [letter for letter, words in options.items() if _holds(text, words)]
    # "red circle" holds "circle" too: an option inside another one that was said does not count.
    said = [
        letter
        for letter in said
        if not any(other != letter and _holds(options[other], options[letter]) for other in said)
    ]
    if len(said) == 1:
        return said[0]
    alone = {found for found in _LETTER_ALONE.findall(text) if found in options}
    alone.discard("I")
    if len(alone) == 1 and not (alone == {"A"} and re.search(r"\bA [a-z]", text)):
        return str(alone.pop())
    return None


def _holds(text: str, words: str) -> bool:
    """Whether a text says some words, as words."""
    inner = normalise(words)
    return (
        bool(inner) and re.search(rf"(?<!\w){re.escape(inner)}(?!\w)", normalise(text)) is not None
    )


def yes_no(text: str) -> str | None:
    """The first of the two words that stands in a text, unless both do."""
    words = re.findall(r"\b(yes|no|true|false)\b", normalise(text))
    said = {"true": "yes", "false": "no"}
    found = [said.get(word, word) for word in words]
    if not found:
        return None
    first = normalise(text).split(maxsplit=1)[0].strip(",.;:!")
    return found[0] if len(set(found)) == 1 or first in ("yes", "no", "true", "false") else None


@dataclass(frozen=True)
class Quantity:
    """A number and the unit behind it, if any."""

    value: Fraction
    unit: str


def quantities(text: str) -> list[Quantity]:
    """All numbers of a text: thousands separators, signs, percent, fractions, powers of ten."""
    found = []
    for part in _NUMBER.finditer(unicodedata.normalize("NFKC", text).replace("⁄", "/")):
        value = Fraction(part["number"].replace(",", ""))
        if part["power"]:
            value *= Fraction(10) ** int(part["power"])
        if part["under"] and int(part["under"]):
            value /= int(part["under"])
        before = text[: part.start()][-1:]
        if part["sign"] in ("-", "−") and not before.isalnum():  # "A-3" and "5-3" are no minus
            value = -value
        found.append(Quantity(value, (part["unit"] or part["money"] or "").casefold()))
    return found


def _match_number(item: Item, conclusion: str) -> Match:
    said = quantities(conclusion)
    if not said:
        return Match(False, None)
    answered = said[0] if len(said) == 1 else _stated(conclusion) or said[-1]
    wanted = [found[0] for answer in item.answers if (found := quantities(answer))]
    right = any(_same(answered, other, item.tolerance) for other in wanted)
    return Match(right, f"{float(answered.value):g}{answered.unit}")


def _stated(text: str) -> Quantity | None:
    """The number behind "the answer is"."""
    after = re.search(
        r"(?:answer|result|total)\s*(?:is|:|=)\s*(.*)", text, re.IGNORECASE | re.DOTALL
    )
    found = quantities(after[1]) if after else []
    return found[0] if found else None


def _same(said: Quantity, wanted: Quantity, tolerance: float | None) -> bool:
    """Equal within the tolerance; a unit must agree only where both have one."""
    if said.unit and wanted.unit and said.unit.rstrip("s") != wanted.unit.rstrip("s"):
        return False
    allowed = abs(wanted.value) * RELATIVE if tolerance is None else Fraction(tolerance)
    if tolerance is None and said.value.denominator == wanted.value.denominator == 1:
        allowed = Fraction(0)  # counts are right or wrong
    return abs(said.value - wanted.value) <= allowed
