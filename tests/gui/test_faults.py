"""What goes wrong behind the window: nothing is lost, nothing is answered about the wrong picture,
and the window goes on."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QFileDialog, QMessageBox

from llavao1_gui import dialogs
from llavao1_gui.state import messages as m
from llavao1_gui.state.history import CANNOT_WRITE, History, HistoryError
from llavao1_gui.state.tips import tip
from llavao1_gui.widgets.region import RegionChooser
from llavao1_gui.widgets.rich_text import RichText
from llavao1_gui.work.formulas import Drawer
from llavao1_gui.work.pictures import PictureLoader
from tests.gui.conftest import OTHER, SHAPES, Window, locked
from tests.patience import PATIENCE_S

Make = Callable[..., Window]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Pictures are opened only while it is set."""
    event, load = threading.Event(), PictureLoader._load
    event.set()

    def wait(self: PictureLoader, *given: Any) -> Any:
        event.wait(PATIENCE_S)
        return load(self, *given)

    monkeypatch.setattr(PictureLoader, "_load", wait)
    yield event
    event.set()


# --- pictures -------------------------------------------------------------------------------------
def test_a_question_waits_for_the_picture_of_its_conversation(
    make_window: Make, gate: threading.Event
) -> None:
    window = make_window()
    window.open(SHAPES)
    window.ask("About the shapes?")
    window.pictures.remove(0)
    window.open(OTHER)
    gate.clear()
    window.talk.open(1)
    window.type("About which one?")
    assert "still being opened" in window.banner
    assert window.window.answers.box.field.toPlainText() == "About which one?"
    gate.set()
    window.wait(lambda: not window.pictures.reopening)
    assert window.ask("").status == "answered"
    assert window.pictures.active is not None
    assert window.pictures.active.name == SHAPES.name
    assert [one.question for one in window.app.history.exchanges(1)] == [
        "About the shapes?",
        "About which one?",
    ]


def test_a_conversation_whose_picture_is_gone_can_be_read_but_not_asked(
    make_window: Make,
) -> None:
    window = make_window()
    window.open(SHAPES)
    window.ask("About the shapes?")
    window.pictures.remove(0)
    window.app.history.picture_path(window.app.history.conversations()[0].picture or "").unlink()
    window.open(OTHER)
    window.talk.open(1)
    window.wait(lambda: "cannot read picture" in window.banner)
    assert window.cards[0].conclusion.markdown == "3"
    window.app.ask("About the other one?")
    assert "not at hand" in window.banner
    assert len(window.talk.exchanges) == 1
    window.app.act("next_picture")
    assert window.ask("And this one?").status == "answered"
    assert len(window.app.history.conversations()) == 2


def test_a_picture_that_comes_late_does_not_push_itself_forward(
    make_window: Make, gate: threading.Event
) -> None:
    window = make_window({"token_s": 0.005})
    window.open(SHAPES)
    gate.clear()
    window.pictures.add([OTHER])
    window.pictures.activate(0)  # the user has chosen since
    window.type("About the shapes?")
    gate.set()
    window.wait(lambda: len(window.pictures.pictures) == 2)
    assert window.pictures.at == 0
    assert len(window.cards) == 1
    window.wait(lambda: not window.talk.busy)
    assert window.cards[0].conclusion.markdown == "3"


