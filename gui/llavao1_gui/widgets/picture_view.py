"""The picture, fitted or zoomed; the part that is asked about; what the model sees of it."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QBrush,
    QColor,
    QContextMenuEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from llavao1_gui.state.sight import Sight
from llavao1_gui.widgets import theme
from llavao1_gui.widgets.layouts import arrow

MARGIN = 12
LEAST_PART = 8  # original pixels; a smaller rectangle is a slip of the hand
MOST_ZOOM = 16.0
SOON_MS = 150  # sharper pixels are asked for when the hand rests
Part = tuple[int, int, int, int]


class PictureView(QLabel):
    """part_chosen: left, top, right, bottom in original pixels, or None. sharper_wanted: what is
    looked at closer than the pixels at hand allow."""

    part_chosen = Signal(object)
    sharper_wanted = Signal(object)
    menu_wanted = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPixmap(QPixmap(1, 1))  # with one, a screen reader calls it a graphic, not nothing
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(120, 72)
        self._image = QImage()
        self._size = QSize()
        self.part: Part | None = None
        self.sight: Sight | None = None
        self.selecting = False
        self._from: QPointF | None = None
        self._drag: QPointF | None = None
        self._pan: QPointF | None = None
        self._zoom, self._offset = 1.0, QPointF(0, 0)
        self._cache: tuple[tuple[object, ...], QPixmap] | None = None
        self._detail: tuple[Part, QImage] | None = None
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(SOON_MS)
        self._soon.timeout.connect(self._want_sharper)

    # --- what is shown ------------------------------------------------------------------------
    def show_picture(self, image: QImage, width: int, height: int) -> None:
        """width, height: of the original, which may be larger than `image`."""
        self._image, self._size = image, QSize(width, height)
        self.part, self.sight, self._detail = None, None, None
        self.set_selecting(False)
        self.fit()

    def sharpen(self, image: QImage, part: Part | None) -> None:
        """More pixels of the picture that is shown, or of a part of it."""
        if part is None:
            self._image = image
        else:
            self._detail = (part, image)
        self.update()

    def _want_sharper(self) -> None:
        """The part in sight, if the screen has more pixels for it than the picture at hand."""
        target = self.target()
        if target.isEmpty() or self.sight is not None or self._image.width() >= self._size.width():
            return
        if target.width() * self.devicePixelRatioF() <= self._image.width():
            return
        shown = target.intersected(QRectF(self.rect()))
        left, top = self._to_original(shown.topLeft())
        right, bottom = self._to_original(shown.bottomRight())
        if right > left and bottom > top:
            self.sharper_wanted.emit((left, top, right, bottom))

    def clear(self) -> None:
        self.show_picture(QImage(), 0, 0)

    @property
    def has_picture(self) -> bool:
        return not self._image.isNull()

    def set_part(self, part: Part | None) -> None:
        self.part = part
        self.update()

    def set_sight(self, sight: Sight | None) -> None:
        """What the model sees of the part, or of the whole picture; None: the picture itself."""
        self.sight = sight
        self.fit()

    def set_selecting(self, selecting: bool) -> None:
        self.selecting = selecting
        shape = Qt.CursorShape.CrossCursor if selecting else Qt.CursorShape.ArrowCursor
        self.setCursor(shape)
        self.update()

    def fit(self) -> None:
        self._zoom, self._offset = 1.0, QPointF(0, 0)
        self.update()

    def actual_size(self) -> None:
        """A pixel of the file for a pixel of the screen, as far as one can zoom."""
        width, height = self._content()
        if width and height:
            room = min((self.width() - 2 * MARGIN) / width, (self.height() - 2 * MARGIN) / height)
            self.fit()
            self.zoom(1 / (max(1e-6, room) * self.devicePixelRatioF()))

    # --- geometry -----------------------------------------------------------------------------
    def _content(self) -> tuple[float, float]:
        """Size of what is drawn, in its own pixels: the original's, or the model's canvas."""
        if self.sight is not None:
            canvas, tile = self.sight.canvas, self.sight.tile
            return canvas.columns * tile, canvas.rows * tile
        return self._size.width(), self._size.height()

    def target(self) -> QRectF:
        """Where the content lies in the widget."""
        width, height = self._content()
        if not width or not height:
            return QRectF()
        room_x, room_y = self.width() - 2 * MARGIN, self.height() - 2 * MARGIN
        scale = max(1e-6, min(room_x / width, room_y / height)) * self._zoom
        drawn_x, drawn_y = width * scale, height * scale
        left = (self.width() - drawn_x) / 2 + self._offset.x()
        top = (self.height() - drawn_y) / 2 + self._offset.y()
        return QRectF(left, top, drawn_x, drawn_y)

    def _to_original(self, point: QPointF) -> tuple[int, int]:
        target = self.target()
        x = (point.x() - target.left()) / target.width() * self._size.width()
        y = (point.y() - target.top()) / target.height() * self._size.height()
        return (
            round(min(max(x, 0), self._size.width())),
            round(min(max(y, 0), self._size.height())),
        )

    def _on_screen(self, part: Part) -> QRectF:
        target = self.target()
        scale = target.width() / self._size.width()
        left, top, right, bottom = part
        return QRectF(
            target.left() + left * scale,
            target.top() + top * scale,
            (right - left) * scale,
            (bottom - top) * scale,
        )

    # --- drawing ------------------------------------------------------------------------------
    def paintEvent(self, _: QPaintEvent) -> None:  # noqa: N802
        if not self.has_picture:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.sight is not None:
            self._paint_sight(painter, self.sight)
        else:
            target = self.target()
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            if self._zoom == 1.0:
                painter.drawPixmap(target.topLeft(), self._scaled(target))
            else:
                painter.drawImage(target, self._image)
                if self._detail is not None:
                    painter.drawImage(self._on_screen(self._detail[0]), self._detail[1])
            self._paint_part(painter)
        if self.hasFocus():
            painter.setPen(QPen(QColor(theme.current().accent), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 6, 6)
        painter.end()

    def _scaled(self, target: QRectF) -> QPixmap:
        """The fitted picture, kept: it is drawn with every stroke of the mouse."""
        ratio = self.devicePixelRatioF()
        size = QSize(max(1, round(target.width() * ratio)), max(1, round(target.height() * ratio)))
        key = (self._image.cacheKey(), size.width(), size.height())
        if self._cache is None or self._cache[0] != key:
            made = QPixmap.fromImage(
                self._image.scaled(
                    size,
                    Qt.AspectRatioMode.IgnoreAspectRatio,
                    Qt.TransformationMode.SmoothTransformation,
                )
            )
            made.setDevicePixelRatio(ratio)
            self._cache = (key, made)
        return self._cache[1]

    def _paint_part(self, painter: QPainter) -> None:
        part = self.part
        if self._from is not None and self._drag is not None:
            part = self._dragged()
        if part is None:
            return
        target, chosen = self.target(), self._on_screen(part)
        around = QPainterPath()  # one shape: rectangles side by side leave hairlines between them
        around.addRect(target)
        around.addRect(chosen)
        painter.fillPath(around, QColor(0, 0, 0, 120))
        outline(painter, [chosen])

    def _paint_sight(self, painter: QPainter, sight: Sight) -> None:
        """The canvas: the picture at the model's own resolution, tiles, and the unused rest."""
        target, canvas = self.target(), sight.canvas
        colours = theme.current()
        scale = target.width() / (canvas.columns * sight.tile)
        hatch = QColor(colours.faint)
        hatch.setAlpha(90)
        painter.fillRect(target, QColor(colours.raised))
        painter.fillRect(target, QBrush(hatch, Qt.BrushStyle.BDiagPattern))
        seen = self._seen(canvas.width, canvas.height)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        painter.drawImage(
            QRectF(target.left(), target.top(), canvas.width * scale, canvas.height * scale), seen
        )
        side = sight.tile * scale
        outline(
            painter,
            [
                QRectF(target.left() + column * side, target.top() + row * side, side, side)
                for row in range(canvas.rows)
                for column in range(canvas.columns)
            ],
        )

    def _seen(self, width: int, height: int) -> QImage:
        image = self._image
        if self.part is not None:
            image = cut_out(image, self._size.width(), self.part)
        return image.scaled(
            width,
            height,
            Qt.AspectRatioMode.IgnoreAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )

    # --- hands --------------------------------------------------------------------------------
    def _dragged(self) -> Part | None:
        if self._from is None or self._drag is None:
            return None
        (x1, y1), (x2, y2) = self._to_original(self._from), self._to_original(self._drag)
        return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if not self.has_picture or event.button() is not Qt.MouseButton.LeftButton:
            return
        if self.selecting and self.sight is None:
            self._from = self._drag = event.position()
        else:
            self._pan = event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if self._from is not None:
            self._drag = event.position()
        elif self._pan is not None and self._zoom > 1:
            self._offset += event.position() - self._pan
            self._pan = event.position()
            self._soon.start()
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        self._pan = None
        if self._from is None:
            return
        self._drag = event.position()
        part = self._dragged()
        self._from = self._drag = None
        self.set_selecting(False)
        large = part is not None and min(part[2] - part[0], part[3] - part[1]) >= LEAST_PART
        self.choose_part(part if large else None)

    def choose_part(self, part: Part | None) -> None:
        self.set_part(part)
        self.part_chosen.emit(part)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
        if self.has_picture:
            self.menu_wanted.emit(event.globalPos())

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        if self.has_picture:
            self.zoom(1.0015 ** event.angleDelta().y())
            event.accept()

    def zoom(self, factor: float) -> None:
        self._zoom = min(MOST_ZOOM, max(1.0, self._zoom * factor))
        if self._zoom == 1.0:
            self._offset = QPointF(0, 0)
        self._soon.start()
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Plus, minus and 0 zoom; the arrows move, and with Shift draw a part of the picture."""
        step = arrow(event)
        if event.key() in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom(1.25)
        elif event.key() == Qt.Key.Key_Minus:
            self.zoom(0.8)
        elif event.key() == Qt.Key.Key_0:
            self.fit()
        elif event.key() == Qt.Key.Key_Escape and self.part is not None:
            self.choose_part(None)
        elif step is not None and self.has_picture:
            self._step(step, event)
        else:
            super().keyPressEvent(event)

    def _step(self, step: tuple[int, int], event: QKeyEvent) -> None:
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if not shift and not self.selecting:
            self._offset -= QPointF(step[0] * 30, step[1] * 30)
            self._soon.start()
            self.update()
            return
        width, height = self._size.width(), self._size.height()
        left, top, right, bottom = self.part or (width // 4, height // 4, width - width // 4,
                                                 height - height // 4)  # fmt: skip
        by_x, by_y = step[0] * max(1, width // 40), step[1] * max(1, height // 40)
        if shift:  # its lower right corner
            right = min(width, max(left + LEAST_PART, right + by_x))
            bottom = min(height, max(top + LEAST_PART, bottom + by_y))
        else:
            by_x = min(max(by_x, -left), width - right)
            by_y = min(max(by_y, -top), height - bottom)
            left, right, top, bottom = left + by_x, right + by_x, top + by_y, bottom + by_y
        self.choose_part((left, top, right, bottom))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.update()


def cut_out(image: QImage, width: int, part: Part) -> QImage:
    """A part in pixels of an original that is `width` wide, out of a copy of any size."""
    share = image.width() / width
    left, top, right, bottom = (round(edge * share) for edge in part)
    return image.copy(left, top, max(1, right - left), max(1, bottom - top))


def outline(painter: QPainter, rectangles: list[QRectF]) -> None:
    """White on black: seen on any picture."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for colour, width in (("#000000", 3.0), ("#ffffff", 1.5)):
        painter.setPen(QPen(QColor(colour), width))
        painter.drawRects(rectangles)
