"""The picture of a row: a path, or base64 in the row, which is read again when it is wanted."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llavao1_edge.errors import PictureError


def decoded(text: str) -> bytes:
    text = text.strip()
    if text.startswith("["):
        text = listed_path(text)
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:  # `base64` and Python's encodebytes write it in lines
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"the picture is not base64 ({error})") from None


def beside(path: Path, name: str) -> Path:
    """Relative to the data set's folder, or to its `images` folder."""
    if "\0" in name:
        raise ValueError("the picture's path holds a NUL")
    found = Path(name)
    if found.is_absolute():
        return found
    try:
        for folder in (path.parent, path.parent / "images", path.parent / "images" / path.stem):
            if (folder / found).is_file():
                return folder / found
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        raise ValueError(f"the picture's path cannot be used ({error})") from None
    return path.parent / found


def fetched(read: Callable[[], Any], where: str) -> Callable[[], bytes]:
    """The picture of a row, read anew each time. read: its text. The result raises PictureError."""

    def fetch() -> bytes:
        try:
            return decoded(written(read()))
        except (ValueError, LookupError, OSError, RecursionError, StopIteration) as error:
            raise PictureError(
                f"the picture of {where} cannot be read ({error})", hint="Check the file."
            ) from None

    return fetch


def written(value: Any) -> str:
    """What stands for one picture; nothing where it says that there is none."""
    if isinstance(value, list):
        if len(value) > 1:
            raise ValueError(f"{len(value)} pictures, one is supported")
        value = value[0] if value else None
    if isinstance(value, dict):  # as data sets on the hub have it
        value = value.get("path") or value.get("bytes")
    if value in (None, "", "none"):
        return ""
    if not isinstance(value, str):
        raise ValueError(f"a picture is {type(value).__name__}, not a path")
    return value


def listed_path(text: str) -> str:
    """One picture; some files write a list with one entry."""
    if not text.startswith("["):
        return text
    names = listed(text)
    if len(names) != 1:
        raise ValueError(f"{len(names)} pictures, one is supported")
    return names[0]


def listed(text: str) -> list[str]:
    """A list as Python or JSON writes it."""
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("a list is nested too deeply") from None
    except ValueError:
        values = re.findall(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", text)
        values = [first or second for first, second in values]
    return [str(value) for value in values]
