"""Files that appear whole or not at all, and files of JSON lines that a kill may have cut off."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llavao1_edge.errors import UsageError
from llavao1_edge.phrases import Phrase

if TYPE_CHECKING:
    from filelock import FileLock


def expanded(text: str) -> Path:
    """A path as people type it: `~` is their folder. One of an unknown user stays as it is."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 (`Path.expanduser` fails for such a one)


def is_text(text: str) -> bool:
    """No half of a character, as JSON can hold: neither a file nor a tokenizer takes it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Line:
    """A line of a file of JSON lines. value: None where it is no JSON, or not a whole line: the
    last one, which was being written."""

    data: bytes
    value: Any

    @property
    def is_whole(self) -> bool:
        return self.data.endswith(b"\n")


def read_lines(path: Path) -> list[Line]:
    """Nothing where there is no file. Raises OSError."""
    data = path.read_bytes() if path.exists() else b""
    return [Line(line, _value(line)) for line in data.splitlines(keepends=True)]


def _value(line: bytes) -> Any:
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None


def append_line(path: Path, data: bytes) -> None:
    """All of it or nothing: the next line must not follow half a line. Raises OSError."""
    with path.open("ab", buffering=0) as file:
        before = os.fstat(file.fileno()).st_size
        try:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(before)
            raise


def lock_folder(path: Path) -> FileLock:
    """The lock of the folder that a run writes into, held; its owner releases it. path: of the
    lock's file. Raises UsageError where another run holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            Phrase("another run is writing into {parent}", parent=path.parent),
            hint="Wait for its end, or choose another folder with --out.",
        ) from None
    return lock


def write_whole(path: Path, data: str | bytes) -> None:
    """Text as UTF-8. On disk when it returns; on an error what was there stays.

    Raises OSError, also where the folder is missing.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def size_text(n_bytes: float) -> str:
    """Bytes for people."""
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"


def sync_folder(folder: Path) -> None:
    """A rename is on disk only when its folder is; Windows has no such thing."""
    if os.name == "nt":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
