"""Finds formulas in an answer: `\\( … \\)` in a line, `\\[ … \\]` on its own. Not in code."""

from __future__ import annotations

import re
from dataclasses import dataclass

MARK = re.compile(
    r"(?P<code>```.*?(?:```|\Z)|`[^`\n]*`)|\\\((?P<inline>.+?)\\\)|\\\[(?P<block>.+?)\\\]",
    re.DOTALL,
)
LONGEST = 2000  # characters; longer ones stay source


@dataclass(frozen=True)
class Formula:
    """mark: what stands for it in the text; source: with its brackets; tex: without."""

    mark: str
    source: str
    tex: str
    block: bool


def extract(text: str) -> tuple[str, list[Formula]]:
    """The text with a mark in place of each formula, and the formulas."""
    found: list[Formula] = []

    def replace(match: re.Match[str]) -> str:
        if match["code"] is not None:
            return match[0]
        block = match["block"] is not None
        tex = (match["block"] if block else match["inline"]).strip()
        if not tex or len(tex) > LONGEST:
            return match[0]
        mark = f"\ue000{len(found)}\ue001"  # private use: no text contains it by accident
        found.append(Formula(mark, match[0], tex, block))
        return f"\n\n{mark}\n\n" if block else mark

    clean = text.replace("\ue000", "").replace("\ue001", "")
    return MARK.sub(replace, clean), found
