"""What a second pair of eyes found in the window, each as the user would meet it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PySide6.QtGui import QFontMetricsF
from PySide6.QtWidgets import QApplication, QCheckBox

from llavao1_edge import demo
from llavao1_gui.instance import Door, hand_over
from llavao1_gui.state.history import HistoryError
from llavao1_gui.widgets import theme
from llavao1_gui.widgets.tree_view import two_lines
from tests.gui.conftest import OTHER, SHAPES, Window, drop, urls
from tests.gui.test_dialogs import contrast

Make = Callable[..., Window]


def test_asking_again_is_about_the_same_part(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.pictures.set_part((0, 0, 50, 60))
    first = window.ask("What is here?")
    window.pictures.set_part(None)
    window.talk.again(first)
    window.wait(lambda: not window.talk.busy)
    again = window.talk.exchanges[-1]
    assert again.request["crop"] == (0, 0, 50, 60)
    assert again.request["turn"] == first.request["turn"]
    assert window.pictures.part is None


def test_the_word_about_the_demo_replaces_no_error(make_window: Make, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    window = make_window({"answers": {"What": {"conclusion": [demo.UNKNOWN]}}})
    window.open(SHAPES)
    window.talk.ask("What?")
    drop(window, urls(bad))
    window.wait(lambda: "bad.png" in window.banner and not window.talk.busy)
    assert "knows simple charts" not in window.banner
    window.window.answers.banner.hide()
    window.app.change(preset="fast")
    assert window.banner == ""  # closed is closed
    window.ask("What?")
    assert "knows simple charts" in window.banner
    window.app.change(model="another")
    assert window.banner == ""


def test_what_is_not_saved_stays_said(make_window: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    window = make_window()
    window.open(SHAPES)
    window.ask("Saved?")

    def fail(*_: Any) -> None:
        raise HistoryError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(window.app.history, "save", fail)
        window.ask("Not saved?")
        window.ask("Nor this?")
        assert "the disk is full" in window.banner
        assert not window.talk.saver.save_for(0)
        here = window.talk.current
        assert here is not None
        window.app.act("new")
        window.talk.open(here.id)  # what only the window knows is still there
        assert [one.question for one in window.talk.exchanges] == [
            "Saved?", "Not saved?", "Nor this?",
        ]  # fmt: skip
    assert window.talk.saver.save_for(1)
    assert len(window.app.history.exchanges(here.id)) == 3


def test_pictures_that_are_put_away_while_they_load_stay_away(
    make_window: Make, tmp_path: Path
) -> None:
    for number in range(8):
        Image.effect_noise((1500, 1500), 40 + number).convert("RGB").save(
            tmp_path / f"{number}.png"
        )
    window = make_window()
    window.pictures.add(sorted(tmp_path.glob("?.png")))
    window.wait(lambda: len(window.pictures.pictures) == 1)
    window.app.act("close_all")
    window.pictures.loader.background.wait()
    window.qtbot.wait(50)
    assert window.pictures.pictures == []
    window.open(SHAPES)
    assert window.window.picture.strip.count() == 1


def test_what_was_brought_back_in_the_list_is_not_undone_again(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.ask("First?")
    window.open(OTHER)
    window.pictures.activate(1)
    window.ask("Second?")
    window.app.kept.delete(1)
    window.app.kept.delete(2)
    dialog = window.app.kept.show()
    dialog.restored.emit([2])
    dialog.close()
    window.app.act("undo")
    assert {one.id for one in window.app.history.conversations()} == {1, 2}


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Python has no Unix sockets here")
def test_a_window_that_was_asked_for_by_name_takes_no_door(
    make_window: Make, tmp_path: Path
) -> None:
    """The first one goes on being found; and its door is closed before anything else."""
    window = make_window()
    home = tmp_path / "home"
    second = Door(home, window.app)
    second.close()
    assert (home / "window.socket").exists()
    # A start that asks from this process would wait for itself: only the address is looked at.
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(str(home / "window.socket"))
    window.window.close()
    assert not hand_over(home, [])


def test_a_fault_in_the_background_does_not_end_it(
    make_window: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    window = make_window()
    background = window.pictures.loader.background
    background.start("fault", lambda: 1 / 0)
    background.wait()
    assert "ZeroDivisionError" in capsys.readouterr().err
    window.open(SHAPES)
    assert window.ask("Still there?").status == "answered"


def test_a_running_question_that_is_not_saved_is_shown_once(
    make_window: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits to be saved, and it is being answered."""
    window = make_window({"token_s": 0.01})
    window.open(SHAPES)
    window.ask("Saved?")
    here = window.talk.current
    assert here is not None

    def fail(*_: Any) -> None:
        raise HistoryError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(window.app.history, "save", fail)
        window.type("Not saved, and slow?")
        window.app.act("new")
        window.talk.open(here.id)
        asked = [one.question for one in window.talk.exchanges]
        assert asked == ["Saved?", "Not saved, and slow?"]
        window.wait(lambda: window.cards[1].steps.isVisible())  # followed while it is written
        window.wait(lambda: not window.talk.busy)
    assert window.cards[1].conclusion.markdown == "3"


