"""The file of rows: one for each answer, only ever added to."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from llavao1_edge.errors import UsageError
from llavao1_edge.files import append_line, lock_folder, read_lines, write_whole

Row = dict[str, Any]


class Rows:
    """The file of rows: read at the start, then only added to, by one run at a time.

    A line that was being written when a run was killed is taken away. Any other line that cannot
    be read is kept in a file beside it (`damaged`: how many), and the rows around it count.
    Raises UsageError for a file that is not ours, and where another run writes there.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.damaged = path, 0
        self.known: dict[str, Row] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = lock_folder(path.with_suffix(".lock"))
        try:
            self._read()
            path.touch()
        except BaseException:
            self._lock.release()
            raise

    def _read(self) -> None:
        good, bad = [], []
        for line in read_lines(self.path):
            row = _row(line.value)
            if row is not None:
                good.append(line.data)
                self.known[row["id"]] = row
            else:
                bad.append(line.data)
        torn = bool(bad) and not bad[-1].endswith(b"\n") and _begins_like_a_row(bad[-1])
        if torn:
            bad.pop()
        if bad and not good:
            raise UsageError(
                f"{self.path} is not a file of rows of an evaluation",
                hint="Choose another folder with --out; nothing was changed.",
            )
        if bad:
            self.damaged = len(bad)
            write_whole(self.path.with_suffix(f".damaged-{time.time_ns()}.jsonl"), b"".join(bad))
        if bad or torn:
            write_whole(self.path, b"".join(good))

    def add(self, row: Row) -> None:
        line = json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n"
        append_line(self.path, line.encode())
        self.known[row["id"]] = row

    def take(self, path: Path) -> int:
        """Rows of another run's file that are not known here; how many. Raises UsageError."""
        try:
            path.stat()
            lines = read_lines(path)
        except OSError as error:
            raise UsageError(
                f"cannot read {path}: {error.strerror}", hint="Give the folders of other runs."
            ) from None
        found = [row for line in lines if (row := _row(line.value)) is not None]
        if lines and not found:
            raise UsageError(
                f"{path} is not a file of rows of an evaluation", hint="Check the folders."
            )
        new = [row for row in found if row["id"] not in self.known]
        for row in new:
            self.add(row)
        return len(new)

    def close(self) -> None:
        with self.path.open("ab") as file:
            os.fsync(file.fileno())
        self._lock.release()


# What is read of a row, by the report and the pages; `COUNTS` and more where there was no error.
TEXTS = ("id", "question", "pair", "cell", "category", "group", "conclusion")
COUNTS = (
    "seconds",
    "picture_seconds",
    "sampled_tokens",
    "judge_tokens",
    "comparisons",
    "undecided",
)


def _row(value: Any) -> Row | None:
    """None for what is no row. Not by a schema: a file may hold a hundred thousand of them."""
    try:
        good = (
            all(isinstance(value[name], str) for name in TEXTS)
            and isinstance(value.get("picture", ""), str)
            and all(isinstance(value[name], str | None) for name in ("answered", "error"))
            and isinstance(value["right"], bool | None)
            and (bool(value["error"]) or _is_answered(value))
        )
    except (AttributeError, LookupError, TypeError):
        good = False
    return value if good else None


def _is_answered(row: Row) -> bool:
    return (
        all(_is_number(row[name]) for name in COUNTS)
        and isinstance(row["budget_hit"], bool)
        and isinstance(row["stages"], dict)
        and all(isinstance(text, str | None) for text in row["stages"].values())
        and all(_is_candidate(made) for made in row["candidates"])
    )


def _is_candidate(made: Any) -> bool:
    return (
        isinstance(made["chosen"], bool)
        and isinstance(made["text"], str)
        and isinstance(made["stage"], str | None)
        and (made["score"] is None or _is_number(made["score"]))
        and _is_number(made["mean_logprob"])
    )


def _is_number(value: Any) -> bool:
    """One that can be reckoned with: JSON also has those with a thousand digits."""
    return type(value) in (int, float) and abs(value) < 1e18


def _begins_like_a_row(line: bytes) -> bool:
    start = b'{"answered": '
    return line.startswith(start) or start.startswith(line)
