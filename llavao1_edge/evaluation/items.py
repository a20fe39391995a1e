"""A question of a data set, whatever file it came from."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from llavao1_edge.errors import PictureError

CHOICE, NUMBER, YES_NO, TEXT, OUTSIDE = "choice", "number", "yes-no", "text", "outside"
KINDS = (CHOICE, NUMBER, YES_NO, TEXT, OUTSIDE)

PictureSource = bytes | Path | Callable[[], bytes] | None


@dataclass(frozen=True)
class Item:
    """One question. `key` names it inside its data set, `line` its place in the file.

    answers: any of them is right. options: letter → text, for choices. group: questions that count
    as one (circular evaluation). tolerance: allowed absolute difference of numbers. kind `outside`:
    only another model can say whether an answer is right.
    """

    key: str
    line: int
    question: str
    answers: tuple[str, ...]
    kind: str
    picture: PictureSource = None
    options: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""
    category: str = ""
    group: str = ""
    tolerance: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    """The row as it was, without its picture, to export predictions."""

    def prompt(self) -> str:
        """The question as it is asked: hint, question, options."""
        parts = [f"Hint: {self.hint}"] if self.hint else []
        parts.append(f"Question: {self.question}" if self.options or self.hint else self.question)
        if self.options:
            parts.append("Options:")
            parts += [f"{letter}. {text}" for letter, text in self.options.items()]
            parts.append("Please select the correct answer from the options above.")
        return "\n".join(parts)

    def picture_bytes(self) -> bytes | Path | None:
        return self.picture() if callable(self.picture) else self.picture

    @functools.cached_property
    def picture_digest(self) -> str:
        """SHA-256 of the picture; empty where there is none, or none that can be read here."""
        from llavao1_edge.images import read_picture

        try:
            picture = self.picture_bytes()
            data = read_picture(picture) if isinstance(picture, Path) else picture
        except PictureError:  # said when the question is asked
            return ""
        return "" if data is None else hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Malformed:
    """A row that cannot be used."""

    line: int
    problem: str


Row = Item | Malformed


def kind_of(row: Mapping[str, str], options: Mapping[str, str], answer: str) -> str:
    """What the answer looks like."""
    if not answer:
        return OUTSIDE
    if "capability" in row or "<AND>" in answer or "<OR>" in answer:  # MMVet
        return OUTSIDE
    if options:
        return CHOICE
    if answer.lower() in ("yes", "no"):
        return YES_NO
    if row.get("answer_type") in ("integer", "float") or re.fullmatch(r"[-+]?[\d.,]+", answer):
        return NUMBER
    return TEXT


def rotations(item: Item) -> list[Item]:
    """The same choice with its options moved round, once for each option: all must be right.

    Source: circular evaluation of MMBench.
    """
    letters, texts = list(item.options), list(item.options.values())
    if item.kind != CHOICE or len(letters) < 2:
        return [replace(item, group=item.group or item.key)]
    made = []
    for shift in range(len(letters)):
        moved = {letter: texts[(at + shift) % len(texts)] for at, letter in enumerate(letters)}
        answers = tuple(
            letters[(letters.index(a) - shift) % len(letters)] if a in letters else a
            for a in item.answers
        )
        key = item.key if not shift else f"{item.key}+{shift}"
        made.append(
            replace(item, key=key, options=moved, answers=answers, group=item.group or item.key)
        )
    return made


def shard_of(key: str, n: int) -> int:
    """Which of `n` shards a question (or its group) belongs to, 0 to n - 1; always the same."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % n
