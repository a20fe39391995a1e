"""Every action of the window in one table: its name for settings, its keys, its menu."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication


@dataclass(frozen=True)
class ActionEntry:
    """menu: file, picture, answer, view, tools, help. keys: as QKeySequence reads them."""

    name: str
    menu: str
    keys: str


ACTIONS = (
    ActionEntry("open", "file", "Ctrl+O"),
    ActionEntry("paste", "file", "Ctrl+V"),
    ActionEntry("screenshot", "file", "Ctrl+Shift+S"),
    ActionEntry("region", "file", "Ctrl+Shift+R"),
    ActionEntry("new", "file", "Ctrl+N"),
    ActionEntry("export", "file", "Ctrl+E"),
    ActionEntry("quit", "file", "Ctrl+Q"),
    ActionEntry("part", "picture", "Ctrl+R"),
    ActionEntry("whole", "picture", "Ctrl+Shift+W"),
    ActionEntry("sight", "picture", "Ctrl+I"),
    ActionEntry("next_picture", "picture", "Ctrl+PgDown"),
    ActionEntry("previous_picture", "picture", "Ctrl+PgUp"),
    ActionEntry("question", "answer", "Ctrl+L"),
    ActionEntry("stop", "answer", "Ctrl+."),
    ActionEntry("again", "answer", "Ctrl+G"),
    ActionEntry("copy", "answer", "Ctrl+Shift+C"),
    ActionEntry("candidates", "answer", "Ctrl+T"),
    ActionEntry("search", "view", "Ctrl+F"),
    ActionEntry("sidebar", "view", "Ctrl+B"),
    ActionEntry("rename", "view", "F2"),
    ActionEntry("delete", "view", "Ctrl+Del"),
    ActionEntry("batch", "tools", "Ctrl+Shift+B"),
    ActionEntry("models", "tools", "Ctrl+M"),
    ActionEntry("settings", "tools", "Ctrl+,"),
    ActionEntry("shortcuts", "help", "F1"),
    ActionEntry("about", "help", ""),
)
MENUS = ("file", "picture", "answer", "view", "tools", "help")


def menu_text(name: str) -> str:
    t = QCoreApplication.translate
    return {
        "file": t("Actions", "&File"),
        "picture": t("Actions", "&Picture"),
        "answer": t("Actions", "&Answer"),
        "view": t("Actions", "&View"),
        "tools": t("Actions", "&Tools"),
        "help": t("Actions", "&Help"),
    }[name]


def action_text(name: str) -> str:
    t = QCoreApplication.translate
    return {
        "open": t("Actions", "Open pictures…"),
        "paste": t("Actions", "Paste a picture"),
        "screenshot": t("Actions", "Screenshot of the screen"),
        "region": t("Actions", "Screenshot of a region"),
        "new": t("Actions", "New conversation"),
        "export": t("Actions", "Export the conversation…"),
        "quit": t("Actions", "Quit"),
        "part": t("Actions", "Ask about a part"),
        "whole": t("Actions", "Ask about the whole picture"),
        "sight": t("Actions", "What the model sees"),
        "next_picture": t("Actions", "Next picture"),
        "previous_picture": t("Actions", "Previous picture"),
        "question": t("Actions", "Go to the question"),
        "stop": t("Actions", "Stop"),
        "again": t("Actions", "Ask again with another seed"),
        "copy": t("Actions", "Copy the answer"),
        "candidates": t("Actions", "Show the candidates"),
        "search": t("Actions", "Search conversations"),
        "sidebar": t("Actions", "Show the conversations"),
        "rename": t("Actions", "Rename the conversation…"),
        "delete": t("Actions", "Delete the conversation"),
        "batch": t("Actions", "Many pictures at once…"),
        "models": t("Actions", "Models…"),
        "settings": t("Actions", "Settings…"),
        "shortcuts": t("Actions", "Keyboard shortcuts"),
        "about": t("Actions", "About"),
    }[name]
