"""What the teacher is asked, and what of its reply can be used. Pure: texts in, texts out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from llavao1_edge.evaluation.items import CHOICE, Item
from llavao1_edge.evaluation.matching import match
from llavao1_edge.files import is_text
from llavao1_edge.remote.probe import choice_of
from llavao1_edge.stages import GAP, STAGES, TAGS, parse

LEAK = re.compile(
    r"\b(?:reference|standard|given|provided|expected)\s+(?:answer|solution)\b(?!\s+(?:option|choice))"
    r"|\banswer\s+(?:key|that was given|provided)\b",
    re.IGNORECASE,
)
PURPOSES = {
    "summary": "in one or two sentences, what is asked and how you will go about it",
    "caption": "what the picture shows that matters to the question, with every number and word "
    "in it that will be needed; no conclusions yet",
    "reasoning": "step by step, from what the caption says to the answer",
    "conclusion": "the answer alone, as short as it can be",
}


class Form(StrEnum):
    """How a teacher is asked. `prompted`: told about the four stages. `plain`: it writes them of
    its own accord, as LLaVA-CoT does, and gets the question alone."""

    PROMPTED = "prompted"
    PLAIN = "plain"


class Reason(StrEnum):
    """Why a question was set aside."""

    REFUSED = "refused"
    CUT_OFF = "cut off at its limit"
    MALFORMED = "not the four stages"
    LEAKS = "speaks of the answer it was shown"
    DISAGREES = "another answer than the reference"
    UNCHECKED = "the reference cannot be compared"
    REJECTED = "the server does not take it"
    FAILED = "the server failed at it; the same command asks again"
    NO_PICTURE = "the picture cannot be read"


@dataclass(frozen=True)
class Teacher:
    """shows_answer: whether the reference answer is shown to it; is_ours: whether our own `serve`
    answers, which tells the stages beside the conclusion."""

    model: str
    form: Form = Form.PROMPTED
    shows_answer: bool = False
    temperature: float = 0.7
    max_tokens: int = 2048
    is_ours: bool = False


@dataclass(frozen=True)
class Verdict:
    """stages: name → text where the reply can be used, else the reason why not."""

    stages: Mapping[str, str]
    reason: Reason | None = None
    said: str = ""

    @property
    def text(self) -> str:
        """The answer as the model shall write it."""
        return GAP.join(
            f"{stage.opening} {self.stages[stage.name]} {stage.closing}" for stage in STAGES
        )


def prompt(item: Item, teacher: Teacher) -> str:
    """The text beside the picture."""
    if teacher.form is Form.PLAIN:
        return item.prompt()
    lines = [
        "Answer the question about the picture in exactly four parts, in this order, each between "
        "its own pair of tags, with nothing before, between or after them:",
        "",
        *(f"{stage.opening} {PURPOSES[stage.name]} {stage.closing}" for stage in STAGES),
        "",
    ]
    if item.kind == CHOICE:
        lines.append("The conclusion is the letter of the option alone.")
    if teacher.shows_answer and item.answers:
        lines.append(
            f"The right answer is: {item.answers[0]}. Find the way to it from the picture, as if "
            "you did not know it, and never mention that you were told."
        )
    return "\n".join([*lines, "", f"Question: {item.prompt()}"])


def is_comparable(item: Item) -> bool:
    """Whether there is anything that an answer can be compared with."""
    return match(item, "").right is not None


def judge(
    item: Item, reply: Mapping[str, Any], *, unchecked: bool = False, shown: bool = False
) -> Verdict:
    """Whether a reply of the teacher can be learnt from. unchecked: whether answers may be kept
    that nothing can be compared with; shown: whether the teacher knew the reference answer."""
    choice = choice_of(reply)
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    ended, text = choice.get("finish_reason"), message.get("content")
    text = text if isinstance(text, str) else ""
    if ended == "content_filter" or message.get("refusal"):
        return Verdict({}, Reason.REFUSED, str(message.get("refusal") or text)[:200])
    if ended == "length":
        return Verdict({}, Reason.CUT_OFF, text[-200:])
    stages = _own_stages(reply) or _stages(text)
    if stages is None:
        return Verdict({}, Reason.MALFORMED, text[:200])
    if shown and LEAK.search(" ".join(stages.values())):
        return Verdict({}, Reason.LEAKS, text[:200])
    found = match(item, stages["conclusion"])
    if found.right is None and not unchecked:
        return Verdict({}, Reason.UNCHECKED, stages["conclusion"][:200])
    if found.right is False:
        return Verdict({}, Reason.DISAGREES, stages["conclusion"][:200])
    if item.kind == CHOICE and found.answered is not None:
        stages["conclusion"] = found.answered  # the option alone, as the method wants it
    return Verdict(stages)


def _own_stages(reply: Mapping[str, Any]) -> dict[str, str] | None:
    """What our own server says beside the conclusion."""
    own = reply.get("llavao1")
    told = own.get("stages") if isinstance(own, Mapping) else None
    found = told[0] if isinstance(told, list) and told else None
    return _complete(found) if isinstance(found, Mapping) else None


def _stages(text: str) -> dict[str, str] | None:
    parsed = parse(text)
    if parsed.problems or parsed.outside.strip() or list(parsed.stages) != [s.name for s in STAGES]:
        return None
    return _complete(parsed.stages)


def _complete(stages: Mapping[str, Any]) -> dict[str, str] | None:
    """The four texts, none of them empty, none with a tag inside."""
    found = {stage.name: stages.get(stage.name) for stage in STAGES}
    texts = {name: text.strip() for name, text in found.items() if isinstance(text, str)}
    whole = len(texts) == len(STAGES) and all(map(is_text, texts.values()))
    odd = any(not text or any(tag in text for tag in TAGS) for text in texts.values())
    return texts if whole and not odd else None
