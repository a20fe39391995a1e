"""The other end of a pipe to the window: messages in and out as lines (no Qt, no model).

Standard output belongs to messages alone: whatever else writes there (native libraries do) is sent
to standard error. When the window goes away, so does the process.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from typing import BinaryIO

from llavao1_edge.errors import LlavaError
from llavao1_edge.phrases import Phrase
from llavao1_gui.state.messages import Failed, Message, Stop, decode, encode

GRACE_S = 5.0  # until a process whose window is gone ends itself, whatever it does


class Channel:
    """`inbox` yields commands; `stopped` holds the numbers of answers that are to end."""

    def __init__(self) -> None:
        self.inbox: queue.Queue[Message | None] = queue.Queue()
        self.closed = threading.Event()
        self._stops: set[int] = set()
        self._lock = threading.Lock()
        self._out: BinaryIO = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin.buffer:
            try:
                message = decode(line)
            except LlavaError:
                continue  # of another version; the next one may be known
            if isinstance(message, Stop):
                self._stops.add(message.number)
                self._give_up(message.number)
            else:
                self.inbox.put(message)
        self.closed.set()
        self.inbox.put(None)
        threading.Timer(GRACE_S, os._exit, (0,)).start()

    def _give_up(self, number: int) -> None:
        """A question that waits behind another one ends at once."""
        with self.inbox.mutex:
            waiting = [one for one in self.inbox.queue if getattr(one, "number", None) == number]
            for one in waiting:
                self.inbox.queue.remove(one)
        if waiting:
            self.send(Failed(number, Phrase("stopped before it began"), stopped=True))

    @property
    def n_stops(self) -> int:
        """How many answers were stopped so far."""
        return len(self._stops)

    def is_stopped(self, number: int) -> bool:
        return self.closed.is_set() or number in self._stops

    def send(self, message: Message) -> None:
        data = encode(message)
        try:
            with self._lock:
                while data:
                    data = data[self._out.write(data) :]
        except OSError:
            self.closed.set()
