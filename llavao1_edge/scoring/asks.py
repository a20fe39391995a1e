"""What the judge is asked, in words. Pure text: the engine gives it to the model.

What counts in each stage follows the method (LLaVA-CoT); the wording is ours. The parts that all
comparisons of a stage share come first, so that the engine computes them once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llavao1_edge.stages import CONCLUSION, Stage

WHOLE = "answer"  # the key of a comparison of answers that differ before the conclusion too

CRITERIA = {
    "summary": "The better one is the better plan for the answer; details do not count.",
    "caption": "The better one is complete and accurate about the picture.",
    "reasoning": "The better one has no wrong step and agrees with the caption.",
    "conclusion": "The better one agrees with the reasoning.",
    WHOLE: "The better one has no wrong step and the right conclusion.",
}
VERDICT = "The better one is response"
OPTIONS = (" 1", " 2")
_VERDICT = re.compile(r"response\W{0,3}([12])(?!\d)", re.IGNORECASE)
_YES_NO = re.compile(r"\b(yes|no)\b", re.IGNORECASE)

Stages = Sequence[tuple[Stage, str]]


@dataclass(frozen=True)
class Ask:
    """One question to the model, in a conversation of its own.

    opening: the text its reply is made to begin with; picture: whether it sees the picture.
    """

    text: str
    opening: str = ""
    picture: bool = True


def compare(question: str, first: Stages, second: Stages, *, reason: bool = False) -> Ask:
    """Which of two branches of one question is better? `reason`: to be said before the verdict."""
    n_shared = _n_shared(first, second)
    rest = first[n_shared:], second[n_shared:]
    name = rest[0][-1][0].name
    if len(rest[0]) > 1 and rest[0][-1][0] == CONCLUSION:
        name = WHOLE
    lines = [f"Question about the picture: {question}", *_described(first[:n_shared])]
    lines.append(f"Two responses give the {name}. {CRITERIA[name]}")
    for number, stages in enumerate(rest, start=1):
        lines.append(f"Response {number}: {_written(stages)}")
    if reason:
        lines.append("Give the reason first. Then say which response is better, 1 or 2.")
        return Ask("\n".join(lines))
    lines.append("Say which response is better, 1 or 2.")
    return Ask("\n".join(lines), opening=VERDICT)


def check(question: str, stages: Stages) -> Ask:
    """Is the reasoning (the last of `stages`) right by those before it? Without the picture."""
    lines = [f"Question: {question}", *_described(stages)]
    lines.append("Does every step of the reasoning agree with the caption? Say yes or no.")
    return Ask("\n".join(lines), picture=False)


def read_verdict(reply: str) -> int | None:
    """0 or 1, the response that a written reply chose last; None where it chose none."""
    found = _VERDICT.findall(reply)
    return int(found[-1]) - 1 if found else None


def read_yes_no(reply: str) -> bool | None:
    """The last yes or no of a written reply; None where there is none."""
    found = _YES_NO.findall(reply)
    return found[-1].lower() == "yes" if found else None


def _n_shared(first: Stages, second: Stages) -> int:
    n = 0
    while n < min(len(first), len(second)) - 1 and first[n] == second[n]:
        n += 1
    return n


def _described(stages: Stages) -> list[str]:
    return [f"{stage.name.capitalize()}: {text}" for stage, text in stages]


def _written(stages: Stages) -> str:
    return stages[0][1] if len(stages) == 1 else " ".join(_described(stages))
