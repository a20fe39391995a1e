"""Reads a free-running answer; survives missing, repeated and odd tags.

Models write `<SUMMARY>`, but also `<summary>`, `[CAPTION]`, `**Reasoning:**` (read only where there
is no tag at all) or nothing of the kind.
Whatever comes, there is a result, and `problems` says what was odd. Never raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from llavao1_edge.phrases import Phrase
from llavao1_edge.stages.stage import STAGES, Stage, called

_BY_NAME = {stage.name: stage for stage in STAGES}
_NAMES = "|".join(_BY_NAME)
_TAG = re.compile(
    rf"[<\[][ \t]{{0,4}}(?P<close>/?)[ \t]{{0,4}}(?P<name>{_NAMES})[ \t]{{0,4}}[>\]]", re.IGNORECASE
)
_HEADING = re.compile(
    rf"^[ \t]*(?:#+[ \t]*|\*\*)(?P<name>{_NAMES})(?![A-Za-z])[ \t]*:?[ \t]*(?:\*\*)?:?",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True)
class ParsedAnswer:
    """The stages that were found, in order of appearance, and what was odd."""

    stages: dict[str, str]
    outside: str
    problems: tuple[str, ...]

    @property
    def conclusion(self) -> str:
        """The conclusion, or the best there is: text outside all tags, or the last stage."""
        if self.stages.get("conclusion"):
            return self.stages["conclusion"]
        if self.outside:
            return self.outside
        return next(reversed(self.stages.values()), "")


def parse(text: str) -> ParsedAnswer:
    """A whole answer."""
    return _Reading().read(text)


@dataclass
class _Reading:
    _stage: Stage | None = None
    _stages: dict[str, str] = field(default_factory=dict)
    _outside: str = ""
    _problems: list[str] = field(default_factory=list)
    _opened: list[str] = field(default_factory=list)

    def read(self, text: str) -> ParsedAnswer:
        at = 0
        for match in _TAG.finditer(text):
            self._take(text[at : match.start()])
            self._turn(match)
            at = match.end()
        self._take(text[at:])
        if self._stage is not None:
            self._problems.append(Phrase("{name} was not closed", name=called(self._stage)))
        stages, outside = self._stages, self._outside
        if not self._opened:
            stages, outside = self._headings(outside)
        missing = [stage.name for stage in STAGES if stage.name not in self._opened]
        self._problems += [Phrase("{name} is missing", name=Phrase(name)) for name in missing]
        if outside.strip():
            self._problems.append("text outside the stages")
        texts = {name: text.strip() for name, text in stages.items()}
        return ParsedAnswer(texts, outside.strip(), tuple(self._problems))

    def _take(self, text: str) -> None:
        if self._stage is None:
            self._outside += text
        elif text:
            name = self._stage.name
            self._stages[name] = self._stages.get(name, "") + text

    def _headings(self, text: str) -> tuple[dict[str, str], str]:
        """No tag at all: perhaps the stages stand under Markdown headings."""
        found = list(_HEADING.finditer(text))
        if not found:
            return {}, text
        ends = [*(match.start() for match in found[1:]), len(text)]
        stages: dict[str, str] = {}
        for match, end in zip(found, ends, strict=True):
            name = match["name"].lower()
            self._opened.append(name)
            self._problems.append(Phrase("odd tag {tag}", tag=repr(match[0].strip())))
            stages[name] = stages.get(name, "") + text[match.end() : end]
        return stages, text[: found[0].start()]

    def _turn(self, match: re.Match[str]) -> None:
        name = match["name"].lower()
        stage = _BY_NAME[name]
        if match["close"]:
            if self._stage is not stage:
                self._problems.append(Phrase("{name} was closed but not open", name=Phrase(name)))
            self._stage = None
            return
        if self._stage is not None:
            self._problems.append(Phrase("{name} was not closed", name=called(self._stage)))
        if name in self._opened:
            self._problems.append(Phrase("{name} stands twice", name=Phrase(name)))
        if match[0] != stage.opening:
            self._problems.append(Phrase("odd tag {tag}", tag=repr(match[0].strip())))
        self._opened.append(name)
        self._stage = stage
