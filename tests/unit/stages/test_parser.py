"""Laws of the streaming parser: never raises, loses no text, does not care how text is cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from llavao1_edge.stages import STAGES, ParsedAnswer, StageParser

WHOLE = (
    "<SUMMARY> Plan. </SUMMARY>\n\n<CAPTION> A cat. </CAPTION>\n\n"
    "<REASONING> 1 < 2, so yes. </REASONING>\n\n<CONCLUSION> yes </CONCLUSION>"
)


def parse(*parts: str) -> ParsedAnswer:
    parser = StageParser()
    for part in parts:
        parser.feed(part)
    return parser.finish()


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


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_cuts_do_not_matter(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(WHOLE)]
    parts = [WHOLE[a:b] for a, b in pairwise(edges)]
    assert parse(*parts) == parse(WHOLE)


TAGS = [stage.opening for stage in STAGES] + [stage.closing for stage in STAGES]
ODD = ["text ", "<", "</", "**Summary:** ", "\n", "[CAPTION]"]


@given(st.lists(st.sampled_from(TAGS + ODD)))
def test_nothing_raises_and_no_text_is_lost(parts: list[str]) -> None:
    parsed = parse(*parts)
    kept = " ".join([*parsed.stages.values(), parsed.outside])
    assert kept.count("text") == parts.count("text ")


def test_pieces_stream_without_tags() -> None:
    parser = StageParser()
    pieces = [piece for letter in WHOLE for piece in parser.feed(letter)]
    shown = "".join(piece.text for piece in pieces if piece.stage is STAGES[2])
    assert shown.strip() == "1 < 2, so yes."
    assert not any("SUMMARY" in piece.text for piece in pieces)


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


@given(st.data())
def test_cuts_never_matter_whatever_the_text(data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.sampled_from([*TAGS, *ODD, "< SUMMARY >", "[/CAPTION]", "a"])))
    text = "".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6))
    edges = [0, *sorted(cuts), len(text)]
    assert parse(*(text[a:b] for a, b in pairwise(edges))) == parse(text)


def test_a_stage_that_stands_twice_is_named() -> None:
    parsed = parse("<CAPTION>a</CAPTION><CAPTION>b</CAPTION>")
    assert parsed.stages["caption"] == "ab"
    assert "caption stands twice" in parsed.problems


def test_a_wrong_closing_tag_is_named() -> None:
    assert "caption was closed but not open" in parse("<SUMMARY>a</CAPTION>").problems
