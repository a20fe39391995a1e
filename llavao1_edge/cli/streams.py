"""What leaves the program: control characters are never sent to a terminal, and a full disk or a
closed pipe is a sentence, not a bug.

Texts of a model, names of files and metadata may hold anything; on a terminal a control character
could move the cursor, change the title, or worse. They are shown as JSON writes them (`\\u001b`).
"""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from typing import Any, TextIO

# All controls but tab and line break, and what turns the direction of writing.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
FULL = (errno.ENOSPC, errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC)


def harmless(text: str) -> str:
    """The text with its control characters written out."""
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Terminal(io.TextIOBase):
    """A terminal that gets no control characters. `unescaped`: the stream itself, for our own."""

    def __init__(self, stream: TextIO) -> None:
        self.unescaped = stream

    def write(self, text: str) -> int:
        self.unescaped.write(harmless(text))
        return len(text)

    def flush(self) -> None:
        self.unescaped.flush()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.unescaped.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.unescaped.encoding

    @property
    def buffer(self) -> Any:
        return self.unescaped.buffer


def prepare() -> None:
    """Makes the standard streams safe to write to. Once, at the start of the program."""
    if sys.stdin is None:  # it was closed: nothing comes from it
        sys.stdin = io.TextIOWrapper(io.BytesIO())
    if isinstance(sys.stdin, io.TextIOWrapper):  # what is no text is refused where it is read
        sys.stdin.reconfigure(errors="surrogateescape")
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed: what is written must not go elsewhere
            setattr(sys, name, Closed())
            continue
        if isinstance(stream, io.TextIOWrapper):  # a character too many must not lose an answer
            stream.reconfigure(errors="replace")
            if stream.isatty():
                setattr(sys, name, Terminal(stream))


def rewrite(text: str, *, end: str = "") -> None:
    """Replaces the last line of stderr, which must be a terminal."""
    to = getattr(sys.stderr, "unescaped", sys.stderr)
    to.write(f"\r\x1b[K{harmless(text)}{end}")
    to.flush()


class Closed(io.TextIOBase):
    """A standard stream that the caller has closed: the first line to it fails as a pipe would."""

    def write(self, text: str) -> int:
        if self is sys.stdout and text:
            raise OSError(errno.EBADF, "standard output is closed")
        return len(text)

    def isatty(self) -> bool:
        return False


def give_up_output() -> None:
    """Standard output cannot be written to: keeps Python from trying once more at its end."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def reason(error: OSError) -> tuple[str, str]:
    """(what happened, what to do) of an error of the system that nobody caught."""
    where = os.fspath(error.filename) if isinstance(error.filename, str | bytes) else ""
    name = where.decode(errors="replace") if isinstance(where, bytes) else where
    about = f"{name}: " if name else ""
    words = error.strerror or str(error)
    if error.errno in FULL:
        return f"{about}the disk is full ({words})", "Free some space, or write elsewhere."
    if error.errno == errno.EBADF:
        return f"{about}{words}", "Nothing can be written there; nothing was lost but this output."
    return f"{about}{words}", "Check the path, the permissions and the disk."
