"""Reads data sets row by row: VLMEvalKit's TSV files, JSON Lines, CSV.

A file may be gigabytes: one row is in memory at a time. Pictures that stand in another row (by its
index) are read again from there when they are needed.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import re
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from llavao1_edge.errors import PictureError, UsageError
from llavao1_edge.evaluation.items import CHOICE, KINDS, NUMBER, OUTSIDE, TEXT, YES_NO, Item
from llavao1_edge.evaluation.tables import LONGEST_ROW, Table, by_name, header_of

CIRCULAR = 1_000_000  # VLMEvalKit numbers rotated copies of a question with multiples of this
REFERENCE = 64  # picture fields this short are the index of the row that holds the picture
FORMATS = (".tsv", ".jsonl", ".csv")
PICTURES = ("picture", "image", "images", "img", "image_path")
_PICTURE_LIKE = re.compile(r"image|img|picture|photo|figure", re.IGNORECASE)


@dataclass(frozen=True)
class Malformed:
    """A row that cannot be used."""

    line: int
    problem: str


Row = Item | Malformed


def read_dataset(path: Path) -> Iterator[Row]:
    """Questions in the order of the file. Raises UsageError where it cannot be read at all."""
    readers: dict[str, Callable[[Path], Iterator[Row]]] = {
        ".tsv": _read_tsv,
        ".jsonl": _read_jsonl,
        ".csv": _read_csv,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path.name} is not a data set that can be read",
            hint=f"Known are {', '.join(FORMATS)}; see docs/evaluation.md.",
        )
    try:
        yield from reader(path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="Check the path.") from error


# --- VLMEvalKit's files ---------------------------------------------------------------------------
def _read_tsv(path: Path) -> Iterator[Row]:
    """VLMEvalKit's files: index, image or image_path, question, and what the benchmark adds."""
    table = Table(path, "\t")
    header = header_of(path, table, ("index", "question"))
    if "image" not in header and "image_path" not in header:
        raise UsageError(f"{path.name} has no column 'image' or 'image_path'", hint="See the docs.")
    places: dict[str, int] = {}
    seen: set[str] = set()
    for line, offset, fields in itertools.islice(table.rows(), 1, None):
        named = by_name(header, fields)
        if isinstance(named, str):
            yield Malformed(line, named)
            continue
        key = named["index"].strip()
        if not key or key in seen:
            yield Malformed(line, f"index {key!r} is {'missing' if not key else 'there twice'}")
            continue
        seen.add(key)
        if len(named.get("image", "")) > REFERENCE:
            places[key] = offset
        try:
            yield _tsv_item(table, header, named, line, places)
        except ValueError as error:
            yield Malformed(line, str(error))


def _tsv_item(
    table: Table, header: list[str], row: dict[str, str], line: int, places: dict[str, int]
) -> Item:
    key = row["index"].strip()
    options = {
        letter: row[letter].strip()
        for letter in string.ascii_uppercase
        if row.get(letter, "").strip() and row[letter].strip().lower() != "nan"
    }
    if row.get("choices", "").startswith("[") and not options:  # MathVista
        options = dict(zip(string.ascii_uppercase, _listed(row["choices"]), strict=False))
    answer = row.get("answer", "").strip()
    kind = _kind(row, options, answer)
    if kind == CHOICE and row.get("answer_option", "").strip() in options:
        answer = row["answer_option"].strip()
    number = int(key) if key.isdigit() else None
    return Item(
        key=key,
        line=line,
        question=_required(row, "question"),
        answers=(answer,) if answer else (),
        kind=kind,
        picture=_tsv_picture(table, header, row, places),
        options=options,
        hint=_given(row, "hint"),
        category=_given(row, "category") or _given(row, "capability") or _given(row, "task"),
        group=str(number % CIRCULAR) if number is not None and number >= CIRCULAR else key,
        tolerance=_tolerance(row),
        columns={k: v for k, v in row.items() if k not in ("image", "image_path")},
    )


def _kind(row: Mapping[str, str], options: Mapping[str, str], answer: str) -> str:
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


