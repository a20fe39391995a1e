"""Reads a free-running answer as it streams; survives missing, repeated and odd tags.

Models write `<SUMMARY>`, but also `<summary>`, `[CAPTION]`, `**Reasoning:**` or no tags at all.
Whatever comes, there is a result, and `problems` says what was odd. Never raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from llavao1_edge.stages.stage import STAGES, Stage

_BY_NAME = {stage.name: stage for stage in STAGES}
_NAMES = "|".join(_BY_NAME)
_TAG = re.compile(
    rf"[<\[]\s*(?P<close>/?)\s*(?P<name>{_NAMES})\s*[>\]]"
    rf"|(?:(?<=\n)|\A)[ \t]*(?:\#+[ \t]*|\*\*)(?P<heading>{_NAMES})"
    r"[ \t]*:?(?:\*\*)?:?[ \t]*(?=\n|\S)",
    re.IGNORECASE,
)
# The longest text that may still become a tag.
_HOLD = max(len(name) for name in _BY_NAME) + 12


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
        safe = self._pending.rfind("<", -_HOLD), self._pending.rfind("[", -_HOLD)
        cut = min((at for at in (*safe, self._last_line()) if at >= 0), default=len(self._pending))
        return pieces + self._take(cut)

    def finish(self) -> ParsedAnswer:
        self._take(len(self._pending))
        if self._stage is not None:
            self._problems.append(f"{self._stage.name} was not closed")
        stages: dict[str, str] = {}
        outside = ""
        for piece in self._parts:
            if piece.stage is None:
                outside += piece.text
            else:
                stages[piece.stage.name] = stages.get(piece.stage.name, "") + piece.text
        missing = [stage.name for stage in STAGES if stage.name not in self._opened]
        self._problems += [f"{name} is missing" for name in missing]
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

    def _last_line(self) -> int:
        """Start of an unfinished line that may become a heading, or -1."""
        start = self._pending.rfind("\n") + 1
        line = self._pending[start:].lstrip()
        return start if len(line) < _HOLD and line[:1] in ("#", "*") else -1

    def _turn(self, match: re.Match[str]) -> None:
        name = (match["name"] or match["heading"]).lower()
        stage = _BY_NAME[name]
        if match["close"]:
            if self._stage is not stage:
                self._problems.append(f"{name} was closed but not open")
            self._stage = None
            return
        if self._stage is not None and not match["heading"]:
            self._problems.append(f"{self._stage.name} was not closed")
        if name in self._opened:
            self._problems.append(f"{name} stands twice")
        if match[0] != stage.opening:
            self._problems.append(f"odd tag {match[0].strip()!r}")
        self._opened.append(name)
        self._stage = stage
