"""Pictures on disk, each under the hash of its file. What nobody refers to is taken away."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from llavao1_edge.files import write_whole

THUMBNAIL = ".thumbnail"
STRANGE_S = 24 * 3600  # another window may be about to ask about a picture that it has just opened


class Shelf:
    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder, self._clock = folder, clock
        self._own: set[str] = set()

    def keep(self, data: bytes) -> str:
        """Stores a picture's file and gives its name. Raises OSError (a full disk)."""
        digest = hashlib.sha256(data).hexdigest()
        target = self.folder / digest
        if not target.exists():
            write_whole(target, data)
        self._own.add(digest)
        return digest

    def keep_thumbnail(self, digest: str, png: bytes) -> None:
        """Beside its picture; one that cannot be written is missed in a list, and no more."""
        with suppress(OSError):
            write_whole(self.thumbnail(digest), png)

    def thumbnail(self, digest: str) -> Path:
        return self.folder / f"{digest}{THUMBNAIL}"

    def path(self, digest: str) -> Path:
        return self.folder / digest

    def n_bytes(self) -> int:
        """Of all files."""
        total = 0
        for path in self.folder.iterdir():
            with suppress(OSError):
                total += path.stat().st_size
        return total

    def sweep(self, used: Collection[str]) -> None:
        """Takes away what is not in `used`. Files of other windows only after a day."""
        for path in list(self.folder.iterdir()):
            name = path.name.removesuffix(THUMBNAIL)
            if name in used:
                continue
            with suppress(OSError):
                strange = name not in self._own
                if not (strange and self._clock() - path.stat().st_mtime < STRANGE_S):
                    path.unlink()
