"""Draws formulas in a thread: the library is loaded with the first one."""

from __future__ import annotations

import contextlib

from PySide6.QtCore import QObject, QRunnable, QThreadPool, Signal


class _Signals(QObject):
    drawn = Signal(str, float, str, bytes)


class _Job(QRunnable):
    def __init__(self, tex: str, size: float, colour: str) -> None:
        super().__init__()
        self.tex, self.size, self.colour = tex, size, colour
        self.signals = _Signals()

    def run(self) -> None:
        svg = b""
        with contextlib.suppress(Exception):  # whatever a parser raises: the source is shown
            import ziamath

            drawn = ziamath.Latex(self.tex, size=self.size, color=self.colour)
            svg = drawn.svg().encode()
        with contextlib.suppress(RuntimeError):  # the window was closed meanwhile
            self.signals.drawn.emit(self.tex, self.size, self.colour, svg)


class Formulas(QObject):
    """`ready` says that a formula that `svg` did not know is there now."""

    ready = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._known: dict[tuple[str, float, str], bytes | None] = {}

    def svg(self, tex: str, *, size: float, colour: str) -> bytes | None:
        """None: not yet. Empty: it cannot be drawn. size: in pixels."""
        key = (tex, size, colour)
        if key not in self._known:
            self._known[key] = None
            job = _Job(tex, size, colour)
            job.signals.drawn.connect(self._keep)
            self._pool.start(job)
        return self._known[key]

    def _keep(self, tex: str, size: float, colour: str, svg: bytes) -> None:
        self._known[tex, size, colour] = bytes(svg)
        self.ready.emit()

    def wait(self) -> None:
        self._pool.waitForDone()
