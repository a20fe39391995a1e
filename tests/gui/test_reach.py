"""What screen readers meet, and the model beside the question."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtCore import QDate, QDateTime, QLocale, QObject, QPoint, Qt, QTime
from PySide6.QtGui import (
    QAccessible,
    QAccessibleInterface,
    QColor,
    QDragLeaveEvent,
    QGuiApplication,
)
from PySide6.QtWidgets import QApplication, QFileDialog, QKeySequenceEdit, QLabel

from llavao1_edge import demo
from llavao1_gui import dialogs
from llavao1_gui.instance import hand_over
from llavao1_gui.models.history import GROUP, SEARCHED, day_text
from llavao1_gui.opening import Preview
from llavao1_gui.saving import SOON_MS
from llavao1_gui.state.compare import compare
from llavao1_gui.state.history import History
from llavao1_gui.widgets import theme
from llavao1_gui.widgets.help_dialogs import ShortcutsDialog
from tests.gui.conftest import OTHER, SHAPES, Window, drag, drop, locked, urls

Make = Callable[..., Window]
needs_sockets = pytest.mark.skipif(
    not hasattr(socket, "AF_UNIX"), reason="Python has no Unix sockets here"
)


# --- for those who do not see it ------------------------------------------------------------------
def accessible(widget: QObject) -> Iterator[QAccessibleInterface]:
    """A window's tree as a screen reader walks it, visible things only."""
    found = QAccessible.queryAccessibleInterface(widget)
    waiting = [found]
    while waiting:
        here = waiting.pop()
        if here is None or here.state().invisible:
            continue
        yield here
        waiting += [here.child(at) for at in range(here.childCount())]


def test_everything_has_a_name_a_role_and_no_markup(make_window: Make) -> None:
    window = make_window({"logprobs": {"There are two shapes.": -0.1}})
    window.open(SHAPES, OTHER)
    exchange = window.ask("How many?")
    tree = dialogs.candidates(window.app, exchange)
    assert tree is not None
    shown = [window.window, tree, dialogs.settings(window.app), dialogs.models(window.app).dialog]
    texts = QAccessible.Text
    roles = QAccessible.Role
    for widget in shown:
        for found in accessible(widget):
            name, more = found.text(texts.Name), found.text(texts.Description)
            assert "<" not in more, (name, more)
            if found.role() in (roles.Button, roles.ComboBox, roles.EditableText, roles.Graphic):
                assert name, (found.role(), found.object())
    names = {(found.role(), found.text(texts.Name)) for one in shown for found in accessible(one)}
    assert (roles.StaticText, "State: Ready") in names
    assert (roles.Graphic, f"Picture {SHAPES.name}, 480 × 480") in names
    candidates = [name for role, name in names if role is roles.Button and "of 4" in name]
    assert len(candidates) == len(tree.tree.boxes) == 7
    assert any(name.endswith("part of the answer") for name in candidates)
    for dialog in shown[1:]:
        dialog.close()


def test_the_end_of_an_answer_is_announced(
    make_window: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        QAccessible, "updateAccessibility", lambda event: said.append(event.message())
    )
    window = make_window()
    window.open(SHAPES)
    window.ask("How many?")
    assert "The answer: 3" in said


# --- the model beside the question ----------------------------------------------------------------
def test_the_demo_says_what_it_does_not_know(make_window: Make) -> None:
    """Where it says so, the window says what it does know, and shows the way to other models."""
    window = make_window({"answers": {"photograph": {"conclusion": [demo.UNKNOWN]}}})
    box = window.window.answers.box
    assert box.model_button.text() == "Demo: simple pictures ▾"
    window.open(SHAPES, OTHER)
    window.ask("How many?")
    assert "demo model" in window.cards[0].facts.text()
    assert window.banner == ""
    window.ask("What is in the photograph?")
    assert "knows simple charts" in window.banner
    window.pictures.activate(1)
    assert window.banner == ""
    window.ask("What is in this photograph?")
    window.qtbot.mouseClick(window.window.answers.banner.action, Qt.MouseButton.LeftButton)
    assert window.app.models_desk is not None
    assert window.app.models_desk.dialog.isVisible()
    window.app.models_desk.dialog.close()


