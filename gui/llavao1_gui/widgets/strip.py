"""The other pictures at hand, in a row: each with a cross that puts it away."""

from __future__ import annotations

from PySide6.QtCore import (
    QAbstractItemModel,
    QEvent,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QSignalBlocker,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import (
    QColor,
    QIcon,
    QImage,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QPixmap,
    QShortcut,
)
from PySide6.QtWidgets import (
    QListWidget,
    QListWidgetItem,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from llavao1_gui.state.tips import tip
from llavao1_gui.widgets import theme
from llavao1_gui.widgets.icons import icon

THUMBNAIL, CROSS = 56, 18
Index = QModelIndex | QPersistentModelIndex


class Strip(QListWidget):
    """removed: the position of a picture that is to be put away."""

    removed = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("strip")
        self.setFlow(QListWidget.Flow.LeftToRight)
        self.setViewMode(QListWidget.ViewMode.IconMode)
        self.setWrapping(False)
        self.setMovement(QListWidget.Movement.Static)
        self.setIconSize(QSize(THUMBNAIL, THUMBNAIL))
        self.setFixedHeight(THUMBNAIL + 34)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMouseTracking(True)
        crosses = Crosses(self)
        crosses.removed.connect(self.removed)
        self.setItemDelegate(crosses)
        self.hide()
        away = QShortcut(QKeySequence(Qt.Key.Key_Delete), self)
        away.setContext(Qt.ShortcutContext.WidgetShortcut)
        away.activated.connect(lambda: self.removed.emit(self.currentRow()))

    def add(self, name: str, image: QImage) -> None:
        with QSignalBlocker(self):
            self.addItem(QListWidgetItem())
        self.put(self.count() - 1, name, image)

    def put(self, at: int, name: str, image: QImage) -> None:
        """Another picture in the place of one."""
        pixels = QPixmap.fromImage(image)
        shown = QIcon(pixels)
        shown.addPixmap(pixels, QIcon.Mode.Selected)  # Qt would tint it: its colours matter
        item = self.item(at)
        item.setIcon(shown)
        item.setToolTip(tip(name))
        item.setData(Qt.ItemDataRole.AccessibleTextRole, name)


class Crosses(QStyledItemDelegate):
    """A thumbnail with a cross while the mouse is on it. removed: its cross was clicked."""

    removed = Signal(int)
    _pressed: QPersistentModelIndex | None = None

    def initStyleOption(self, option: QStyleOptionViewItem, index: Index) -> None:  # noqa: N802
        """Frames of one size, the picture in their middle, whatever its shape."""
        super().initStyleOption(option, index)
        option.decorationSize = QSize(THUMBNAIL, THUMBNAIL)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        super().paint(painter, option, index)
        if option.state & QStyle.StateFlag.State_MouseOver:
            spot = cross_of(option.rect)
            colours = theme.current()
            painter.save()
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.raised))
            painter.drawEllipse(spot)
            icon("close").paint(painter, spot.adjusted(3, 3, -3, -3))
            painter.restore()

    def editorEvent(  # noqa: N802
        self, event: QEvent, model: QAbstractItemModel, option: QStyleOptionViewItem,
        index: Index,
    ) -> bool:  # fmt: skip
        """A click on the cross; all others choose the picture."""
        kinds = (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonRelease)
        if isinstance(event, QMouseEvent) and event.type() in kinds:
            on_cross = cross_of(option.rect).contains(event.position().toPoint())
            left = event.button() == Qt.MouseButton.LeftButton
            here = QPersistentModelIndex(index)
            if event.type() == kinds[0]:
                self._pressed = here if on_cross and left else None
            elif on_cross and left and self._pressed == here:
                self._pressed = None
                self.removed.emit(index.row())
            if on_cross and left:
                return True
        return super().editorEvent(event, model, option, index)


def cross_of(rect: QRect) -> QRect:
    """Where the cross of an item is."""
    return QRect(rect.right() - CROSS, rect.top() + 1, CROSS, CROSS)
