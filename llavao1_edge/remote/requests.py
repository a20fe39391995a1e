"""The bodies of requests: messages, pictures, sampling."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from llavao1_edge.images import Picture
from llavao1_edge.remote.probe import Server
from llavao1_edge.settings import SamplingSettings

MOST_PNG = 4 << 20  # bytes; larger pictures are sent as JPEG
MOST_JPEG_SIDE = 65_500  # pixels
BANDS, SHARE = 3, 16  # a sixteenth of a large picture tells how large its PNG will be
JPEG_QUALITY = 95
# Servers read their models' special tokens in plain text, too.
MARK = re.compile(r"<(?=[^<>\s]{1,40}>)|\[(?=/?[A-Z_]{1,40}\])")
UNSEEN = "\u200b"  # a space without width


def plain(text: str) -> str:
    """The same to read, but no part of it is a special token."""
    return MARK.sub(lambda found: found[0] + UNSEEN, text)


def data_url(picture: Picture) -> str:
    kind, data = encoded(picture.image)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def encoded(image: Image.Image) -> tuple[str, bytes]:
    """(`png` or `jpeg`, the file): PNG, so that the server sees what we opened; JPEG where that is
    much larger, and there is one of that size."""
    has_jpeg = max(image.size) <= MOST_JPEG_SIDE
    if not has_jpeg or _png_size(image) <= MOST_PNG:
        data = _saved(image, "PNG")
        if not has_jpeg or len(data) <= MOST_PNG:
            return "png", data
    return "jpeg", _saved(image, "JPEG", quality=JPEG_QUALITY)


def _png_size(image: Image.Image) -> float:
    """Bytes, about, from bands of it: the PNG of a photograph takes seconds, to be thrown away."""
    if 3 * image.width * image.height <= MOST_PNG:
        return 0.0
    rows, size = max(1, image.height // (BANDS * SHARE)), 0
    for number in range(BANDS):
        top = (2 * number + 1) * (image.height - rows) // (2 * BANDS)
        size += len(_saved(image.crop((0, top, image.width, top + rows)), "PNG"))
    return size * image.height / (rows * BANDS)


def _saved(image: Image.Image, kind: str, **options: int) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


@dataclass
class Messages:
    """What was said. parts: the pictures, as parts of the first message; before: stands before the
    first question; turns: (question, what the assistant wrote)."""

    before: str = ""
    parts: list[dict[str, Any]] = field(default_factory=list)
    turns: list[tuple[str, str]] = field(default_factory=list)

    def asking(self, question: str, opening: str | None = None) -> list[dict[str, Any]]:
        """The messages of a question. opening: what the assistant has written of its answer."""
        said: list[dict[str, Any]] = []
        for i, (asked, answered) in enumerate([*self.turns, (question, None)]):
            text = plain(asked)
            if i == 0 and self.before:
                text = f"{self.before}\n\n{text}"
            said.append({"role": "user", "content": self._content(text, first=i == 0)})
            if answered is not None:
                said.append({"role": "assistant", "content": answered})
        if opening is not None:
            said.append({"role": "assistant", "content": opening})
        return said

    def alone(self, text: str, *, picture: bool, opening: str | None = None) -> list[Any]:
        """A question in a conversation of its own."""
        content = self._content(plain(text), first=picture)
        said: list[Any] = [{"role": "user", "content": content}]
        if opening is not None:
            said.append({"role": "assistant", "content": opening})
        return said

    def _content(self, text: str, *, first: bool) -> Any:
        if not (first and self.parts):
            return text
        return [*self.parts, {"type": "text", "text": text}]


def picture_parts(pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": data_url(picture)}} for picture in pictures]


def sampling_fields(
    server: Server, sampling: SamplingSettings, *, greedy: bool
) -> Mapping[str, Any]:
    """What a request says about drawing; the server's own default where nothing is set."""
    if greedy:
        return {"temperature": 0}
    fields: dict[str, Any] = {}
    for name in ("temperature", "top_p"):
        if getattr(sampling, name) is not None:
            fields[name] = getattr(sampling, name)
    dialect = server.dialect
    for name in dialect.extras:
        if getattr(sampling, name):
            fields[name] = getattr(sampling, name)
    if dialect.repeat_penalty and sampling.repeat_penalty != 1:
        fields[dialect.repeat_penalty] = sampling.repeat_penalty
    return fields
