"""Which entries of the menus have nothing to act on now."""

from __future__ import annotations

from typing import Protocol

from llavao1_gui.conversations import Conversations
from llavao1_gui.kept import Kept
from llavao1_gui.pictures import Pictures
from llavao1_gui.widgets.window import MainWindow

OF_A_PICTURE = {"part", "whole", "sight", "close_all"}
OF_ANOTHER_PICTURE = {"next_picture", "previous_picture"}
OF_AN_ANSWER = {"again", "instead", "edit", "copy", "candidates", "compare", "export"}
ASKING = {"again", "instead"}
OF_A_CONVERSATION = {"rename", "delete"}


class Shell(Protocol):
    """What is looked at."""

    window: MainWindow
    conversations: Conversations
    pictures: Pictures
    kept: Kept


def impossible(app: Shell) -> set[str]:
    """Names of actions."""
    talk, found = app.conversations, set[str]()
    if not app.pictures.pictures:
        found |= OF_A_PICTURE
    if len(app.pictures.pictures) < 2:
        found |= OF_ANOTHER_PICTURE
    if not talk.exchanges:
        found |= OF_AN_ANSWER
    elif talk.exchanges[-1].trace is None:
        found.add("candidates")
    if sum(bool(one.conclusion) for one in talk.exchanges) < 2:
        found.add("compare")
    if talk.current is not None and talk.current.id in talk.running:
        found |= ASKING
    if talk.current is None:
        found |= OF_A_CONVERSATION if app.window.sidebar.chosen() is None else {"delete"}
    if not talk.busy:
        found.add("stop")
    if not app.kept.can_undo:
        found.add("undo")
    return found
