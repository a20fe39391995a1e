"""Rows of quoted tables, one at a time, from any place of a file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from llavao1_edge.errors import UsageError

LONGEST_ROW = 256 << 20


class Table:
    """Rows of a quoted table with their line numbers and offsets, from any offset on."""

    def __init__(self, path: Path, delimiter: str) -> None:
        self.path, self.delimiter = path, delimiter
        csv.field_size_limit(LONGEST_ROW)

    def rows(self, *, start: int = 0) -> Iterator[tuple[int, int, list[str] | str]]:
        """(line, offset, fields), or a problem in place of the fields."""
        with self.path.open("rb") as file:
            file.seek(start)
            lines = Lines(file)
            reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
            while True:
                line, offset = lines.n + 1, start + lines.offset
                try:
                    yield line, offset, next(reader)
                except StopIteration:
                    return
                except (csv.Error, UnicodeDecodeError) as error:
                    yield line, offset, str(error)
                    reader = csv.reader(lines, delimiter=self.delimiter, strict=True)

    def at(self, offset: int) -> list[str]:
        fields = next(self.rows(start=offset))[2]
        return fields if isinstance(fields, list) else []

    def named_at(self, header: list[str], offset: int) -> dict[str, str]:
        """The row that begins there, by the names of the header. Raises ValueError."""
        return dict(zip(header, self.at(offset), strict=True))


class Lines:
    """Lines of text, and how many lines and bytes were taken."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.n, self.offset = 0, 0

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        data = self._file.readline(LONGEST_ROW)
        if not data:
            raise StopIteration
        self.n += 1
        self.offset += len(data)
        return data.decode("utf-8-sig" if self.n == 1 else "utf-8")


def by_name(header: list[str], fields: list[str] | str) -> dict[str, str] | str:
    if isinstance(fields, str):
        return fields
    if len(fields) != len(header):
        return f"{len(fields)} columns instead of {len(header)}"
    return dict(zip(header, fields, strict=True))


def _what_it_has(table: Table, header: list[str] | str) -> str:
    others = [mark for mark in (",", ";", "\t", "|") if mark != table.delimiter]
    if isinstance(header, list) and len(header) == 1 and any(m in header[0] for m in others):
        return f"Its columns must be divided by {table.delimiter!r}; its first line names them."
    return "Its first line must name the columns; see docs/evaluation.md."


def header_of(path: Path, table: Table, needed: tuple[str, ...]) -> list[str]:
    first = next(table.rows(), None)
    header = first[2] if first is not None else []
    missing = [name for name in needed if name not in header]
    if isinstance(header, str) or missing:
        raise UsageError(
            f"{path.name} has no column {' or '.join(map(repr, missing or needed))}",
            hint=_what_it_has(table, header),
        )
    return header
