"""The window on screens of people: small ones, scaled ones, ones that are gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QRect, QSize, Qt

from llavao1_gui.state import preferences
from llavao1_gui.widgets.placing import inside
from tests.gui.conftest import SHAPES, Window
from tests.patience import PATIENCE_S

Make = Callable[..., Window]
SCREENS = ((640, 480, 1.0), (1366, 768, 1.0), (1920, 1080, 1.0), (1920, 1080, 1.5),
           (1920, 1080, 2.0))  # fmt: skip


def run_on(screen: tuple[int, int, float], home: Path) -> dict[str, list[str]]:
    """tests.gui.screens on a screen of so many pixels, scaled."""
    width, height, scale = screen
    about = {"name": "one", "x": 0, "y": 0, "width": round(width / scale),
             "height": round(height / scale), "dpr": scale, "logicalDpi": 96}  # fmt: skip
    config = home / "screen.json"
    config.write_text(json.dumps({"screens": [about]}))
    environment = os.environ | {
        "QT_QPA_PLATFORM": f"offscreen:configfile={config}",
        "LLAVAO1_MODELS": str(home / "models"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.gui.screens", str(home)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("screen", SCREENS, ids=lambda s: f"{s[0]}x{s[1]} at {s[2]:.0%}")
def test_every_control_is_on_the_screen(screen: tuple[int, int, float], tmp_path: Path) -> None:
    found = run_on(screen, tmp_path)
    assert len(found) == 9
    assert not {name: cut for name, cut in found.items() if cut}


def test_the_layout_folds(make_window: Make) -> None:
    """The history hides first, then the picture goes above the answers; and back."""
    window = make_window()
    window.open(SHAPES)
    across, down = Qt.Orientation.Horizontal, Qt.Orientation.Vertical
    for width, sidebar, orientation in (
        (1280, True, across),
        (900, False, across),
        (640, False, down),
        (1280, True, across),
    ):
        window.window.resize(width, 700)
        assert window.window.sidebar.isVisible() is sidebar
        assert window.window.panes.orientation() is orientation
    picture, answers = window.window.picture, window.window.answers
    assert picture.width() > 300
    assert answers.width() > 300


def test_the_window_opens_as_it_was_left(make_window: Make, tmp_path: Path) -> None:
    first = make_window()
    first.window.setGeometry(30, 50, 700, 560)
    first.window.set_sidebar(False)
    first.window.panes.setSizes([250, 450])
    first.window.close()
    first.app.history.close()
    second = make_window()
    assert second.window.size() == QSize(700, 560)
    assert not second.window.actions_by_name["sidebar"].isChecked()


def test_a_maximised_window_comes_back_maximised(make_window: Make) -> None:
    first = make_window()
    first.window.showMaximized()
    first.window.close()
    first.app.history.close()
    assert make_window().window.isMaximized()


@pytest.mark.parametrize("stored", ["", "no base64 §", "AAAA", "x" * 4000])
def test_a_place_that_cannot_be_read_is_left_alone(
    make_window: Make, tmp_path: Path, stored: str
) -> None:
    """And the window is where it can be seen."""
    layout = {"window": stored, "split": stored, "panes": stored, "odd": stored}
    settings = tmp_path / "home" / "settings.json"
    preferences.write(settings, preferences.Preferences(language="en", layout=layout))
    window = make_window()
    screen = window.window.screen().availableGeometry()
    assert screen.contains(window.window.geometry())
    assert window.window.answers.width() > 300


@pytest.mark.parametrize(
    "wanted",
    [
        QRect(3000, 2000, 1280, 800),  # on a screen that is gone
        QRect(-700, -300, 1280, 800),
        QRect(0, 0, 5000, 4000),
        QRect(1000, 700, 300, 200),
    ],
)
def test_inside_a_screen(wanted: QRect) -> None:
    frame = QSize(12, 40)
    available = QRect(0, 25, 1366, 743)
    found = inside(wanted, available, frame)
    outer = QRect(found.topLeft() - QPoint(6, 34), found.size() + frame)
    assert available.contains(outer)
    assert found.size() == wanted.size().boundedTo(available.size() - frame)
