"""Pages of documents, frames of animations, turned pictures; what the menu and the strip can do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QDesktopServices

from llavao1_edge.errors import Cancelled, PictureError
from llavao1_edge.images import open_picture
from llavao1_gui.widgets.strip import cross_of
from llavao1_gui.work import page
from llavao1_gui.work.leaves import Leaf, Turned, first
from tests.documents import FORM, LOCKED
from tests.gui.conftest import OTHER, SHAPES, Window
from tests.patience import PATIENCE_S

Make = Callable[..., Window]
RED, GREEN, BLUE = (220, 0, 0), (0, 160, 0), (0, 0, 220)


def always() -> bool:
    return True


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
        data, leaf = first(source, always)
        assert leaf is not None
        assert (leaf.kind, leaf.n, leaf.at) == (kind, 3, 0)
        assert _colour(data) == RED
        found = [_colour(leaf.moved(at).data(always)) for at in (0, 1, 2, 99)]
        assert found == [RED, GREEN, BLUE, BLUE]


def test_a_file_of_one_picture_has_no_leaves(tmp_path: Path) -> None:
    assert first(SHAPES, always)[1] is None
    path = tmp_path / "phone.jpg"  # a second picture that is only a preview
    _solid(RED).save(path, format="MPO", save_all=True, append_images=[_solid(GREEN)])
    assert first(path, always)[1] is None
    with pytest.raises(PictureError, match=r"missing\.pdf"):
        first(tmp_path / "missing.pdf", always)


def test_a_page_is_drawn_sharp_but_not_endless(tmp_path: Path) -> None:
    _solid(RED, (612, 792)).save(tmp_path / "letter.pdf", resolution=72.0)
    data, leaf = first(tmp_path / "letter.pdf", always)
    assert (leaf.kind, leaf.n) == ("page", 1)
    opened = open_picture(data)
    assert (opened.width, opened.height) == (1700, 2200)  # 200 dots an inch
    _solid(RED, (4000, 1000)).save(tmp_path / "poster.pdf", resolution=20.0)
    assert open_picture(first(tmp_path / "poster.pdf", always)[0]).width == page.LONGEST


@pytest.mark.parametrize("content", [b"%PDF-1.4\nnothing", b"%PDF", b"\n%PDF-1.7 \x00\xff" * 50])
def test_a_damaged_document_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pdf"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=r"page 1 of bad\.pdf cannot be drawn"):
        first(path, always)


def test_a_locked_document_says_so(tmp_path: Path) -> None:
    path = tmp_path / "locked.pdf"
    path.write_bytes(LOCKED)
    with pytest.raises(PictureError, match="locked with a password"):
        first(path, always)


def test_a_document_that_ends_or_stops_its_reader_leaves_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "any.pdf"
    path.write_bytes(b"%PDF-1.4")
    kill = "import os; os.kill(os.getpid(), 9)"
    monkeypatch.setattr(page, "command", lambda *_: [sys.executable, "-c", kill])
    with pytest.raises(PictureError, match="cannot be drawn"):
        first(path, always)
    sleep = "import time; time.sleep(60)"
    monkeypatch.setattr(page, "command", lambda *_: [sys.executable, "-c", sleep])
    monkeypatch.setattr(page, "LIMIT_S", 0.2)
    with pytest.raises(PictureError, match="takes too long"):
        first(path, always)


def test_turned_pictures_are_turned_clockwise(tmp_path: Path) -> None:
    image = _solid(RED, (60, 40))
    image.paste(BLUE, (0, 0, 10, 10))
    image.save(tmp_path / "a.png")
    upright, lying = (40, 60), (60, 40)
    spots = {1: (upright, (35, 5)), 2: (lying, (55, 35)), 3: (upright, (5, 55))}
    for quarters, (size, spot) in spots.items():
        turned = open_picture(Turned(tmp_path / "a.png", quarters).data(always)).image
        assert turned.size == size
        assert turned.getpixel(spot) == BLUE  # the corner that was above on the left


def test_a_file_that_was_replaced_says_so(three: Callable[[str], Path]) -> None:
    for ending in (".pdf", ".tiff"):
        path = three(ending)
        leaf = first(path, always)[1]
        _solid(RED).save(path, save_all=True, append_images=[_solid(GREEN)])
        with pytest.raises(PictureError, match="no page 3 any more"):
            leaf.moved(2).data(always)
        with pytest.raises(PictureError, match="has changed"):
            leaf.moved(1).data(always)


def test_what_was_filled_into_a_form_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "form.pdf"
    path.write_bytes(FORM)
    image = open_picture(first(path, always)[0]).image.convert("L")
    assert image.getextrema()[0] < 80  # the page has nothing but a filled field


def test_a_page_that_nobody_wants_any_more_is_not_drawn(
    three: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = three(".pdf")
    asked = iter([True, True, False])
    sleep = "import time; time.sleep(60)"
    monkeypatch.setattr(page, "command", lambda *_: [sys.executable, "-c", sleep])
    with pytest.raises(Cancelled):
        first(path, lambda: next(asked))


def test_a_page_whose_window_is_gone_ends_by_itself(tmp_path: Path) -> None:
    """The process of a killed window has another parent."""
    child = "from llavao1_gui.work import page; import os, time; page._die_alone(1)"
    done = subprocess.run(
        [sys.executable, "-c", child],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        timeout=PATIENCE_S,
    )
    assert done.returncode == page.DAMAGED


# --- in the window --------------------------------------------------------------------------------
def test_pages_are_chosen_in_the_window(make_window: Make, three: Callable[[str], Path]) -> None:
    window = make_window()
    pane = window.window.picture
    window.open(three(".pdf"))
    assert pane.leaf_tools.isVisible()
    assert pane.leaf.text() == "1 / 3"
    one = window.pictures.active
    window.ask("What is on the first page?")
    pane.leaf.setValue(3)
    window.wait(lambda: window.pictures.active is not one)
    assert len(window.pictures.pictures) == 1  # in its place
    assert _colour(window.pictures.file_of(window.pictures.active).read_bytes()) == BLUE
    assert not window.talk.exchanges  # another picture, another conversation
    assert window.ask("And on the last?").status == "answered"
    window.open(three(".gif"))
    window.wait(lambda: pane.leaf.text() == "1 / 3")
    window.open(OTHER)
    window.wait(lambda: not pane.leaf_tools.isVisible())


class Gate:
    """Holds leaves back until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.made: list[int] = []
        data = Leaf.data

        def held(leaf: Leaf, wanted: Callable[[], bool]) -> bytes:
            self.open.wait(PATIENCE_S)
            if not wanted():
                raise Cancelled("stopped")
            self.made.append(leaf.at)
            return data(leaf, wanted)

        monkeypatch.setattr(Leaf, "data", held)


