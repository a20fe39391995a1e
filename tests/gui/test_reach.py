"""What screen readers meet, and the model beside the question."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtCore import QDate, QDateTime, QLocale, QObject, Qt, QTime
from PySide6.QtGui import QAccessible, QAccessibleInterface, QColor

from llavao1_gui import dialogs
from llavao1_gui.models.history import GROUP, SEARCHED, day_text
from llavao1_gui.widgets import theme
from tests.gui.conftest import OTHER, SHAPES, Window

Make = Callable[..., Window]


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
def test_the_demo_says_what_it_does_not_know(make_window: Make, tmp_path: Path) -> None:
    noise = Image.effect_noise((400, 300), 80).convert("RGB")
    noise.save(tmp_path / "photograph.png")
    window = make_window()
    box = window.window.answers.box
    assert box.model_button.text() == "Demo: shapes only ▾"
    window.open(SHAPES)
    assert window.banner == ""
    window.open(tmp_path / "photograph.png")
    window.pictures.activate(1)
    assert "does not look like coloured shapes" in window.banner
    window.ask("What is this?")
    assert "knows shapes only" in window.cards[0].facts.text()
    assert "does not look like" in window.banner
    window.pictures.activate(0)
    assert window.banner == ""
    window.pictures.activate(1)
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
