"""The file of rows: one for each answer, only ever added to."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from llavao1_edge.errors import UsageError
from llavao1_edge.files import write_whole

Row = dict[str, Any]


class Rows:
    """The file of rows: read at the start, then only added to, by one run at a time.

    A line that was being written when a run was killed is taken away. Any other line that cannot
    be read is kept in a file beside it (`damaged`: how many), and the rows around it count.
    Raises UsageError for a file that is not ours, and where another run writes there.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock, Timeout

        self.path, self.damaged = path, 0
        self.known: dict[str, Row] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path.with_suffix(".lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(
                f"another run is writing into {path.parent}",
                hint="Wait for its end, or choose another folder with --out.",
            ) from None
        try:
            self._read()
            self._file = path.open("a", encoding="utf-8")
        except BaseException:
            self._lock.release()
            raise

    def _read(self) -> None:
        data = self.path.read_bytes() if self.path.exists() else b""
        good, bad = [], []
        for line in data.splitlines(keepends=True):
            row = _row(line)
            if row is not None:
                good.append(line)
                self.known[row["id"]] = row
            else:
                bad.append(line)
        torn = bool(bad) and not data.endswith(b"\n") and _begins_like_a_row(bad[-1])
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
        self._file.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
        self._file.flush()
        self.known[row["id"]] = row

    def take(self, path: Path) -> int:
        """Rows of another run's file that are not known here; how many. Raises UsageError."""
        try:
            lines = path.read_bytes().splitlines(keepends=True)
        except OSError as error:
            raise UsageError(
                f"cannot read {path}: {error.strerror}", hint="Give the folders of other runs."
            ) from None
        found = [row for line in lines if (row := _row(line)) is not None]
        if lines and not found:
            raise UsageError(
                f"{path} is not a file of rows of an evaluation", hint="Check the folders."
            )
        new = [row for row in found if row["id"] not in self.known]
        for row in new:
            self.add(row)
        return len(new)

    def close(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
        self._lock.release()


def _row(line: bytes) -> Row | None:
    """None for what is not a whole line, or not a row."""
    try:
        row = json.loads(line) if line.endswith(b"\n") else {}
        return row if isinstance(row["id"], str) and isinstance(row["question"], str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _begins_like_a_row(line: bytes) -> bool:
    start = b'{"answered": '
    return line.startswith(start) or start.startswith(line)