def _settled(window: Window) -> None:
    window.pictures.loader._slow.wait()
    window.qtbot.wait(50)


@pytest.fixture
def paged(
    make_window: Make, three: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> tuple[Window, Gate]:
    """A window with a file of three pages and another picture; the first page is shown."""
    window = make_window()
    window.open(three(".tiff"))
    window.open(OTHER)
    window.pictures.activate(0)
    return window, Gate(monkeypatch)


@pytest.mark.parametrize(
    "meanwhile", ["there and back", "removed", "all away", "another", "reopen"]
)
def test_a_late_page_changes_nothing(paged: tuple[Window, Gate], meanwhile: str) -> None:
    window, gate = paged
    pictures, pane = window.pictures, window.window.picture
    window.ask("What?")
    about = window.talk.current.id
    pane.leaf.setValue(3)
    if meanwhile == "there and back":
        pictures.activate(1)
        pictures.activate(0)
    elif meanwhile == "removed":
        pictures.remove(0)
    elif meanwhile == "all away":
        pictures.remove_all()
    elif meanwhile == "other":
        pictures.activate(1)
    else:
        window.talk.new()
        pane.leaf.setValue(2)
        window.talk.open(about)
    before, active = list(pictures.pictures), pictures.active
    gate.open.set()
    _settled(window)
    assert pictures.pictures == before
    assert pictures.active is active
    assert gate.made == []
    if active is not None and active.leaf is not None:
        assert pane.leaf.text() == "1 / 3"


def test_a_held_key_turns_to_the_last_page_once(paged: tuple[Window, Gate]) -> None:
    window, gate = paged
    pane = window.window.picture
    for _ in range(2):
        window.qtbot.keyClick(pane.leaf, Qt.Key.Key_Up)
    assert not window.talk.ask("Which page is this?")  # it is on its way
    assert "still being opened" in window.banner
    gate.open.set()
    window.wait(lambda: window.pictures.active.leaf.at == 2)
    assert gate.made == [2]
    assert len(window.pictures.pictures) == 2
    assert pane.leaf.text() == "3 / 3"


def test_equal_pages_are_no_wall(make_window: Make, tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    colours = (RED, GREEN, GREEN, BLUE)
    pictures = [_solid(colour) for colour in colours]
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    window = make_window()
    window.open(path)
    for at in (1, 2, 3, 2, 1):
        window.window.picture.leaf.setValue(at + 1)
        window.wait(lambda at=at: window.pictures.active.leaf.at == at)
        kept = window.pictures.file_of(window.pictures.active).read_bytes()
        assert _colour(kept) == colours[at]
        assert len(window.pictures.pictures) == 1


def test_a_page_that_cannot_be_read_leaves_the_one_before(paged: tuple[Window, Gate]) -> None:
    window, gate = paged
    gate.open.set()
    window.pictures.active.leaf.source.write_bytes(b"nothing")
    window.window.picture.leaf.setValue(2)
    window.wait(lambda: "cannot be drawn" in window.banner)
    assert window.window.picture.leaf.text() == "1 / 3"


def test_a_document_is_known_again_with_its_pages(
    make_window: Make, three: Callable[[str], Path]
) -> None:
    """Its first page was pasted before."""
    window = make_window()
    path = three(".pdf")
    window.pictures.add([first(path, always)[0]])
    window.wait(lambda: len(window.pictures.pictures) == 1)
    assert not window.window.picture.leaf_tools.isVisible()
    window.pictures.add([path])
    window.wait(window.window.picture.leaf_tools.isVisible)
    assert len(window.pictures.pictures) == 1


def test_a_turned_page_keeps_its_document(paged: tuple[Window, Gate]) -> None:
    window, gate = paged
    window.pictures.rotate(1)
    window.pictures.rotate(1)  # before the first has come: half a turn in all
    window.pictures.rotate(1)
    gate.open.set()
    window.wait(lambda: window.pictures.active.leaf.quarters == 3)
    assert (window.pictures.active.width, window.pictures.active.height) == (40, 60)
    window.window.picture.leaf.setValue(2)
    window.wait(lambda: window.pictures.active.leaf.at == 1)
    assert (window.pictures.active.width, window.pictures.active.height) == (40, 60)


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
    window.qtbot.mouseClick(strip.viewport(), Qt.MouseButton.RightButton, pos=where)
    assert len(window.pictures.pictures) == 2
    window.qtbot.mouseClick(strip.viewport(), Qt.MouseButton.LeftButton, pos=where)
    window.wait(lambda: len(window.pictures.pictures) == 1)
    assert window.pictures.active.name == OTHER.name


# --- the taskbar ----------------------------------------------------------------------------------
PROBE = """
import sys
from PySide6.QtCore import QCoreApplication
from llavao1_gui.taskbar import TaskbarIcon
application, icon = QCoreApplication([]), TaskbarIcon()
for share in (0.25, 0.2501, 0.5):
    icon.show("models", share)
icon.show("batch", 0.7)  # with the other: 0.6
icon.show("models", None)
icon.close()
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
        f"until grep -c boolean {said} | grep -q 5; do sleep 0.1; done"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = ["dbus-run-session", "--", "sh", "-c", listen]
    subprocess.run(command, env=environment, timeout=PATIENCE_S, check=True, capture_output=True)
    text = said.read_text()
    assert text.count("member=Update") == 5  # what changed by less than a hundredth is not told
    assert [line.split()[-1] for line in text.splitlines() if "double" in line] == [
        "0.25",
        "0.5",
        "0.6",
        "0.7",
        "0",
    ]
    assert text.count("boolean false") == 1
