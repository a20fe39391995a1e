"""What a second pair of eyes found in the window, each as the user would meet it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llavao1_gui.instance import Door, hand_over
from llavao1_gui.state.history import HistoryError
from tests.gui.conftest import OTHER, SHAPES, Window, drop, urls

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
    noise, bad = tmp_path / "photograph.png", tmp_path / "bad.png"
    Image.effect_noise((300, 300), 80).convert("RGB").save(noise)
    bad.write_text("no picture")
    window = make_window()
    drop(window, urls(noise, bad))
    window.wait(lambda: "bad.png" in window.banner)
    window.ask("What?")  # the model is loaded by now
    window.app.choice.show()
    assert "does not look like" not in window.banner
    window.window.answers.banner.hide()
    window.app.change(preset="fast")
    assert window.banner == ""  # closed is closed


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
