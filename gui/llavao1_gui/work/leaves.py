"""Pictures inside other files, pages of documents and frames of animations; and turned pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from llavao1_edge.errors import PictureError
from llavao1_edge.images import open_picture, read_picture
from llavao1_edge.images.opening import FORMATS
from llavao1_edge.phrases import Phrase
from llavao1_gui.work.document import is_document, page

PAGE, FRAME = "page", "frame"
PAGED = ("TIFF",)  # several pictures that are no animation
SINGLE = ("MPO", "PSD", "ICO")  # what else they hold is previews, layers and sizes
MOST = 10_000  # frames: a file may say anything


@dataclass(frozen=True)
class Leaf:
    """One of the `n` pictures of a file. kind: `page` or `frame`. at: from 0."""

    source: Path | bytes
    kind: str
    n: int
    at: int = 0

    def moved(self, at: int) -> Leaf:
        return replace(self, at=min(max(at, 0), self.n - 1))

    def data(self) -> bytes:
        """As a file that every reader of pictures takes. Raises PictureError."""
        if self.kind == PAGE and is_document(_start(self.source)):
            return _page(self.source, self.at)[1]
        data = _whole(self.source)
        return data if self.at == 0 else _frame(data, self.at)


@dataclass(frozen=True)
class Turned:
    """A picture's file turned clockwise by quarters."""

    path: Path
    quarters: int

    def data(self) -> bytes:
        turns = {1: Image.Transpose.ROTATE_270, 2: Image.Transpose.ROTATE_180,
                 3: Image.Transpose.ROTATE_90}  # fmt: skip
        return _png(open_picture(self.path).image.transpose(turns[self.quarters % 4]))


def first(source: Path | bytes) -> tuple[bytes, Leaf | None]:
    """The file of its first picture; and what leads to the others, where there are some.

    Raises PictureError where it cannot be read.
    """
    if is_document(_start(source)):
        n, png = _page(source, 0)
        return png, Leaf(source, PAGE, n)
    data = _whole(source)
    kind, n = _count(data)
    return data, Leaf(source, kind, n) if n > 1 else None


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


def _page(source: Path | bytes, at: int) -> tuple[int, bytes]:
    if isinstance(source, Path):
        return page(source, at)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "document.pdf"
        path.write_bytes(source)
        return page(path, at)


def _count(data: bytes) -> tuple[str, int]:
    """1 also for what is no picture: its reader says so."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            kind = PAGE if image.format in PAGED else FRAME
            n = 1 if image.format in SINGLE else int(getattr(image, "n_frames", 1))
            return kind, min(MOST, n)
    except Exception:  # whatever a damaged file makes of a decoder
        return FRAME, 1


def _frame(data: bytes, at: int) -> bytes:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.seek(at)
            return _png(open_picture(image).image)
    except PictureError:
        raise
    except Exception as error:
        raise PictureError(
            Phrase(
                "picture {number} of the file cannot be read: {error}", number=at + 1, error=error
            )
        ) from error


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
