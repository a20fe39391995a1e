"""Many pictures, asked in one go: what is left to do, and the results as they come.

Results go to a JSON Lines file that is only added to, and to a CSV beside it. A run that was
stopped goes on where it was: rows are recognised by picture and question.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llavao1_edge.errors import LlavaError, UsageError
from llavao1_edge.files import write_whole

ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".avif"),
    *(".heic", ".heif"),
)
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
        names = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    except OSError as error:
        raise UsageError(
            f"cannot read the folder {folder}: {error.strerror or error}",
            hint="Check the path and the permissions.",
        ) from None
    if not names:
        raise UsageError(f"{folder} holds no picture", hint="Choose a folder with pictures.")
    return [Row(str(path), question) for path in names]


def of_csv(path: Path) -> list[Row]:
    """A CSV with the columns picture and question; pictures are looked for beside it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read {path}: {reason}", hint="Choose another file.") from None
    reader = csv.DictReader(io.StringIO(text))
    rows = []
    try:
        for record in reader:
            if not record.get("picture") or not (record.get("question") or "").strip():
                raise UsageError(
                    f"{path.name}, line {reader.line_num}: no picture or no question",
                    hint="Give the file the columns picture and question, both filled.",
                )
            rows.append(Row(str(path.parent / record["picture"]), record["question"]))
            if len(rows) > MAX_ROWS:
                raise UsageError(f"{path.name} has more than {MAX_ROWS} rows", hint="Split it.")
    except csv.Error as error:
        raise UsageError(f"{path.name}, line {reader.line_num}: {error}") from None
    if not rows:
        raise UsageError(f"{path.name} has no rows", hint="Fill picture and question.")
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
        data = self.path.read_bytes() if self.path.exists() else b""
        whole = 0
        for line in data.splitlines(keepends=True):
            try:
                found = json.loads(line)
                key = Row(found["picture"], found["question"])
            except (ValueError, KeyError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            self.done[key] = found
            whole += len(line)
        if whole == len(data):
            return
        rest = data[whole:]  # the line that was being written when the run was killed, or not ours
        if b"\n" in rest or not (rest.startswith(LINE_START) or LINE_START.startswith(rest)):
            raise LlavaError(f"{self.path} is no file of results", hint="Choose another file.")
        os.truncate(self.path, whole)

    def _write_table(self) -> None:
        """Anew from the rows: a kill may have come between a row and its line in the table."""
        if self.csv_path.exists():
            with self.csv_path.open(encoding="utf-8", newline="") as file:
                first = next(csv.reader(file), list(COLUMNS))
            if first != list(COLUMNS):
                raise LlavaError(
                    f"{self.csv_path} is no table of results", hint="Choose another file."
                )
        write_whole(self.csv_path, _table([COLUMNS, *map(_cells, self.done.values())]))

    def left(self, rows: Sequence[Row]) -> list[Row]:
        """What has no answer yet; what failed is tried again."""
        unique = dict.fromkeys(rows)
        return [row for row in unique if row not in self.done or self.done[row].get("error")]

    def add(self, row: Row, found: Mapping[str, Any]) -> None:
        """found: conclusion, seconds, error, notes, stages."""
        record = {"picture": row.picture, "question": row.question, **found}
        try:
            _append(self.path, _line(record))
            self.done[row] = record
            _append(self.csv_path, _table([_cells(record)]))
        except OSError as error:
            raise self._problem(error) from error

    def _problem(self, error: OSError) -> LlavaError:
        return LlavaError(
            f"cannot write {self.path}: {error.strerror or error}",
            hint="Free some space or choose another file, and go on.",
        )


def _append(path: Path, data: bytes) -> None:
    """All of it or nothing: the next line must not follow half a line."""
    with path.open("ab", buffering=0) as file:
        before = os.fstat(file.fileno()).st_size
        try:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(before)
            raise


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
