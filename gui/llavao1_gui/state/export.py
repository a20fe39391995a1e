"""A conversation as a file: Markdown with its picture beside it, JSON with the trace, one HTML."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from llavao1_edge.errors import LlavaError
from llavao1_edge.files import write_whole
from llavao1_edge.images import open_picture
from llavao1_edge.phrases import Phrase
from llavao1_edge.stages import STAGES
from llavao1_gui.state.history import Conversation, Exchange

FORMAT = 1
PART = Phrase("Part of the picture: {box}")
Say = Callable[[str], str]
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46em;margin:2em auto;padding:0 1em;"
    "color-scheme:light dark}img{max-width:100%;border-radius:8px}h2{margin-top:2em}"
    ".conclusion{font-size:1.25em}summary{cursor:pointer}.note{opacity:.7}"
)
BROWSERS_SHOW = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"GIF8": "gif"}


def browser_ending(start: bytes) -> str:
    """What `for_browsers` will make of a file that begins like this."""
    found = (name for known, name in BROWSERS_SHOW.items() if start.startswith(known))
    webp = start.startswith(b"RIFF") and start[8:12] == b"WEBP"
    return next(found, "webp" if webp else "png")


def for_browsers(data: bytes) -> tuple[str, bytes] | None:
    """A picture's file as every browser shows it: its ending and its bytes. Formats that some do
    not know become PNG. None for what cannot be read any more."""
    ending = browser_ending(data[:16])
    if ending != "png" or data.startswith(b"\x89PNG"):
        return ending, data
    try:
        opened = open_picture(data)
    except LlavaError:
        return None
    buffer = io.BytesIO()
    opened.image.save(buffer, format="PNG")
    return "png", buffer.getvalue()


def as_json(conversation: Conversation, exchanges: Sequence[Exchange]) -> str:
    return json.dumps(
        {
            "format": FORMAT,
            "title": conversation.title,
            "picture": conversation.picture_name,
            "picture_sha256": conversation.picture,
            "crop": conversation.crop,
            "exchanges": [
                {name: value for name, value in vars(exchange).items() if name != "id"}
                for exchange in exchanges
            ],
        },
        ensure_ascii=False,
        indent=1,
    )


def as_markdown(
    conversation: Conversation, exchanges: Sequence[Exchange], *, picture: str | None, said: Say
) -> str:
    """picture: the file's name beside the text. What was said is formatted, but fetches nothing and
    holds no HTML."""
    parts = [f"# {_harmless(_line(conversation.title))}"]
    if picture is not None:
        alt = _harmless(_line(conversation.picture_name).replace("]", ""))
        parts.append(f"![{alt}](<{picture}>)")
    if conversation.crop is not None:
        parts.append(said(Phrase(PART, box=_box(conversation.crop))))
    for exchange in exchanges:
        parts.append(f"## {_harmless(_line(exchange.question))}")
        if _crop_of(exchange):
            parts.append(said(Phrase(PART, box=_crop_of(exchange))))
        parts.append(_harmless(exchange.conclusion or f"*{_outcome(exchange, said)}*"))
        for name, text in _others(exchange):
            parts.append(f"**{said(name).capitalize()}**\n\n{_harmless(text)}")
    return "\n\n".join(parts) + "\n"


def as_html(
    conversation: Conversation,
    exchanges: Sequence[Exchange],
    *,
    picture: tuple[str, bytes] | None,
    rendered: Callable[[str], str],
    said: Say,
) -> str:
    """One file. picture: from `for_browsers`. rendered: Markdown → safe HTML."""
    title = html.escape(conversation.title)
    parts = [
        f'<!doctype html><html><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>"
    ]
    if picture is not None:
        kind = picture[0].replace("jpg", "jpeg")
        data = base64.b64encode(picture[1]).decode()
        alt = html.escape(conversation.picture_name)
        parts.append(f'<p><img alt="{alt}" src="data:image/{kind};base64,{data}"></p>')
    if conversation.crop is not None:
        parts.append(_note(said, _box(conversation.crop)))
    for exchange in exchanges:
        text = rendered(exchange.conclusion or f"*{_outcome(exchange, said)}*")
        parts.append(f"<h2>{html.escape(exchange.question)}</h2>")
        if _crop_of(exchange):
            parts.append(_note(said, _crop_of(exchange)))
        parts.append(f'<div class="conclusion">{text}</div>')
        for name, text in _others(exchange):
            parts.append(
                f"<details><summary>{said(name).capitalize()}</summary>{rendered(text)}</details>"
            )
    return "\n".join([*parts, "</body></html>\n"])


def write(
    path: Path,
    conversation: Conversation,
    exchanges: Sequence[Exchange],
    *,
    picture: Path | None,
    rendered: Callable[[str], str],
    said: Say = str,
) -> list[Path]:
    """By the ending: .md, .json or .html. The files that were written. said: puts headings and
    notes into the reader's language. Raises LlavaError."""
    written: dict[Path, bytes] = {}
    try:
        shown = None
        if picture is not None and picture.is_file() and path.suffix != ".json":
            shown = for_browsers(picture.read_bytes())
        if path.suffix == ".json":
            written[path] = _encoded(as_json(conversation, exchanges))
        elif path.suffix in (".html", ".htm"):
            page = as_html(conversation, exchanges, picture=shown, rendered=rendered, said=said)
            written[path] = _encoded(page)
        elif path.suffix in (".md", ".markdown"):
            beside = None
            if shown is not None:
                beside = _free(path.with_name(f"{path.stem}.{shown[0]}"), shown[1])
                written[beside] = shown[1]
            name = beside.name if beside else None
            written[path] = _encoded(as_markdown(conversation, exchanges, picture=name, said=said))
        else:
            raise LlavaError(
                Phrase("{name} has an unknown ending", name=path.name),
                hint="Choose .md, .json or .html.",
            )
        for target, content in written.items():
            write_whole(target, content)
    except OSError as error:
        raise LlavaError(
            Phrase("cannot write {path}: {reason}", path=path, reason=error.strerror or error),
            hint="Choose another place.",
        ) from error
    return list(written)


