"""Opens a picture file safely and makes it an upright RGB picture.

Formats come from an allow-list, size is checked before anything is decoded, EXIF rotation is
applied, transparency is laid over white, animations give their first frame.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from llavao1_edge.errors import PictureError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
HEIF = "HEIF"
MAX_PIXELS = 178_000_000  # just below where Pillow itself suspects an attack
MAX_FILE_BYTES = 512 << 20
MEMORY = "picture in memory"


@dataclass(frozen=True)
class Picture:
    """An upright RGB picture. `key` is a hash of its pixels: equal pictures share one encoding."""

    image: Image.Image
    key: str
    source: str

    @property
    def width(self) -> int:
        return self.image.width

    @property
    def height(self) -> int:
        return self.image.height


def open_picture(source: Path | str | bytes | Image.Image, *, name: str = MEMORY) -> Picture:
    """A file's path or bytes, or a picture in memory; `name` is what errors call the latter two.

    Raises PictureError with the reason.
    """
    if isinstance(source, Image.Image):
        return _guarded(lambda: _finish(source, name), name)
    if isinstance(source, bytes):
        return _decode(source, name)
    return _decode(read_picture(source), str(source))


def read_picture(path: Path | str) -> bytes:
    """The bytes of a picture's file. Raises PictureError: missing, a folder, too large."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise PictureError(f"{path} is a folder", hint="Give a picture file.")
        if size > MAX_FILE_BYTES:
            raise PictureError(
                f"{path} has {size / 1e6:.0f} MB, at most {MAX_FILE_BYTES / 1e6:.0f} are read",
                hint="Save the picture smaller.",
            )
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL byte
        raise PictureError(
            f"cannot read picture {path}: {getattr(error, 'strerror', None) or error}",
            hint="Check the path and the permissions.",
        ) from error


def _decode(data: bytes, name: str) -> Picture:
    formats = list(FORMATS)
    if _register_heif():
        formats.append(HEIF)

    def decode() -> Picture:
        with Image.open(io.BytesIO(data), formats=formats) as image:
            _check_size(image.width, image.height, name)
            image.seek(0)
            image.load()
            return _finish(image, name)

    try:
        return _guarded(decode, name)
    except UnidentifiedImageError:
        listed = ", ".join(formats) + (
            "" if HEIF in formats else " (HEIC: pip install pillow-heif)"
        )
        raise PictureError(
            f"{name} is not a picture this program can read",
            hint=f"It reads {listed}.",
        ) from None


def _guarded(decode: Callable[[], Picture], name: str) -> Picture:
    """Decoders fail in many ways (OSError, SyntaxError, struct.error, …): one clear error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's opinions on odd files; errors still raise
            return decode()
    except (PictureError, UnidentifiedImageError):
        raise
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except Exception as error:
        raise PictureError(
            f"{name} is damaged: {error}", hint="Open and save it in another program."
        ) from error


def _register_heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise PictureError(f"{name} has no pixels", hint="Choose another picture.")
    if width * height > MAX_PIXELS:
        raise _too_large(name)


def _too_large(name: str) -> PictureError:
    return PictureError(
        f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels",
        hint="Save the picture smaller.",
    )


def _finish(image: Image.Image, name: str) -> Picture:
    _check_size(image.width, image.height, name)
    upright = to_rgb(ImageOps.exif_transpose(image))
    digest = hashlib.sha256(f"{upright.width}x{upright.height}".encode())
    digest.update(upright.tobytes())
    return Picture(upright, digest.hexdigest(), name)


def to_rgb(image: Image.Image) -> Image.Image:
    """Over white where transparent, as the oracle does; 16-bit grey is scaled, not clipped."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.copy()
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow would clip values above 255.
        deep = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray(np.clip(deep, 0, 255).astype(np.uint8))
    elif image.mode == "F":
        image = image.convert("L")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")
