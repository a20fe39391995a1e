"""Reads a free-running answer as it streams; survives missing, repeated and odd tags.

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
# The longest text that may still become a tag.
_HOLD = max(len(name) for name in _BY_NAME) + 15


@dataclass(frozen=True)
class TextPiece:
    """Text that certainly belongs to `stage` (None: outside all stages)."""

    stage: Stage | None
    text: str


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
    parser = StageParser()
    parser.feed(text)
    return parser.finish()


@dataclass
class StageParser:
    """Feed text, get pieces; `finish` gives the result."""

    _pending: str = ""
    _stage: Stage | None = None
    _parts: list[TextPiece] = field(default_factory=list)
    _problems: list[str] = field(default_factory=list)
    _opened: list[str] = field(default_factory=list)

    def feed(self, text: str) -> list[TextPiece]:
        self._pending += text
        pieces = []
        while match := _TAG.search(self._pending):
            pieces += self._take(match.start())
            self._pending = self._pending[len(match[0]) :]
            self._turn(match)
        held = max(0, len(self._pending) - _HOLD)
        opening = [at for at in map(self._pending[held:].find, "<[") if at >= 0]
        return pieces + self._take(held + min(opening) if opening else len(self._pending))

    def finish(self) -> ParsedAnswer:
        self._take(len(self._pending))
        if self._stage is not None:
            self._problems.append(Phrase("{name} was not closed", name=called(self._stage)))
        stages: dict[str, str] = {}
        outside = ""
        for piece in self._parts:
            if piece.stage is None:
                outside += piece.text
            else:
                stages[piece.stage.name] = stages.get(piece.stage.name, "") + piece.text
        if not self._opened:
            stages, outside = self._headings(outside)
        missing = [stage.name for stage in STAGES if stage.name not in self._opened]
        self._problems += [Phrase("{name} is missing", name=Phrase(name)) for name in missing]
        if outside.strip():
            self._problems.append("text outside the stages")
        texts = {name: text.strip() for name, text in stages.items()}
        return ParsedAnswer(texts, outside.strip(), tuple(self._problems))

    def _take(self, n: int) -> list[TextPiece]:
        text, self._pending = self._pending[:n], self._pending[n:]
        if not text:
            return []
        piece = TextPiece(self._stage, text)
        self._parts.append(piece)
        return [piece]

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
