"""The pictures at hand: where they come from, which one is asked about, and what part of it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QImage

from llavao1_edge.errors import LlavaError, PictureError
from llavao1_edge.phrases import Phrase
from llavao1_gui.screenshots import Screenshots
from llavao1_gui.state.history import Conversation, History
from llavao1_gui.state.messages import Seen
from llavao1_gui.state.sight import sight
from llavao1_gui.widgets.given import png_bytes
from llavao1_gui.widgets.picture_view import Part, cut_out
from llavao1_gui.widgets.texts import said
from llavao1_gui.widgets.window import MainWindow
from llavao1_gui.work.leaves import Leaf, Replacing, Turned
from llavao1_gui.work.pictures import THUMBNAIL, LoadedPicture, PictureLoader

TYPICAL = (560, 4)  # tiles of the 11B model, until a model has told its own


class Pictures(QObject):
    """changed: another picture is active. failed: name, message and hint of a bad one. pixels_came:
    of the active picture; `cut` gives parts of it.

    Every request to see a picture has a number. A picture that arrives later than a newer request
    is only put into the strip: what is shown never changes under the user's hands.
    """

    changed = Signal()
    failed = Signal(str, str, str)
    pixels_came = Signal()

    def __init__(self, window: MainWindow, history: History, parent: QObject) -> None:
        super().__init__(parent)
        self.window, self.history = window, history
        self.pictures: list[LoadedPicture] = []
        self.at = -1
        self.part: Part | None = None
        self.tiling = TYPICAL
        # (picture, part of it) → how the loaded model has read it
        self._looks: dict[tuple[str, Part | None], tuple[tuple[tuple[int, int], ...], int]] = {}
        self._request, self._put_away = 0, -1
        self._shown = True
        self._reopening: Conversation | None = None
        self._reopened_part: Part | None = None
        self._replacing: Replacing | None = None
        self._pixels: tuple[str, QImage] = ("", QImage())
        self.loader = PictureLoader(history, self)
        self.loader.loaded.connect(self._loaded)
        self.loader.failed.connect(self._failed)
        self.loader.looked.connect(self._looked)
        self.pixels_came.connect(self._tell_part)
        self._screenshots = Screenshots(window, self)
        self._screenshots.taken.connect(self._take_shot)
        self._screenshots.failed.connect(self.failed)
        pane = window.picture
        pane.chosen.connect(self.activate)
        pane.removed.connect(self.remove)
        pane.leaf_wanted.connect(self.turn_to)
        pane.view.part_chosen.connect(self.set_part)
        pane.view.sharper_wanted.connect(self._sharpen)
        pane.sight_wanted.connect(lambda _: self.show_sight())
        pane.together.toggled.connect(lambda _: self.changed.emit())

    @property
    def active(self) -> LoadedPicture | None:
        return self.pictures[self.at] if 0 <= self.at < len(self.pictures) else None

    @property
    def digests(self) -> list[str]:
        """Of all pictures in the strip."""
        return [found.digest for found in self.pictures]

    @property
    def pixels(self) -> QImage:
        """Of the active picture, as far as they are at hand; null where they are not."""
        found = self.active
        return self._pixels[1] if found and self._pixels[0] == found.digest else QImage()

    @property
    def others(self) -> list[LoadedPicture]:
        """The other pictures that a question is about, if it is about all of them."""
        if not self.window.picture.together.isChecked():
            return []
        return [found for found in self.pictures if found is not self.active]

    @property
    def reopening(self) -> bool:
        """Whether the picture of an earlier conversation, or another page, is still on its way."""
        return self._reopening is not None or self._replacing is not None

    def _new_request(self, reopening: Conversation | None = None, *, shown: bool) -> None:
        self._request += 1
        self._shown, self._reopening = shown, reopening
        if self._replacing is not None:  # a page that is still on its way
            self._replacing = None
            self._show_leaf()

    def _show_leaf(self) -> None:
        self.window.picture.show_leaf(None if self.active is None else self.active.leaf)

    # --- in -----------------------------------------------------------------------------------
    def add(self, sources: list[Path | bytes]) -> None:
        """Files or bytes; opened one after the other. The first good one is shown."""
        if not sources:
            return
        self._new_request(shown=False)
        for source in sources:
            name = source.name if isinstance(source, Path) else self.tr("pasted picture")
            self._load(name, source)

    def _load(self, name: str, source: Path | bytes) -> None:
        number = self._request
        self.loader.load(number, name, source, wanted=lambda: number > self._put_away)

    def reopen(self, conversation: Conversation, part: Part | None) -> None:
        """The picture of an earlier conversation, and the part that was last asked about; until it
        is there, none is active."""
        if conversation.picture is None:
            return
        self._new_request(conversation, shown=False)
        self._reopened_part = part
        for at, known in enumerate(self.pictures):
            if known.digest == conversation.picture:
                self._reopened(at)
                return
        self.at, self.part = -1, None
        self._tell_part()
        path = self.history.picture_path(conversation.picture)
        self._load(conversation.picture_name, path)

    # --- another one in its place -------------------------------------------------------------
    def turn_to(self, at: int) -> None:
        """Another page or frame of the file that the active picture is of."""
        source = self._source()
        if isinstance(source, Leaf) and source.at != at:
            self._put_in_place(source.moved(at))

    def rotate(self, quarters: int) -> None:
        """The active picture turned clockwise: a picture of its own."""
        try:
            source = self._source()
        except LlavaError as error:
            self.failed.emit(self.pictures[self.at].name, said(error.message), said(error.hint))
            return
        if source is not None:
            self._put_in_place(source.turned(quarters))

    def _source(self) -> Leaf | Turned | None:
        """What the active picture is made of, or what is on its way in its place.

        Raises LlavaError where its file is gone.
        """
        if self._replacing is not None:
            return self._replacing.source
        found = self.active
        if found is None:
            return None
        return found.leaf or Turned(self.file_of(found), origin=found.origin)

    def _put_in_place(self, source: Leaf | Turned) -> None:
        found = self.active
        assert found is not None
        self._replacing = None
        self._new_request(shown=False)
        made = self._replacing = Replacing(self._request, found.digest, source)
        wanted = lambda: self._replacing is made  # noqa: E731
        self.loader.load(made.request, found.name, source, wanted=wanted)

    def _replace(self, old: str, picture: LoadedPicture, image: QImage) -> None:
        if picture.digest == old:  # it looks the same: the conversation goes on
            at = self.digests.index(old)
            self._new_request(shown=True)
            self.pictures[at] = picture
            self._show(at)
            return
        if picture.digest in self.digests:  # it stands elsewhere too
            other = self.digests.index(picture.digest)
            del self.pictures[other]
            self.window.picture.take(other)
        at = self.digests.index(old)
        self.pictures[at] = picture
        self.window.picture.put(at, picture.name, picture.thumbnail)
        self._pixels = (picture.digest, image)
        self.activate(at)

    def _loaded(self, request: int, picture: LoadedPicture, image: QImage) -> None:
        if self._replacing is not None and self._replacing.request == request:
            self._replace(self._replacing.old, picture, image)
            return
        if picture.digest in self.digests:
            at = self.digests.index(picture.digest)
            if self.pictures[at].leaf is None:  # it was pasted, say: now its other pages are known
                self.pictures[at] = picture
        else:
            at = len(self.pictures)
            self.pictures.append(picture)
            self.window.picture.add(picture.name, picture.thumbnail)
        if request != self._request or self._shown:
            return
        self._pixels = (picture.digest, image)  # it is shown now: no need to read it again
        if self._reopening is None:
            self.activate(at)
        elif self._reopening.picture == picture.digest:
            self._reopened(at)
        else:  # the stored file is not what it was: its hash differs
            self._failed(request, picture.name, PictureError("the stored picture has changed"))

    def _failed(self, request: int, name: str, error: LlavaError) -> None:
        if self._replacing is not None and self._replacing.request == request:
            self._new_request(shown=True)
        if request == self._request and self._reopening is not None:
            self._new_request(shown=True)
            self._show_none()
        self.failed.emit(name, said(error.message), said(error.hint))

    def _reopened(self, at: int) -> None:
        self._new_request(shown=True)
        self._show(at)
        self.part = self._reopened_part
        self.window.picture.view.set_part(self.part)
        self._tell_part()

    def activate(self, at: int) -> None:
        """Another picture: a new conversation begins with it."""
        self._new_request(shown=True)
        self._show(at)
        self.part = None
        self._tell_part()
        self.changed.emit()

    def _show(self, at: int) -> None:
        self.at = at
        found = self.pictures[at]
        known = not self.pixels.isNull()
        image = self.pixels if known else found.thumbnail
        self.window.picture.show_picture(at, found.name, image, found.width, found.height)
        self._show_leaf()
        self.window.answers.set_has_picture(True)
        if known:
            self.pixels_came.emit()
        else:
            self.loader.look(found.digest)

    def _looked(self, digest: str, part: Part | None, image: QImage) -> None:
        """Only the picture that is shown has its pixels in memory."""
        if self.active is None or self.active.digest != digest or image.isNull():
            return
        if part is None:
            self._pixels = (digest, image)
            self.pixels_came.emit()
        self.window.picture.view.sharpen(image, part)

    def _sharpen(self, part: Part) -> None:
        if self.active is not None:
            self.loader.look(self.active.digest, part)

    def _show_none(self) -> None:
        self.at, self.part = -1, None
        self._pixels = ("", QImage())
        self.window.picture.show_empty()
        self.window.answers.set_has_picture(False)
        self._tell_part()

    def remove(self, at: int) -> None:
        """Out of the strip; conversations about it stay."""
        if not 0 <= at < len(self.pictures):
            return
        del self.pictures[at]
        self.window.picture.take(at)
        if not self.pictures:
            self._put_all_away()
        elif at == self.at or self.at < 0:
            self.activate(min(at, len(self.pictures) - 1))
        elif at < self.at:  # the shown one stays, at another place
            self.at -= 1

    def remove_all(self) -> None:
        """An empty strip; conversations stay."""
        if self.pictures:
            self.pictures.clear()
            self.window.picture.take_all()
            self._put_all_away()
        else:
            self._put_away = self._request

    def _put_all_away(self) -> None:
        """Also what is still on its way."""
        self._put_away = self._request
        self._new_request(shown=True)
        self._show_none()
        self.changed.emit()

    def step(self, by: int) -> None:
        if self.pictures and (at := (self.at + by) % len(self.pictures)) != self.at:
            self.activate(at)

    # --- the part -----------------------------------------------------------------------------
    def set_part(self, part: Part | None) -> None:
        if part == self.part or self.active is None:
            return
        self.part = part
        self.window.picture.view.set_part(part)
        self._tell_part()
        self.show_sight()

    def _tell_part(self) -> None:
        text = ""
        if self.part is not None:
            left, top, right, bottom = self.part
            text = self.tr("About a part: {0} × {1} pixels").format(right - left, bottom - top)
        self.window.answers.box.set_part(text, self.cut(self.part))

    def cut(self, part: Part | None) -> QImage:
        """A small picture of a part of the active one; null where its pixels are not at hand."""
        found, image = self.active, self.pixels
        if part is None or found is None or image.isNull():
            return QImage()
        return cut_out(image, found.width, part).scaled(
            THUMBNAIL, THUMBNAIL, Qt.AspectRatioMode.KeepAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )  # fmt: skip

    def set_tiling(self, tile: int, max_tiles: int) -> None:
        """As the loaded model has it."""
        self.tiling = (tile, max_tiles)
        self._looks.clear()
        self.show_sight()

    def set_looks(self, seen: Seen) -> None:
        """How the loaded model has just read the picture that is shown."""
        if self.active is not None and seen.looks and seen.n_pictures == 1:
            self._looks[self.active.digest, self.part] = seen.looks, seen.n_cells
            self.show_sight()

    def _looks_text(self, found: LoadedPicture) -> str:
        """Models without a grid of tiles tell only when they have read a picture."""
        known = self._looks.get((found.digest, self.part))
        if known is None:
            return self.tr("How this model sees the picture is known once it has read it.")
        looks, n_cells = known
        width, height = looks[0]
        if not width:
            return self.tr("The model reads the picture as {0} tokens.").format(n_cells)
        if len(looks) > 1:
            text = self.tr("The model reads it in {0} parts of {1} × {2} pixels: {3} tokens.")
            return text.format(len(looks), width, height, n_cells)
        text = self.tr("The model reads it at {0} × {1} pixels: {2} tokens.")
        return text.format(width, height, n_cells)

    def show_sight(self) -> None:
        """What the model sees, where that is wanted."""
        pane, found = self.window.picture, self.active
        wanted = pane.eye_button.isChecked() and found is not None
        self.window.actions_by_name["sight"].setChecked(wanted)
        if not wanted or found is None:
            pane.view.set_sight(None)
            pane.show_sight_text("")
            return
        left, top, right, bottom = self.part or (0, 0, found.width, found.height)
        if not self.tiling[0]:
            pane.view.set_sight(None)
            pane.show_sight_text(self._looks_text(found))
            return
        seen = sight(right - left, bottom - top, tile=self.tiling[0], max_tiles=self.tiling[1])
        canvas = seen.canvas
        pane.view.set_sight(seen)
        text = self.tr("{0} × {1} tiles of {2} pixels.") + " "
        if self.part is None:
            text += self.tr("The picture becomes {3} × {4} pixels ({5} %).")
        else:
            text += self.tr("The part becomes {3} × {4} pixels ({5} %).")
        if (canvas.width, canvas.height) != (canvas.columns * seen.tile, canvas.rows * seen.tile):
            text += " " + self.tr("The hatched rest stays empty.")
        pane.show_sight_text(
            text.format(
                canvas.columns, canvas.rows, seen.tile, canvas.width, canvas.height,
                f"{100 * seen.scale:.0f}",
            )
        )  # fmt: skip

    def screenshot(self, *, region: bool) -> None:
        """Of the screen the window is on, without the window."""
        self._screenshots.take(region=region)

    def _take_shot(self, image: QImage) -> None:
        self._new_request(shown=False)
        self._load(self.tr("screenshot"), png_bytes(image))

    def file_of(self, picture: LoadedPicture) -> Path:
        """Raises LlavaError where the history's copy is gone."""
        path = self.history.picture_path(picture.digest)
        if not path.is_file():
            raise LlavaError(
                Phrase("the stored copy of {name} is gone", name=picture.name),
                hint="Open the picture again.",
            )
        return path
