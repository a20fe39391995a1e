"""Pictures inside other files, pages of documents and frames of animations; and turned pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from llavao1_edge.errors import Cancelled, PictureError
from llavao1_edge.images import open_picture, read_picture
from llavao1_edge.images.opening import FORMATS
from llavao1_edge.phrases import Phrase
from llavao1_gui.work.page import Wanted, is_document, page

PAGE, FRAME = "page", "frame"
PAGED = ("TIFF",)  # several pictures that are no animation
SINGLE = ("MPO", "PSD", "ICO")  # what else they hold is previews, layers and sizes
MOST = 10_000  # frames: a file may say anything
TURNS = {1: Image.Transpose.ROTATE_270, 2: Image.Transpose.ROTATE_180,
         3: Image.Transpose.ROTATE_90}  # fmt: skip


@dataclass(frozen=True)
class Leaf:
    """One of the `n` pictures of a file. kind: `page` or `frame`. at: from 0. quarters: by which it
    and all others are turned clockwise."""

    source: Path | bytes
    kind: str
    n: int
    at: int = 0
    quarters: int = 0

    def moved(self, at: int) -> Leaf:
        return replace(self, at=min(max(at, 0), self.n - 1))

    def turned(self, quarters: int) -> Leaf:
        return replace(self, quarters=(self.quarters + quarters) % 4)

    @property
    def origin(self) -> Path | None:
        return self.source if isinstance(self.source, Path) else None

    def data(self, wanted: Wanted) -> bytes:
        """As a file that every reader of pictures takes. Raises PictureError, Cancelled."""
        if self.at == 0 and not self.quarters and not is_document(_start(self.source)):
            return _whole(self.source)
        n, png = _page(self.source, self.at, wanted)
        if min(n, MOST) != self.n:
            name = self.source.name if isinstance(self.source, Path) else "?"
            raise PictureError(
                Phrase("{name} has changed since it was opened", name=name),
                hint="Open the file again.",
            )
        return _turned(png, self.quarters)


@dataclass(frozen=True)
class Turned:
    """A picture's file turned clockwise by quarters. origin: the file that it was opened from."""

    path: Path
    quarters: int = 0
    origin: Path | None = None

    def turned(self, quarters: int) -> Turned:
        return replace(self, quarters=(self.quarters + quarters) % 4)

    def data(self, wanted: Wanted) -> bytes:
        """As `Leaf.data`."""
        if not wanted():
            raise Cancelled("stopped")
        return _turned(read_picture(self.path), self.quarters)


@dataclass(frozen=True)
class Replacing:
    """What is on its way in the place of the picture `old`."""

    request: int
    old: str
    source: Leaf | Turned


def first(source: Path | bytes, wanted: Wanted) -> tuple[bytes, Leaf | None]:
    """The file of its first picture; and what leads to the others, where there are some.

    Raises PictureError where it cannot be read, Cancelled.
    """
    if is_document(_start(source)):
        n, png = _page(source, 0, wanted)
        return png, Leaf(source, PAGE, n)
    data = _whole(source)
    kind, n = _count(data)
    return data, Leaf(source, kind, n) if n > 1 else None


def may_be_slow(source: Path | bytes | Leaf | Turned) -> bool:
    """Whether others should not wait behind it. Looks at no file."""
    if isinstance(source, Path):
        return source.suffix.lower() == ".pdf"
    return isinstance(source, Leaf | Turned) or is_document(source[:64])


def _whole(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else read_picture(source)


def _start(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:64]
    try:
        if not source.is_file():  # a pipe would be waited for; its reader says what it is
            return b""
        with source.open("rb") as file:
            return file.read(64)
    except OSError:
        return b""  # as above


def _page(source: Path | bytes, at: int, wanted: Wanted) -> tuple[int, bytes]:
    if isinstance(source, Path):
        return page(source, at, wanted=wanted)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(source)
        return page(path, at, wanted=wanted)


def _count(data: bytes) -> tuple[str, int]:
    """1 also for what is no picture: its reader says so."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            kind = PAGE if image.format in PAGED else FRAME
            n = 1 if image.format in SINGLE else int(getattr(image, "n_frames", 1))
            return kind, min(MOST, n)
    except Exception:  # whatever a damaged file makes of a decoder
        return FRAME, 1


def _turned(data: bytes, quarters: int) -> bytes:
    if not quarters:
        return data
    buffer = io.BytesIO()
    turned = open_picture(data).image.transpose(TURNS[quarters])
    turned.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
