"""Pictures in, questions, answers, and what goes wrong; with the scripted engine's process."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QMimeData, QPoint, QPointF, QRect, QSize, Qt, QUrl
from PySide6.QtGui import QGuiApplication, QImage, QPixmap, QScreen
from PySide6.QtWidgets import QInputDialog, QMessageBox

from llavao1_gui import app as gui
from llavao1_gui.models.history import RUNNING
from llavao1_gui.state.messages import Load
from llavao1_gui.widgets.kept_dialog import KeptDialog
from llavao1_gui.widgets.question_box import LONGEST
from llavao1_gui.widgets.region import RegionChooser
from tests.gui.conftest import OTHER, SHAPES, THIRD, Window, drop, locked, urls

Make = Callable[..., Window]


# --- pictures in ----------------------------------------------------------------------------------
def test_dropped_files_are_shown_and_a_bad_one_says_why(make_window: Make, tmp_path: Path) -> None:
    window = make_window()
    assert window.window.picture.pages.currentIndex() == 0
    bad = tmp_path / "notes.png"
    bad.write_text("no picture")
    drop(window, urls(SHAPES, bad, OTHER))
    window.wait(lambda: len(window.pictures.pictures) == 2)
    assert window.window.picture.pages.currentIndex() == 1
    assert window.window.picture.strip.isVisible()
    assert "notes.png" in window.banner
    assert "not a picture" in window.banner
    assert window.pictures.active is not None
    assert window.pictures.active.name == SHAPES.name  # the first of what was dropped


def test_a_picture_of_another_computer_is_refused_with_a_way_out(make_window: Make) -> None:
    window = make_window()
    drop(window, urls("https://example.org/a.png"))
    assert "https://example.org/a.png is not on this computer" in window.banner


def test_a_picture_dragged_out_of_a_page_is_a_picture(make_window: Make) -> None:
    """Its address holds it whole; the banner once showed all of it."""
    window = make_window()
    inside = base64.b64encode(SHAPES.read_bytes()).decode()
    drop(window, urls(f"data:image/png;base64,{inside}"))
    window.wait(lambda: len(window.pictures.pictures) == 1)
    drop(window, urls("data:text/html;base64," + "A" * 3_000_000))
    assert len(window.banner) < 200
    assert "not on this computer" in window.banner
    drop(window, urls(OTHER))  # what was said about the one before is no news any more
    window.wait(lambda: len(window.pictures.pictures) == 2)
    assert window.banner == ""


def test_a_file_address_with_the_name_of_this_computer(make_window: Make) -> None:
    window = make_window()
    data = QMimeData()
    data.setUrls([QUrl(SHAPES.as_uri().replace("file:///", "file://localhost/"))])
    drop(window, data)
    window.wait(lambda: len(window.pictures.pictures) == 1)


def test_a_drag_with_nothing_in_it_is_said(make_window: Make) -> None:
    window = make_window()
    data = QMimeData()
    data.setData("text/uri-list", b"")
    data.setData("image/png", b"")
    drop(window, data)
    assert "Nothing came with that" in window.banner
    data.setImageData(QImage(str(SHAPES)))  # an empty PNG beside a good picture
    drop(window, data)
    window.wait(lambda: len(window.pictures.pictures) == 1)


def test_cells_of_a_spreadsheet_are_text_in_the_question(make_window: Make) -> None:
    window = make_window()
    data = QMimeData()
    data.setText("Region\tSales\nSeoul\t12")
    data.setHtml("<table><tr><td>Seoul</td><td>12</td></tr></table>")
    data.setImageData(QImage(str(SHAPES)))
    field = window.window.answers.box.field
    field.insertFromMimeData(data)
    assert "Seoul\t12" in field.toPlainText()
    assert not window.pictures.pictures
    # A picture copied in a browser comes with its address; it is a picture all the same.
    data = QMimeData()
    data.setText("https://example.org/cat.png")
    data.setImageData(QImage(str(SHAPES)))
    field.insertFromMimeData(data)
    window.wait(lambda: len(window.pictures.pictures) == 1)


def test_raw_picture_data_and_the_clipboard(make_window: Make) -> None:
    window = make_window()
    data = QMimeData()
    data.setData("image/png", SHAPES.read_bytes())
    drop(window, data)
    window.wait(lambda: len(window.pictures.pictures) == 1)
    image = QImage(40, 30, QImage.Format.Format_RGB32)
    image.fill(Qt.GlobalColor.red)
    QGuiApplication.clipboard().setImage(image)
    window.qtbot.keyClick(window.window, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    window.wait(lambda: len(window.pictures.pictures) == 2)
    found = window.pictures.active
    assert found is not None
    assert (found.width, found.height) == (40, 30)
    QGuiApplication.clipboard().setText("only text")
    window.app.paste()
    assert window.window.answers.box.field.toPlainText() == "only text"


def test_a_picture_pasted_into_the_question_is_a_picture(make_window: Make) -> None:
    window = make_window()
    field = window.window.answers.box.field
    QGuiApplication.clipboard().setMimeData(urls(SHAPES))
    field.setFocus()
    window.qtbot.keyClick(field, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    window.wait(lambda: len(window.pictures.pictures) == 1)
    assert field.toPlainText() == ""
    QGuiApplication.clipboard().setText("words")
    window.qtbot.keyClick(field, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    assert field.toPlainText() == "words"


def test_the_same_picture_twice_is_one(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.pictures.add([SHAPES, OTHER])
    window.wait(lambda: len(window.pictures.pictures) == 2)


def test_exif_and_transparency_go_through_the_same_loader(
    make_window: Make, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turned by 90 degrees
    Image.new("RGB", (40, 20), "red").save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    window = make_window({}, str(tmp_path / "turned.jpg"), str(tmp_path / "clear.png"))
    window.wait(lambda: len(window.pictures.pictures) == 2)
    turned, clear = window.pictures.pictures
    assert (turned.width, turned.height) == (20, 40)
    assert clear.thumbnail.pixelColor(4, 4).name() == "#ffffff"


def test_only_the_picture_that_is_shown_is_in_memory(make_window: Make, tmp_path: Path) -> None:
    """The others are thumbnails; going back reads the kept file again."""
    for number in range(4):
        picture = Image.effect_noise((3000, 2000), 60 + number).convert("RGB")
        picture.save(tmp_path / f"photo {number}.jpg")
    window = make_window()
    window.open(*sorted(tmp_path.glob("photo *.jpg")))
    kept = sum(found.thumbnail.sizeInBytes() for found in window.pictures.pictures)
    assert kept < 4 * 40_000
    view = window.window.picture.view
    assert view._image.width() == 2048
    window.pictures.activate(3)
    assert view._image.width() == 112  # at once, and then as it is
    window.wait(lambda: view._image.width() == 2048)
    window.app.act("close_all")
    assert window.pictures.pictures == []
    assert window.window.picture.strip.count() == 0
    assert not view.has_picture


def test_thumbnails_of_strips_are_seen_and_the_delete_key_puts_one_away(
    make_window: Make, tmp_path: Path
) -> None:
    Image.new("RGB", (9000, 30), "red").save(tmp_path / "wide.png")
    Image.new("RGB", (30, 9000), "red").save(tmp_path / "tall.png")
    window = make_window()
    window.open(tmp_path / "wide.png", tmp_path / "tall.png")
    sizes = [found.thumbnail.size() for found in window.pictures.pictures]
    assert [(size.width(), size.height()) for size in sizes] == [(112, 28), (28, 112)]
    strip = window.window.picture.strip
    strip.setFocus()
    window.qtbot.keyClick(strip, Qt.Key.Key_Delete)
    assert [found.name for found in window.pictures.pictures] == ["tall.png"]


def test_zooming_in_shows_the_pixels_of_the_file(make_window: Make, tmp_path: Path) -> None:
    """A pattern finer than the screen's copy of the picture."""
    stripes = np.zeros((3000, 4000, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    window = make_window({}, str(tmp_path / "stripes.png"))
    view = window.window.picture.view
    window.wait(lambda: view.has_picture)
    view.zoom(16)
    window.wait(lambda: view._detail is not None)
    left, top, right, bottom = view._detail[0]  # type: ignore[index]
    assert 0 < right - left < 1000
    detail = view._detail[1]  # type: ignore[index]
    assert detail.size() == QSize(right - left, bottom - top)
    levels = {detail.pixelColor(x, 5).red() for x in range(8)}
    assert levels == {0, 255}
    grey = view._image.pixelColor(1000, 700).red()
    assert 0 < grey < 255  # which the copy cannot show


def test_a_picture_with_too_many_pixels_is_refused(make_window: Make, tmp_path: Path) -> None:
    Image.new("1", (20_000, 10_000)).save(tmp_path / "huge.png")
    window = make_window({}, str(tmp_path / "huge.png"))
    window.wait(lambda: "million pixels" in window.banner)


# --- asking ---------------------------------------------------------------------------------------
def test_a_question_is_answered_and_the_next_one_reuses_the_picture(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    first = window.ask("How many shapes?")
    assert (first.status, first.conclusion) == ("answered", "3")
    assert window.cards[0].conclusion.markdown == "3"
    assert not window.cards[0].details.isVisible()
    window.qtbot.mouseClick(window.cards[0].fold, Qt.MouseButton.LeftButton)
    assert "three shapes" in window.cards[0].sections["caption"].text.toPlainText()
    second = window.ask("And now?")
    assert second.request["reused"] is True
    assert "picture known" in window.cards[1].facts.text()
    assert second.trace["strategy"] == "stage-beam"
    assert window.window.answers.box.field.toPlainText() == ""


def test_what_cannot_be_asked_is_said_and_the_question_stays(make_window: Make) -> None:
    window = make_window()
    box = window.window.answers.box
    assert not box.ask_button.isEnabled()
    window.type("Anything there?")
    assert "no picture" in window.banner
    assert box.field.toPlainText() == "Anything there?"
    window.open(SHAPES)
    box.set_text("   ")
    window.app.ask("   ")
    assert "empty" in window.banner
    box.set_text("x" * 100_000)
    window.app.ask(box.field.toPlainText())
    assert f"at most {LONGEST}" in window.banner
    assert len(box.field.toPlainText()) == 100_000
    assert window.talk.exchanges == []


def test_stop_ends_the_answer_and_keeps_what_there_was(make_window: Make) -> None:
    window = make_window({"token_s": 0.02})
    window.open(SHAPES)
    window.type("How many?")
    window.wait(lambda: window.talk.live is not None and window.talk.live.stage == "caption")
    box = window.window.answers.box
    assert box.stop_button.isVisible()
    assert not box.ask_button.isVisible()
    tokens = window.talk.live.tokens  # type: ignore[union-attr]
    window.qtbot.mouseClick(box.stop_button, Qt.MouseButton.LeftButton)
    window.wait(lambda: not window.talk.busy)
    found = window.talk.exchanges[-1]
    assert found.status == "stopped"
    assert found.stages["summary"]
    assert window.talk.live.tokens - tokens < 12  # type: ignore[union-attr]
    assert box.ask_button.isVisible()
    assert window.ask("Again?").status == "answered"


def test_progress_is_shown_while_it_thinks(make_window: Make) -> None:
    window = make_window({"token_s": 0.01})
    window.open(SHAPES)
    window.type("How many?")
    window.wait(lambda: window.talk.live is not None and window.talk.live.stage == "reasoning")
    card = window.cards[0]
    assert card.steps.isVisible()
    assert "● Reasoning" in card.steps.text()
    assert "✓ Summary" in card.steps.text()
    window.wait(
        lambda: "tokens/s" in card.status.text() and "of 4 candidates" in card.status.text()
    )
    window.wait(lambda: not window.talk.busy)
    assert not card.steps.isVisible()


def test_an_engine_that_dies_leaves_the_window_and_starts_again(make_window: Make) -> None:
    window = make_window({"dies": "crash", "token_s": 0.005})
    window.open(SHAPES)
    assert window.ask("Fine?").status == "answered"
    failed = window.ask("Please crash now")
    assert failed.status == "failed"
    assert "ended unexpectedly" in failed.error
    assert "it crashed" in failed.error
    assert failed.stages  # what was written so far
    assert window.ask("Fine again?").conclusion == "3"


def test_a_killed_engine_between_questions_is_told_and_started_again(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.ask("One?")
    os.kill(window.app.link.pid, signal.SIGKILL)
    window.wait(lambda: "ended unexpectedly (something ended it" in window.banner)
    assert window.ask("Two?").status == "answered"


def test_an_error_of_the_engine_is_shown_with_its_hint(make_window: Make) -> None:
    window = make_window({"fail": {"memory": "not enough memory"}})
    window.open(SHAPES)
    assert window.ask("About memory").error == "not enough memory\nThe script wanted it so."
    assert "not enough memory" in window.cards[0].problem.text()
    assert window.ask("Fine?").status == "answered"


def test_again_takes_another_seed(make_window: Make) -> None:
    window = make_window()
    window.app.change(preset="fast")
    window.open(SHAPES)
    assert window.ask("How many?").conclusion == "3"
    window.qtbot.mouseClick(window.cards[0].again_button, Qt.MouseButton.LeftButton)
    window.wait(lambda: len(window.talk.exchanges) == 2 and not window.talk.busy)
    assert [one.request["seed"] for one in window.talk.exchanges] == [0, 1]
    # The first is the likeliest answer; another seed would not change that, so it draws.
    assert [one.request["sampling"] for one in window.talk.exchanges] == [{"temperature": 0}, {}]
    assert window.talk.exchanges[1].conclusion == "2"
    assert "seed 1" in window.cards[1].facts.text()


def test_presets_and_expert_settings_decide_the_search(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    for preset, expected in (
        ("fast", {}),
        ("careful", {"candidates": 4}),
        ("thorough", {"candidates": 8}),
    ):
        box = window.window.answers.box
        box.preset.setCurrentIndex(box.preset.findData(preset))
        box.preset.activated.emit(box.preset.currentIndex())
        found = window.ask(f"{preset}?")
        assert found.status == "answered", found.error
        assert found.trace["options"] | expected == found.trace["options"]
    window.app.change(preset="expert", strategy="best-of-n", groups={"search": {"candidates": 3}})
    found = window.ask("expert?")
    assert found.trace["strategy"] == "best-of-n"
    assert found.trace["options"]["candidates"] == 3


def test_copying_an_answer(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.ask("How many?")
    window.qtbot.mouseClick(window.cards[0].copy_button, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == "3"


# --- a part, and what the model sees --------------------------------------------------------------
def test_a_part_is_drawn_with_the_mouse_and_asked_about(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.ask("All?")
    pane = window.window.picture
    window.qtbot.mouseClick(pane.crop_button, Qt.MouseButton.LeftButton)
    target = pane.view.target()
    start = target.topLeft().toPoint() + QPoint(10, 10)
    end = (target.topLeft() + QPointF(target.width() / 2, target.height() / 2)).toPoint()
    window.qtbot.mousePress(pane.view, Qt.MouseButton.LeftButton, pos=start)
    window.qtbot.mouseMove(pane.view, end)
    window.qtbot.mouseRelease(pane.view, Qt.MouseButton.LeftButton, pos=end)
    part = window.pictures.part
    assert part is not None
    assert abs(part[2] - 240) <= 2  # half of 480 original pixels
    assert not pane.crop_button.isChecked()
    assert "About a part" in window.window.answers.box.part.text()
    box = window.window.answers.box
    assert box.part_image.isVisible()
    asked = window.ask("This part?")  # in the same conversation
    assert len(window.talk.exchanges) == 2
    assert asked.request["crop"] == part
    assert [card.part.isVisible() for card in window.cards] == [False, True]
    window.qtbot.mouseClick(window.window.answers.box.whole_button, Qt.MouseButton.LeftButton)
    assert window.pictures.part is None
    assert window.ask("All again?").request["crop"] is None
    assert len(window.app.history.conversations()) == 1


def test_a_part_can_be_chosen_with_the_keyboard(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    view = window.window.picture.view
    view.setFocus()
    window.qtbot.keyClick(view, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert window.pictures.part is not None
    window.qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert window.pictures.part is None


def test_a_region_of_the_screen_is_chosen_with_the_mouse(make_window: Make) -> None:
    window = make_window()
    shot = QPixmap(400, 200)
    shot.fill(Qt.GlobalColor.blue)
    for escape in (True, False):
        chooser = RegionChooser(shot, QRect(0, 0, 200, 100))  # a desktop scaled by two
        chooser.chosen.connect(window.pictures._screenshots._give)
        chooser.left.connect(window.window.show)
        window.window.hide()
        chooser.show()
        if escape:
            window.qtbot.keyClick(chooser, Qt.Key.Key_Escape)
            assert window.window.isVisible()
            continue
        window.qtbot.mousePress(chooser, Qt.MouseButton.LeftButton, pos=QPoint(10, 10))
        window.qtbot.mouseMove(chooser, QPoint(60, 40))
        window.qtbot.mouseRelease(chooser, Qt.MouseButton.LeftButton, pos=QPoint(60, 40))
    window.wait(lambda: window.pictures.active is not None)
    assert window.window.isVisible()
    found = window.pictures.active
    assert found is not None
    assert abs(found.width - 100) <= 2  # twice the 50 of the widget
    assert abs(found.height - 60) <= 2


def test_a_screenshot_that_the_desktop_refuses_says_so(
    make_window: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make_window()
    monkeypatch.setattr(QScreen, "grabWindow", lambda *_: QPixmap())
    window.app.act("region")
    window.wait(lambda: "does not let programs take screenshots" in window.banner)
    assert window.window.isVisible()


def test_what_the_model_sees(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.wait(lambda: window.pictures.tiling == (56, 4))  # the model told its own
    window.app.act("sight")
    pane = window.window.picture
    assert pane.view.sight is not None
    assert "2 × 2 tiles of 56 pixels" in pane.sight_text.text()
    assert pane.view.grab().toImage().pixelColor(5, 5).isValid()
    window.app.act("sight")
    assert pane.view.sight is None


def test_another_picture_is_put_away_and_the_shown_one_stays(make_window: Make) -> None:
    window = make_window()
    window.open(OTHER)
    window.open(SHAPES)
    window.open(THIRD)
    window.pictures.activate(1)
    window.ask("How many circles?")
    asked, strip = window.talk.current, window.window.picture.strip
    for at, left in ((2, 1), (0, 0)):
        window.pictures.remove(at)
        assert (window.pictures.at, strip.currentRow()) == (left, left)
        assert window.pictures.active.name == SHAPES.name
        assert (window.talk.current, len(window.talk.exchanges)) == (asked, 1)
    window.pictures.step(1)  # there is no other one
    assert (window.talk.current, len(window.talk.exchanges)) == (asked, 1)
    window.pictures.remove(0)
    assert window.pictures.active is None


# --- history --------------------------------------------------------------------------------------
def test_history_is_searched_renamed_deleted_and_brought_back(
    make_window: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make_window()
    window.open(SHAPES)
    window.ask("How many circles?")
    window.open(OTHER)
    window.ask("Where is the square?")
    sidebar = window.window.sidebar
    titles = lambda: [found.title for found in sidebar.model.conversations]  # noqa: E731
    assert titles() == ["Where is the square?", "How many circles?"]
    window.app.act("search")
    window.qtbot.keyClicks(sidebar.search, "CIRC")
    assert titles() == ["How many circles?"]
    sidebar.search.clear()
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: ("Square", True))
    window.app.act("rename")
    assert "Square" in titles()
    window.app.act("delete")
    assert titles() == ["How many circles?"]
    assert window.talk.exchanges == []
    assert "deleted" in window.banner
    action = window.window.answers.banner.action
    window.qtbot.mouseClick(action, Qt.MouseButton.LeftButton)
    assert titles() == ["Square", "How many circles?"]


def test_a_conversation_opens_again_with_its_picture_and_part(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.pictures.set_part((10, 20, 200, 220))
    window.ask("In this part?")
    window.window.close()
    again = make_window()
    assert again.window.picture.pages.currentIndex() == 0
    sidebar = again.window.sidebar
    sidebar.list.clicked.emit(sidebar.model.index(0))
    again.wait(lambda: again.pictures.active is not None)
    assert again.pictures.part == (10, 20, 200, 220)
    assert again.cards[0].conclusion.markdown == "3"
    follow = again.ask("And then?")
    assert follow.status == "answered"
    assert len(again.talk.exchanges) == 2
    again.wait(lambda: all(card.part.isVisible() for card in again.cards))


def test_asking_elsewhere_waits_its_turn(make_window: Make) -> None:
    """The running conversation is marked, what was typed stays with its conversation."""
    window = make_window({"token_s": 0.005})
    window.open(SHAPES)
    window.ask("First?")
    first = window.talk.current
    window.type("Slow?")
    window.wait(lambda: window.talk.live is not None and bool(window.talk.live.stages))
    box, model = window.window.answers.box, window.window.sidebar.model
    window.qtbot.keyClicks(box.field, "half a thought")
    window.app.act("new")
    assert box.field.toPlainText() == ""
    assert box.ask_button.isVisible()
    window.type("Elsewhere?")
    second = window.talk.current
    window.wait(lambda: "Waiting for another answer" in window.cards[0].status.text())
    assert window.talk.running == {first.id, second.id}
    assert [model.data(model.index(row), RUNNING) for row in range(2)] == [True, True]
    window.talk.open(first.id)
    assert box.field.toPlainText() == "half a thought"
    assert box.stop_button.isVisible()
    window.talk.open(second.id)
    window.wait(lambda: not window.talk.busy)
    answers = [window.app.history.exchanges(one.id)[-1] for one in (first, second)]
    assert [(one.status, one.conclusion) for one in answers] == [("answered", "3")] * 2
    assert window.cards[0].conclusion.markdown == "3"
    assert not model.data(model.index(0), RUNNING)


def test_a_question_that_waits_can_be_stopped(make_window: Make) -> None:
    window = make_window({"token_s": 0.005})
    window.open(SHAPES)
    window.type("Slow?")
    first = window.talk.current
    window.app.act("new")
    window.type("Not now?")
    window.qtbot.mouseClick(window.window.answers.box.stop_button, Qt.MouseButton.LeftButton)
    assert window.talk.exchanges[0].status == "stopped"
    assert window.talk.running == {first.id}
    window.wait(lambda: not window.talk.busy)
    assert window.app.history.exchanges(first.id)[0].status == "answered"


def test_reading_the_picture_shows_how_far_it_is(make_window: Make) -> None:
    """And, once such answers are known, about how long the whole takes."""
    window = make_window({"picture_s": 1.2, "token_s": 0.002})
    window.open(SHAPES)
    window.type("First?")
    said: list[str] = []

    def read() -> bool:
        said.append(window.cards[0].status.text())
        return not window.talk.busy

    window.wait(read)
    shares = [int(found[1]) for text in said if (found := re.search(r"picture · (\d+) %", text))]
    assert shares == sorted(shares)
    assert len(set(shares)) > 3
    assert shares[-1] > 50
    window.ask("Second?")
    window.open(OTHER)
    window.pictures.activate(1)
    history = window.app.history
    model, preset = window.app.preferences.model, window.app.preferences.preset
    known = history.typical_seconds(model, preset)
    assert known is not None
    assert history.typical_seconds(model, "another") is None
    window.type("Third?")
    assert window.talk.live is not None
    assert window.talk.live.expected == known
    window.wait(lambda: not window.talk.busy)


def test_all_bad_files_of_a_drop_are_named(make_window: Make, tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"bad {number}.png").write_text("no picture")
    window = make_window()
    drop(window, urls(*sorted(tmp_path.glob("bad *.png"))))
    window.wait(lambda: "And 2 more" in window.banner)
    assert all(f"bad {number}.png" in window.banner for number in range(4))
    drop(window, urls(SHAPES))
    window.wait(lambda: window.banner == "")


def test_what_was_said_is_no_news_once_it_works(make_window: Make) -> None:
    window = make_window()
    window.window.answers.box.set_text("How many?")
    window.app.ask("How many?")
    assert "no picture yet" in window.banner
    window.open(SHAPES)
    assert window.banner == ""
    window.app.link.send(Load("demo", {}))
    window.ask("Works?")
    window.talk._engine_ended("it crashed")
    assert "ended unexpectedly" in window.banner
    window.ask("And now?")
    assert window.banner == ""


def test_a_data_folder_that_cannot_be_opened_is_told_in_a_window(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, qtbot: object
) -> None:
    (tmp_path / "file").write_text("in the way")
    said: list[str] = []
    monkeypatch.setattr(
        QMessageBox, "exec", lambda box: said.append(f"{box.text()} {box.informativeText()}")
    )
    home = ["--data", str(tmp_path / "file" / "data"), "--config", str(tmp_path / "config")]
    assert gui.main(home) == 1
    assert "the history cannot be opened" in said[0]
    assert "permissions" in said[0]


def test_the_stored_copy_outlives_the_file(make_window: Make, tmp_path: Path) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(SHAPES.read_bytes())
    window = make_window()
    window.open(copy)
    copy.unlink()  # between drop and question
    assert window.ask("Still there?").status == "answered"
    window.app.history.picture_path(window.pictures.active.digest).unlink()  # type: ignore[union-attr]
    window.type("And now?")
    assert "stored copy" in window.banner


def test_what_another_window_blocks_is_saved_later(
    make_window: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llavao1_gui.saving.RETRY_MS", 100)
    window = make_window()
    window.open(SHAPES)
    with locked(tmp_path / "home"):
        found = window.ask("Blocked?")
        assert found.conclusion == "3"
        window.wait(lambda: "another window is writing" in window.banner)
        assert found.id == 0
    window.wait(lambda: found.id > 0)
    assert window.app.history.exchanges(1)[0].conclusion == "3"


def test_an_answer_goes_on_when_its_conversation_is_left_and_opened_again(
    make_window: Make,
) -> None:
    window = make_window({"token_s": 0.01})
    window.open(SHAPES)
    window.type("Slow?")
    window.wait(lambda: window.talk.live is not None and bool(window.talk.live.stages))
    window.app.act("new")
    assert window.cards == []
    window.talk.open(1)
    window.wait(lambda: window.cards[0].steps.isVisible())  # still being written, and shown
    window.app.act("new")
    window.wait(lambda: not window.talk.busy)
    assert window.app.history.exchanges(1)[0].conclusion == "3"
    assert window.ask("Next?").status == "answered"
    assert len(window.app.history.conversations()) == 2


def test_deleting_can_be_undone_and_deleted_now_is_gone(
    make_window: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make_window()
    app, history = window.app, window.app.history
    window.open(SHAPES)
    window.ask("First?")
    window.open(OTHER)
    window.pictures.activate(1)
    window.ask("Second?")
    first, second = (1, 2)
    app.kept.delete(first)
    app.kept.delete(second)
    assert history.conversations() == []
    window.qtbot.keyClick(window.window.sidebar, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert [one.id for one in history.conversations()] == [second]
    app.act("undo")
    assert {one.id for one in history.conversations()} == {first, second}
    app.act("undo")  # nothing is left to undo
    app.kept.delete(first)
    app.kept.delete(second)
    dialog = app.kept.show()
    assert dialog.list.count() == 2
    assert "take" in dialog.taken.text()
    dialog.list.setCurrentRow(0)
    window.qtbot.mouseClick(dialog.restore_button, Qt.MouseButton.LeftButton)
    assert [one.id for one in history.conversations()] == [second]
    assert dialog.list.count() == 1
    picture = history.picture_path(window.pictures.pictures[0].digest)
    window.pictures.remove(0)
    monkeypatch.setattr(KeptDialog, "_sure", lambda *_: True)
    window.qtbot.mouseClick(dialog.erase_button, Qt.MouseButton.LeftButton)
    assert history.deleted() == []
    assert not picture.exists()
    app.act("undo")
    assert [one.id for one in history.conversations()] == [second]
    dialog.close()


def test_clearing_the_history_ends_the_answer_that_is_written(
    make_window: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it comes back, and the next question is a first one."""
    window = make_window({"token_s": 0.01})
    window.open(SHAPES)
    window.type("Slow?")
    window.wait(lambda: window.talk.live is not None and bool(window.talk.live.stages))
    monkeypatch.setattr(KeptDialog, "_sure", lambda *_: True)
    dialog = window.app.kept.show()
    window.qtbot.mouseClick(dialog.clear_button, Qt.MouseButton.LeftButton)
    dialog.close()
    assert window.cards == []
    assert not window.talk.busy
    assert window.app.history.conversations() == []
    assert window.ask("Next?").status == "answered"
    assert [one.title for one in window.app.history.conversations()] == ["Next?"]
    assert window.banner == ""


def test_a_damaged_history_and_bad_settings_are_told(make_window: Make, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "history.sqlite").write_bytes(b"damaged" * 1000)
    (home / "settings.json").write_text(json.dumps({"theme": "pink", "language": "en"}))
    window = make_window()
    assert "set aside" in window.banner
    assert "theme is 'pink'" in window.banner
    assert list(home.glob("history-damaged-*"))
