"""The window as users meet it: started by `app.start`, as `main` does, with real events."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llavao1_gui.state import preferences
from tests import qt, shapes
from tests.patience import PATIENCE_S

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
if TYPE_CHECKING or not qt.problem():
    from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
    from PySide6.QtGui import QDragEnterEvent, QDropEvent
    from PySide6.QtWidgets import QApplication
    from pytestqt.qtbot import QtBot

    from llavao1_gui import app as gui

SHAPES = shapes.SAMPLES[0].picture
OTHER = shapes.SAMPLES[1].picture
THIRD = shapes.SAMPLES[2].picture
SCHEDSTAT = Path("/proc/thread-self/schedstat")


class Window:
    """An app with what tests do to it."""

    def __init__(self, app: gui.App, qtbot: QtBot) -> None:
        self.app, self.qtbot = app, qtbot
        self.window, self.talk, self.pictures = app.window, app.conversations, app.pictures

    def wait(self, until: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
        self.qtbot.waitUntil(until, timeout=int(seconds * 1000))

    def open(self, *paths: Path) -> None:
        before = len(self.pictures.pictures)
        self.pictures.add(list(paths))
        self.wait(lambda: len(self.pictures.pictures) == before + len(paths))

    def type(self, text: str) -> None:
        """Into the question, key by key, with Return at the end."""
        from PySide6.QtCore import Qt

        field = self.window.answers.box.field
        field.setFocus()
        self.qtbot.keyClicks(field, text)
        self.qtbot.keyClick(field, Qt.Key.Key_Return)

    def ask(self, text: str) -> Any:
        """Asks and waits for the answer; the exchange."""
        self.type(text)
        self.wait(lambda: bool(self.talk.exchanges) and not self.talk.busy)
        return self.talk.exchanges[-1]

    def turns(self, question: str, told: Callable[[], None]) -> None:
        """Asks and waits for the answer; `told` is called once in every turn of the event loop."""
        timer = QTimer()
        timer.setInterval(0)
        timer.timeout.connect(told)
        timer.start()
        self.talk.ask(question)
        self.wait(lambda: not self.talk.busy)
        timer.stop()

    def drawing_s(self) -> float:
        """Seconds of one drawing of the whole window."""
        drawings = []
        for _ in range(9):
            began = running_s()
            self.window.grab()
            drawings.append(running_s() - began)
        return statistics.median(drawings)

    def longest_turn(self, about: str, *, enough: float) -> float:
        """Of the event loop during a whole answer, in drawings of the whole window: the best of at
        most eight answers, since other programs make long turns too, but not in every one. A turn
        is what this thread computed and waited for, without its wait for a processor."""
        drawing, turns = self.drawing_s(), []
        while len(turns) < 8 and (not turns or min(turns) >= enough):
            longest, last = 0.0, running_s()

            def tick() -> None:
                nonlocal longest, last
                now = running_s()
                longest, last = max(longest, now - last), now

            self.turns(f"{about}, take {len(turns)}?", tick)
            turns.append(longest / drawing)
        print(f"longest turns in drawings of {1000 * drawing:.1f} ms: {turns}")
        return min(turns)

    @property
    def cards(self) -> list[Any]:
        return self.window.answers.all_cards()

    @property
    def banner(self) -> str:
        banner = self.window.answers.banner
        return banner.text.text() if banner.isVisible() else ""


def running_s() -> float:
    """Seconds on the clock, without those in which this thread could run and had no processor.
    Where that is not told (not on Linux), the processor's time of the thread."""
    if not SCHEDSTAT.exists():
        return time.thread_time()
    waited = int(SCHEDSTAT.read_text(encoding="ascii").split()[1])
    return time.monotonic() - waited / 1e9


def drag(window: Window, data: QMimeData) -> None:
    """Something is dragged into the window."""
    at, button = QPoint(300, 300), Qt.MouseButton.LeftButton
    event = QDragEnterEvent(
        at, Qt.DropAction.CopyAction, data, button, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(window.window, event)


def drop(window: Window, data: QMimeData) -> None:
    """As a file manager does it."""
    drag(window, data)
    at, button = QPointF(300, 300), Qt.MouseButton.LeftButton
    event = QDropEvent(at, Qt.DropAction.CopyAction, data, button, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(window.window, event)


def urls(*names: Path | str) -> QMimeData:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(n)) if isinstance(n, Path) else QUrl(n) for n in names])
    return data


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another window is writing to the history in `folder`."""
    other = sqlite3.connect(folder / "history.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.fixture
def make_window(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Window]]:
    """A function that starts the app: script (None: the real engine), then its arguments."""
    monkeypatch.setenv("LLAVAO1_MODELS", str(tmp_path / "models"))
    settings = tmp_path / "home" / "settings.json"
    started: list[gui.App] = []

    def make(script: dict[str, Any] | None = {}, *arguments: str) -> Window:  # noqa: B006
        if not settings.exists():
            preferences.write(settings, preferences.Preferences(language="en", theme="light"))
        home = ["--data", str(tmp_path / "home"), "--config", str(tmp_path / "home")]
        if script is not None:
            (tmp_path / "script.json").write_text(json.dumps(script))
            home += ["--script", str(tmp_path / "script.json")]
        app = gui.start([*home, *arguments])
        started.append(app)
        qtbot.waitExposed(app.window)
        return Window(app, qtbot)

    yield make
    for app in started:
        app.window.may_close = lambda: True  # a test that failed must not wait for a click
        app.window.close()
        app.history.close()
        app.language.use("en")
        app.deleteLater()
        app.window.deleteLater()
    qtbot.wait(1)