def _listed(text: str) -> list[str]:
    """A list as Python or JSON writes it."""
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("a list is nested too deeply") from None
    except ValueError:
        values = re.findall(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", text)
        values = [first or second for first, second in values]
    return [str(value) for value in values]


def _tolerance(row: Mapping[str, str]) -> float | None:
    """Half of the last digit that counts (MathVista's `precision`)."""
    try:
        digits = float(row.get("precision", ""))
    except ValueError:
        return None
    return 0.5 * 10.0**-digits if 0 <= digits <= 12 else None


def _required(row: Mapping[str, str], name: str) -> str:
    value = row.get(name, "").strip()
    if not value:
        raise ValueError(f"no {name}")
    return value


def _given(row: Mapping[str, str], name: str) -> str:
    value = row.get(name, "").strip()
    return "" if value.lower() == "nan" else value


def _tsv_picture(
    table: Table, header: list[str], row: dict[str, str], places: dict[str, int]
) -> bytes | Path | Callable[[], bytes]:
    image = row.get("image", "").strip()
    if not image:
        return _beside(table.path, _listed_path(_required(row, "image_path")))
    if len(image) > REFERENCE:
        return _decoded(image)
    if image not in places:  # it may stand in a later row: look at all of them, once
        places.update({key: at for key, at in _places(table, header).items() if key not in places})
    offset = places.get(image)
    if offset is None:
        raise ValueError(f"the picture is said to be in row {image!r}, which has none")

    def fetch() -> bytes:
        try:
            return _decoded(dict(zip(header, table.at(offset), strict=True))["image"])
        except ValueError as error:
            raise PictureError(f"row {image!r}: {error}", hint="Check the table.") from None

    return fetch


def _places(table: Table, header: list[str]) -> dict[str, int]:
    """Where the rows that hold a picture begin, by their index."""
    found: dict[str, int] = {}
    for _, offset, fields in itertools.islice(table.rows(), 1, None):
        named = by_name(header, fields)
        if not isinstance(named, str) and len(named.get("image", "")) > REFERENCE:
            found.setdefault(named["index"].strip(), offset)
    return found


def _listed_path(text: str) -> str:
    """One picture; some files write a list with one entry."""
    if not text.startswith("["):
        return text
    names = _listed(text)
    if len(names) != 1:
        raise ValueError(f"{len(names)} pictures, one is supported")
    return names[0]


def _decoded(text: str) -> bytes:
    text = text.strip()
    if text.startswith("["):
        text = _listed_path(text)
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:  # `base64` and Python's encodebytes write it in lines
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"the picture is not base64 ({error})") from None


def _beside(path: Path, name: str) -> Path:
    """Relative to the data set's folder, or to its `images` folder."""
    if "\0" in name:
        raise ValueError("the picture's path holds a NUL")
    found = Path(name)
    if found.is_absolute():
        return found
    try:
        for folder in (path.parent, path.parent / "images", path.parent / "images" / path.stem):
            if (folder / found).is_file():
                return folder / found
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        raise ValueError(f"the picture's path cannot be used ({error})") from None
    return path.parent / found


# --- plain files ----------------------------------------------------------------------------------
def _read_jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for line, data in enumerate(_bounded(file), 1):
            if not data.strip():
                continue
            try:
                if len(data) >= LONGEST_ROW:
                    raise ValueError(f"the line is longer than {LONGEST_ROW >> 20} MB")
                value = json.loads(data.decode("utf-8-sig" if line == 1 else "utf-8"))
                if not isinstance(value, dict):
                    raise ValueError("no JSON object")
                yield _plain_item(path, value, line)
            except (ValueError, RecursionError, OverflowError) as error:
                yield Malformed(line, str(error)[:300])


def _bounded(file: BinaryIO) -> Iterator[bytes]:
    """Lines, of a very long one only the beginning."""
    while data := file.readline(LONGEST_ROW):
        rest = data
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST_ROW)
        yield data


def _read_csv(path: Path) -> Iterator[Row]:
    table = Table(path, ",")
    header = header_of(path, table, ("question",))
    if not set(PICTURES) & set(header):
        raise UsageError(
            f"{path.name} has no column 'picture'",
            hint="Its first line must name the columns; see docs/evaluation.md.",
        )
    for line, _, fields in itertools.islice(table.rows(), 1, None):
        named = by_name(header, fields)
        if isinstance(named, str):
            yield Malformed(line, named)
            continue
        try:  # an empty cell is nothing, but says of a picture that there is none
            row = {k: v for k, v in named.items() if v.strip() or k in PICTURES}
            yield _plain_item(path, row, line)
        except ValueError as error:
            yield Malformed(line, str(error))


def _plain_item(path: Path, row: Mapping[str, Any], line: int) -> Item:
    """`question`; `picture` (a path); `answer`, or `answers`; and, if wished, `options`, `kind`,
    `category`, `tolerance`, `id`, `group`, `hint`."""
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
        kind = _kind({}, options, answers[0] if answers else "")
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
        picture=_plain_picture(path, row),
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
            try:
                part.encode()
            except UnicodeEncodeError:
                raise ValueError(f"{ascii(part)[:60]} holds half a character") from None
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


def _plain_picture(path: Path, row: Mapping[str, Any]) -> bytes | Path | None:
    """A path, a `data:` URL, or null where the row says that there is none.

    A picture under a name that nobody looks at would be asked about without it.
    """
    odd = [name for name in row if _PICTURE_LIKE.search(name) and name not in PICTURES]
    found = [name for name in PICTURES if name in row]
    if odd and not found:
        raise ValueError(f"a picture seems to stand under {odd[0]!r}; call it 'picture'")
    if not found:
        raise ValueError('no picture; a question without one says so with "picture": null')
    value = row[found[0]]
    if isinstance(value, list):
        if len(value) > 1:
            raise ValueError(f"{len(value)} pictures, one is supported")
        value = value[0] if value else None
    if isinstance(value, dict):  # as data sets on the hub have it
        value = value.get("path") or value.get("bytes")
    if value in (None, "", "none"):
        return None
    if not isinstance(value, str):
        raise ValueError(f"{found[0]} is {type(value).__name__}, not a path")
    return _decoded(value) if value.startswith("data:") else _beside(path, value)


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
