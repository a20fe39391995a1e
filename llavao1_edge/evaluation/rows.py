"""The file of rows: one for each answer, only ever added to."""

from __future__ import annotations

import functools
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llavao1_edge.errors import UsageError
from llavao1_edge.files import append_line, lock_folder, read_lines, write_whole

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

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


NUMBER = {"type": "number", "minimum": -1e18, "maximum": 1e18}
TEXT, TEXT_OR_NULL = {"type": "string"}, {"type": ["string", "null"]}
# What is read of a row, by the report and the pages; `ANSWERED` where there was no error.
ROW = {
    **dict.fromkeys(("id", "question", "pair", "cell", "category", "group", "conclusion"), TEXT),
    **dict.fromkeys(("answered", "error"), TEXT_OR_NULL),
    "right": {"type": ["boolean", "null"]},
}
COUNTS = ("seconds", "picture_seconds", "sampled_tokens", "judge_tokens", "comparisons")
CANDIDATE = {
    "stage": TEXT_OR_NULL,
    "text": TEXT,
    "score": NUMBER | {"type": ["number", "null"]},
    "mean_logprob": NUMBER,
    "chosen": {"type": "boolean"},
}
ANSWERED = {
    **dict.fromkeys((*COUNTS, "undecided"), NUMBER),
    "budget_hit": {"type": "boolean"},
    "stages": {"type": "object", "additionalProperties": TEXT_OR_NULL},
    "candidates": {
        "type": "array",
        "items": {"type": "object", "required": [*CANDIDATE], "properties": CANDIDATE},
    },
}
SCHEMA = {
    "type": "object",
    "required": [*ROW],
    "properties": ROW,
    "if": {"properties": {"error": {"type": "null"}}},
    "then": {"required": [*ANSWERED], "properties": ANSWERED},
}


@functools.cache
def _validator() -> Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(SCHEMA)


def _row(value: Any) -> Row | None:
    """None for what is no row."""
    return value if _validator().is_valid(value) else None


def _begins_like_a_row(line: bytes) -> bool:
    start = b'{"answered": '
    return line.startswith(start) or start.startswith(line)
