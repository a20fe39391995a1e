"""Pictures on disk, each under the hash of its file, with a thumbnail beside it.

Only files that are named so are ever taken away: the folder may hold others. Another window may
have opened a picture that nobody has asked about yet, so what this one did not bring is left for a
day; and what both brought, for the one that brought it last.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from llavao1_edge.files import write_whole

THUMBNAIL = ".thumbnail"
OURS = re.compile(r"[0-9a-f]{64}")
STRANGE_S = 24 * 3600


class Shelf:
    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder, self._clock = folder, clock
        self._own: dict[str, int] = {}  # digest → when its file was touched, in nanoseconds

    def keep(self, data: bytes) -> str:
        """Stores a picture's file and gives its name. Raises OSError (a full disk)."""
        digest = hashlib.sha256(data).hexdigest()
        target = self.path(digest)
        if target.exists():
            os.utime(target)  # another window that closes sees that it is still wanted
        else:
            write_whole(target, data)
        self._own[digest] = target.stat().st_mtime_ns
        return digest

    def keep_thumbnail(self, digest: str, png: bytes) -> None:
        """Beside its picture; one that cannot be written is missed in a list, and no more."""
        with suppress(OSError):
            write_whole(self.thumbnail(digest), png)

    def path(self, digest: str) -> Path:
        return self.folder / digest

    def thumbnail(self, digest: str) -> Path:
        return self.folder / f"{digest}{THUMBNAIL}"

    def _digests(self) -> Iterator[str]:
        names = {path.name.removesuffix(THUMBNAIL) for path in self.folder.iterdir()}
        return (name for name in sorted(names) if OURS.fullmatch(name))

    def n_bytes(self) -> int:
        """Of all pictures and thumbnails."""
        total = 0
        for digest in self._digests():
            for path in (self.path(digest), self.thumbnail(digest)):
                with suppress(OSError):
                    total += path.stat().st_size
        return total

    def sweep(self, used: Collection[str]) -> None:
        """Takes away what is not in `used` and was left behind, or brought by this window alone."""
        for digest in list(self._digests()):
            if digest not in used and not self._may_be_wanted(digest):
                self.remove(digest)

    def _may_be_wanted(self, digest: str) -> bool:
        try:
            touched = self.path(digest).stat().st_mtime_ns
        except OSError:  # a thumbnail without its picture
            return False
        if digest in self._own:
            return touched != self._own[digest]
        return self._clock() - touched / 1e9 < STRANGE_S

    def remove(self, digest: str) -> None:
        self._own.pop(digest, None)
        for path in (self.path(digest), self.thumbnail(digest)):
            with suppress(OSError):
                path.unlink()
