"""Whether a conclusion is right. Pure: texts in, verdict out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from llavao1_edge.evaluation.choosing import choice, yes_no
from llavao1_edge.evaluation.items import CHOICE, NUMBER, OUTSIDE, YES_NO, Item
from llavao1_edge.evaluation.numbers import Quantity, main_quantities
from llavao1_edge.scoring.text import normalise_answer

RELATIVE = Fraction(1, 1000)  # numbers this close are the same, where no tolerance is stated


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


def _match_number(item: Item, conclusion: str) -> Match:
    if normalise_answer(conclusion) in {normalise_answer(answer) for answer in item.answers}:
        return Match(True, conclusion.strip())
    said = main_quantities(conclusion)
    if not said:
        return Match(False, None)
    answered = said[0] if len(said) == 1 else _stated(conclusion) or said[-1]
    wanted = [found[0] for answer in item.answers if (found := main_quantities(answer))]
    right = any(_same(answered, other, item.tolerance) for other in wanted)
    return Match(right, f"{_written(answered.value)}{answered.unit}")


def _written(value: Fraction) -> str:
    try:
        return f"{float(value):g}"
    except OverflowError:
        return f"about 10^{len(str(abs(value.numerator) // value.denominator)) - 1}"


def _stated(text: str) -> Quantity | None:
    """The number behind "the answer is"."""
    after = re.search(
        r"(?:answer|result|total)\s*(?:is|:|=)\s*(.*)", text, re.IGNORECASE | re.DOTALL
    )
    found = main_quantities(after[1]) if after else []
    return found[0] if found else None


def _same(said: Quantity, wanted: Quantity, tolerance: float | None) -> bool:
    """Equal within the tolerance; a unit must agree only where both have one."""
    if said.unit and wanted.unit and said.unit.rstrip("s") != wanted.unit.rstrip("s"):
        return False
    allowed = abs(wanted.value) * RELATIVE if tolerance is None else Fraction(tolerance)
    if tolerance is None and said.value.denominator == wanted.value.denominator == 1:
        allowed = Fraction(0)  # counts are right or wrong
    return abs(said.value - wanted.value) <= allowed
