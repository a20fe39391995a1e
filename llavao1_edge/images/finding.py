"""What people give as a picture: a path, in any of the ways that programs write one."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from llavao1_edge.errors import PictureError
from llavao1_edge.files import expanded
from llavao1_edge.phrases import Phrase

WEB = ("http://", "https://", "ftp://")


def picture_path(text: str) -> Path:
    """The path behind a `file://` URL, quotes, or backslashes before spaces, as terminals and file
    managers paste them. A text that is the name of a file as it stands is taken so.

    Raises PictureError for an address on the web.
    """
    if text.lower().startswith(WEB):
        raise PictureError(
            Phrase("{text} is an address on the web", text=text[:80]),
            hint="Nothing is downloaded: save it first.",
        )
    if text.lower().startswith("file:"):
        return _from_url(text)
    plain = expanded(text)
    if _is_there(plain):
        return plain
    bare = text.strip()
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "'\"":
        bare = bare[1:-1]
    elif os.name != "nt":
        bare = re.sub(r"\\(.)", r"\1", bare)
    other = expanded(bare)
    return other if _is_there(other) else plain


def _from_url(text: str) -> Path:
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise PictureError(
            Phrase("{text} is not an address: {error}", text=text[:80], error=error),
            hint="Give a path.",
        ) from None
    if parts.netloc not in ("", "localhost"):
        raise PictureError(
            Phrase("{text} is on the computer {host}", text=text[:80], host=parts.netloc),
            hint="Copy the picture here first.",
        )
    path = unquote(parts.path)
    if os.name == "nt" and re.match(r"/[A-Za-z]:", path):
        path = path[1:]
    return Path(path)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
