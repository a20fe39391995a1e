"""Keyboard shortcuts (to read and to change), and About with the licences."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QCoreApplication, Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QKeySequenceEdit,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from llavao1_edge import __version__
from llavao1_gui.widgets.actions import ACTIONS, MENUS, action_text, plain_menu_text
from llavao1_gui.widgets.layouts import column, decision_box, label, scrolled
from llavao1_gui.widgets.placing import open_dialog
from llavao1_gui.widgets.rich_text import RichText


class KeysDialog(QDialog):
    """All keys, to read. change_wanted: the way to other ones."""

    change_wanted = Signal()

    def __init__(self, changed: Mapping[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Keyboard shortcuts"))
        open_dialog(self, 520, 620)
        form = QFormLayout()
        form.setContentsMargins(16, 12, 16, 12)
        for menu in MENUS:
            entries = [
                (entry, keys)
                for entry in ACTIONS
                if entry.menu == menu and (keys := changed.get(entry.name, entry.keys))
            ]
            if entries:
                form.addRow(_heading(plain_menu_text(menu)))
            for entry, keys in entries:
                shown = QKeySequence(keys).toString(QKeySequence.SequenceFormat.NativeText)
                form.addRow(action_text(entry.name), label(shown, role="faint"))
        _add_fixed(form)
        inside = QWidget()
        inside.setLayout(form)
        box = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        box.button(QDialogButtonBox.StandardButton.Close).setText(self.tr("Close"))
        self.change_button = box.addButton(
            self.tr("Change…"), QDialogButtonBox.ButtonRole.ActionRole
        )
        self.change_button.clicked.connect(self._change)
        box.rejected.connect(self.reject)
        self.setLayout(column(scrolled(inside), box, margin=12))

    def _change(self) -> None:
        self.reject()
        self.change_wanted.emit()


def _heading(text: str) -> QLabel:
    made = label(text, role="section")
    made.setContentsMargins(0, 10, 0, 2)
    return made


def _add_fixed(form: QFormLayout) -> None:
    translate = QCoreApplication.translate
    form.addRow(_heading(translate("Keys", "Always the same")))
    for what, keys in (
        (translate("Keys", "Ask"), "Return"),
        (translate("Keys", "New line in the question"), "Shift+Return"),
        (translate("Keys", "Zoom the picture"), "+  −  0"),
        (translate("Keys", "Choose a part of the picture"), "Shift + ← ↑ → ↓"),
    ):
        form.addRow(what, label(keys, role="faint"))


class ShortcutsDialog(QDialog):
    """`changed`: action → keys, where they differ from the table's."""

    def __init__(self, changed: Mapping[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Keyboard shortcuts"))
        open_dialog(self, 520, 620)
        self.edits: dict[str, QKeySequenceEdit] = {}
        form = QFormLayout()
        form.setContentsMargins(16, 12, 16, 12)
        for menu in MENUS:
            form.addRow(_heading(plain_menu_text(menu)))
            for entry in ACTIONS:
                if entry.menu == menu:
                    keys = changed.get(entry.name, entry.keys)
                    edit = QKeySequenceEdit(QKeySequence(keys))
                    edit.setMaximumSequenceLength(1)
                    edit.setClearButtonEnabled(True)
                    edit.setAccessibleName(action_text(entry.name))
                    self.edits[entry.name] = edit
                    form.addRow(action_text(entry.name), edit)
        _add_fixed(form)
        inside = QWidget()
        inside.setLayout(form)
        scroll = scrolled(inside)
        self.problem = label(role="bad", wrap=True)
        self.problem.hide()
        layout = QVBoxLayout()
        for widget in (scroll, self.problem, decision_box(self, self._defaults)):
            layout.addWidget(widget)
        self.setLayout(layout)

    @property
    def changed(self) -> dict[str, str]:
        found = {}
        for entry in ACTIONS:
            keys = self.edits[entry.name].keySequence().toString()
            if keys != QKeySequence(entry.keys).toString():
                found[entry.name] = keys
        return found

    def accept(self) -> None:
        """Stays open where two actions have the same keys."""
        seen: dict[str, str] = {}
        for name, edit in self.edits.items():
            keys = edit.keySequence().toString()
            if keys and keys in seen:
                text = self.tr("{0} is given to both “{1}” and “{2}”.")
                self.problem.setText(text.format(keys, action_text(seen[keys]), action_text(name)))
                self.problem.show()
                edit.setFocus()
                return
            seen[keys] = name
        super().accept()

    def _defaults(self) -> None:
        for entry in ACTIONS:
            self.edits[entry.name].setKeySequence(QKeySequence(entry.keys))


LICENCES = """\
- llavao1-edge: Apache License 2.0
- llama.cpp and llama-cpp-python: MIT
- Qt 6 and PySide6: LGPL 3
- Pillow: MIT-CMU · NumPy: BSD · ziamath, markdown-it-py: MIT
- Models made from Llama 3.2: *Llama 3.2 is licensed under the Llama 3.2 Community License,
  Copyright © Meta Platforms, Inc. All Rights Reserved.* Built with Llama.
"""


class AboutDialog(QDialog):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("About"))
        open_dialog(self, 560, 420)
        title = label("llavao1-edge " + __version__, role="heading")
        about = RichText()
        about.setAccessibleName(self.tr("About"))
        about.set_markdown(
            self.tr(
                "LLaVA-o1 on your own computer: it looks at a picture, reasons in four stages, and "
                "shows how it got there."
            )
            + "\n\n"
            + self.tr(
                "**No telemetry.** Pictures, questions and answers stay on this computer, unless "
                "you choose a server to answer. Nothing else uses the network but fetching a "
                "model, when you ask for it."
            )
            + "\n\n"
            + self.tr("Licences:")
            + "\n\n"
            + LICENCES
        )
        box = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        box.rejected.connect(self.reject)
        box.button(QDialogButtonBox.StandardButton.Close).setText(self.tr("Close"))
        self.setLayout(column(title, about, None, box, margin=20, gap=12))
