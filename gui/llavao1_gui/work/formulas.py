"""Draws formulas in the background: the library is loaded with the first one."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from llavao1_gui.work.background import Background

Key = tuple[str, float, str]


class Formulas(QObject):
    """`ready` says that a formula that `svg` did not know is there now."""

    ready = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.background = Background(self)
        self.background.done.connect(self._keep)
        self._known: dict[Key, bytes | None] = {}

    def svg(self, tex: str, *, size: float, colour: str) -> bytes | None:
        """None: not yet. Empty: it cannot be drawn. size: in pixels."""
        key = (tex, size, colour)
        if key not in self._known:
            self._known[key] = None
            self.background.start(key, lambda: draw(*key))
        return self._known[key]

    def _keep(self, key: Key, svg: bytes) -> None:
        self._known[key] = svg
        self.ready.emit()


def draw(tex: str, size: float, colour: str) -> bytes:
    """Empty where it cannot be drawn: the source is shown then."""
    try:
        import ziamath

        drawn: str = ziamath.Latex(tex, size=size, color=colour).svg()
    except Exception:  # a parser of foreign text raises anything
        return b""
    return drawn.encode()
