"""Laws of the parser: it never raises, and loses no text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llavao1_edge.stages import STAGES, parse

WHOLE = (
    "<SUMMARY> Plan. </SUMMARY>\n\n<CAPTION> A cat. </CAPTION>\n\n"
    "<REASONING> 1 < 2, so yes. </REASONING>\n\n<CONCLUSION> yes </CONCLUSION>"
)


def test_a_regular_answer_has_no_problems() -> None:
    parsed = parse(WHOLE)
    assert parsed.stages == {
        "summary": "Plan.",
        "caption": "A cat.",
        "reasoning": "1 < 2, so yes.",
        "conclusion": "yes",
    }
    assert parsed.problems == ()
    assert parsed.conclusion == "yes"


TAGS = [stage.opening for stage in STAGES] + [stage.closing for stage in STAGES]
ODD = ["text ", "<", "</", "**Summary:** ", "\n", "[CAPTION]"]


@given(st.lists(st.sampled_from(TAGS + ODD)))
def test_nothing_raises_and_no_text_is_lost(parts: list[str]) -> None:
    parsed = parse("".join(parts))
    kept = " ".join([*parsed.stages.values(), parsed.outside])
    assert kept.count("text") == parts.count("text ")


def test_no_tags_at_all_is_a_marked_result() -> None:
    parsed = parse("It is a cat.")
    assert parsed.conclusion == "It is a cat."
    assert "conclusion is missing" in parsed.problems
    assert "text outside the stages" in parsed.problems


def test_an_unclosed_conclusion_is_still_the_conclusion() -> None:
    parsed = parse("<CONCLUSION> yes")
    assert parsed.conclusion == "yes"
    assert "conclusion was not closed" in parsed.problems


def test_odd_tags_are_read_and_named() -> None:
    parsed = parse("<summary> a </summary> [CAPTION] b [/CAPTION] < Conclusion > d </CONCLUSION>")
    assert parsed.stages == {"summary": "a", "caption": "b", "conclusion": "d"}
    assert "odd tag '<summary>'" in parsed.problems
    assert "odd tag '[CAPTION]'" in parsed.problems


def test_headings_are_read_where_there_are_no_tags() -> None:
    parsed = parse("**Summary:** a\n## Caption\nb\n**Reasoning**: c\n# Conclusion\nd")
    assert parsed.stages == {"summary": "a", "caption": "b", "reasoning": "c", "conclusion": "d"}
    assert parse("# Conclusions\nbla **Captioned** x").stages == {}


def test_a_stage_that_stands_twice_is_named() -> None:
    parsed = parse("<CAPTION>a</CAPTION><CAPTION>b</CAPTION>")
    assert parsed.stages["caption"] == "ab"
    assert "caption stands twice" in parsed.problems


def test_a_wrong_closing_tag_is_named() -> None:
    assert "caption was closed but not open" in parse("<SUMMARY>a</CAPTION>").problems
