"""Right or wrong: letters, words, numbers, yes and no."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llavao1_edge.evaluation.choosing import choice, yes_no
from llavao1_edge.evaluation.items import CHOICE, NUMBER, OUTSIDE, TEXT, YES_NO, Item, rotations
from llavao1_edge.evaluation.matching import match
from llavao1_edge.evaluation.numbers import quantities

OPTIONS = {"A": "a red circle", "B": "circle", "C": "the blue square", "D": "none of them"}


def item(kind: str, *answers: str, tolerance: float | None = None) -> Item:
    options = OPTIONS if kind == CHOICE else {}
    return Item("1", 1, "?", answers, kind, options=options, tolerance=tolerance)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(C)", "C"),
        ("C.", "C"),
        ("C) the blue square", "C"),
        ("**D**", "D"),
        ("The answer is B.", "B"),
        ("The correct option is (A)", "A"),
        ("Answer: D", "D"),
        ("the blue square", "C"),
        ("It is the blue square.", "C"),
        ("a red circle", "A"),  # holds "circle" too
        ("I would say: D", "D"),
        ("A or B", None),
        ("A cat", None),
        ("something else", None),
        ("", None),
        ("E", None),
    ],
)
def test_choices(text: str, letter: str | None) -> None:
    assert choice(text, OPTIONS) == letter


@given(
    st.sampled_from("ABCD"),
    st.sampled_from(
        ["{}", "({})", "{}.", "{}:", " {} ", "Answer: {}", "The answer is {}.", "[{}]"]
    ),
)
def test_a_letter_in_any_dress(letter: str, form: str) -> None:
    assert choice(form.format(letter), OPTIONS) == letter


@given(st.text(max_size=60))
def test_a_choice_is_an_option_or_nothing(text: str) -> None:
    assert choice(text, OPTIONS) in {*OPTIONS, None}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Yes", "yes"),
        ("No.", "no"),
        ("yes, it is", "yes"),
        ("True", "yes"),
        ("No, there is no circle", "no"),
        ("Yes, although no one sees it", "yes"),
        ("It could be yes or no", None),
        ("maybe", None),
        ("", None),
        ("nothing", None),
    ],
)
def test_yes_and_no(text: str, word: str | None) -> None:
    assert yes_no(text) == word


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,234.5 km", [(1234.5, "km")]),
        ("-3", [(-3, "")]),
        ("−3", [(-3, "")]),
        ("5-3", [(5, ""), (3, "")]),
        ("3/4", [(0.75, "")]),
        ("12 %", [(12, "%")]),
        ("$5", [(5, "$")]),
        ("6e3", [(6000, "")]),
        ("2.5e-2 m", [(0.025, "m")]),
        (".5", [(0.5, "")]),
        ("none", []),
    ],
)
def test_numbers(text: str, values: list[tuple[float, str]]) -> None:
    assert [(float(q.value), q.unit) for q in quantities(text)] == values


@given(st.integers(-(10**9), 10**9))
def test_whole_numbers_survive_any_writing(n: int) -> None:
    for text in (str(n), f"{n:,}", f"{n}.0", f"The answer is {n}.", f" {n} cm"):
        assert match(item(NUMBER, str(n)), text).right, text
    assert not match(item(NUMBER, str(n)), str(n + 1)).right


@pytest.mark.parametrize(
    ("wanted", "tolerance", "said", "right"),
    [
        ("0.33", 0.005, "0.333", True),
        ("0.33", 0.005, "0.34", False),
        ("3.14159", None, "3.1416", True),
        ("3.14159", None, "3.1", False),
        ("5 cm", None, "5", True),
        ("5 cm", None, "5 cm", True),
        ("5 cm", None, "5 m", False),
        ("7", None, "From 3 and 4 the answer is 7, not 8.", True),
        ("7", None, "3 + 4 = 7", True),
        ("7", None, "seven", False),
    ],
)
def test_number_matching(wanted: str, tolerance: float | None, said: str, right: bool) -> None:
    assert match(item(NUMBER, wanted, tolerance=tolerance), said).right is right


@pytest.mark.parametrize("zeros", [20, 320, 400, 5000])
def test_a_number_without_end(zeros: int) -> None:
    """As a model writes it that repeats itself."""
    found = match(item(NUMBER, "7"), "1" + "0" * zeros)
    assert found.right is False
    assert found.answered == {20: "1e+20", 320: "about 10^320", 400: "about 10^400"}.get(zeros)
    assert match(item(NUMBER, "7"), f"7 ({'3' * zeros})").right


def test_several_references_and_what_nobody_here_can_judge() -> None:
    assert match(item(TEXT, "New York", "NYC"), "new york.").right
    assert match(item(TEXT, "New York", "NYC"), "Nyc").right
    assert not match(item(TEXT, "New York"), "York").right
    assert match(item(OUTSIDE, "x<AND>y"), "x").right is None
    assert match(item(YES_NO, "Yes"), "yes it is").right
    assert match(item(CHOICE, "B"), "nonsense").answered is None
    assert match(item(CHOICE, "the blue square"), "C").right  # a reference in words


@given(st.integers(2, 8), st.data())
def test_rotations_ask_the_same_thing(n: int, data: st.DataObject) -> None:
    letters = string.ascii_uppercase[:n]
    options = {letter: f"text {i}" for i, letter in enumerate(letters)}
    right = data.draw(st.sampled_from(letters))
    made = rotations(Item("7", 1, "?", (right,), CHOICE, options=options))
    assert len(made) == n
    assert {one.options[one.answers[0]] for one in made} == {options[right]}
    assert {one.answers[0] for one in made} == set(letters)
    assert {one.group for one in made} == {"7"}
    assert len({one.key for one in made}) == n