def test_a_model_is_chosen_beside_the_question(make_window: Make, tmp_path: Path) -> None:
    window = make_window()
    window.open(SHAPES)
    menu = window.window.answers.box.models
    menu.aboutToShow.emit()
    assert [action.text() for action in menu.actions()] == [
        "Demo model", "", "Get the real model…", "Models…",
    ]  # fmt: skip
    window.app.change(model=str(tmp_path / "Other-Q4_K_M.gguf"))
    assert window.window.answers.box.model_button.text() == "Other-Q4_K_M ▾"
    menu.aboutToShow.emit()
    chosen = {action.text(): action for action in menu.actions() if action.isCheckable()}
    assert [name for name, action in chosen.items() if action.isChecked()] == ["Other-Q4_K_M"]
    chosen["Demo model"].trigger()
    assert window.app.preferences.model == "demo"


# --- thinking is the show -------------------------------------------------------------------------
def test_the_stage_that_is_written_streams_in_the_card(make_window: Make) -> None:
    window = make_window({"token_s": 0.01})
    window.open(SHAPES)
    window.type("How many?")
    card = window.cards[0]
    seen: list[tuple[str, int]] = []

    def done() -> bool:
        if card.thought.isVisible():
            seen.append((card.thought.accessibleName(), card.bar.value()))
        return not window.talk.busy

    window.wait(done)
    texts = [text for text, _ in seen]
    assert any("look at the picture" in text for text in texts)
    assert any("two, three" in text for text in texts)
    values = [value for _, value in seen]
    assert len(set(values)) > 6  # the bar moves with the tokens
    assert values == sorted(values)
    assert not card.thought.isVisible()  # folded to the conclusion
    assert card.conclusion.markdown == "3"


