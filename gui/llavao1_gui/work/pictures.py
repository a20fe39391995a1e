"""Opening pictures in the background: decoding a large one takes longer than a window may wait."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage

from llavao1_edge.errors import Cancelled, LlavaError, PictureError
from llavao1_edge.images import open_and_read, open_picture
from llavao1_gui.state.history import History
from llavao1_gui.state.messages import unexpected
from llavao1_gui.work.background import Background
from llavao1_gui.work.leaves import Leaf, Turned, first, may_be_slow
from llavao1_gui.work.page import Wanted

SHOWN = 2048  # pixels: the longer side of what is drawn; questions use the original
THUMBNAIL = 112  # pixels of a picture that is only in the strip
PREVIEWED = 512  # pixels: the longer side in the dialog that opens pictures
LARGE_BYTES = 32_000_000  # of a file
LONGEST_RATIO = 4  # of a thumbnail's sides
Part = tuple[int, int, int, int]
Source = Path | bytes | Leaf | Turned


@dataclass(frozen=True)
class LoadedPicture:
    """digest: of its file in the history. width, height: of the original, upright. thumbnail: what
    the strip shows; thousands of them fit into memory, whole pictures do not."""

    digest: str
    name: str
    thumbnail: QImage
    width: int
    height: int
    leaf: Leaf | None = None  # where it is one of several pictures in a file
    origin: Path | None = None  # the file that it was opened from


class PictureLoader(QObject):
    """loaded: a LoadedPicture and its pixels to show. failed: its name, and the LlavaError. Both
    begin with the number that `load` was given. looked: digest, part, and the pixels of it; None
    for the part that is all."""

    loaded = Signal(int, object, object)
    failed = Signal(int, str, object)
    looked = Signal(str, object, object)

    def __init__(self, history: History, parent: QObject) -> None:
        super().__init__(parent)
        self._history = history
        self._wanted: dict[bool, tuple[str, Part | None]] = {}  # the whole, and a part
        self.background, self._viewing = Background(self), Background(self)
        self._slow = Background(self)  # nothing else waits behind a document
        for background in (self.background, self._slow):
            background.done.connect(self._tell)
        self._viewing.done.connect(lambda what, image: self.looked.emit(*what, image))

    def load(self, number: int, name: str, source: Source, *, wanted: Wanted) -> None:
        """wanted: asked whether anybody waits for it any more; if not, nothing is told."""

        def asked() -> bool:
            return not self.background.closed and wanted()

        background = self._slow if may_be_slow(source) else self.background
        background.start((number, name, asked), lambda: self._load(name, source, asked))

    def look(self, digest: str, part: Part | None = None) -> None:
        """Reads a kept picture again: all of it as large as a screen, or a part as sharp as it is.
        A file that cannot be read any more gives no pixels; the next question says why."""
        path, whole = self._history.picture_path(digest), part is None
        self._wanted[whole] = wanted = (digest, part)

        def look() -> QImage:
            """Nothing, where something else is looked at by now."""
            return _looked(path, part) if self._wanted[whole] == wanted else QImage()

        self._viewing.start(wanted, look)

    def close(self) -> None:
        for background in (self.background, self._slow, self._viewing):
            background.close()

    def _tell(
        self,
        purpose: tuple[int, str, Wanted],
        found: tuple[LoadedPicture, QImage] | LlavaError,
    ) -> None:
        number, name, wanted = purpose
        if isinstance(found, Cancelled) or not wanted():  # perhaps only since it came
            return
        if isinstance(found, LlavaError):
            self.failed.emit(number, name, found)
        else:
            self.loaded.emit(number, *found)

    def _load(
        self, name: str, source: Source, wanted: Wanted
    ) -> tuple[LoadedPicture, QImage] | LlavaError:
        try:
            if not wanted():
                return Cancelled("stopped")
            leaf = source if isinstance(source, Leaf) else None
            if isinstance(source, Leaf | Turned):
                data, origin = source.data(wanted), source.origin
            else:
                data, leaf = first(source, wanted)
                origin = source.absolute() if isinstance(source, Path) else None
            if isinstance(source, Path) and leaf is None and len(data) > LARGE_BYTES:
                data = b""
                opened, data = open_and_read(source, name=name)
            else:
                opened = open_picture(data, name=name)
            digest = self._history.keep_picture(data)
            image = to_qimage(opened.image, longest=SHOWN)
            small = _reduced(_not_too_long(opened.image), THUMBNAIL)
            # As the strip draws it: both then share one copy.
            thumbnail = to_qimage(small, longest=THUMBNAIL).convertToFormat(
                QImage.Format.Format_RGB32
            )
            buffer = io.BytesIO()
            small.save(buffer, format="PNG")
            self._history.shelf.keep_thumbnail(digest, buffer.getvalue())
            size = (opened.width, opened.height)
            return LoadedPicture(digest, name, thumbnail, *size, leaf, origin), image
        except LlavaError as error:
            return error
        except Exception as error:  # too little memory, say: the window goes on
            return PictureError(unexpected(error))


def previewed(path: Path, wanted: Wanted) -> QImage:
    """A file's first picture, small; nothing where there is none, or where it is so large that it
    should be decoded only once."""
    try:
        if path.stat().st_size > LARGE_BYTES:
            return QImage()
        image = open_picture(first(path, wanted)[0], name=str(path)).image
        return to_qimage(_not_too_long(image), longest=PREVIEWED)
    except Exception:
        return QImage()


def _looked(path: Path, part: Part | None) -> QImage:
    try:
        image = open_picture(path).image
        return to_qimage(image if part is None else image.crop(part), longest=SHOWN)
    except Exception:
        return QImage()


def _not_too_long(image: Image.Image) -> Image.Image:
    """The middle of a strip: reduced whole it would be a line that nobody sees."""
    width, height = image.size
    wide, high = min(width, LONGEST_RATIO * height), min(height, LONGEST_RATIO * width)
    if (wide, high) == (width, height):
        return image
    left, top = (width - wide) // 2, (height - high) // 2
    return image.crop((left, top, left + wide, top + high))


def _reduced(image: Image.Image, longest: int) -> Image.Image:
    share = longest / max(image.size)
    if share >= 1:
        return image
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def to_qimage(image: Image.Image, *, longest: int) -> QImage:
    """RGB, its longer side at most `longest` pixels."""
    image = _reduced(image, longest)
    width, height = image.size
    return QImage(image.tobytes(), width, height, width * 3, QImage.Format.Format_RGB888).copy()