def _note(said: Say, box: str) -> str:
    return f'<p class="note">{said(Phrase(PART, box=box))}</p>'


def _outcome(exchange: Exchange, said: Say) -> str:
    return said(exchange.error or exchange.status)


def _encoded(text: str) -> bytes:
    """Names of files may hold bytes that are no text."""
    return text.encode("utf-8", "replace")


def _free(path: Path, data: bytes) -> Path:
    """A name that overwrites nothing else: the picture of another may lie there."""
    number, found = 1, path
    while found.exists() and found.read_bytes() != data:
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return found


def file_name(title: str) -> str:
    """A title as a file's name without its ending."""
    return re.sub(r"[^\w\- ]+", "", title).strip()[:60] or "conversation"


def _line(text: str) -> str:
    """A heading has one line."""
    return " ".join(text.split())


def _harmless(text: str) -> str:
    """Markdown without pictures and HTML, which whoever opens the file would load."""
    return re.sub(r"(\\*)<(?=[a-zA-Z/!?])", _escaped, text.replace("![", "!\\["))


def _escaped(found: re.Match[str]) -> str:
    """An odd number of backslashes escapes it already."""
    return found[0] if len(found[1]) % 2 else f"{found[1]}\\<"


def _others(exchange: Exchange) -> list[tuple[str, str]]:
    return [
        (stage.name, exchange.stages[stage.name])
        for stage in STAGES
        if stage.name != "conclusion" and exchange.stages.get(stage.name)
    ]


def _crop_of(exchange: Exchange) -> str:
    """Empty where the question was about all of the picture."""
    crop = exchange.request.get("crop")
    return _box(crop) if isinstance(crop, list | tuple) and len(crop) == 4 else ""


def _box(crop: Sequence[int]) -> str:
    left, top, right, bottom = crop
    return f"{left}, {top} – {right}, {bottom}"
