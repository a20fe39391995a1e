"""Opens a picture file safely and makes it an upright RGB picture.

Formats come from an allow-list, size is checked before anything is decoded, EXIF rotation is
applied, transparency is laid over white, animations give their first frame. What is odd about a
picture and was mended is said in its `note`.
"""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from llavao1_edge.errors import OutOfMemory, PictureError
from llavao1_edge.images.finding import picture_path
from llavao1_edge.images.pixels import is_plain, key_of, reduced, to_rgb
from llavao1_edge.phrases import Phrase

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "ICO", "JPEG2000", "PSD")
HEIF = "HEIF"
MAX_PIXELS = 178_000_000  # just below where Pillow itself suspects an attack
MAX_SIDE = 100_000  # longer ones are lines, and cost gigabytes to resize
KEPT_PIXELS = 60_000_000  # of larger ones, fractions of the size are kept: the model sees 1.3
MAX_FILE_BYTES = 512 << 20
HEAD_BYTES = 2000  # of a file, to say what it is
PNG = b"\x89PNG\r\n"
ORIENTATION = 0x0112  # of EXIF
MEMORY = "picture in memory"
CUT_OFF = ("truncated", "broken", "not enough", "Truncated")  # what decoders say of half a file


@dataclass(frozen=True)
class Picture:
    """An upright RGB picture. `key` is a hash of its pixels: equal pictures share one encoding;
    `note`: what was odd about the file, empty if nothing."""

    image: Image.Image
    key: str
    source: str
    note: str = ""

    @property
    def width(self) -> int:
        return self.image.width

    @property
    def height(self) -> int:
        return self.image.height


def open_picture(source: Any, *, name: str = MEMORY) -> Picture:
    """A file's path (also as a `file://` URL) or bytes, an open file, a PIL image, or an array
    (height, width, 3) of uint8. `name` is what errors call what has no path.

    Raises PictureError with the reason, OutOfMemory.
    """
    if isinstance(source, Image.Image):
        return _guarded(lambda: _finish(source, name), name)
    if isinstance(source, np.ndarray):
        array = _checked(source, name)
        return _guarded(lambda: _finish(Image.fromarray(array), name), name)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(io.BytesIO(bytes(source)), name)
    if hasattr(source, "read"):
        return _decode(_from_start(source, name), name)
    with _opened(source) as file:
        return _decode(file, str(source))


