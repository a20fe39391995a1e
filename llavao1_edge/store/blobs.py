"""The files of the store, named by their digests: taking in, and throwing away.

A file appears whole under its name or not at all, whatever happens to the process.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from llavao1_edge.errors import Cancelled, LlavaError
from llavao1_edge.files import sync_folder
from llavao1_edge.phrases import Phrase
from llavao1_edge.store.digest import Report, Stop, file_sha256

ENVIRONMENT = "LLAVAO1_MODELS"
PREFIX, SUFFIX, PARTIAL = "sha256-", ".gguf", ".part"
STALE_S = 3600.0  # a copy that has not grown for so long is nobody's any more
BLOCK = 1 << 22


class StoreError(LlavaError):
    """The store cannot be read or written."""


class Blobs:
    """Those in one folder, which need not exist yet. For any number of processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        return self.folder / f"{PREFIX}{sha256}{SUFFIX}"

    def digest(self, blob: Path) -> str:
        """The one that its name says."""
        return blob.stem.removeprefix(PREFIX)

    def __iter__(self) -> Iterator[Path]:
        return self.folder.glob(f"{PREFIX}*{SUFFIX}")

    def hold(self, path: Path) -> bool:
        """Whether a file lies here: it may be a model's. However the folder is called: by a link,
        by letters in another case, or where it is mounted a second time."""
        return self.folder.is_dir() and path.parent.samefile(self.folder)

    def link(self, path: Path, stop: Stop | None) -> tuple[str, int] | None:
        """A second name for a file that is about to lose its first one: digest and size; None
        across disks. Raises Cancelled, OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        digest = file_sha256(path, stop=stop)
        blob, size = self.path(digest), path.stat().st_size
        if not (blob.is_file() and blob.stat().st_size == size):
            try:
                blob.unlink(missing_ok=True)
                blob.hardlink_to(path)
            except OSError:
                return None
            sync_folder(self.folder)
        return digest, size

    def copy(self, path: Path, stop: Stop | None, report: Report | None) -> tuple[str, int]:
        """A blob that is there already stays. Digest and size. Raises StoreError, Cancelled,
        OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        size = path.stat().st_size
        if shutil.disk_usage(self.folder).free < size:
            raise StoreError(
                Phrase(
                    "not enough space in {blobs}: {size:.2f} GB needed",
                    blobs=self.folder,
                    size=size / 1e9,
                ),
                hint=Phrase(
                    "Free some space, or set {environment} to a folder on another disk.",
                    environment=ENVIRONMENT,
                ),
            )
        digest, n_bytes = hashlib.sha256(), 0
        partial = self.folder / f".{os.getpid()}-{time.time_ns()}{PARTIAL}"
        try:
            with path.open("rb", buffering=0) as source, partial.open("wb") as target:
                while data := source.read(BLOCK):
                    if stop is not None and stop():
                        raise Cancelled("stopped while a file was taken into the store")
                    digest.update(data)
                    target.write(data)
                    n_bytes += len(data)
                    if report is not None:
                        report(n_bytes)
                target.flush()
                os.fsync(target.fileno())
            blob = self.path(digest.hexdigest())
            if not (blob.is_file() and blob.stat().st_size == n_bytes):
                partial.replace(blob)
                sync_folder(self.folder)
        finally:
            partial.unlink(missing_ok=True)
        return digest.hexdigest(), n_bytes

    def sweep(self, needed: set[str]) -> int:
        """Removes those that are not needed, and copies that a killed process left; how many
        bytes."""
        unused = [blob for blob in self if self.digest(blob) not in needed]
        return sum(map(_removed, unused)) + self.sweep_copies()

    def sweep_copies(self) -> int:
        """Removes copies that a killed process left; how many bytes."""
        freed = 0
        for partial in self.folder.glob(f".*{PARTIAL}"):
            with suppress(OSError):
                if time.time() - partial.stat().st_mtime > STALE_S:
                    freed += _removed(partial)
        return freed


def _removed(path: Path) -> int:
    """How many bytes are free now."""
    try:
        size = path.stat().st_size
        path.unlink()
    except OSError:  # on Windows, while a program uses it: the next time
        return 0
    return size
