"""What a drop or a paste gives: pictures as files and bytes, text, or something out of reach."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

from PySide6.QtCore import QBuffer, QIODevice, QMimeData, QUrl
from PySide6.QtGui import QImage

IMAGE_TYPES = tuple(
    f"image/{name}" for name in ("png", "jpeg", "webp", "gif", "bmp", "tiff", "avif", "heic")
)
SHOWN = 80  # characters of an address: a whole picture may stand in it


def pictures_in(data: QMimeData) -> list[Path | bytes]:
    """Files and bytes in their order; empty where there is none."""
    return list(_files(data)) or list(_raw(data))


def _files(data: QMimeData) -> Iterator[Path | bytes]:
    for url in data.urls():
        if url.scheme() == "data":
            found = _inline(url)
            if found:
                yield found
        elif url.isLocalFile():
            # `file://localhost/…` is here, whatever Qt makes of the host.
            here = url.host().lower() in ("", "localhost")
            yield Path(url.path() if here and url.host() else url.toLocalFile())


def folder_in(data: QMimeData) -> Path | None:
    """The one folder that was given, where it is nothing but that."""
    found = list(_files(data)) if all(url.isLocalFile() for url in data.urls()) else []
    only = found[0] if len(found) == 1 else None
    return only if isinstance(only, Path) and only.is_dir() else None


def _inline(url: QUrl) -> bytes:
    """The picture of a `data:` address, as browsers give when one is dragged out of a page."""
    head, _, body = url.toString(QUrl.ComponentFormattingOption.FullyEncoded).partition(",")
    if not head.lower().startswith("data:image/"):
        return b""
    raw = unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return raw
    try:
        return base64.b64decode(raw)
    except (binascii.Error, ValueError):
        return b""


def _raw(data: QMimeData) -> Iterator[bytes]:
    """The first picture on the clipboard that holds anything."""
    for kind in IMAGE_TYPES:
        found = bytes(data.data(kind).data()) if data.hasFormat(kind) else b""
        if found:
            yield found
            return
    image = data.imageData() if data.hasImage() else None
    if isinstance(image, QImage) and not image.isNull():
        yield png_bytes(image)


def may_hold_picture(data: QMimeData) -> bool:
    """Whether a drag is worth taking; nothing is read yet."""
    return data.hasUrls() or data.hasImage() or any(map(data.hasFormat, IMAGE_TYPES))


def is_text(data: QMimeData) -> bool:
    """Whether it is text before it is anything else: cells of a spreadsheet come with a picture of
    themselves, a picture of a browser with its address."""
    text = data.text().strip() if data.hasText() else ""
    address = len(text.split()) == 1 and QUrl(text).scheme() in ("http", "https", "file", "data")
    return bool(text) and not address and not any(url.isLocalFile() for url in data.urls())


def out_of_reach(data: QMimeData) -> str:
    """What was given instead of a picture, in at most a line; empty where nothing was."""
    urls = data.urls()
    if not urls:
        return ""
    text = urls[0].toDisplayString() if len(urls[0].toString()) < 10_000 else urls[0].scheme() + ":"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def png_bytes(image: QImage) -> bytes:
    """A picture in memory as a file."""
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")  # type: ignore[call-overload]
    return bytes(buffer.data().data())
