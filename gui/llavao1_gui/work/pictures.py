"""Opening pictures in the background: decoding a large one takes longer than a window may wait."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage

from llavao1_edge.errors import LlavaError, PictureError
from llavao1_edge.images import open_picture, read_picture
from llavao1_gui.state.history import History
from llavao1_gui.work.background import Background

SHOWN = 2048  # pixels: the longer side of what is drawn; questions use the original


@dataclass(frozen=True)
class LoadedPicture:
    """digest: of its file in the history. width, height: of the original, upright."""

    digest: str
    name: str
    image: QImage
    width: int
    height: int


class PictureLoader(QObject):
    """loaded: a LoadedPicture. failed: its name, and the LlavaError. Both begin with the number
    that `load` was given."""

    loaded = Signal(int, object)
    failed = Signal(int, str, object)

    def __init__(self, history: History, parent: QObject) -> None:
        super().__init__(parent)
        self._history = history
        self.background = Background(self)
        self.background.done.connect(self._tell)

    def load(self, number: int, name: str, source: Path | bytes) -> None:
        self.background.start((number, name), lambda: self._load(name, source))

    def _tell(self, purpose: tuple[int, str], found: LoadedPicture | LlavaError) -> None:
        if isinstance(found, LoadedPicture):
            self.loaded.emit(purpose[0], found)
        else:
            self.failed.emit(*purpose, found)

    def _load(self, name: str, source: Path | bytes) -> LoadedPicture | LlavaError:
        try:
            data = source if isinstance(source, bytes) else read_picture(source)
            opened = open_picture(data, name=name)
            digest = self._history.keep_picture(data)
            return LoadedPicture(
                digest, name, _shown(opened.image), opened.image.width, opened.image.height
            )
        except LlavaError as error:
            return error
        except Exception as error:  # too little memory, say: the window goes on
            return PictureError(f"it cannot be opened: {type(error).__name__} {error}".strip())


def _shown(image: Image.Image) -> QImage:
    """As large as a screen can show."""
    if max(image.size) > SHOWN:
        image = image.copy()
        image.thumbnail((SHOWN, SHOWN), Image.Resampling.BILINEAR)
    width, height = image.size
    return QImage(image.tobytes(), width, height, width * 3, QImage.Format.Format_RGB888).copy()
