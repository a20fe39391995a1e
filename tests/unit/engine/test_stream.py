"""A candidate that is gone on with after it was stopped anywhere, also inside a tag or a letter."""

from __future__ import annotations

import pytest

from llavao1_edge.engine.branches import BranchState
from llavao1_edge.engine.stream import CandidateStream
from llavao1_edge.llama.sampler import Drawn, Sampler
from llavao1_edge.search import Branch, Ending, Unit
from llavao1_edge.stages import SUMMARY

WHOLE = " caf\u00e9 \u65e5\u672c < b</SUMMARY>\n\n".encode()


def stream(base: BranchState, branch: Branch, unit: Unit = Unit.STAGE) -> CandidateStream:
    return CandidateStream(0, 0, branch, base, SUMMARY, unit, Sampler(seed=0))


def write(made: CandidateStream, data: bytes) -> str:
    """One byte a token; the text that was shown."""
    return "".join(made.add(Drawn(byte, -0.5), bytes([byte]), last=False) for byte in data)


@pytest.mark.parametrize("cut", range(1, len(WHOLE) - 2))
def test_a_lane_goes_on_from_any_byte(cut: int) -> None:
    first = stream(BranchState(0, 5, []), Branch(1))
    shown = write(first, WHOLE[:cut])
    first.ending = Ending.BUDGET
    point = first.reached()
    branch = Branch(2, first.parts(), (0,), open=True)
    second = stream(point, branch)
    rest = WHOLE[cut : WHOLE.index(b">\n") + 1]
    shown += write(second, rest)
    assert second.ending is Ending.CLOSED
    (part,) = second.parts()
    assert part.text == "caf\u00e9 \u65e5\u672c < b"
    assert shown.strip() == part.text
    assert part.n_tokens == WHOLE.index(b">\n") + 1
    assert second.reached().owed == "\n\n"


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("It is a cat. ", "It is a cat."),
        ("Is it 3.5 metres? Yes", "Is it 3.5 metres?"),
        ("One line\nanother", "One line\n"),
        ("Why. Because it rains.", "Why. Because it rains."),  # too short to be a sentence
    ],
)
def test_sentences(text: str, ends: str) -> None:
    made = stream(BranchState(0, 5, []), Branch(1), Unit.SENTENCE)
    for position, byte in enumerate(text.encode()):
        made.add(Drawn(byte, -0.1), bytes([byte]), last=False)
        if made.ending is not None:
            assert text[: position + 1] == ends
            return
    pytest.fail("no sentence ended")
