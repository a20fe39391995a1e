"""Draws formulas behind the window: the process and its library start with the first one."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading

from PySide6.QtCore import QObject, Signal

from llavao1_edge.program import command, import_path
from llavao1_gui.work.background import Background

Key = tuple[str, float, str]
LIMIT_S = 5.0  # for one formula; those of an answer take milliseconds
START_S = 60.0  # for the first one, which loads the library, on any computer


class Formulas(QObject):
    """`ready` says that a formula that `svg` did not know is there now."""

    ready = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.background = Background(self)
        self.background.done.connect(self._keep)
        self.drawer = Drawer()
        self._known: dict[Key, bytes | None] = {}

    def svg(self, tex: str, *, size: float, colour: str) -> bytes | None:
        """None: not yet. Empty: it cannot be drawn. size: in pixels."""
        key = (tex, size, colour)
        if key not in self._known:
            self._known[key] = None
            self.background.start(key, lambda: self.drawer.draw(*key))
        return self._known[key]

    def close(self) -> None:
        self.background.close()
        self.drawer.close()

    def _keep(self, key: Key, svg: bytes) -> None:
        self._known[key] = svg
        self.ready.emit()


class Drawer:
    """The process that draws. One that takes too long is ended, and the next formula begins anew.

    For one thread at a time, but for `close`.
    """

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self.limit_s = limit_s
        self.n_ended = 0  # processes that took too long
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._warm = False
        self._closed = False

    def draw(self, tex: str, size: float, colour: str) -> bytes:
        """SVG; empty where it cannot be drawn, or not in time: the source is shown then."""
        try:
            process = self._process or self._start()
            assert process.stdin is not None
            process.stdin.write(json.dumps([tex, size, colour]) + "\n")
            process.stdin.flush()
            line = self._lines.get(timeout=self.limit_s if self._warm else START_S)
            if line is None:
                raise OSError("it ended")
            self._warm = True
            return str(json.loads(line)).encode()
        except queue.Empty:
            self.n_ended += 1
            self._end()
        except (OSError, ValueError):  # it could not start, or died: no memory, for example
            self._end()
        return b""

    def close(self) -> None:
        self._closed = True
        self._end()

    def _start(self) -> subprocess.Popen[str]:
        if self._closed:
            raise OSError("closed")
        process = subprocess.Popen(
            command("llavao1_gui.work.drawing"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": import_path()},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._process, self._warm, self._lines = process, False, queue.Queue()
        lines = self._lines

        def read() -> None:
            assert process.stdout is not None
            with process.stdout, contextlib.suppress(ValueError, OSError):
                for line in process.stdout:
                    lines.put(line)
            lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        if not self._closed and self.draw("x", 1.0, "black"):  # the library is loaded now
            return process
        raise OSError("it cannot draw")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(OSError, ValueError):
                if process.stdin is not None:
                    process.stdin.close()
            process.wait()
