"""The folder in which a conversion grows: two unfinished files and a journal of what is done.

A run that was killed goes on from there; one with other input, other options or another version of
the program starts afresh. The finished files appear under their names at the very end.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from itertools import takewhile
from pathlib import Path
from typing import TextIO

from filelock import FileLock, Timeout

from llavao1_convert.writer import Slots
from llavao1_edge.errors import CheckpointError
from llavao1_edge.files import read_lines
from llavao1_edge.phrases import Phrase

JOURNAL = "journal.jsonl"
SYNC_SECONDS = 5.0


def is_begun(folder: Path, key: str) -> bool:
    """Whether a run of this key goes on there."""
    lines = read_lines(folder / JOURNAL)
    return bool(lines) and lines[0].value == {"key": key}


class Work:
    """Owns the folder, its lock and its journal. `close` keeps it, `discard` removes it."""

    def __init__(self, folder: Path, key: str) -> None:
        """key: equal keys mean that the work of an earlier run can be used."""
        self.folder = folder
        self.done: set[str] = set()
        self.digests: dict[str, str] = {}
        self.slots: list[Slots] = []
        self._pending: list[str] = []
        self._synced = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / "lock")
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise CheckpointError(
                Phrase("another conversion is writing to {folder}", folder=folder),
                hint="Wait until it is done, or choose another --out or --name.",
            ) from None
        self._journal: TextIO = self._open(key)

    def _open(self, key: str) -> TextIO:
        path = self.folder / JOURNAL
        if path.is_file() and self._read(path, key):
            return path.open("a", encoding="utf-8", newline="\n")
        for other in self.folder.iterdir():
            if other.name != "lock":
                other.unlink()
        self.done, self.digests = set(), {}
        journal = path.open("w", encoding="utf-8", newline="\n")
        print(json.dumps({"key": key}), file=journal, flush=True)
        return journal

    def _read(self, path: Path, key: str) -> bool:
        lines = read_lines(path)
        entries = list(takewhile(bool, (line.value for line in lines)))
        if not entries or entries[0] != {"key": key}:
            return False
        for entry in entries[1:]:
            if "digest" in entry:
                self.digests[entry["tensor"]] = entry["digest"]
            else:
                self.done.add(entry["done"])
        if len(entries) < len(lines):  # the line that was being written
            os.truncate(path, sum(len(line.data) for line in lines[: len(entries)]))
        return True

    # --- while it grows -----------------------------------------------------------------------
    def add(self, slots: Slots) -> Slots:
        """What the journal says about a file that is not there any more counts for nothing."""
        if slots.is_new:
            self.done = {job for job in self.done if not job.startswith(f"{slots.path.stem}/")}
        self.slots.append(slots)
        return slots

    def digest(self, tensor: str, digest: str) -> None:
        self.digests[tensor] = digest
        self._pending.append(json.dumps({"tensor": tensor, "digest": digest}))

    def finish(self, job: str) -> None:
        """Remembers that a tensor is complete; on disk after the next `sync`."""
        self.done.add(job)
        self._pending.append(json.dumps({"done": job}))
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """What is marked as done is on disk, in this order: data, then journal."""
        for slots in self.slots:
            slots.sync()
        if self._pending and not self._journal.closed:
            print("\n".join(self._pending), file=self._journal, flush=True)
            os.fsync(self._journal.fileno())
            self._pending.clear()
        self._synced = time.monotonic()

    def seal(self) -> None:
        """From now on the files leave the folder: an interrupted run starts afresh."""
        self._journal.close()
        (self.folder / JOURNAL).unlink()

    # --- the end ------------------------------------------------------------------------------
    def keep(self) -> None:
        """For the next run."""
        try:
            self.sync()
        finally:
            self.close()

    def close(self) -> None:
        for slots in self.slots:
            slots.close()
        self._journal.close()
        self._lock.release()

    def discard(self) -> None:
        for slots in self.slots:
            slots.close()
        self._journal.close()
        for path in self.folder.iterdir():  # while the lock is held: another run may be waiting
            if path.name != "lock":
                path.unlink(missing_ok=True)
        self._lock.release()
        with contextlib.suppress(OSError):
            (self.folder / "lock").unlink(missing_ok=True)
            self.folder.rmdir()
