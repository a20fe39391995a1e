"""Earlier conversations: search, open, rename, delete."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPoint, Qt, Signal
from PySide6.QtWidgets import QInputDialog, QLineEdit, QListView, QMenu, QWidget

from llavao1_gui.models.history import HistoryModel
from llavao1_gui.state.history import Conversation
from llavao1_gui.widgets.history_rows import HistoryRows
from llavao1_gui.widgets.layouts import IconButton, Retranslated, column, label, row


class Sidebar(Retranslated):
    """All signals but `searched` carry a conversation's number."""

    opened = Signal(int)
    renamed = Signal(int, str)
    deleted = Signal(int)
    searched = Signal(str)
    started = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("sidebar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.title = label(role="section")
        self.new_button = IconButton("new")
        self.search = QLineEdit()
        self.search.setClearButtonEnabled(True)
        self.model = HistoryModel(self)
        self.list = QListView()
        self.list.setObjectName("history")
        self.list.setModel(self.model)
        self.list.setItemDelegate(HistoryRows(self.list))
        self.list.setMouseTracking(True)
        self.list.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.list.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.nothing = label(role="faint", wrap=True)
        head = row(self.title, None, self.new_button)
        self.setLayout(column(head, self.search, self.nothing, self.list, margin=10))
        self.list.activated.connect(self._open)
        self.list.clicked.connect(self._open)
        self.list.customContextMenuRequested.connect(self._menu)
        self.search.textChanged.connect(self.searched)
        self.new_button.clicked.connect(self.started)
        self.retranslate()

    def retranslate(self) -> None:
        self.title.setText(self.tr("Conversations"))
        self.new_button.name(self.tr("New conversation"))
        self.search.setPlaceholderText(self.tr("Search"))
        self.search.setAccessibleName(self.tr("Search conversations"))
        self.list.setAccessibleName(self.tr("Conversations"))
        self._tell_nothing()

    def show_conversations(
        self, found: list[Conversation], current: int | None, running: set[int]
    ) -> None:
        self.model.show(found, running, self.search.text().strip())
        self.select(current)
        self._tell_nothing()

    def select(self, conversation: int | None) -> None:
        at = -1 if conversation is None else self.model.row_of(conversation)
        if at >= 0:
            self.list.setCurrentIndex(self.model.index(at))
        else:
            self.list.setCurrentIndex(QModelIndex())
            self.list.clearSelection()

    def _tell_nothing(self) -> None:
        empty = not self.model.conversations
        self.nothing.setVisible(empty)
        self.list.setVisible(not empty)
        self.nothing.setText(
            self.tr("Nothing found.")
            if self.search.text()
            else self.tr("What you ask is kept here, on this computer only.")
        )
        layout = self.layout()
        assert layout is not None
        layout.setAlignment(
            self.nothing,
            Qt.AlignmentFlag.AlignTop if empty else Qt.AlignmentFlag(0),
        )

    def chosen(self) -> Conversation | None:
        index = self.list.currentIndex()
        return self.model.conversations[index.row()] if index.isValid() else None

    def _open(self, index: QModelIndex) -> None:
        self.opened.emit(self.model.conversations[index.row()].id)

    def _menu(self, at: QPoint) -> None:
        index = self.list.indexAt(at)
        if not index.isValid():
            return
        found = self.model.conversations[index.row()]
        menu = QMenu(self)
        menu.addAction(self.tr("Rename…"), lambda: self.rename(found))
        menu.addAction(self.tr("Delete"), lambda: self.deleted.emit(found.id))
        menu.popup(self.list.viewport().mapToGlobal(at))

    def rename(self, found: Conversation) -> None:
        title, given = QInputDialog.getText(
            self, self.tr("Rename"), self.tr("Title"), QLineEdit.EchoMode.Normal, found.title
        )
        if given and title.strip():
            self.renamed.emit(found.id, title.strip())
