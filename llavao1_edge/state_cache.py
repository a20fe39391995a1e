"""What was computed and may be wanted again, on disk: pictures and conversations, as the model has
them.

A cache: files may vanish at any moment, nothing depends on them, and none is used unless its
SHA-256 is right. The longest unused go when there are too many bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, TypeVar

from llavao1_edge.lifetime import Closing
from llavao1_edge.measured import file_of

Made = TypeVar("Made")
LOGGER = logging.getLogger(__name__)
MAGIC = b"llavao1 states 1"
DIGEST_BYTES = 32
SUFFIX, PARTIAL = ".states", ".part"
LEAST_S = 0.5  # what was computed faster than this is not worth a file
SPARE = 2  # as many times a file's size must be free on the disk
UNUSED_S = 30 * 24 * 3600.0
STALE_S = 24 * 3600.0  # what was being written so long ago never will be


def name_of(digest: str, *made_by: object) -> str:
    """What the states of a picture or a conversation are called. made_by: weights, devices,
    arithmetic: all that they depend on beside it and the libraries."""
    versions = [importlib.metadata.version(name) for name in ("llama-cpp-python", "numpy")]
    rest = hashlib.sha256(" | ".join(map(str, [*made_by, *versions])).encode()).hexdigest()
    return f"{digest[:40]}-{rest[:24]}"


def folder_of_user() -> Path:
    """Where states are kept."""
    return file_of("pictures")


class StateCache:
    """Files in one folder, at most `most_bytes` of them together. For any number of processes."""

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self.folder, self.most_bytes = folder, most_bytes

    @classmethod
    def of_user(cls, gigabytes: float) -> StateCache:
        return cls(folder_of_user(), most_bytes=int(gigabytes * 1e9))

    def read(self, name: str, take: Callable[[Stored], Made | None]) -> Made | None:
        """What `take` makes of a file; None where there is none. One of which it makes nothing is
        damaged, and goes."""
        try:
            stored = Stored(self._path(name))
        except OSError:
            return None
        with stored:
            made = take(stored)
        if made is None:
            self.forget(name)
        return made

    def write(
        self, name: str, parts: Iterable[bytes | memoryview], n_bytes: int, *, seconds: float
    ) -> bool:
        """Whether it is kept now. n_bytes: of all parts together; seconds: what computing them
        took."""
        try:
            if seconds < LEAST_S or not self._has_room(n_bytes):
                return False
            partial = self.folder / f"{name}.{os.getpid()}{PARTIAL}"
            try:
                digest = hashlib.sha256()
                with open(partial, "wb", opener=_private) as file:
                    file.write(MAGIC)
                    for part in parts:
                        digest.update(part)
                        file.write(part)
                    file.write(digest.digest())
                partial.replace(self._path(name))
            finally:
                partial.unlink(missing_ok=True)
            self.trim()
        except OSError as error:
            LOGGER.info("nothing is kept in %s: %s", self.folder, error.strerror or error)
            return False
        return True

    def forget(self, name: str) -> None:
        with contextlib.suppress(OSError):
            self._path(name).unlink()

    def clear(self) -> None:
        for path in self._files(SUFFIX, PARTIAL):
            with contextlib.suppress(OSError):
                path.unlink()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{SUFFIX}"

    def _files(self, *suffixes: str) -> list[Path]:
        with contextlib.suppress(OSError):
            return [path for path in self.folder.iterdir() if path.suffix in suffixes]
        return []

    def _sizes(self) -> list[tuple[float, int, Path]]:
        """(last use, bytes, file), the last used first."""
        found = []
        for path in self._files(SUFFIX):
            with contextlib.suppress(OSError):
                about = path.stat()
                found.append((about.st_mtime, about.st_size, path))
        return sorted(found, reverse=True)

    def _has_room(self, n_bytes: int) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return n_bytes <= self.most_bytes and shutil.disk_usage(self.folder).free > SPARE * n_bytes

    def trim(self) -> None:
        """The longest unused go where there are too many bytes; whatever was not used for a month,
        too."""
        total, now = 0, time.time()
        with contextlib.suppress(OSError):
            for used, size, path in self._sizes():
                total += size
                if total > self.most_bytes or now - used > UNUSED_S:
                    path.unlink(missing_ok=True)
            for path in self._files(PARTIAL):
                if now - path.stat().st_mtime > STALE_S:
                    path.unlink(missing_ok=True)


class Stored(Closing):
    """A file that is being read: `take` its parts in order, then ask `is_whole`."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._digest = hashlib.sha256()
        self._too_much = False
        self._file: IO[bytes] = path.open("rb")
        try:
            self._left = os.fstat(self._file.fileno()).st_size - len(MAGIC) - DIGEST_BYTES
            if self._file.read(len(MAGIC)) != MAGIC:
                raise OSError("another version wrote it")
            os.utime(path)  # it was used now
        except OSError:
            self._file.close()
            raise

    def take(self, n_bytes: int) -> bytes:
        """Fewer where the file is cut off: `is_whole` says so. A number from the file is no more
        to be trusted than the rest: it cannot ask for more than there is."""
        self._too_much = self._too_much or n_bytes > self._left
        try:
            data = self._file.read(max(0, min(n_bytes, self._left)))
        except OSError:
            data = b""
        self._left -= len(data)
        self._digest.update(data)
        return data

    @property
    def is_whole(self) -> bool:
        """Whether all of it was taken, as it was written; asked once, at the end."""
        try:
            rest = self._file.read(DIGEST_BYTES + 1)
            return not self._too_much and rest == self._digest.digest()
        except OSError:
            return False

    def close(self) -> None:
        self._file.close()


def _private(path: str, flags: int) -> int:
    """What pictures show is nobody else's business."""
    return os.open(path, flags, 0o600)