def test_whatever_a_decoder_raises_is_a_sentence(
    make_window: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    window = make_window()
    with monkeypatch.context() as patch:
        patch.setattr("llavao1_gui.work.pictures.open_picture", fail)
        window.pictures.add([SHAPES])
        window.wait(lambda: "MemoryError" in window.banner)
    window.open(OTHER)


def test_a_region_chooser_that_is_closed_brings_the_window_back(make_window: Make) -> None:
    window = make_window()
    chooser = RegionChooser(QPixmap(40, 40), QRect(0, 0, 40, 40))
    chooser.left.connect(window.window.show)
    window.window.hide()
    chooser.show()
    chooser.close()  # as a window manager does it
    assert window.window.isVisible()


# --- the engine -----------------------------------------------------------------------------------
def test_an_engine_that_does_not_react_is_ended_by_a_second_stop(
    make_window: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llavao1_gui.state.live.STUCK_S", 0.3)
    window = make_window({"stuck": "forever"})
    window.open(SHAPES)
    window.type("Will this last forever?")
    window.wait(lambda: window.talk.live is not None and window.talk.live.phase == "writing")
    window.app.act("stop")
    assert "Stopping" in window.cards[0].status.text()
    window.wait(lambda: "Stop again" in window.cards[0].status.text())
    window.app.act("stop")
    window.wait(lambda: not window.talk.busy)
    assert window.talk.exchanges[0].status == "stopped"
    assert window.ask("Fine?").status == "answered"


def test_the_engine_does_not_import_from_the_folder_it_was_started_in(
    make_window: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trap = tmp_path / "downloads"
    trap.mkdir()
    (trap / "json.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(trap)
    window = make_window()
    window.open(SHAPES)
    assert window.ask("Fine?").status == "answered"


def test_asking_again_is_told_what_was_said_before_and_not_the_answer_itself(
    make_window: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make_window()
    sent: list[m.Ask] = []
    send = window.app.link.send

    def note(message: m.Message) -> None:
        if isinstance(message, m.Ask):
            sent.append(message)
        send(message)

    monkeypatch.setattr(window.app.link, "send", note)
    window.open(SHAPES)
    window.ask("One?")
    window.ask("Two?")
    window.app.act("again")
    window.wait(lambda: len(window.talk.exchanges) == 3 and not window.talk.busy)
    window.ask("Three?")
    assert [[question for question, _ in one.earlier] for one in sent] == [
        [],
        ["One?"],
        ["One?"],
        ["One?", "Two?"],
    ]
    assert sent[3].earlier[1][1] == window.talk.exchanges[2].stages  # the later of two answers


# --- the history ----------------------------------------------------------------------------------
@pytest.mark.parametrize("late", [False, True], ids=["before it is asked", "while it is written"])
def test_the_window_does_not_wait_for_a_locked_history(
    late: bool, make_window: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds it locked at most twice in a turn of the event loop, and stands still for the
    connection's patience each time; the answer comes to its end all the same."""
    window = make_window({"token_s": 0.002})
    history = window.app.history
    window.open(SHAPES)
    window.ask("Warm?")
    found_locked: list[HistoryError] = []
    explained = history._explained

    @contextmanager
    def counted(cannot: str) -> Iterator[None]:
        try:
            with explained(cannot):
                yield
        except HistoryError as error:
            if error.locked and error not in found_locked:
                found_locked.append(error)
            raise

    monkeypatch.setattr(history, "_explained", counted)
    in_turns = [0]
    with ExitStack() as stack:
        unlocked = [locked(tmp_path / "home")]
        if not late:
            stack.enter_context(unlocked.pop())

        def tick() -> None:
            in_turns.append(len(found_locked))
            if unlocked and window.talk.live is not None and window.talk.live.tokens:
                stack.enter_context(unlocked.pop())

        window.turns("Locked?", tick)
        assert window.talk.exchanges[-1].status == "answered"
    most = max(after - before for before, after in pairwise(in_turns))
    assert 0 < most <= 2, in_turns
    ((patience_ms,),) = history._db.execute("PRAGMA busy_timeout").fetchall()
    assert patience_ms <= 50, "the window stands still so long"
    window.wait(lambda: all(one.id for one in window.talk.exchanges))
    window.wait(lambda: history.exchanges(1)[-1].conclusion == "3")


def test_what_could_not_be_deleted_is_still_there(make_window: Make, tmp_path: Path) -> None:
    window = make_window()
    window.open(SHAPES)
    window.ask("One?")
    with locked(tmp_path / "home"):
        window.app.act("delete")
    assert "another window" in window.banner
    assert len(window.cards) == 1


def test_one_answer_that_cannot_be_saved_does_not_hold_up_the_others(
    make_window: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make_window()
    history = window.app.history
    save = history.save

    def fail(conversation: Any, exchange: Any) -> None:
        if "bad" in exchange.question:
            history._db.execute("SELECT * FROM missing")
        save(conversation, exchange)

    def fail_explained(conversation: Any, exchange: Any) -> None:
        with history._explained(CANNOT_WRITE):
            fail(conversation, exchange)

    window.open(SHAPES)
    window.ask("good?")
    with monkeypatch.context() as patch:
        patch.setattr(history, "save", fail_explained)
        assert window.ask("bad?").conclusion == "3"
        window.wait(lambda: "no such table" in window.banner)
        assert window.ask("good again?").id
        assert not window.talk.busy
    assert window.talk.save_for(1)
    assert {one.question for one in history.exchanges(1)} == {"good?", "bad?", "good again?"}


def test_the_window_asks_before_it_closes_with_unsaved_answers(
    make_window: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llavao1_gui.app.CLOSE_S", 0.1)
    asked: list[str] = []
    monkeypatch.setattr(QMessageBox, "exec", lambda self: asked.append(self.text()))
    window = make_window()
    window.open(SHAPES)
    with locked(tmp_path / "home"):
        window.ask("Saved?")
        window.window.close()
        assert len(asked) == 1
        assert window.window.isVisible()
    window.window.close()
    assert len(asked) == 1
    assert not window.window.isVisible()
    with History(tmp_path / "home") as history:
        assert history.exchanges(1)[0].conclusion == "3"


# --- many pictures --------------------------------------------------------------------------------
def table(tmp_path: Path, *questions: str) -> str:
    lines = [f"{SHAPES},{question}" for question in questions]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["picture,question", *lines, ""]))
    return str(path)


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "r.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_closing_the_window_stores_no_half_answer(make_window: Make, tmp_path: Path) -> None:
    window = make_window({"token_s": 0.01})
    desk = dialogs.batch(window.app)
    desk.start(table(tmp_path, "one?", "two?"), "", str(tmp_path / "r"))
    window.wait(lambda: desk.run._begun)
    window.window.close()
    assert rows(tmp_path) == []


def test_a_run_pauses_when_the_engine_dies_and_goes_on_behind_it(
    make_window: Make, tmp_path: Path
) -> None:
    window = make_window({"dies": "crash", "token_s": 0.002})
    desk = dialogs.batch(window.app)
    desk.start(table(tmp_path, "fine?", "crash?", "last?"), "", str(tmp_path / "r"))
    window.wait(lambda: desk.run.paused)
    assert "it crashed" in desk.dialog.problem.text()
    assert "paused" in desk.dialog.problem.text()
    assert [bool(row["error"]) for row in rows(tmp_path)] == [False, True]
    window.qtbot.mouseClick(desk.dialog.pause_button, Qt.MouseButton.LeftButton)
    window.wait(lambda: not desk.run.running)
    assert [row["question"] for row in rows(tmp_path)] == ["fine?", "crash?", "last?"]
    desk.start(table(tmp_path, "fine?", "crash?", "last?"), "", str(tmp_path / "r"))
    window.wait(lambda: desk.run.paused)  # what failed is tried again, and nothing else
    assert [row["question"] for row in rows(tmp_path)] == ["fine?", "crash?", "last?", "crash?"]
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 5
    desk.run.stop()


def test_a_run_pauses_at_the_same_failure_again_and_again(
    make_window: Make, tmp_path: Path
) -> None:
    window = make_window({"fail": {"?": "not enough memory"}})
    desk = dialogs.batch(window.app)
    desk.start(table(tmp_path, *(f"{n}?" for n in range(9))), "", str(tmp_path / "r"))
    window.wait(lambda: desk.run.paused)
    assert len(rows(tmp_path)) == 3
    assert "not enough memory" in desk.dialog.problem.text()
    desk.run.stop()


def test_a_crash_of_the_windows_question_is_no_error_of_the_row_behind_it(
    make_window: Make, tmp_path: Path
) -> None:
    window = make_window({"dies": "crash", "token_s": 0.005})
    window.open(SHAPES)
    window.type("Will you crash?")
    desk = dialogs.batch(window.app)
    desk.start(table(tmp_path, "fine?"), "", str(tmp_path / "r"))
    window.wait(lambda: desk.run.paused)
    assert rows(tmp_path) == []
    window.qtbot.mouseClick(desk.dialog.pause_button, Qt.MouseButton.LeftButton)
    window.wait(lambda: not desk.run.running)
    assert [row["conclusion"] for row in rows(tmp_path)] == ["3"]


def test_a_question_behind_a_row_stops_at_once(make_window: Make, tmp_path: Path) -> None:
    window = make_window({"token_s": 0.05})
    window.open(SHAPES)
    desk = dialogs.batch(window.app)
    desk.start(table(tmp_path, "slow?"), "", str(tmp_path / "r"))
    window.wait(lambda: desk.run._begun)
    window.type("Mine?")
    window.app.act("stop")
    window.wait(lambda: not window.talk.busy)
    assert window.talk.exchanges[0].status == "stopped"
    assert desk.run.running
    assert rows(tmp_path) == []
    desk.run.stop()


def test_results_that_cannot_be_written_pause_the_run(
    make_window: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make_window()
    desk = dialogs.batch(window.app)
    write = os.strerror(28)

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, write)

    with monkeypatch.context() as patch:
        patch.setattr("llavao1_gui.state.batch.append_line", full)
        desk.start(table(tmp_path, "one?", "two?"), "", str(tmp_path / "r"))
        window.wait(lambda: desk.run.paused)
        assert write in desk.dialog.problem.text()
        assert desk.run.done == 0
    window.qtbot.mouseClick(desk.dialog.pause_button, Qt.MouseButton.LeftButton)
    window.wait(lambda: not desk.run.running)
    assert [row["question"] for row in rows(tmp_path)] == ["one?", "two?"]


# --- text of the model ----------------------------------------------------------------------------
def test_no_picture_of_this_computer_is_drawn_for_an_answer(make_window: Make) -> None:
    make_window()
    for said in (
        f"![x]({SHAPES})",
        f"![x](<{SHAPES}>)",
        f"![x][1]\n\n[1]: {SHAPES}",
        f"[![x]({SHAPES})](a)",
        f"- ![x]({SHAPES})\n\n| ![x]({SHAPES}) |\n|---|\n",
        rf"\\![x]({SHAPES})",
        rf"![\( x \)]({SHAPES})",
        f'<img src="{SHAPES}">',
    ):
        text = RichText()
        text.set_markdown(said)
        assert not any(one.isImageFormat() for one in text.document().allFormats()), said
        text.deleteLater()


def test_a_tooltip_is_never_markup(make_window: Make) -> None:
    assert tip("<img src='/x'>") == (
        "<p style='white-space:pre-wrap'>&lt;img src=&#x27;/x&#x27;&gt;</p>"
    )
    said = f"<img src='{SHAPES}'>"
    window = make_window({"texts": {"summary": ["s"], "caption": [said], "reasoning": ["r"],
                                    "conclusion": ["c"]}})  # fmt: skip
    window.open(SHAPES)
    dialog = dialogs.candidates(window.app, window.ask("What?"))
    assert dialog is not None
    tips = [item.toolTip() for item in dialog.tree.boxes.values()]
    assert any("&lt;img" in one for one in tips)
    assert not any("<img" in one for one in tips)
    dialog.close()


def test_a_formula_of_any_size_neither_fills_the_memory_nor_holds_up_the_end(
    make_window: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make_window()
    text = RichText()
    wide = r"\( a\hspace{99999em}b \)"
    text.set_markdown(wide)
    window.app.formulas.background.wait()
    window.qtbot.wait(20)
    assert text.toPlainText() == wide
    drawn, forever = threading.Event(), threading.Event()

    def draw(*_: object) -> bytes:
        drawn.set()
        assert forever.wait(600), "closing waited for a formula"
        return b""

    monkeypatch.setattr(window.app.formulas.drawer, "draw", draw)
    text.set_markdown(r"\( y \)")
    window.wait(drawn.is_set)
    window.window.close()  # a close that waited would end only once `forever` is set, below
    assert not forever.is_set()
    forever.set()
    text.deleteLater()


def test_a_formula_that_takes_too_long_is_ended_and_the_next_one_is_drawn() -> None:
    """Sixteen phantoms in each other keep the parser busy for most of a minute."""
    drawer = Drawer(limit_s=0.3)
    slow = r"\phantom{" * 16 + "x" + "}" * 16
    for n, (tex, drawn) in enumerate([(slow, False), ("x^2", True), (slow, False), ("y", True)]):
        assert bool(drawer.draw(tex, 16.0, "black")) == drawn
        assert drawer.n_ended == n // 2 + 1
    process = drawer._process
    assert process is not None
    drawer.close()
    assert process.poll() is not None
    assert drawer.draw("x", 16.0, "black") == b""  # closed: nothing is started any more


# --- dialogs --------------------------------------------------------------------------------------
def test_open_dialogs_change_their_language_at_once(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    exchange = window.ask("How many?")
    models, batch = dialogs.models(window.app).dialog, dialogs.batch(window.app).dialog
    tree = dialogs.candidates(window.app, exchange)
    assert tree is not None
    seen = lambda: (  # noqa: E731
        models.pull_button.text(), batch.start_button.text(), tree.windowTitle()
    )  # fmt: skip
    before = seen()
    window.app.change(language="ko")
    window.wait(lambda: seen() == ("허브에서 받기", "시작", "후보"))
    window.app.change(language="en")
    window.wait(lambda: seen() == before)
    for dialog in (models, batch, tree):
        dialog.close()


def test_dialogs_are_gone_when_they_are_closed(make_window: Make) -> None:
    window = make_window()
    gone: list[str] = []
    for name in ("settings", "shortcuts", "about"):
        dialog = getattr(dialogs, name)(window.app)
        dialog.destroyed.connect(lambda *_, name=name: gone.append(name))
        dialog.reject()
    window.wait(lambda: len(gone) == 3)


def test_model_work_that_cannot_be_started_is_told(
    make_window: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make_window()
    desk = dialogs.models(window.app)
    window.wait(lambda: not desk.looking)
    monkeypatch.setattr("llavao1_gui.work.link.sys.executable", "/nowhere/python")
    desk.dialog.repo.setText("a/b")
    window.qtbot.mouseClick(desk.dialog.pull_button, Qt.MouseButton.LeftButton)
    window.wait(lambda: desk.working is None)
    assert desk.dialog.problem.text()
    assert desk.dialog.pull_button.isEnabled()
    desk.dialog.close()


def test_an_export_without_an_ending_overwrites_nothing(
    make_window: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    window = make_window()
    window.open(SHAPES)
    window.ask("How many?")
    mine = tmp_path / "notes.md"
    mine.write_text("mine")
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / "notes"), "Markdown")
    )
    window.app.act("export")
    assert "notes.md is there already" in window.banner
    assert mine.read_text() == "mine"
    mine.unlink()
    window.app.act("export")
    window.wait(mine.exists)
    assert mine.read_text().startswith("# How many?")


def test_the_engine_killed_while_it_waits_for_nothing(make_window: Make, tmp_path: Path) -> None:
    """A pause between two rows: the run is not told of an engine that died for somebody else."""
    window = make_window()
    desk = dialogs.batch(window.app)
    desk.start(table(tmp_path, "one?"), "", str(tmp_path / "r"))
    window.wait(lambda: not desk.run.running)
    os.kill(window.app.link.pid, signal.SIGKILL)
    window.wait(lambda: "perhaps memory ran out" in window.banner)
    assert not desk.run.paused
