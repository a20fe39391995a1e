"""What counts as right: numbers, options, yes and no, as models write them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llavao1_edge.evaluation.choosing import choice, yes_no
from llavao1_edge.evaluation.items import CHOICE, NUMBER, YES_NO, Item
from llavao1_edge.evaluation.matching import match

OPTIONS = {"A": "a dog", "B": "a cat", "C": "a horse", "D": "a bird"}


def number(answer: str, said: str) -> bool | None:
    return match(Item("1", 1, "?", (answer,), NUMBER), said).right


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("24 cm²", "24 cm²"), ("24", "The area is 24 cm²."), ("24", "24 cm^2"), ("24 cm^2", "24 cm²"),
        ("10 m²", "10 m²"), ("10", "the answer is 10 m³"), ("24", "$24\\text{ cm}^2$"), ("24", "$24\\,\\mathrm{cm}^{2}$"),
        ("0.5", r"$\frac{1}{2}$"), ("0.5", r"\dfrac12"), ("0.5", "½"), ("0.75", r"\boxed{\frac{3}{4}}"),
        ("2000", r"2 \times 10^3"), ("2000", "2 × 10³"), ("2000", "2*10^3"), ("0.002", r"2 \times 10^{-3}"), ("0.002", "2 × 10⁻³"),
        ("1.5", "1½"), ("1.5", "1 1/2"), ("1.5", r"1\frac{1}{2}"), ("1.5", "1 ½ cups"),
        ("3.5", "3,5"), ("3.5", "3,5 kg"), ("3500", "3,500"), ("1234", "1 234"), ("1234", "1\u202f234"),
        ("1234.5", "1.234,5"), ("1234567.8", "1,234,567.8"), ("1234", r"1{,}234"),
        ("-3", "– 3"), ("-3", "− 3"), ("-3", "It is -3."), ("-3", "= -3"), ("3", "From 5 - 2 we get 3"),
        ("1000000", "1 million"), ("2500000", "2.5 million people"), ("3000", "3 thousand"), ("30000", "3만"),
        ("7", "7 (3 red + 4 blue)"), ("7", "There are 7 (3 + 4)."), ("2", "2 small circles out of 5"), ("2", "2 of the 5 circles"), ("7", "(7)"),
        ("45", r"45^\circ"), ("45", "45°"), ("45 °", r"$45^{\circ}$"), ("12 %", r"12\%"), ("12%", "12 percent"),
        ("5", "$5"), ("5", "$5$"), ("5", r"\(5\)"), ("6000", "6e3"),
        ("3 apples", "3 apples"), ("about 5", "about 5"), ("x = 4", "x = 4"),
    ],
)  # fmt: skip
def test_numbers_that_are_right(answer: str, said: str) -> None:
    assert number(answer, said) is True


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("24 cm²", "24 cm"), ("24", "2"), ("2", "24 cm²"), ("2", r"\frac{1}{2}"), ("10", "2 \\times 10^3"), ("35", "3,5"),
        ("5", "2 small circles out of 5"), ("4", "7 (3 red + 4 blue)"), ("3", "-3"), ("1", "1 million"), ("234", "1 234"),
        ("1", "1 1/2"), ("3", "five"),
    ],
)  # fmt: skip
def test_numbers_that_are_wrong(answer: str, said: str) -> None:
    assert not number(answer, said)


@pytest.mark.parametrize(
    "text", ["24 cm²", "a red circle", "½", "12:30", "–", "x²+1", "3/4 cup", "정답"]
)
def test_what_is_said_in_the_same_words_is_right(text: str) -> None:
    assert number(text, text) is True


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("Option A shows a mammal, but it is wrong. The correct answer is C.", "C"),
        ("Option A is incorrect. Option B is incorrect. Therefore the answer is C.", "C"),
        ("The answer is A. No, wait: the answer is B.", "B"),
        ("The answer is A or B.", None),
        ("The answer is not A but the answer is D.", "D"),
        ("correct: C", "C"),
        ("C is correct", "C"),
        ("B is the correct answer because A is wrong.", "B"),
        (r"\boxed{C}", "C"),
        (r"So we get \boxed{\text{B}}.", "B"),
        ("A and B are animals, **C**", "C"),
        ("I choose B.", "B"),
        ("A is incorrect", None),
        ("not A", None),
        ("It can't be A, so: D", "D"),
        ("The answer is a cat.", "B"),
        ("It is a horse, not a cat.", "C"),
        ("The animal is not a dog.", None),
        ("answer: b", "B"),
        ("정답은 B입니다.", "B"),
        ("답은 B예요", "B"),
        ("정답: C", "C"),
        ("答案是B。", "B"),
        ("选B", "B"),
        ("正确答案为D", "D"),
        ("答えはBです。", "B"),
        ("正解はC", "C"),
        ("B. a cat", "B"),
        ("(D) a bird", "D"),
        ("A dog", "A"),
        ("A nice picture", None),
    ],
)
def test_a_stated_option_counts_before_a_mentioned_one(said: str, letter: str | None) -> None:
    assert choice(said, OPTIONS) == letter


@pytest.mark.parametrize(
    ("said", "word"),
    [
        *((text, "yes") for text in ("예", "네, 있습니다.", "是", "是的,有一个。", "对", "はい、あります", "Ja, natürlich", "Oui.", "Sí, hay uno.", "True", "Yes")),
        *((text, "no") for text in ("아니요", "아니오, 없습니다", "否", "不是", "没有", "いいえ", "Nein.", "Non, il n'y en a pas.", "No, there is none", "False")),
        *((text, None) for text in ("maybe", "es gibt vielleicht", "아마", "")),
    ],
)  # fmt: skip
def test_yes_and_no_in_seven_languages(said: str, word: str | None) -> None:
    assert yes_no(said) == word
    if word:
        assert match(Item("1", 1, "?", (word.capitalize(),), YES_NO), said).right


def test_options_that_touch_other_letters_in_other_scripts() -> None:
    options = {"A": "개", "B": "고양이", "C": "말"}
    assert choice("고양이입니다.", options) == "B"
    assert match(Item("1", 1, "?", ("B",), CHOICE, options=options), "정답은 B입니다").right


def compared() -> list[tuple[str, str, str]]:
    """(conclusion, right answer, what we read) of the comparison in docs/evaluation.md."""
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    part = text.partition("### Beside VLMEvalKit's rules")[2]
    rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row] for row in rows if len(row) == 5]
    return [(row[1].strip("`"), row[2], row[4]) for row in cells[1:]]


@pytest.mark.parametrize(("conclusion", "wanted", "told"), compared())
def test_the_comparison_with_vlmevalkit_is_true(conclusion: str, wanted: str, told: str) -> None:
    answer, _, words = wanted.partition(" of ")
    options = dict(zip("ABCD", re.findall(r"`([^`]+)`", words), strict=False))
    kind = CHOICE if options else YES_NO if answer in ("yes", "no") else NUMBER
    found = match(Item("1", 1, "?", (answer,), kind, options=options), conclusion)
    assert found.right == (told == answer)
    if kind != NUMBER:
        assert (found.answered or "nothing") == told


def test_the_comparison_has_all_five_benchmarks() -> None:
    assert len(compared()) == 21
