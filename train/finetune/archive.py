"""Pictures of a data set: in a folder, a zip file, or a zip file that was split into parts, as
LLaVA-CoT-100k is published (`image.zip.part-aa`, `image.zip.part-ab`, …), without joining them."""

from __future__ import annotations

import bisect
import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

from llavao1_edge.errors import PictureError, UsageError

PART = re.compile(r"(.+\.zip)[.-](?:part-?)?([a-z]{2}|\d{2,4})$")


class Joined(io.RawIOBase):
    """Files one behind the other, read as one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self._files = [path.open("rb") for path in paths]
        sizes = [path.stat().st_size for path in paths]
        self._starts = [0, *accumulate(sizes)][:-1]
        self._size, self._at = sum(sizes), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        number = bisect.bisect_right(self._starts, self._at) - 1
        file = self._files[number]
        file.seek(self._at - self._starts[number])
        n = file.readinto(buffer)
        self._at += n
        return n

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


def parts_of(folder: Path) -> list[Path]:
    """The parts of the one split zip file in a folder, in order; none where there is none.

    Raises UsageError where there are several.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        named = PART.fullmatch(path.name)
        if named is not None:
            found.setdefault(named[1], []).append(path)
    if len(found) > 1:
        raise UsageError(
            f"{folder} holds parts of {', '.join(found)}", hint="Give one of them with --images."
        )
    parts = next(iter(found.values()), [])
    numbers = [_number(path) for path in parts]
    for before, number, path in zip(numbers, numbers[1:], parts, strict=False):
        if number != before + 1:
            raise UsageError(f"the part after {path.name} is missing", hint="Fetch it again.")
    return parts


def _number(part: Path) -> int:
    """Its place among the parts: letters are digits to the base of 26."""
    named = PART.fullmatch(part.name)
    assert named is not None
    if named[2].isdigit():
        return int(named[2])
    number = 0
    for letter in named[2]:
        number = 26 * number + ord(letter) - ord("a")
    return number


def is_outside(name: str) -> bool:
    """Whether a name is that of a picture elsewhere: a data set names its own."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "://" in name or name.startswith("data:")


class Pictures:
    """Pictures by the names that a data set gives them. Made again in every process that reads."""

    def __init__(self, source: Path) -> None:
        """source: a folder, a zip file, or the first part of one. Raises UsageError."""
        self._folder: Path | None = None
        self._zip: zipfile.ZipFile | None = None
        self._tops: list[str] = []
        named = PART.fullmatch(source.name)
        if source.is_dir():
            parts = parts_of(source)
            self._folder = source
        elif named is not None:
            parts = [p for p in parts_of(source.parent) if p.name.startswith(named[1])]
        else:
            parts = [source]
        if not parts:
            return
        try:
            whole = io.BufferedReader(Joined(parts), 1 << 20)
            self._zip = zipfile.ZipFile(whole)
            tops = {name.partition("/")[0] for name in self._zip.NameToInfo if "/" in name}
            self._tops = sorted(tops)
        except (OSError, zipfile.BadZipFile) as error:
            raise UsageError(
                f"the pictures in {source} cannot be read: {error}",
                hint="Give a folder, a zip file, or the folder with all of its parts.",
            ) from None

    def read(self, name: str) -> bytes:
        """Raises PictureError."""
        path = PurePosixPath(name)
        if is_outside(name):
            raise PictureError(f"the picture {name!r} is outside the data set", hint="Check it.")
        try:
            if self._folder is not None and (self._folder / path).is_file():
                return (self._folder / path).read_bytes()
            entry = self._entry(path)
            if self._zip is not None and entry is not None:
                return self._zip.read(entry)
        except (OSError, zipfile.BadZipFile, EOFError, RuntimeError, zlib.error) as error:
            raise PictureError(f"cannot read the picture {name!r}: {error}", hint="") from None
        raise PictureError(f"there is no picture {name!r}", hint="Check --images.")

    def has(self, name: str) -> bool:
        """Without reading it."""
        path = PurePosixPath(name)
        if is_outside(name):
            return False
        try:
            if self._folder is not None and (self._folder / path).is_file():
                return True
        except (OSError, ValueError):  # a name that is too long, or holds a NUL
            return False
        return self._entry(path) is not None

    def _entry(self, path: PurePosixPath) -> str | None:
        """The archive's own name of a picture: some hold everything below one more folder."""
        if self._zip is None:
            return None
        names = [str(path), *(f"{top}/{path}" for top in self._tops)]
        return next((name for name in names if name in self._zip.NameToInfo), None)
