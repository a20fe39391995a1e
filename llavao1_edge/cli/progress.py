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

from llavao1_edge.search import Event, PictureReady, StageStarted, Token


class ProgressLine:
    """One line that is rewritten; silent where stderr is no terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._tokens, self._stage, self._last = 0, "", 0.0
        self._picture = ""

    def show(self, event: Event) -> None:
        if isinstance(event, PictureReady):
            seen = f"{event.columns}x{event.rows} tiles, {event.width}x{event.height} pixels"
            self._picture = f"{seen}, {event.milliseconds / 1000:.1f} s"
            self.write(f"picture read ({self._picture})")
        elif isinstance(event, StageStarted):
            self._stage = event.stage.name if event.stage else "answer"
            self.write(self._stage)
        elif isinstance(event, Token):
            self._tokens += 1
            if time.monotonic() - self._last > 0.1:
                self.write(f"{self._stage} … {self._tokens} tokens")

    def write(self, text: str) -> None:
        if self._shown:
            self._last = time.monotonic()
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


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
