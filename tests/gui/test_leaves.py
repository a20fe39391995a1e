"""Pages of documents, frames of animations, turned pictures; what the menu and the strip can do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QDesktopServices

from llavao1_edge.errors import PictureError
from llavao1_edge.images import open_picture
from llavao1_gui.widgets.strip import cross_of
from llavao1_gui.work import document
from llavao1_gui.work.leaves import Turned, first
from tests.gui.conftest import OTHER, SHAPES, Window
from tests.locked_pdf import LOCKED

Make = Callable[..., Window]
RED, GREEN, BLUE = (220, 0, 0), (0, 160, 0), (0, 0, 220)


def _solid(colour: tuple[int, int, int], size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.new("RGB", size, colour)


@pytest.fixture
def three(tmp_path: Path) -> Callable[[str], Path]:
    """A file of three pictures, each of one colour, by its ending."""

    def make(ending: str) -> Path:
        path = tmp_path / f"three{ending}"
        pictures = [_solid(colour) for colour in (RED, GREEN, BLUE)]
        pictures[0].save(path, save_all=True, append_images=pictures[1:])
        return path

    return make


def _colour(data: bytes) -> tuple[int, ...]:
    """Of its middle, which of the three it is nearest to."""
    image = open_picture(data).image
    found = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(found, tuple)
    return min(
        (RED, GREEN, BLUE), key=lambda one: sum(abs(a - b) for a, b in zip(one, found, strict=True))
    )


@pytest.mark.parametrize(
    ("ending", "kind"), [(".pdf", "page"), (".tiff", "page"), (".gif", "frame"), (".webp", "frame"),
                         (".png", "frame")],
)  # fmt: skip
def test_every_picture_of_a_file_is_found(
    three: Callable[[str], Path], ending: str, kind: str
) -> None:
    path = three(ending)
    for source in (path, path.read_bytes()):
        data, leaf = first(source)
        assert leaf is not None
        assert (leaf.kind, leaf.n, leaf.at) == (kind, 3, 0)
        assert _colour(data) == RED
        assert [_colour(leaf.moved(at).data()) for at in (0, 1, 2, 99)] == [RED, GREEN, BLUE, BLUE]


def test_a_file_of_one_picture_has_no_leaves(tmp_path: Path) -> None:
    assert first(SHAPES)[1] is None
    path = tmp_path / "phone.jpg"  # a second picture that is only a preview
    _solid(RED).save(path, format="MPO", save_all=True, append_images=[_solid(GREEN)])
    assert first(path)[1] is None
    with pytest.raises(PictureError, match=r"missing\.pdf"):
        first(tmp_path / "missing.pdf")


def test_a_page_is_drawn_sharp_but_not_endless(tmp_path: Path) -> None:
    _solid(RED, (612, 792)).save(tmp_path / "letter.pdf", resolution=72.0)
    data, leaf = first(tmp_path / "letter.pdf")
    assert (leaf.kind, leaf.n) == ("page", 1)
    opened = open_picture(data)
    assert (opened.width, opened.height) == (1700, 2200)  # 200 dots an inch
    _solid(RED, (4000, 1000)).save(tmp_path / "poster.pdf", resolution=20.0)
    assert open_picture(first(tmp_path / "poster.pdf")[0]).width == document.LONGEST


@pytest.mark.parametrize("content", [b"%PDF-1.4\nnothing", b"%PDF", b"\n%PDF-1.7 \x00\xff" * 50])
def test_a_damaged_document_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pdf"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=r"bad\.pdf is not a PDF that can be drawn"):
        first(path)


def test_a_locked_document_says_so(tmp_path: Path) -> None:
    path = tmp_path / "locked.pdf"
    path.write_bytes(LOCKED)
    with pytest.raises(PictureError, match="locked with a password"):
        first(path)


def test_a_document_that_ends_or_stops_its_reader_leaves_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "any.pdf"
    path.write_bytes(b"%PDF-1.4")
    kill = "import os; os.kill(os.getpid(), 9)"
    monkeypatch.setattr(document, "command", lambda *_: [sys.executable, "-c", kill])
    with pytest.raises(PictureError, match="not a PDF that can be drawn"):
        first(path)
    sleep = "import time; time.sleep(60)"
    monkeypatch.setattr(document, "command", lambda *_: [sys.executable, "-c", sleep])
    monkeypatch.setattr(document, "LIMIT_S", 0.2)
    with pytest.raises(PictureError, match="takes too long"):
        first(path)


def test_turned_pictures_are_turned_clockwise(tmp_path: Path) -> None:
    image = _solid(RED, (60, 40))
    image.paste(BLUE, (0, 0, 10, 10))
    image.save(tmp_path / "a.png")
    upright, lying = (40, 60), (60, 40)
    spots = {1: (upright, (35, 5)), 2: (lying, (55, 35)), 3: (upright, (5, 55))}
    for quarters, (size, spot) in spots.items():
        turned = open_picture(Turned(tmp_path / "a.png", quarters).data()).image
        assert turned.size == size
        assert turned.getpixel(spot) == BLUE  # the corner that was above on the left


# --- in the window --------------------------------------------------------------------------------
def test_pages_are_chosen_in_the_window(make_window: Make, three: Callable[[str], Path]) -> None:
    window = make_window()
    pane = window.window.picture
    window.open(three(".pdf"))
    assert pane.leaf.isVisible()
    assert pane.leaf.text() == "Page 1 of 3"
    one = window.pictures.active
    window.ask("What is on the first page?")
    pane.leaf.setValue(3)
    window.wait(lambda: window.pictures.active is not one)
    assert len(window.pictures.pictures) == 1  # in its place
    assert _colour(window.pictures.file_of(window.pictures.active).read_bytes()) == BLUE
    assert not window.talk.exchanges  # another picture, another conversation
    assert window.ask("And on the last?").status == "answered"
    window.open(three(".gif"))
    window.wait(lambda: pane.leaf.text() == "Frame 1 of 3")
    window.open(OTHER)
    window.wait(lambda: not pane.leaf.isVisible())


def test_a_picture_is_turned_in_its_place(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.open(OTHER)
    window.pictures.activate(0)
    before = window.pictures.active
    window.pictures.rotate(1)
    window.wait(lambda: window.pictures.active is not before)
    after = window.pictures.active
    assert (after.width, after.height) == (before.height, before.width)
    assert [one.name for one in window.pictures.pictures] == [SHAPES.name, OTHER.name]
    assert window.pictures.at == 0
    assert window.window.picture.strip.count() == 2
    window.pictures.rotate(3)
    window.wait(lambda: window.pictures.active is not after)
    pixels = [
        open_picture(window.pictures.file_of(one)).key for one in (before, window.pictures.active)
    ]
    assert pixels[0] == pixels[1]


def test_the_folder_of_a_picture_is_shown(
    make_window: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    window = make_window()
    path = tmp_path / "here" / "a.png"
    path.parent.mkdir()
    shutil.copy(SHAPES, path)
    window.open(path)
    menu = window.app.picture_menu
    menu.show(QPoint(0, 0))
    found = {action.text(): action for action in menu.menu.actions()}
    assert found["Show in its folder"].isEnabled()
    found["Show in its folder"].trigger()
    assert opened == [str(path.parent)]
    path.unlink()
    menu.show(QPoint(0, 0))
    found = {action.text(): action for action in menu.menu.actions()}
    assert not found["Show in its folder"].isEnabled()
    menu.menu.close()


def test_a_cross_puts_a_picture_away(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.open(OTHER)
    strip = window.window.picture.strip
    box = strip.visualItemRect(strip.item(1))
    window.qtbot.mouseClick(strip.viewport(), Qt.MouseButton.LeftButton, pos=box.center())
    assert window.pictures.at == 1
    box = strip.visualItemRect(strip.item(0))
    where = cross_of(box).center()
    window.qtbot.mouseClick(strip.viewport(), Qt.MouseButton.LeftButton, pos=where)
    window.wait(lambda: len(window.pictures.pictures) == 1)
    assert window.pictures.active.name == OTHER.name


# --- the taskbar ----------------------------------------------------------------------------------
PROBE = """
import sys
from PySide6.QtCore import QCoreApplication
from llavao1_gui.taskbar import TaskbarIcon
application, icon = QCoreApplication([]), TaskbarIcon()
for share in (0.25, 0.2501, 0.5, None, None):
    icon.show(share)
application.processEvents()
"""


@pytest.mark.skipif(not shutil.which("dbus-run-session"), reason="dbus-run-session is not here")
def test_progress_is_told_on_the_sessions_bus(tmp_path: Path) -> None:
    said = tmp_path / "said.txt"
    script = tmp_path / "probe.py"
    script.write_text(PROBE)
    listen = (
        f"dbus-monitor --session interface=com.canonical.Unity.LauncherEntry > {said} & "
        f"until grep -q NameAcquired {said}; do sleep 0.1; done; {sys.executable} {script}; "
        f"until grep -c boolean {said} | grep -q 3; do sleep 0.1; done"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = ["dbus-run-session", "--", "sh", "-c", listen]
    subprocess.run(command, env=environment, timeout=60, check=True, capture_output=True)
    text = said.read_text()
    assert text.count("member=Update") == 3  # what changed by less than a hundredth is not told
    assert [line.split()[-1] for line in text.splitlines() if "double" in line] == [
        "0.25",
        "0.5",
        "0",
    ]
    assert text.count("boolean false") == 1
