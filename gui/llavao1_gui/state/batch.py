"""Many pictures, asked in one go: what is left to do, and the results as they come.

Results go to a JSON Lines file that is only added to, and to a CSV beside it. A run that was
stopped goes on where it was: rows are recognised by picture and question.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llavao1_edge.errors import LlavaError, UsageError
from llavao1_edge.files import append_line, read_lines, write_whole
from llavao1_edge.images import endings
from llavao1_edge.phrases import Phrase

COLUMNS = ("picture", "question", "conclusion", "seconds", "error", "notes")
LINE_START = b'{"picture": "'
MAX_ROWS = 100_000


@dataclass(frozen=True)
class Row:
    picture: str
    question: str


def of_folder(folder: Path, question: str) -> list[Row]:
    """Every picture of a folder, by name. Raises UsageError where there is none."""
    if not question.strip():
        raise UsageError("the question is empty", hint="Ask something about the pictures.")
    try:
        names = sorted(filter(_is_picture, folder.iterdir()), key=natural)
    except OSError as error:
        raise UsageError(
            Phrase(
                "cannot read the folder {folder}: {reason}",
                folder=folder,
                reason=error.strerror or error,
            ),
            hint="Check the path and the permissions.",
        ) from None
    if not names:
        raise UsageError(
            Phrase("{folder} holds no picture", folder=folder),
            hint="Choose a folder with pictures.",
        )
    return [Row(str(path), question) for path in names]


def _is_picture(path: Path) -> bool:
    """By its name; macOS's `._` files only look like one, and a folder may be called anything."""
    return path.suffix.lower() in endings() and not path.name.startswith("._") and path.is_file()


def natural(path: Path) -> list[tuple[int, int, str]]:
    """To sort names as people count: img2 before img10."""
    parts = re.findall(r"(\d+)|(\D+)", path.name.casefold())
    return [(0, int(number), "") if number else (1, 0, text) for number, text in parts]


def read_table(path: Path) -> str:
    """A CSV as spreadsheets save it: UTF-8 with or without its mark, UTF-16, Korean or Western
    Windows. Raises OSError; LlavaError where it is none of them."""
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    for encoding in ("utf-8-sig", "cp949", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        # Most bytes are something in Korean Windows: it is believed where Hangul comes of it.
        if encoding != "cp949" or re.search(r"[가-힣]{2}", text):
            return text
    raise LlavaError(
        Phrase("{path} is not text", path=path), hint="Save the table as CSV in UTF-8."
    )


def _reader(text: str) -> tuple[list[str], Iterator[list[str]]]:
    """The column names and the rows; Excel divides by semicolons where the comma is a decimal."""
    first = text.partition("\n")[0]
    divider = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text), delimiter=divider)
    return [name.strip() for name in next(rows, [])], rows


def _columns(text: str) -> list[str]:
    try:
        return _reader(text)[0]
    except csv.Error:
        return []


def of_csv(path: Path) -> list[Row]:
    """A CSV with the columns picture and question; pictures are looked for beside it."""
    try:
        text = read_table(path)
    except OSError as error:
        raise UsageError(
            Phrase("cannot read {path}: {reason}", path=path, reason=error.strerror or error),
            hint="Choose another file.",
        ) from None
    rows = []
    number = 1
    try:
        names, records = _reader(text)
        for number, cells in enumerate(records, start=2):
            if not any(cells):
                continue
            record = dict(zip(names, cells, strict=False))
            if not record.get("picture") or not (record.get("question") or "").strip():
                raise UsageError(
                    Phrase(
                        "{name}, line {number}: no picture or no question",
                        name=path.name,
                        number=number,
                    ),
                    hint="Give the file the columns picture and question, both filled.",
                )
            rows.append(Row(str(path.parent / record["picture"]), record["question"]))
            if len(rows) > MAX_ROWS:
                raise UsageError(
                    Phrase("{name} has more than {most} rows", name=path.name, most=MAX_ROWS),
                    hint="Split it.",
                )
    except csv.Error as error:
        raise UsageError(
            Phrase("{name}, line {number}: {error}", name=path.name, number=number, error=error),
            hint="Save it as CSV once more.",
        ) from None
    if not rows:
        raise UsageError(
            Phrase("{name} has no rows", name=path.name), hint="Fill picture and question."
        )
    return rows


class Results:
    """The results of a run in `path` (.jsonl) and the CSV of the same name.

    Raises LlavaError where they cannot be written; what is there already stays.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.csv_path = path, path.with_suffix(".csv")
        self.done: dict[Row, dict[str, Any]] = {}
        try:
            self._read()
            self._write_table()
        except OSError as error:
            raise self._problem(error) from error

    def _read(self) -> None:
        """A later line on the same row counts: it was tried again after an error."""
        lines, n = read_lines(self.path), 0
        for line in lines:
            found = line.value
            try:
                self.done[Row(found["picture"], found["question"])] = found
            except (KeyError, TypeError):
                break
            n += 1
        if n == len(lines):
            return
        rest = lines[n].data  # what was being written when the run was killed, or not ours
        if (
            n + 1 < len(lines)
            or lines[n].is_whole
            or not (rest.startswith(LINE_START) or LINE_START.startswith(rest))
        ):
            raise LlavaError(
                Phrase("{path} is not a file of results", path=self.path),
                hint="Choose another file.",
            )
        os.truncate(self.path, sum(len(line.data) for line in lines[:n]))

    def _write_table(self) -> None:
        """Anew from the rows: a kill may have come between a row and its line in the table."""
        if self.csv_path.exists():
            text = read_table(self.csv_path)
            if text.strip() and _columns(text) != list(COLUMNS):
                raise LlavaError(
                    Phrase("{csv_path} is not a table of results", csv_path=self.csv_path),
                    hint="Choose another file.",
                )
        # Excel takes UTF-8 for what it is only where the mark says so.
        write_whole(
            self.csv_path, codecs.BOM_UTF8 + _table([COLUMNS, *map(_cells, self.done.values())])
        )

    def left(self, rows: Sequence[Row]) -> list[Row]:
        """What has no answer yet; what failed is tried again."""
        unique = dict.fromkeys(rows)
        return [row for row in unique if row not in self.done or self.done[row].get("error")]

    def add(self, row: Row, found: Mapping[str, Any]) -> None:
        """found: conclusion, seconds, error, notes, stages."""
        record = {"picture": row.picture, "question": row.question, **found}
        try:
            append_line(self.path, _line(record))
            self.done[row] = record
            append_line(self.csv_path, _table([_cells(record)]))
        except OSError as error:
            raise self._problem(error) from error

    def _problem(self, error: OSError) -> LlavaError:
        return LlavaError(
            Phrase("cannot write {path}: {reason}", path=self.path, reason=error.strerror or error),
            hint="Free some space or choose another file, and go on.",
        )


def _line(record: Mapping[str, Any]) -> bytes:
    """File names may hold bytes that are no text: those lines are written in ASCII."""
    try:
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record).encode() + b"\n"


def _table(rows: Iterable[Sequence[str]]) -> bytes:
    """Lines of CSV; bytes of a file name that are no text become question marks."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _cells(record: Mapping[str, Any]) -> list[str]:
    return [_cell(record.get(name)) for name in COLUMNS]


def _cell(value: Any) -> str:
    """No cell begins a formula in a spreadsheet."""
    text = (
        "; ".join(value) if isinstance(value, list | tuple) else str("" if value is None else value)
    )
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
