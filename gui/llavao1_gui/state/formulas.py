"""Finds formulas in an answer: `\\( … \\)` and `$ … $` in a line, `\\[ … \\]` and `$$ … $$` on
their own. Not in code.

A single dollar is one by pandoc's rule: no blank after the first, none before the last, and no
digit after it, so that "$5 and $10" stay money; nor is "$5 a kilo, 10$" one: a number and words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MARK = re.compile(
    r"(?P<code>```.*?(?:```|\Z)|`[^`\n]*`)|\\\((?P<inline>.+?)\\\)|\\\[(?P<block>.+?)\\\]"
    r"|(?<![\\$])\$\$(?P<own>[^$]+?)(?<!\\)\$\$(?!\$)"
    r"|(?<![\\$])\$(?P<money>(?![\s$])(?:\\.|[^$\\\n])*?(?<![\s\\]))\$(?![\d$])",
    re.DOTALL,
)
WORDS = re.compile(r"\\(?:text|mathrm|operatorname)\{[^}]*\}")
MONEY = re.compile(r"\d.*(?<![\\A-Za-z{])[A-Za-z]{2,}", re.DOTALL)
LONGEST = 1000  # characters; longer ones stay source
DEEPEST = 6  # groups in groups: the time to draw one doubles with each
OPENING = re.compile(r"(?<!\\)\{|\\left(?![a-zA-Z])")
CLOSING = re.compile(r"(?<!\\)\}|\\right(?![a-zA-Z])")


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
        block = match["block"] is not None or match["own"] is not None
        tex = next(filter(None, match.group("block", "own", "inline", "money")), "").strip()
        if match["money"] is not None and MONEY.match(WORDS.sub("", tex)):
            return match[0]
        if not tex or len(tex) > LONGEST or depth(tex) > DEEPEST:
            return match[0]
        mark = f"\ue000{len(found)}\ue001"  # private use: no text contains it by accident
        found.append(Formula(mark, match[0], tex, block))
        return f"\n\n{mark}\n\n" if block else mark

    clean = text.replace("\ue000", "").replace("\ue001", "")
    return MARK.sub(replace, clean), found


def depth(tex: str) -> int:
    """How many groups lie in each other at most."""
    steps = [(match.start(), 1) for match in OPENING.finditer(tex)]
    steps += [(match.start(), -1) for match in CLOSING.finditer(tex)]
    open_now = deepest = 0
    for _, step in sorted(steps):
        open_now = max(0, open_now + step)
        deepest = max(deepest, open_now)
    return deepest
