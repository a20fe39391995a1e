"""Reads data sets row by row: VLMEvalKit's TSV files, JSON Lines, CSV.

A file may be gigabytes: one row is in memory at a time. Pictures that stand in a row are read again
from there when they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from llavao1_edge.errors import UsageError
from llavao1_edge.evaluation.items import Item, Malformed, Row
from llavao1_edge.evaluation.plain import read_csv, read_jsonl
from llavao1_edge.evaluation.vlmeval import read_tsv

READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".tsv": read_tsv,
    ".jsonl": read_jsonl,
    ".csv": read_csv,
}


def read_dataset(path: Path) -> Iterator[Row]:
    """Questions in the order of the file. Raises UsageError where it cannot be read at all."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path.name} is not a data set that can be read",
            hint=f"Known are {', '.join(READERS)}; see docs/evaluation.md.",
        )
    try:
        if path.exists() and not path.is_file():  # pictures are read from it again
            raise UsageError(f"{path} is not a regular file", hint="Give a data set's file.")
        seen: set[str] = set()
        for row in reader(path):
            if isinstance(row, Item) and row.key in seen:
                yield Malformed(row.line, f"the id {row.key!r} is there twice")
                continue
            if isinstance(row, Item):
                seen.add(row.key)
            yield row
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="Check the path.") from error
