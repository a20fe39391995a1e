"""Every action of the window in one table: its name for settings, its keys, its menu."""

from __future__ import annotations

import re
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication


@dataclass(frozen=True)
class ActionEntry:
    """menu: file, picture, answer, view, tools, help. keys: as QKeySequence reads them. apart: it
    has a line above it."""

    name: str
    menu: str
    keys: str
    apart: bool = False


ACTIONS = (
    ActionEntry("open", "file", "Ctrl+O"),
    ActionEntry("paste", "file", "Ctrl+V"),
    ActionEntry("screenshot", "file", "Ctrl+Shift+S"),
    ActionEntry("region", "file", "Ctrl+Shift+R"),
    ActionEntry("new", "file", "Ctrl+N", apart=True),
    ActionEntry("export", "file", "Ctrl+E", apart=True),
    ActionEntry("quit", "file", "Ctrl+Q", apart=True),
    ActionEntry("part", "picture", "Ctrl+R"),
    ActionEntry("whole", "picture", "Ctrl+Shift+W"),
    ActionEntry("sight", "picture", "Ctrl+I"),
    ActionEntry("next_picture", "picture", "Ctrl+PgDown", apart=True),
    ActionEntry("previous_picture", "picture", "Ctrl+PgUp"),
    ActionEntry("close_all", "picture", "Ctrl+Shift+Del", apart=True),
    ActionEntry("question", "answer", "Ctrl+L"),
    ActionEntry("stop", "answer", "Ctrl+."),
    ActionEntry("again", "answer", "Ctrl+G", apart=True),
    ActionEntry("instead", "answer", "Ctrl+Shift+G"),
    ActionEntry("edit", "answer", "Ctrl+Shift+E"),
    ActionEntry("copy", "answer", "Ctrl+Shift+C"),
    ActionEntry("candidates", "answer", "Ctrl+T"),
    ActionEntry("compare", "answer", "Ctrl+D"),
    ActionEntry("search", "view", "Ctrl+F"),
    ActionEntry("sidebar", "view", "Ctrl+B"),
    ActionEntry("rename", "view", "F2", apart=True),
    ActionEntry("delete", "view", "Ctrl+Del"),
    ActionEntry("undo", "view", "Ctrl+Z"),
    ActionEntry("deleted", "view", "", apart=True),
    ActionEntry("batch", "tools", "Ctrl+Shift+B"),
    ActionEntry("models", "tools", "Ctrl+M"),
    ActionEntry("settings", "tools", "Ctrl+,", apart=True),
    ActionEntry("shortcuts", "help", "F1"),
    ActionEntry("about", "help", "", apart=True),
)
MENUS = ("file", "picture", "answer", "view", "tools", "help")


def menu_text(name: str) -> str:
    translate = QCoreApplication.translate
    return {
        "file": translate("Actions", "&File"),
        "picture": translate("Actions", "&Picture"),
        "answer": translate("Actions", "&Answer"),
        "view": translate("Actions", "&View"),
        "tools": translate("Actions", "&Tools"),
        "help": translate("Actions", "&Help"),
    }[name]


def plain_menu_text(name: str) -> str:
    """Without the mark of its key."""
    return re.sub(r"\(&.\)|&", "", menu_text(name))


def action_text(name: str) -> str:
    translate = QCoreApplication.translate
    return {
        "open": translate("Actions", "Open pictures…"),
        "paste": translate("Actions", "Paste a picture"),
        "screenshot": translate("Actions", "Screenshot of the screen"),
        "region": translate("Actions", "Screenshot of a region"),
        "new": translate("Actions", "New conversation"),
        "export": translate("Actions", "Export the conversation…"),
        "quit": translate("Actions", "Quit"),
        "part": translate("Actions", "Ask about a part"),
        "whole": translate("Actions", "Ask about the whole picture"),
        "sight": translate("Actions", "What the model sees"),
        "next_picture": translate("Actions", "Next picture"),
        "previous_picture": translate("Actions", "Previous picture"),
        "close_all": translate("Actions", "Put all pictures away"),
        "question": translate("Actions", "Go to the question"),
        "stop": translate("Actions", "Stop"),
        "again": translate("Actions", "Ask again with another seed"),
        "instead": translate("Actions", "Ask again in place of this answer"),
        "copy": translate("Actions", "Copy the answer"),
        "candidates": translate("Actions", "Show the candidates"),
        "compare": translate("Actions", "Compare answers…"),
        "search": translate("Actions", "Search conversations"),
        "sidebar": translate("Actions", "Show the conversations"),
        "rename": translate("Actions", "Rename the conversation…"),
        "delete": translate("Actions", "Delete the conversation"),
        "undo": translate("Actions", "Bring the deleted conversation back"),
        "deleted": translate("Actions", "What is kept…"),
        "batch": translate("Actions", "Many pictures at once…"),
        "models": translate("Actions", "Models…"),
        "settings": translate("Actions", "Settings…"),
        "edit": translate("Actions", "Reword the question"),
        "shortcuts": translate("Actions", "Keyboard shortcuts"),
        "about": translate("Actions", "About"),
    }[name]
