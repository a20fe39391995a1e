"""Examples in LLaVA-CoT-100k's format: a JSON object a line, or one JSON list of them.

`{"id": …, "image": "path", "conversations": [{"from": "human", "value": …}, {"from": "gpt", …}]}`
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from llavao1_edge.errors import UsageError
from llavao1_edge.files import is_text
from llavao1_edge.stages import TAGS
from train.finetune.archive import is_outside

TAG = re.compile(r"</?[A-Z]+>")
HOLDERS = ("<image>\n", "\n<image>", "<image>")  # what some data sets write where the picture is


class Fault(StrEnum):
    """Why an example is left out."""

    NO_JSON = "no JSON object"
    SEVERAL = "several pictures"
    PICTURE = "a picture that is not named under 'image'"
    NO_TEXT = "half of a character"
    NO_PICTURE = "its picture is not there"
    OUTSIDE = "its picture is no path below --images"
    ORDER = "not question and answer in turns"
    EMPTY = "an empty question or answer"
    STAGES = "an answer without the four stages"


@dataclass(frozen=True)
class Example:
    """turns: (question, answer). picture: its name in the data set, empty for none."""

    key: str
    picture: str
    turns: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Examples:
    kept: tuple[Example, ...]
    left_out: Counter[Fault]


def read_examples(
    path: Path, *, has: Callable[[str], bool], any_form: bool = False, limit: int | None = None
) -> Examples:
    """has: whether there is such a picture; any_form: also answers without the four stages.

    Raises UsageError where the file cannot be read, or holds no example.
    """
    kept: list[Example] = []
    faults: Counter[Fault] = Counter()
    try:
        for number, value in enumerate(_values(path), start=1):
            found = _example(value, number, has, any_form=any_form)
            if isinstance(found, Example):
                kept.append(found)
            else:
                faults[found] += 1
            if limit is not None and len(kept) == limit:
                break
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", hint="Check the path.") from None
    if not kept:
        told = ", ".join(f"{fault.value}: {n}" for fault, n in faults.most_common())
        raise UsageError(
            f"{path} holds no example to learn from ({told or 'it is empty'})",
            hint="It should be as LLaVA-CoT-100k; see docs/finetune.md.",
        )
    return Examples(tuple(kept), faults)


def _values(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig") as file:
        start = file.read(1)
        file.seek(0)
        if start == "[":
            try:
                yield from json.load(file)
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{path} is no JSON: {error}", hint="Check the file.") from None
            return
        for line in file:
            if line.strip():
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError):
                    yield None


def _example(
    value: Any, number: int, has: Callable[[str], bool], *, any_form: bool
) -> Example | Fault:
    if not isinstance(value, dict):
        return Fault.NO_JSON
    picture = value.get("image")
    if isinstance(picture, list):
        if len(picture) > 1:
            return Fault.SEVERAL
        picture = picture[0] if picture else None
    if "images" in value or not isinstance(picture, str | None):
        return Fault.PICTURE
    said = value.get("conversations")
    if not isinstance(said, list) or not said or len(said) % 2:
        return Fault.ORDER
    turns = []
    for asked, answered in zip(said[::2], said[1::2], strict=True):
        texts = [_text(part, name) for part, name in ((asked, "human"), (answered, "gpt"))]
        if None in texts:
            return Fault.ORDER
        if not picture and any(holder in (texts[0] or "") for holder in HOLDERS):
            return Fault.PICTURE
        question, answer = (_without_holders(text or "") for text in texts)
        if not is_text(question + answer):
            return Fault.NO_TEXT
        if not question or not answer:
            return Fault.EMPTY
        if not any_form and not is_staged(answer):
            return Fault.STAGES
        turns.append((question, answer))
    if picture and is_outside(picture):
        return Fault.OUTSIDE
    if picture and not has(picture):
        return Fault.NO_PICTURE
    key = str(value.get("id", number))
    return Example(key if is_text(key) else str(number), picture or "", tuple(turns))


def _text(part: Any, name: str) -> str | None:
    if not isinstance(part, dict) or part.get("from") != name:
        return None
    value = part.get("value")
    return value if isinstance(value, str) else None


def _without_holders(text: str) -> str:
    for holder in HOLDERS:
        text = text.replace(holder, "")
    return text.strip()


def is_staged(answer: str) -> bool:
    """Whether an answer has the tags of the four stages, each once, in order."""
    found = [tag for tag in TAG.findall(answer) if tag in TAGS]
    return found == list(TAGS)


def split(examples: Sequence[Example], n_held_out: int) -> tuple[list[Example], list[Example]]:
    """(learnt, held out): always the same ones, and no picture in both."""

    def order(name: str) -> str:
        return hashlib.sha256(name.encode()).hexdigest()

    held: list[Example] = []
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.picture or f"without {example.key}", []).append(example)
    for name in sorted(groups, key=order):
        if len(held) >= n_held_out:
            break
        held += groups[name]
    chosen = set(map(id, held))
    return [example for example in examples if id(example) not in chosen], held
