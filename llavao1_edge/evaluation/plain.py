"""JSON Lines and CSV of picture, question, answer."""

from __future__ import annotations

import itertools
import json
import re
import string
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from llavao1_edge.errors import UsageError
from llavao1_edge.evaluation.items import CHOICE, KINDS, Item, Malformed, Row, kind_of
from llavao1_edge.evaluation.row_pictures import beside, decoded, fetched, written
from llavao1_edge.evaluation.tables import LONGEST_ROW, Table, by_name, header_of
from llavao1_edge.files import is_text

PICTURES = ("picture", "image", "images", "img", "image_path")
_PICTURE_LIKE = re.compile(r"image|img|picture|photo|figure", re.IGNORECASE)


def read_jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for line, (offset, data) in enumerate(_bounded(file), 1):
            if not data.strip():
                continue
            try:
                again = partial(_object_at, path, offset)
                yield _plain_item(path, _object(data), line, again)
            except (ValueError, RecursionError, OverflowError) as error:
                yield Malformed(line, str(error)[:300])


def _object(data: bytes) -> dict[str, Any]:
    """Of a line. Raises ValueError, RecursionError."""
    if len(data) >= LONGEST_ROW:
        raise ValueError(f"the line is longer than {LONGEST_ROW >> 20} MB")
    value = json.loads(data.decode("utf-8-sig"))
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def _object_at(path: Path, offset: int) -> dict[str, Any]:
    with path.open("rb") as file:
        file.seek(offset)
        return _object(file.readline(LONGEST_ROW))


def _bounded(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(offset, line), of a very long one only the beginning."""
    offset = 0
    while data := file.readline(LONGEST_ROW):
        begun, rest = offset, data
        offset += len(data)
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST_ROW)
            offset += len(rest)
        yield begun, data


def read_csv(path: Path) -> Iterator[Row]:
    table = Table(path, ",")
    header = header_of(path, table, ("question",))
    if not set(PICTURES) & set(header):
        raise UsageError(
            f"{path.name} has no column 'picture'",
            hint="Its first line must name the columns; see docs/evaluation.md.",
        )
    for line, offset, fields in itertools.islice(table.rows(), 1, None):
        named = by_name(header, fields)
        if isinstance(named, str):
            yield Malformed(line, named)
            continue
        again = partial(table.named_at, header, offset)
        try:  # an empty cell is nothing, but says of a picture that there is none
            row = {k: v for k, v in named.items() if v.strip() or k in PICTURES}
            yield _plain_item(path, row, line, again)
        except ValueError as error:
            yield Malformed(line, str(error))


def _plain_item(
    path: Path, row: Mapping[str, Any], line: int, again: Callable[[], Mapping[str, Any]]
) -> Item:
    """`question`; `picture` (a path); `answer`, or `answers`; and, if wished, `options`, `kind`,
    `category`, `tolerance`, `id`, `group`, `hint`. again: reads the row anew."""
    # What is null is not there, but says of a picture that there is none.
    row = {name: value for name, value in row.items() if value is not None or name in PICTURES}
    question = row.get("question")
    if not isinstance(question, str) or not question.strip():
        raise ValueError("no question")
    _check_texts(row)
    answers = _texts(row.get("answers", row.get("answer")), "answer")
    options = _options(row.get("options"))
    kind = row.get("kind")
    if kind is None:
        kind = kind_of({}, options, answers[0] if answers else "")
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}; known are {', '.join(KINDS)}")
    _check_letters(kind, answers, options)
    key = str(row.get("id", line))
    return Item(
        key=key,
        line=line,
        question=question,
        answers=answers,
        kind=kind,
        picture=_plain_picture(path, row, line, again),
        options=options,
        hint=str(row.get("hint", "")),
        category=str(row.get("category", "")),
        group=str(row.get("group", key)),
        tolerance=_plain_tolerance(row.get("tolerance")),
        columns={name: str(value) for name, value in row.items() if name not in PICTURES},
    )


def _check_texts(row: Mapping[str, Any]) -> None:
    """Raises ValueError for half a character, as a cut-off \\ud83d leaves it in JSON."""
    waiting: list[Any] = [row]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            if not is_text(part):
                raise ValueError(f"{ascii(part)[:60]} holds half a character")
        elif isinstance(part, Mapping):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, list):
            waiting += part


def _check_letters(kind: str, answers: tuple[str, ...], options: Mapping[str, str]) -> None:
    """Raises ValueError where no option can be the right one."""
    if kind != CHOICE:
        return
    if not options:
        raise ValueError("no options to choose from")
    texts = {text.casefold() for text in options.values()}
    for answer in answers:
        if answer not in options and answer.casefold() not in texts:
            raise ValueError(f"the answer {answer!r} is none of the options {', '.join(options)}")


def _plain_tolerance(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"tolerance is {value!r}")
    number = float(value)
    if not 0 <= number < float("inf"):
        raise ValueError(f"tolerance is {value!r}")
    return number


def _plain_picture(
    path: Path, row: Mapping[str, Any], line: int, again: Callable[[], Mapping[str, Any]]
) -> Path | Callable[[], bytes] | None:
    """A path, a `data:` URL, or null where the row says that there is none.

    A picture under a name that nobody looks at would be asked about without it.
    """
    odd = [name for name in row if _PICTURE_LIKE.search(name) and name not in PICTURES]
    found = [name for name in PICTURES if name in row]
    if odd and not found:
        raise ValueError(f"a picture seems to stand under {odd[0]!r}; call it 'picture'")
    if not found:
        raise ValueError('no picture; a question without one says so with "picture": null')
    name = found[0]
    value = written(row[name])
    if not value.startswith("data:"):
        return beside(path, value) if value else None
    decoded(value)  # a bad one is told at once
    return fetched(lambda: again()[name], f"line {line}")


def _texts(value: Any, name: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    values = ["yes" if each is True else "no" if each is False else each for each in values]
    if not all(isinstance(entry, str | int | float) for entry in values):
        raise ValueError(f"{name} is {value!r}")
    return tuple(str(entry) for entry in values)


def _options(value: Any) -> dict[str, str]:
    if value in (None, [], {}):
        return {}
    if isinstance(value, str):
        value = [part.strip() for part in value.split("|")]
    if isinstance(value, dict):
        return {str(letter): str(text) for letter, text in value.items()}
    if isinstance(value, list) and 2 <= len(value) <= 26:
        return dict(zip(string.ascii_uppercase, map(str, value), strict=False))
    raise ValueError(f"options are {value!r}")
