"""Progress on stderr, on a terminal only; and Ctrl-C that stops politely."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event as Flag
from threading import current_thread, main_thread
from types import FrameType

from llavao1_edge.cli.streams import rewrite
from llavao1_edge.lifetime import Closing
from llavao1_edge.search import (
    CandidateFinished,
    Event,
    Judged,
    PictureReady,
    Retraced,
    StageKept,
    StageStarted,
    Token,
)

INTERVAL = 0.1  # seconds between two rewrites of the line


class Progress(Closing):
    """A line per stage, rewritten while it is worked on; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._stage, self._of, self._finished = "", 0, 0
        self._tokens = self._judged = 0
        self._started = self._last = time.monotonic()

    def show(self, event: Event) -> None:
        if isinstance(event, PictureReady):
            seen = f"{event.columns}x{event.rows} tiles, {event.width}x{event.height} pixels"
            if event.looks:
                seen = looks_text(event)
            how = "was read before" if event.reused else f"{event.milliseconds / 1000:.1f} s"
            self.say(f"picture     {seen}, {how}")
        elif isinstance(event, StageStarted):
            self._start(event)
        elif isinstance(event, Token):
            self._tokens += 1
            if time.monotonic() - self._last > INTERVAL:
                self.write(self._line)
        elif isinstance(event, CandidateFinished):
            self._finished += 1
        elif isinstance(event, Judged):
            self._judged += 1
            self.write(f"{self._line}, {self._judged} compared")
        elif isinstance(event, StageKept):
            why = f" ({event.by})" if self._of > 1 else ""
            self.say(f"{self._line}, {time.monotonic() - self._started:.1f} s{why}")
            self._stage = ""
        elif isinstance(event, Retraced):
            self.say(f"back to the {event.stage.name}")

    def _start(self, event: StageStarted) -> None:
        name = event.stage.name if event.stage else "answer"
        if name != self._stage:  # a stage in several steps stays on one line
            self._tokens, self._started = 0, time.monotonic()
        self._stage, self._of, self._finished, self._judged = name, event.candidates, 0, 0
        self.write(self._line)

    @property
    def _line(self) -> str:
        some = f"{self._finished}/{self._of} candidates, " if self._of > 1 else ""
        return f"{self._stage:<11} {some}{self._tokens} tokens"

    def write(self, text: str) -> None:
        if self._shown:
            self._last = time.monotonic()
            rewrite(text)

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._shown:
            rewrite(text, end="\n")

    def close(self) -> None:
        self.write("")


@contextmanager
def stop_on_interrupt() -> Iterator[Flag]:
    """The first Ctrl-C sets the flag (the engine stops within a token), the second one kills.

    A KeyboardInterrupt raised inside a C callback would be lost.
    """
    flag = Flag()
    if current_thread() is not main_thread():
        yield flag
        return

    def handle(_: int, __: FrameType | None) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, previous)


def looks_text(event: PictureReady) -> str:
    """What becomes of pictures that stand in the text as tokens."""
    sizes = [f"{width}x{height} pixels" for width, height in event.looks if width]
    if len(event.looks) > 1 and len(set(sizes)) == 1:
        sizes = [f"{len(event.looks)} parts of {sizes[0]}"]
    return ", ".join([*sizes, f"{event.n_cells} tokens"])