def _checked(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise PictureError(
            Phrase(
                "{name} is an array {shape} of {dtype}",
                name=name,
                shape=array.shape,
                dtype=array.dtype,
            ),
            hint="It must be (height, width, 3) of uint8.",
        )
    _check_size(array.shape[1], array.shape[0], name)
    return np.ascontiguousarray(array)


def _opened_as_text(name: str) -> PictureError:
    return PictureError(
        Phrase("{name} was opened as text", name=name), hint='Open it with mode "rb".'
    )


def _read(file: IO[bytes], n: int, name: str) -> bytes:
    try:
        return file.read(n) or b""
    except UnicodeDecodeError:
        raise _opened_as_text(name) from None
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise _unreadable(name, error) from error


def _from_start(file: IO[bytes], name: str) -> IO[bytes]:
    """The file itself, where it is a file on a disk, at its start. Else all that is left of it."""
    if isinstance(getattr(file, "raw", None), io.FileIO):
        with suppress(OSError, ValueError):  # a pipe, or a file that nobody can look ahead in
            if file.tell() == 0:
                n_bytes = file.seek(0, io.SEEK_END)
                file.seek(0)
                if n_bytes > MAX_FILE_BYTES:
                    raise _too_many_bytes(name, n_bytes)
                return file
    data = _read(file, MAX_FILE_BYTES + 1, name)
    if not isinstance(data, bytes):
        raise _opened_as_text(name)
    if len(data) > MAX_FILE_BYTES:
        raise _too_many_bytes(name, len(data))
    return io.BytesIO(data)


def open_and_read(path: Path, *, name: str) -> tuple[Picture, bytes]:
    """A picture and the bytes of its file, which are read when it is decoded: they are not held
    beside all its pixels. Raises as `open_picture` does; `name` is what a bad picture is called."""
    with _opened(path) as file:
        before = os.fstat(file.fileno())
        picture = _decode(file, name)
        file.seek(0)
        data = _read(file, MAX_FILE_BYTES, name)
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        picture = open_picture(data, name=name)  # somebody saved over it
    return picture, data


def read_picture(path: Path | str) -> bytes:
    """The bytes of a picture's file. Raises PictureError: missing, no regular file, too large."""
    with _opened(path) as file:
        return file.read(MAX_FILE_BYTES)


@contextmanager
def _opened(path: Path | str) -> Iterator[IO[bytes]]:
    path = picture_path(path) if isinstance(path, str) else Path(path)
    try:
        about = path.stat()
        if path.is_dir():
            raise PictureError(Phrase("{path} is a folder", path=path), hint="Give a picture file.")
        if not stat.S_ISREG(about.st_mode):  # a pipe could be waited for without end
            raise PictureError(
                Phrase("{path} is not a regular file", path=path), hint="Give a picture file."
            )
        if about.st_size > MAX_FILE_BYTES:
            raise _too_many_bytes(str(path), about.st_size)
        with path.open("rb") as file:
            yield file
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL byte
        raise _unreadable(str(path), error) from error


def _unreadable(name: str, error: Exception) -> PictureError:
    reason = getattr(error, "strerror", None) or error
    return PictureError(
        Phrase("cannot read picture {path}: {reason}", path=name, reason=reason),
        hint="Check the path and the permissions.",
    )


def _too_many_bytes(name: str, n: int) -> PictureError:
    return PictureError(
        Phrase(
            "{name} has {n:.0f} MB, at most {most:.0f} are read",
            name=name,
            n=n / 1e6,
            most=MAX_FILE_BYTES / 1e6,
        ),
        hint="Save the picture smaller.",
    )


def _decode(file: IO[bytes], name: str) -> Picture:
    """file: at its start. A PNG is decoded from it: all of its pixels are in memory then, and its
    bytes would be beside them. Other decoders map a file into memory, which kills the process
    where it shrinks meanwhile, or call a disk that fails a bad picture; they are given bytes."""
    head = _read(file, HEAD_BYTES, name)
    formats = list(FORMATS)
    if _register_heif():
        formats.append(HEIF)

    if head[:18].lstrip(b"\0")[:1] and name.lower().endswith(".tga"):
        formats.append("TGA")  # it has no mark of its own: only where the name says so

    def decode() -> Picture:
        file.seek(0)
        given = file
        if not head.startswith(PNG) and not isinstance(file, io.BytesIO):
            given = io.BytesIO(_read(file, MAX_FILE_BYTES, name))
        with Image.open(given, formats=formats) as image:
            _check_size(image.width, image.height, name)
            image.seek(0)
            note = _load(image)
            return _finish(image, name, note)

    try:
        return _guarded(decode, name)
    except UnidentifiedImageError:
        kind = _other_kind(name, head)
        if kind:
            raise PictureError(kind[0], hint=kind[1]) from None
        listed = ", ".join(formats) + (
            "" if HEIF in formats else " (HEIC: pip install pillow-heif)"
        )
        raise PictureError(
            Phrase("{name} is not a picture this program can read", name=name),
            hint=Phrase("It reads {listed}.", listed=listed),
        ) from None


_TRUNCATED = threading.Lock()


def _load(image: Image.Image) -> str:
    """Decodes; of a file that was cut off, what is there. Returns a note, or nothing."""
    large = image.width * image.height > KEPT_PIXELS
    if image.format == "JPEG" and large:  # its decoder can leave out what is not kept
        image.draft("RGB", (image.width // 2, image.height // 2))
    try:
        image.load()
    except (OSError, SyntaxError) as error:
        if not any(word in str(error) for word in CUT_OFF):
            raise
        with _TRUNCATED:  # Pillow's switch is global
            ImageFile.LOAD_TRUNCATED_IMAGES = True
            try:
                image.load()
            finally:
                ImageFile.LOAD_TRUNCATED_IMAGES = False
        if _n_missing_rows(image) > image.height // 2:
            raise
        return "the file is cut off at its end; what is there was read"
    return "it is large and was read at 1/2 of its size" if image.format == "JPEG" and large else ""


def _n_missing_rows(image: Image.Image) -> int:
    """Rows at the bottom that are all of one colour, as decoders leave what they did not get to."""
    values = np.asarray(image)
    same = (values == values[-1, -1]).reshape(len(values), -1).all(axis=1)
    return int(np.argmin(same[::-1])) if not same.all() else len(values)


def _other_kind(name: str, head: bytes) -> tuple[Phrase, Phrase] | None:
    """What a file is instead of a picture, and what to do."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return Phrase("{name} is empty", name=name), Phrase("Save the picture again.")
    if start.startswith(b"%pdf"):
        return Phrase("{name} is a PDF document", name=name), Phrase(
            "Save its page as a picture, for example as PNG."
        )
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start):
        return Phrase("{name} is an SVG drawing", name=name), Phrase(
            "Export it as a picture, for example as PNG."
        )
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return Phrase("{name} is a web page, not a picture", name=name), Phrase(
            "Save the picture itself from the page."
        )
    return None


def _guarded(decode: Callable[[], Picture], name: str) -> Picture:
    """Decoders fail in many ways (OSError, SyntaxError, struct.error, …): one clear error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's opinions on odd files; errors still raise
            return decode()
    except (PictureError, UnidentifiedImageError):
        raise
    except MemoryError:
        raise OutOfMemory(
            Phrase("not enough memory to open {name}", name=name),
            hint="Close other programs, or save it smaller.",
        ) from None
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno:  # the disk failed, not the decoder
            raise _unreadable(name, error) from error
        raise PictureError(
            Phrase("{name} is damaged: {error}", name=name, error=error),
            hint="Open and save it in another program.",
        ) from error


@cache
def endings() -> tuple[str, ...]:
    """Of the names of files that can be opened, in lower case, with their dots; HEIC's too where
    the package for it is missing, since opening one says so."""
    _register_heif()
    formats = {*FORMATS, HEIF}
    known = {name for name, kind in Image.registered_extensions().items() if kind in formats}
    return tuple(sorted(known | {".tga", ".heic", ".heif"}))


def _register_heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise PictureError(
            Phrase("{name} has no pixels", name=name), hint="Choose another picture."
        )
    if width * height > MAX_PIXELS:
        raise _too_large(name)
    if max(width, height) > MAX_SIDE:
        raise PictureError(
            Phrase(
                "{name} is {width} × {height} pixels; a side has at most {most}",
                name=name,
                width=width,
                height=height,
                most=MAX_SIDE,
            ),
            hint="Cut out the part that matters.",
        )


def _too_large(name: str) -> PictureError:
    return PictureError(
        Phrase(
            "{name} has more than {most} million pixels",
            name=name,
            most=MAX_PIXELS // 1000000,
        ),
        hint="Save the picture smaller.",
    )


def _finish(image: Image.Image, name: str, note: str = "") -> Picture:
    _check_size(image.width, image.height, name)
    factor = 1
    while image.width * image.height > factor**2 * KEPT_PIXELS:
        factor += 1
    orientation = image.getexif().get(ORIENTATION)
    if factor > 1:
        image = reduced(image, factor)
        note = note or Phrase("it is large and was read at 1/{factor} of its size", factor=factor)
    turned = orientation not in (None, 1)
    if turned:
        image.getexif()[ORIENTATION] = orientation
    # What was made here is ours: a copy of a large picture would be another 100 MB.
    upright = ImageOps.exif_transpose(image) if turned or factor == 1 else image
    if not is_plain(upright):
        upright = to_rgb(upright)
    return Picture(upright, key_of(upright), name, note)
