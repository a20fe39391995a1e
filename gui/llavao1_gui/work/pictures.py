"""Opening pictures in a thread: decoding a large one takes longer than a window may wait."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PySide6.QtCore import QObject, QRunnable, QThreadPool, Signal, SignalInstance
from PySide6.QtGui import QImage

from llavao1_edge.errors import LlavaError
from llavao1_edge.images import open_picture
from llavao1_edge.images.opening import MAX_FILE_BYTES
from llavao1_gui.state.history import History

SHOWN = 2048  # pixels: the longer side of what is drawn; questions use the original


@dataclass(frozen=True)
class LoadedPicture:
    """digest: of its file in the history. width, height: of the original, upright."""

    digest: str
    name: str
    image: QImage
    width: int
    height: int


class _Signals(QObject):
    loaded = Signal(object)
    failed = Signal(str, str, str)


class _Job(QRunnable):
    def __init__(self, name: str, source: Path | bytes, history: History) -> None:
        super().__init__()
        self.name, self.source, self.history = name, source, history
        self.signals = _Signals()

    def run(self) -> None:
        try:
            found = self._load()
        except LlavaError as error:
            self._tell(self.signals.failed, self.name, error.message, error.hint)
        else:
            self._tell(self.signals.loaded, found)

    @staticmethod
    def _tell(signal: SignalInstance, *values: object) -> None:
        with contextlib.suppress(RuntimeError):  # the window was closed meanwhile
            signal.emit(*values)

    def _load(self) -> LoadedPicture:
        opened = open_picture(self.source)
        if isinstance(self.source, bytes):
            data = self.source
        else:
            with self.source.open("rb") as file:
                data = file.read(MAX_FILE_BYTES)
        digest = self.history.keep_picture(data)
        width, height = opened.image.size
        image = opened.image
        if max(image.size) > SHOWN:
            image.thumbnail((SHOWN, SHOWN), Image.Resampling.BILINEAR)
        raw = image.tobytes()
        shown = QImage(
            raw, image.width, image.height, image.width * 3, QImage.Format.Format_RGB888
        ).copy()
        return LoadedPicture(digest, self.name, shown, width, height)


class PictureLoader(QObject):
    """loaded: a LoadedPicture. failed: name, message, hint."""

    loaded = Signal(object)
    failed = Signal(str, str, str)

    def __init__(self, history: History, parent: QObject) -> None:
        super().__init__(parent)
        self._history = history
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)  # in the order they came

    def load(self, name: str, source: Path | bytes) -> None:
        job = _Job(name, source, self._history)
        job.signals.loaded.connect(self.loaded)
        job.signals.failed.connect(self.failed)
        self._pool.start(job)

    def wait(self) -> None:
        self._pool.waitForDone()
