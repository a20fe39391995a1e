"""A page of a PDF as a picture, in a process of its own: PDFs are programs, and libraries crash.

    python -m llavao1_gui.work.document FILE PAGE

Writes a line of JSON with the number of pages, then the page as PNG. PAGE counts from 0.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from llavao1_edge.errors import PictureError
from llavao1_edge.phrases import Phrase
from llavao1_edge.program import command

DPI, LONGEST = 200, 3000  # pixels of a page's longer side at most: a poster stays a picture
LIMIT_S = 120.0
LOCKED, DAMAGED = 3, 4  # exit codes
PASSWORD = 4  # of PDFium's errors


def is_document(start: bytes) -> bool:
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"%PDF")


def page(path: Path, at: int) -> tuple[int, bytes]:
    """How many pages there are, and page `at` as PNG. Raises PictureError."""
    name = path.name
    folders = os.pathsep.join(each for each in sys.path if each)
    try:
        done = subprocess.run(
            command("llavao1_gui.work.document", str(path), str(at)),
            capture_output=True,
            timeout=LIMIT_S,
            env={**os.environ, "PYTHONPATH": folders},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except subprocess.TimeoutExpired:
        raise PictureError(
            Phrase("page {page} of {name} takes too long to draw", page=at + 1, name=name),
            hint="Save the page as a picture in another program.",
        ) from None
    except OSError as error:
        raise PictureError(
            Phrase("{name} cannot be read: {reason}", name=name, reason=error.strerror or error)
        ) from error
    if done.returncode == LOCKED:
        raise PictureError(
            Phrase("{name} is locked with a password", name=name),
            hint="Open it in another program and save the page as a picture.",
        )
    about, _, png = done.stdout.partition(b"\n")
    if done.returncode or not png:
        raise PictureError(
            Phrase("{name} is not a PDF that can be drawn", name=name),
            hint="Save its page as a picture, for example as PNG.",
        )
    return int(json.loads(about)["pages"]), png


def main() -> int:
    import pypdfium2

    path, at = sys.argv[1], int(sys.argv[2])
    try:
        with pypdfium2.PdfDocument(path) as document:
            n = len(document)
            drawn = document[min(max(at, 0), n - 1)]
            scale = min(DPI / 72, LONGEST / max(1.0, *drawn.get_size()))
            image = drawn.render(scale=scale).to_pil()
    except pypdfium2.PdfiumError as error:
        return LOCKED if getattr(error, "err_code", None) == PASSWORD else DAMAGED
    sys.stdout.buffer.write(json.dumps({"pages": n}).encode() + b"\n")
    image.convert("RGB").save(sys.stdout.buffer, format="PNG")
    return 0


if __name__ == "__main__":
    sys.exit(main())
