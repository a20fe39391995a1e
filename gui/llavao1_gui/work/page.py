"""One page of a document or frame of an animation, in a process of its own.

    python -m llavao1_gui.work.page FILE NUMBER

Such files are programs for large libraries: what ends or stops these must not end or stop the
window. Writes a line of JSON with how many there are, then the page as PNG. NUMBER counts from 0.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from llavao1_edge.errors import Cancelled, LlavaError, PictureError
from llavao1_edge.phrases import Phrase
from llavao1_edge.program import command, import_path

DPI, LONGEST = 200, 3000  # pixels of a page's longer side at most: a poster stays a picture
LIMIT_S, LOOK_S = 120.0, 0.05
LOCKED, DAMAGED, GONE = 3, 4, 5  # exit codes
PASSWORD = 4  # of PDFium's errors
OTHERWISE = Phrase("Save it as a picture in another program.")
Wanted = Callable[[], bool]


def is_document(start: bytes) -> bool:
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"%PDF")


def page(path: Path, at: int, *, wanted: Wanted) -> tuple[int, bytes]:
    """How many pages there are, and page `at` as PNG. wanted: asked while it is drawn.

    Raises PictureError, Cancelled where it is not wanted any more.
    """
    try:
        process = subprocess.Popen(
            command("llavao1_gui.work.page", str(path.absolute()), str(at)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": import_path()},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise PictureError(
            Phrase("{name} cannot be read: {reason}", name=path.name, reason=error.strerror)
        ) from error
    with process:
        try:
            data = _answer(process, path.name, at, wanted)
        finally:
            process.kill()
    about, _, png = data.partition(b"\n")
    if process.returncode or not png:
        raise _problem(process.returncode, path.name, at)
    return int(json.loads(about)["pages"]), png


def _answer(process: subprocess.Popen[bytes], name: str, at: int, wanted: Wanted) -> bytes:
    ends = time.monotonic() + LIMIT_S
    while True:
        try:
            return process.communicate(timeout=LOOK_S)[0]
        except subprocess.TimeoutExpired:
            if not wanted():
                raise Cancelled("stopped") from None
            if time.monotonic() > ends:
                raise PictureError(
                    Phrase("page {page} of {name} takes too long to draw", page=at + 1, name=name),
                    hint=OTHERWISE,
                ) from None


def _problem(code: int, name: str, at: int) -> LlavaError:
    if code == LOCKED:
        return PictureError(
            Phrase("{name} is locked with a password", name=name),
            hint="Open it in another program and save the page as a picture.",
        )
    if code == GONE:
        return PictureError(
            Phrase("{name} has no page {page} any more", name=name, page=at + 1),
            hint="Open the file again.",
        )
    return PictureError(
        Phrase("page {page} of {name} cannot be drawn", page=at + 1, name=name), hint=OTHERWISE
    )


# --- in the process -------------------------------------------------------------------------------
def _document(path: str, at: int) -> int:
    import pypdfium2

    try:
        with pypdfium2.PdfDocument(path) as document:
            n = len(document)
            if at >= n:
                return GONE
            document.init_forms()  # before pages are loaded: what was filled in is drawn too
            drawn = document[at]
            scale = min(DPI / 72, LONGEST / max(1.0, *drawn.get_size()))
            image = drawn.render(scale=scale).to_pil()
    except pypdfium2.PdfiumError as error:
        return LOCKED if getattr(error, "err_code", None) == PASSWORD else DAMAGED
    return _write(n, image)


def _frame(path: str, at: int) -> int:
    from PIL import Image

    from llavao1_edge.images import open_picture
    from llavao1_edge.images.opening import FORMATS

    with Image.open(path, formats=FORMATS) as image:
        n = int(getattr(image, "n_frames", 1))
        if at >= n:
            return GONE
        image.seek(at)
        return _write(n, open_picture(image).image)


def _write(n: int, image: object) -> int:
    sys.stdout.buffer.write(json.dumps({"pages": n}).encode() + b"\n")
    image.convert("RGB").save(sys.stdout.buffer, format="PNG", compress_level=1)  # type: ignore[attr-defined]
    sys.stdout.buffer.flush()
    return 0


def _die_alone(parent: int) -> None:
    """Whoever asked is gone, or the time is over: nobody reads what comes."""
    ends = time.monotonic() + 2 * LIMIT_S
    while os.getppid() == parent and time.monotonic() < ends:
        time.sleep(0.5)
    os._exit(DAMAGED)


def main() -> int:
    path, at = sys.argv[1], int(sys.argv[2])
    threading.Thread(target=_die_alone, args=[os.getppid()], daemon=True).start()
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            start = file.read(64)
        return _document(path, at) if is_document(start) else _frame(path, at)
    except Exception:  # whatever a damaged file makes of a decoder
        return DAMAGED


if __name__ == "__main__":
    sys.exit(main())