def test_a_very_long_question_is_folded(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    long = "Is this a circle? " * 1000
    window.app.ask(long)
    window.wait(lambda: not window.talk.busy)
    card = window.cards[0]
    assert card.question.height() < 200
    assert card.whole_question.isVisible()
    card.whole_question.button.click()
    assert card.whole_question.inside.text() == long.strip()
    assert window.ask("Short?").question == "Short?"
    assert not window.cards[1].whole_question.isVisible()


def test_a_long_conclusion_is_set_for_reading(make_window: Make) -> None:
    said = "It is a circle. " * 30
    window = make_window({"texts": {"summary": ["s"], "caption": ["c"], "reasoning": ["r"],
                                    "conclusion": [said]}})  # fmt: skip
    window.open(SHAPES)
    window.ask("What?")
    long = window.cards[0].conclusion.font().pointSizeF()
    other = make_window()
    other.open(SHAPES)
    other.ask("What?")
    assert long < other.cards[0].conclusion.font().pointSizeF()


# --- the list of conversations --------------------------------------------------------------------
def test_days_and_months_of_conversations() -> None:
    today = QDate(2026, 3, 20)
    now = QDateTime(today, QTime(12, 0)).toSecsSinceEpoch()
    day = 24 * 3600
    said = [day_text(now - age * day, today=today) for age in (0, 1, 3, 10, 30, 200)]
    assert said[:3] == ["Today", "Yesterday", "This week"]
    months = [QLocale().standaloneMonthName(month) for month in (3, 2, 9)]
    assert said[3:] == [months[0], months[1], f"{months[2]} 2025"]


def test_conversations_are_listed_with_their_pictures(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.ask("How many red circles are there in this picture, and how many are blue?")
    window.open(OTHER)
    window.pictures.activate(1)
    window.ask("And here?")
    sidebar = window.window.sidebar
    model = sidebar.model
    assert [model.data(model.index(row), GROUP) for row in range(2)] == ["Today", ""]
    picture = Qt.ItemDataRole.DecorationRole
    pictures = [model.data(model.index(row), picture) for row in range(2)]
    assert all(not picture.isNull() for picture in pictures)
    sidebar.search.setText("red CIRCLES")
    assert model.rowCount() == 1
    assert model.data(model.index(0), SEARCHED) == "red CIRCLES"
    accent = QColor(theme.current().accent).getRgb()
    shot = sidebar.list.grab().toImage()
    marked = sum(
        shot.pixelColor(x, y).getRgb() == accent
        for x in range(shot.width())
        for y in range(shot.height())
    )
    assert marked > 20  # what was searched for is drawn in the accent's colour


# --- drops, keys, and asking otherwise ------------------------------------------------------------
def test_what_a_drop_will_do_is_said_and_a_folder_is_for_one_question(
    make_window: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "holiday"
    folder.mkdir()
    for name in ("img2.png", "img10.png"):
        shutil.copy(SHAPES, folder / name)
    window = make_window()
    overlay = window.window.overlay
    for names, said in (
        ((SHAPES,), "Drop to open the picture"),
        ((SHAPES, OTHER), "Drop to open 2 pictures"),
        ((folder,), "Drop the folder to ask one question about all its pictures"),
    ):
        drag(window, urls(*names))
        assert overlay.isVisible()
        assert overlay.text == said
        QApplication.sendEvent(window.window, QDragLeaveEvent())
        assert not overlay.isVisible()
    drop(window, urls(folder))
    desk = window.app.batch_desk
    assert desk is not None
    assert desk.dialog.isVisible()
    assert desk.dialog.source.text() == str(folder)
    assert desk.dialog.out.text()  # only the question is missing
    desk.dialog.question.setText("How many?")
    window.qtbot.keyClick(desk.dialog.question, Qt.Key.Key_Return)
    window.wait(lambda: desk.run.done == 2 and not desk.run.running)
    desk.dialog.close()


def test_a_question_is_asked_otherwise(make_window: Make) -> None:
    """In the same conversation, about the same part."""
    window = make_window()
    window.open(SHAPES)
    window.pictures.set_part((10, 20, 200, 220))
    window.ask("How many?")
    window.pictures.set_part(None)
    window.qtbot.mouseClick(window.cards[0].edit_button, Qt.MouseButton.LeftButton)
    box = window.window.answers.box
    assert box.field.toPlainText() == "How many?"
    assert window.pictures.part == (10, 20, 200, 220)
    found = window.ask("How many circles?")  # what is marked is typed over
    assert found.question == "How many circles?"
    assert len(window.talk.exchanges) == 2


def test_the_keys_are_a_sheet_to_read_first(make_window: Make) -> None:
    window = make_window()
    dialog = dialogs.keys(window.app)
    assert not dialog.findChildren(QKeySequenceEdit)
    texts = {label.text() for label in dialog.findChildren(QLabel)}
    assert {"Ctrl+O", "Ctrl+Z", "Shift+Return"} <= texts
    window.qtbot.mouseClick(dialog.change_button, Qt.MouseButton.LeftButton)
    (editor,) = window.window.findChildren(ShortcutsDialog)
    assert editor.isVisible()
    editor.reject()


def test_pictures_are_opened_where_the_last_ones_were(
    make_window: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, list[str]]] = []

    def choose(dialog: QFileDialog) -> int:
        asked.append((Path(dialog.directory().absolutePath()), dialog.nameFilters()))
        dialog.selectFile(str(SHAPES))
        dialog.accept()
        return dialog.result()

    monkeypatch.setattr(QFileDialog, "exec", choose)
    window = make_window()
    for _ in range(2):
        window.app.act("open")
        window.wait(lambda: len(window.pictures.pictures) == 1)
    assert [folder for folder, _ in asked] == [Path.cwd(), SHAPES.parent]
    assert "*.heic" in asked[0][1][0]
    window.window.close()
    make_window().app.act("open")
    assert asked[-1][0] == SHAPES.parent


def test_the_open_dialog_shows_what_is_chosen(
    make_window: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Qt's own dialog; the last one chosen counts, and what is no picture shows nothing."""
    Image.new("RGB", (400, 100), "red").save(tmp_path / "red.png")
    Image.new("RGB", (100, 400), "blue").save(tmp_path / "blue.png")
    (tmp_path / "words.png").write_text("no picture")
    (tmp_path / "many.png").mkdir()
    seen: list[object] = []
    window = make_window()

    def colour(preview: Preview) -> object:
        image = preview.pixmap().toImage()
        size = (image.width(), image.height())
        return None if image.isNull() else (size, image.pixelColor(5, 5).name())

    def choose(dialog: QFileDialog) -> int:
        (preview,) = dialog.findChildren(Preview)
        dialog.show()
        for name in ("red", "blue", "words", "blue", "many"):
            dialog.currentChanged.emit(str(tmp_path / f"{name}.png"))
            preview.background.wait()
            QApplication.processEvents()
            seen.append(colour(preview))
        dialog.currentChanged.emit(str(tmp_path / "red.png"))
        dialog.reject()
        assert preview.background.closed
        return dialog.result()

    monkeypatch.setattr(QFileDialog, "exec", choose)
    window.app.act("open")
    blue = ((55, 220), "#0000ff")
    assert seen == [((220, 55), "#ff0000"), blue, None, blue, None]
    assert not window.pictures.pictures


def test_asked_again_in_place_of_an_answer(make_window: Make, tmp_path: Path) -> None:
    """The old one goes when the new one is there: from the window and from the history."""
    window = make_window()
    window.open(SHAPES)
    first, second = window.ask("One?"), window.ask("Two?")
    card = next(card for card in window.cards if card.exchange is first)
    again, instead = card.again_button.actions()
    assert "another seed" in again.text()
    instead.trigger()
    assert len(window.talk.exchanges) == 3  # until then both are kept
    window.wait(lambda: not window.talk.busy)
    kept = [second, window.talk.exchanges[-1]]
    assert window.talk.exchanges == kept
    assert [one.request["seed"] for one in kept] == [0, 1]
    window.app.act("instead")
    window.wait(lambda: not window.talk.busy)
    assert [one.request["seed"] for one in window.talk.exchanges] == [0, 2]
    assert [card.exchange for card in window.cards] == window.talk.exchanges
    assert window.talk.current is not None
    found = window.app.history.exchanges(window.talk.current.id)
    assert [one.id for one in found] == [one.id for one in window.talk.exchanges]


def test_a_replacement_that_is_stopped_replaces_nothing(make_window: Make) -> None:
    window = make_window({"token_s": 0.05})
    window.open(SHAPES)
    first = window.ask("One?")
    window.app.act("instead")
    window.wait(lambda: window.talk.live is not None and window.talk.live.tokens > 2)
    window.app.act("stop")
    window.wait(lambda: not window.talk.busy)
    assert [one.status for one in window.talk.exchanges] == ["answered", "stopped"]
    assert window.talk.exchanges[0] is first


def test_an_answer_is_replaced_only_when_the_new_one_is_kept(
    make_window: Make, tmp_path: Path
) -> None:
    """While another window writes nothing is lost, and nothing is forgotten afterwards."""
    window = make_window()
    window.open(SHAPES)
    first = window.ask("One?")
    with locked(tmp_path / "home"):
        window.app.act("instead")
        window.wait(lambda: not window.talk.busy)
        window.qtbot.wait(3 * SOON_MS)
        assert len(window.talk.exchanges) == 2
    window.wait(lambda: len(window.talk.exchanges) == 1)
    assert window.talk.exchanges[0] is not first
    assert window.talk.current is not None

    def on_disk() -> list[tuple[int, str]]:
        found = window.app.history.exchanges(window.talk.current.id)  # type: ignore[union-attr]
        return [(one.request["seed"], one.status) for one in found]

    window.wait(lambda: on_disk() == [(1, "answered")])


def test_an_answer_that_could_not_be_saved_yet_is_replaced_too(
    make_window: Make, tmp_path: Path
) -> None:
    window = make_window()
    window.open(SHAPES)
    window.ask("Warm?")
    with locked(tmp_path / "home"):
        unsaved = window.ask("One?")
        window.app.act("instead")
        window.wait(lambda: not window.talk.busy)
        assert unsaved.id == 0
    window.wait(lambda: len(window.talk.exchanges) == 2)
    assert [one.request["seed"] for one in window.talk.exchanges] == [0, 1]
    assert window.talk.current is not None
    found = window.app.history.exchanges(window.talk.current.id)
    assert [one.question for one in found] == ["Warm?", "One?"]


def test_a_number_that_is_another_ones_by_now_deletes_nothing(
    make_window: Make, tmp_path: Path
) -> None:
    """Another window deletes the conversation for good while an answer is asked anew: the new one
    begins it again, perhaps with the old one's number."""
    window = make_window({"token_s": 0.02})
    window.open(SHAPES)
    window.ask("One?")
    assert window.talk.current is not None
    number = window.talk.current.id
    window.app.act("instead")
    window.wait(lambda: window.talk.live is not None and window.talk.live.tokens > 2)
    with History(tmp_path / "home") as other:
        other.erase([number])
    window.wait(lambda: not window.talk.busy)
    window.qtbot.wait(3 * SOON_MS)
    (kept,) = window.app.history.conversations()
    found = window.app.history.exchanges(kept.id)
    assert [(one.request["seed"], one.status) for one in found][-1:] == [(1, "answered")]


def test_dialogs_that_are_gone_leave_no_threads(
    make_window: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make_window()

    def choose(dialog: QFileDialog) -> int:
        dialog.currentChanged.emit(str(SHAPES))
        dialog.reject()
        return dialog.result()

    monkeypatch.setattr(QFileDialog, "exec", choose)
    before = threading.active_count()
    for _ in range(5):
        window.app.act("open")
    window.wait(lambda: threading.active_count() <= before)


# --- the picture itself, and a second start -------------------------------------------------------
def test_a_picture_is_copied_saved_and_seen_at_its_own_size(
    make_window: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tiff = tmp_path / "scan.tif"
    Image.new("RGB", (2400, 1200), "red").save(tiff)
    window = make_window()
    window.open(tiff)
    view, menu = window.window.picture.view, window.app.picture_menu
    menu.show(QPoint(10, 10))
    actions = {action.text(): action for action in menu.menu.actions()}
    actions["Copy the picture"].trigger()
    assert QGuiApplication.clipboard().image().width() == 2048
    saved = tmp_path / "saved.png"
    asked: list[str] = []
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *given: (asked.append(given[2]), (str(saved), ""))[1]
    )
    actions["Save the picture…"].trigger()
    assert asked == ["scan.png"]  # what every program can show
    window.wait(saved.exists)
    with Image.open(saved) as opened:
        assert (opened.format, opened.size) == ("PNG", (2400, 1200))
    actions["Actual size (100 %)"].trigger()
    assert view.target().width() == pytest.approx(2400 / view.devicePixelRatioF(), rel=0.01)
    actions["Fit the picture"].trigger()
    assert view.target().width() < view.width()
    menu.menu.close()


@needs_sockets
def test_a_second_start_hands_its_pictures_to_the_first(make_window: Make, tmp_path: Path) -> None:
    window = make_window()
    window.window.showMinimized()
    code = (
        "import sys; from llavao1_gui.app import main;"
        "sys.exit(main(sys.argv[1:]))"
    )  # fmt: skip
    given = ["--data", str(tmp_path / "home"), "--config", str(tmp_path / "home"), str(SHAPES)]
    second = subprocess.Popen([sys.executable, "-c", code, *given])
    window.wait(lambda: len(window.pictures.pictures) == 1)
    window.wait(lambda: second.poll() is not None)
    assert second.returncode == 0
    assert not window.window.isMinimized()
    assert window.pictures.active is not None


@needs_sockets
def test_a_door_that_was_left_behind_does_not_keep_a_window_out(
    make_window: Make, tmp_path: Path
) -> None:
    """A window that was killed; and nonsense through the door is no reason to fall over."""
    data = tmp_path / "home"
    data.mkdir()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(data / "window.socket"))
    left.close()
    assert not hand_over(data, [SHAPES])
    window = make_window()
    for said in (b"no json\n", b"{}\n", b'["a.png", 3]\n', b"x" * 100, b"\xff\n", b""):
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(str(data / "window.socket"))
            door.sendall(said)
            window.qtbot.wait(50)
    assert window.pictures.pictures == []
    window.open(SHAPES)
    assert window.ask("Still there?").status == "answered"
    window.window.close()
    assert not (data / "window.socket").exists()


# --- two answers side by side ---------------------------------------------------------------------
def test_two_texts_are_compared_word_by_word() -> None:
    first, second = compare("It is a red circle.", "It is a large blue circle.")
    assert "".join(piece.text for piece in first) == "It is a red circle."
    assert "".join(piece.text for piece in second) == "It is a large blue circle."
    assert [piece.text for piece in first if piece.differs] == ["red"]
    assert "".join(piece.text for piece in second if piece.differs).split() == ["large", "blue"]
    assert all(piece.differs for piece in compare("", "new")[1])


def test_two_answers_are_compared(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.app.act("compare")
    assert "no two answers" in window.banner
    window.ask("What else?")
    first = window.ask("How many?")
    window.talk.again(first)
    window.wait(lambda: not window.talk.busy)
    dialog = dialogs.compare(window.app)
    assert dialog is not None
    assert [chosen.currentIndex() for chosen in dialog.chosen] == [1, 2]
    left, right = (text.toPlainText() for text in dialog.texts)
    assert "seed 0" in left
    assert "seed 1" in right
    assert first.conclusion in left
    cursor = dialog.texts[1].document().find("1", 0)
    assert cursor.charFormat().fontUnderline()  # the seed is what differs
    dialog.chosen[0].setCurrentIndex(0)
    assert "What else?" in dialog.chosen[0].currentText()
    dialog.close()