def test_a_folded_question_follows_the_theme(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.app.ask("Is this a circle? " * 100)
    window.wait(lambda: not window.talk.busy)
    button = window.cards[0].whole_question.button
    before = button.icon().pixmap(16, 16).toImage()
    window.app.change(theme="dark")
    assert button.icon().pixmap(16, 16).toImage() != before


def test_menus_offer_what_can_be_done(make_window: Make) -> None:
    """While a menu is open; keys act at any time."""
    window = make_window()
    menus, actions = window.window.menus, window.window.actions_by_name

    def offered(*menu: str) -> set[str]:
        for name in menu:
            menus[name].aboutToShow.emit()
        found = {name for name, action in actions.items() if action.isEnabled()}
        for name in menu:
            menus[name].aboutToHide.emit()
        assert all(action.isEnabled() for action in actions.values())
        return found

    always = {"open", "paste", "new", "quit", "settings", "models", "shortcuts", "search"}
    of_answers = {"again", "instead", "edit", "copy", "candidates", "export"}
    assert always <= offered("file")
    assert not offered("answer") & (of_answers | {"stop", "undo", "part", "rename", "delete"})
    window.open(SHAPES)
    assert {"part", "whole", "sight", "close_all"} <= offered("picture")
    assert "next_picture" not in offered("picture")
    window.open(OTHER)
    assert {"next_picture", "previous_picture"} <= offered("picture")
    window.ask("How many?")
    assert of_answers | {"rename", "delete"} <= offered("answer")
    assert not offered("answer") & {"stop", "undo", "compare"}
    window.app.act("delete")
    assert "undo" in offered("view")


def test_a_conversation_that_was_brought_back_is_shown(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.ask("How many?")
    window.app.act("delete")
    assert window.cards == []
    window.app.act("undo")
    window.wait(lambda: [card.exchange.question for card in window.cards] == ["How many?"])


def test_the_facts_of_an_answer_are_seen_whole(make_window: Make) -> None:
    """Also the second one about a picture, with another seed."""
    window = make_window()
    window.open(SHAPES)
    window.ask("How many?")
    window.app.act("again")
    window.wait(lambda: len(window.cards) == 2 and not window.talk.busy)
    facts = window.cards[1].facts
    assert {"seed 1", "picture known", "demo model"} <= set(facts.text().split(" · "))
    assert facts.wordWrap()
    assert facts.height() >= facts.heightForWidth(facts.width())


def test_nothing_is_said_to_stay_here_where_a_server_answers(make_window: Make) -> None:
    window = make_window()
    about = window.window.picture.empty.about
    assert "Everything stays on this computer" in about.text()
    window.app.change(model="http://127.0.0.1:9")
    assert about.text() == "Then ask about it."
    window.app.change(language="ko")
    assert about.text() == "그런 다음 질문하세요."


def test_what_stays_empty_is_said_only_where_something_does(
    make_window: Make, tmp_path: Path
) -> None:
    window = make_window()
    wide = tmp_path / "wide.png"
    Image.new("RGB", (400, 90), "white").save(wide)
    window.open(SHAPES, wide)
    window.wait(lambda: window.pictures.tiling == (56, 4))  # the model told its own
    said = window.window.picture.sight_text
    window.pictures.activate(0)
    window.app.act("sight")
    assert "The picture becomes" in said.text()
    assert "hatched" not in said.text()
    window.pictures.activate(1)
    window.app.act("sight")  # it belongs to a picture
    assert "The hatched rest stays empty." in said.text()
    window.pictures.set_part((0, 0, 90, 90))
    assert "The part becomes" in said.text()


def test_two_lines_of_a_candidate_end_where_they_are_cut() -> None:
    metrics = QFontMetricsF(QApplication.font())
    long = "one two three four five six seven eight nine ten eleven twelve thirteen"
    for text, n in (("short", 1), (long, 2), ("x" * 90, 1), ("x" * 90 + " y", 2)):
        lines = two_lines(text, metrics, 120)
        assert len(lines) == n
        assert all(metrics.horizontalAdvance(line) <= 120 for line in lines)
        assert lines[-1].endswith("…") or " ".join(lines) == text or lines[0].endswith("…")


@pytest.mark.parametrize("chosen", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_an_empty_box_to_tick_is_seen(make_window: Make, chosen: theme.Theme) -> None:
    """Its edge against the ground it stands on: 3 : 1."""
    make_window()
    theme.apply(chosen.name)
    box = QCheckBox("x")
    box.resize(60, 30)
    image = box.grab().toImage()
    back = image.pixelColor(58, 2).name()
    row = [image.pixelColor(x, 15).name() for x in range(2, 22)]
    assert max(contrast(colour, back) for colour in row) >= 3


def test_frames_of_the_strip_have_one_size(make_window: Make, tmp_path: Path) -> None:
    paths = []
    for size in ((400, 100), (100, 400), (200, 200)):
        paths.append(tmp_path / f"{size[0]}.png")
        Image.new("RGB", size, "white").save(paths[-1])
    window = make_window()
    window.open(*paths)
    strip = window.window.picture.strip
    rects = [strip.visualItemRect(strip.item(at)) for at in range(3)]
    assert len({(rect.width(), rect.height()) for rect in rects}) == 1
