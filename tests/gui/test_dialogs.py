"""Dialogs: candidates, settings, shortcuts, models, many pictures, export; languages and themes."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFontDatabase, QKeySequence
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QComboBox,
    QLineEdit,
    QMessageBox,
    QPlainTextEdit,
    QTextBrowser,
    QWidget,
)

from llavao1_edge import demo
from llavao1_edge.phrases import Phrase
from llavao1_edge.store.catalogue import Store
from llavao1_gui import dialogs
from llavao1_gui.state import messages as m
from llavao1_gui.translate import KOREAN_FONTS, catalogues, sentences
from llavao1_gui.widgets import theme
from llavao1_gui.widgets.actions import ACTIONS
from llavao1_gui.widgets.texts import said
from tests.gui.conftest import OTHER, SHAPES, Window
from tests.hub import BadDay, Hub
from tests.remote.scripted import Script, scripted

Make = Callable[..., Window]


# --- candidates -----------------------------------------------------------------------------------
def test_the_tree_shows_every_candidate_and_the_kept_path(make_window: Make) -> None:
    window = make_window({"logprobs": {"There are two shapes.": -0.1}})
    window.open(SHAPES)
    exchange = window.ask("How many?")
    dialog = dialogs.candidates(window.app, exchange)
    assert dialog is not None
    tree = dialog.tree
    shown = list(tree.boxes.values())
    assert sum(item.box.count for item in shown) == len(exchange.trace["candidates"]) == 16
    assert [sum(item.box.column == at for item in shown) for at in range(4)] == [1, 2, 2, 2]
    assert shown[0].note == "4 of 4 agree"  # equal ones are one box
    chosen = [item for item in shown if item.box.chosen]
    assert [item.box.column for item in chosen] == [0, 1, 2, 3]
    assert chosen[1].box.text == "There are two shapes."
    assert chosen[1].note == "2 of 4 say this"
    assert "There are two shapes." in chosen[1].accessibleName()
    assert "best of 4 at each stage" in dialog.about.text()
    window.qtbot.keyClick(tree, Qt.Key.Key_Left)
    assert tree.current is not None
    assert tree.current.box.column == 2
    tree.pick(chosen[1])
    assert dialog.text.markdown == "There are two shapes."
    assert "part of the answer" in dialog.why.text()
    other = next(item for item in shown if item.box.column == 1 and not item.box.chosen)
    window.qtbot.mouseClick(other, Qt.MouseButton.LeftButton)
    assert "not part of the answer" in dialog.why.text()
    dialog.close()


# --- settings -------------------------------------------------------------------------------------
def test_settings_are_checked_kept_and_used(make_window: Make, tmp_path: Path) -> None:
    window = make_window()
    dialog = dialogs.settings(window.app)
    fields = {field.name: field for field in dialog.fields}
    assert set(fields) >= {"candidates", "temperature", "token_budget", "gpu_layers"}
    for wrong, why in (("77", "temperature is 77"), ("warm", "warm is not a number")):
        fields["temperature"].edit.setText(wrong)  # type: ignore[union-attr]
        dialog.accept()
        assert dialog.isVisible()
        assert why in fields["temperature"].problem.text()
        assert dialog.tabs.tabText(dialog.tabs.currentIndex()) == "Sampling"
    fields["temperature"].edit.setText("0.5")  # type: ignore[union-attr]
    fields["device"].edit.setText("cpu")  # type: ignore[union-attr]
    fields["gpu_layers"].edit.setText("20")  # type: ignore[union-attr]
    dialog.accept()  # each is right, and the two are not
    assert dialog.isVisible()
    assert any("20 layers" in field.problem.text() for field in dialog.fields)
    fields["device"].edit.clear()  # type: ignore[union-attr]
    fields["gpu_layers"].edit.clear()  # type: ignore[union-attr]
    dialog.combos["theme"].setCurrentIndex(dialog.combos["theme"].findData("dark"))
    dialog.accept()
    assert not dialog.isVisible()
    assert theme.current() is theme.DARK
    stored = json.loads((tmp_path / "home" / "settings.json").read_text())
    assert stored["groups"]["sampling"] == {"temperature": 0.5}
    window.open(SHAPES)
    assert window.ask("Warm?").request["sampling"] == {"temperature": 0.5}
    again = dialogs.settings(window.app)
    again._defaults()
    again.accept()
    assert window.app.preferences.groups["sampling"] == {}


def test_settings_that_cannot_be_written_are_told(make_window: Make, tmp_path: Path) -> None:
    window = make_window()
    (tmp_path / "home" / "settings.json").unlink()
    (tmp_path / "home" / "settings.json").mkdir()
    window.app.change(preset="fast")
    assert "cannot write the settings" in window.banner
    assert window.app.preferences.preset == "fast"


def test_shortcuts_are_listed_changed_and_never_double(make_window: Make) -> None:
    window = make_window()
    dialog = dialogs.shortcuts(window.app)
    assert set(dialog.edits) == {entry.name for entry in ACTIONS}
    dialog.edits["models"].setKeySequence(QKeySequence("Ctrl+O"))
    dialog.accept()
    assert "both" in dialog.problem.text()
    dialog.edits["models"].setKeySequence(QKeySequence("Ctrl+Shift+M"))
    dialog.accept()
    assert window.app.preferences.shortcuts == {"models": "Ctrl+Shift+M"}
    assert window.window.actions_by_name["models"].shortcut().toString() == "Ctrl+Shift+M"
    keys = [entry.keys for entry in ACTIONS if entry.keys]
    assert len(keys) == len(set(keys))


# --- models ---------------------------------------------------------------------------------------
def test_a_pair_is_taken_in_used_and_removed(make_window: Make, tmp_path: Path) -> None:
    window = make_window()
    desk = dialogs.models(window.app)
    window.wait(lambda: bool(desk.dialog.rows["demo"].details))
    assert "mllama" in desk.dialog.details.text()
    assert desk.dialog.memory.text().startswith("✓ Needs")
    assert not desk.dialog.remove_button.isEnabled()
    desk.work("import", str(demo.text_path()), "")
    assert not desk.dialog.pull_button.isEnabled()
    window.wait(lambda: desk.working is None)
    assert "is ready" in desk.dialog.problem.text()
    (name,) = [found for found in desk.dialog.rows if found != "demo"]
    desk.dialog.list.setCurrentRow(1)
    window.qtbot.mouseClick(desk.dialog.use_button, Qt.MouseButton.LeftButton)
    assert window.app.preferences.model == name
    assert not desk.dialog.remove_button.isEnabled()  # not while it is used
    desk.use("demo")
    desk.remove(name)
    assert Store().entries() == []
    assert list(desk.dialog.rows) == ["demo"]
    desk.dialog.close()


def test_model_work_that_fails_says_why(
    make_window: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    window = make_window()
    desk = dialogs.models(window.app)
    for kind, source, why in (
        ("pull", "owner/name", "offline"),
        ("convert", str(tmp_path / "nothing"), "nothing"),
        ("import", str(tmp_path / "no.gguf"), "no.gguf"),
    ):
        desk.work(kind, source, "")
        window.wait(lambda: desk.working is None)
        assert why in desk.dialog.problem.text().lower(), kind
        assert desk.dialog.pull_button.isEnabled()
    desk.dialog.close()


def test_the_model_in_use_says_where_it_runs(make_window: Make) -> None:
    window = make_window(None)
    window.app.change(preset="fast")
    window.open(SHAPES)
    window.ask("How many circles are there?")
    desk = dialogs.models(window.app)
    window.wait(lambda: "In use on" in desk.dialog.details.text())
    assert "context" in desk.dialog.details.text()
    os.kill(window.app.link.pid, signal.SIGKILL)
    window.wait(lambda: window.app.loaded is None)
    assert window.window.model_label.text() == "Demo model"
    desk.dialog.close()


def test_progress_has_speed_and_time_left(
    make_window: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make_window()
    dialog = dialogs.models(window.app).dialog
    now = [100.0]
    monkeypatch.setattr("llavao1_gui.widgets.models_dialog.time.monotonic", lambda: now[0])
    dialog.begin_work("x")
    dialog.show_progress(m.Progress(50_000_000, 250_000_000, "file"))  # had come earlier
    now[0] += 10
    dialog.show_progress(m.Progress(150_000_000, 250_000_000, "file"))
    assert dialog.doing.text() == "file · 150.0 MB of 250.0 MB · 10.0 MB/s · 10 s left"
    dialog.close()


# --- many pictures --------------------------------------------------------------------------------
def test_a_folder_is_answered_and_goes_on_where_it_was(make_window: Make, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.png").write_bytes(SHAPES.read_bytes())
    (folder / "2.png").write_text("no picture")
    window = make_window({"token_s": 0.003})
    desk = dialogs.batch(window.app)
    dialog, out = desk.dialog, tmp_path / "out.jsonl"
    dialog.source.setText(str(folder))
    dialog.question.setText("How many?")
    window.qtbot.mouseClick(dialog.start_button, Qt.MouseButton.LeftButton)
    assert "missing" in dialog.problem.text()
    dialog.out.setText(str(out))
    window.qtbot.mouseClick(dialog.start_button, Qt.MouseButton.LeftButton)
    window.wait(lambda: desk.run.done >= 1)
    window.qtbot.mouseClick(dialog.stop_button, Qt.MouseButton.LeftButton)
    assert not desk.run.running
    done = desk.run.done
    assert done < 4
    window.qtbot.mouseClick(dialog.start_button, Qt.MouseButton.LeftButton)
    window.wait(lambda: not desk.run.running)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 4
    assert [row["conclusion"] for row in rows if not row["error"]] == ["3"] * 3
    (bad,) = [row for row in rows if row["error"]]
    assert bad["picture"].endswith("2.png")
    assert "1 with an error" in dialog.state.text()
    assert len(out.with_suffix(".csv").read_text().splitlines()) == 5
    dialog.close()


def test_pause_holds_the_run(make_window: Make, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        f"picture,question\n{SHAPES},one?\n{OTHER},two?\n{SHAPES},three?\n"
    )
    window = make_window({"token_s": 0.003})
    desk = dialogs.batch(window.app)
    desk.start(str(tmp_path / "t.csv"), "", str(tmp_path / "r"))
    desk.run.toggle_pause()
    window.wait(lambda: desk.run.done == 1)
    window.qtbot.wait(150)
    assert desk.run.done == 1
    assert desk.dialog.pause_button.text() == "Go on"
    window.qtbot.mouseClick(desk.dialog.pause_button, Qt.MouseButton.LeftButton)
    window.wait(lambda: desk.run.done == 3)
    assert (tmp_path / "r.jsonl").exists()
    desk.dialog.close()


# --- export ---------------------------------------------------------------------------------------
def test_a_conversation_is_exported(make_window: Make, tmp_path: Path) -> None:
    window = make_window()
    window.app.act("export")
    assert "nothing to export" in window.banner
    window.open(SHAPES)
    window.ask("How <many>?")
    for name in ("a.md", "a.html", "a.json"):
        window.app.exporter.write(tmp_path / name)
    window.wait(lambda: (tmp_path / "a.json").exists())
    assert (tmp_path / "a.png").read_bytes() == SHAPES.read_bytes()
    page = (tmp_path / "a.html").read_text()
    assert "How &lt;many&gt;?" in page
    assert "data:image/png;base64" in page
    assert json.loads((tmp_path / "a.json").read_text())["exchanges"][0]["trace"]["candidates"]
    window.app.exporter.write(tmp_path / "none" / "a.md")
    window.wait(lambda: "cannot write" in window.banner)


def test_formulas_are_drawn_in_an_exported_page(make_window: Make, tmp_path: Path) -> None:
    said = r"It is $\frac{1}{2}$, not $5 and $10; and $$\frac{$$ <b>x</b>"
    window = make_window({"texts": {"summary": ["s"], "caption": ["c"], "reasoning": [said],
                                    "conclusion": [said]}})  # fmt: skip
    window.open(SHAPES)
    window.ask("How much?")
    window.app.exporter.write(tmp_path / "a.html")
    window.wait(lambda: (tmp_path / "a.html").exists())
    page = (tmp_path / "a.html").read_text()
    assert page.count("<svg") == 2
    assert "not $5 and $10" in page
    assert "\\frac{$$" in page  # what cannot be drawn stays as it was written
    assert "<b>" not in page
    assert "\ue000" not in page


# --- rich text ------------------------------------------------------------------------------------
@pytest.mark.parametrize("half", [r"\( \frac{1}{2} \)", r"$\frac{1}{2}$", r"$$\frac{1}{2}$$"])
def test_markdown_and_formulas_are_drawn_and_bad_ones_shown_as_they_are(
    make_window: Make, half: str
) -> None:
    said = rf"**So** {half} and \( \frac{{ \) and ![x](file:///etc/passwd) <b>y</b>"
    window = make_window({"texts": {"summary": ["s"], "caption": ["c"], "reasoning": ["r"],
                                    "conclusion": [said]}})  # fmt: skip
    window.open(SHAPES)
    window.ask("Half?")
    text = window.cards[0].conclusion
    window.app.formulas.background.wait()
    window.wait(lambda: "\ufffc" in text.toPlainText())  # a formula is a picture in the text
    assert r"\( \frac{ \)" in text.toPlainText()
    assert "**" not in text.toPlainText()
    assert "<b>y</b>" in text.toPlainText()
    assert text.markdown == said


# --- looks ----------------------------------------------------------------------------------------
def contrast(first: str, second: str) -> float:
    """WCAG 2.2's ratio."""

    def light(name: str) -> float:
        parts = [QColor(name).redF(), QColor(name).greenF(), QColor(name).blueF()]
        r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    bright, dark = sorted((light(first), light(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("chosen", [theme.LIGHT, theme.DARK], ids=lambda t: t.name)
def test_text_has_enough_contrast_everywhere(chosen: theme.Theme) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for back in (chosen.back, chosen.surface, chosen.raised, chosen.note_back):
        for text in (chosen.text, chosen.faint):
            assert contrast(text, back) >= 4.5, (text, back)
    for text, back in (
        (chosen.on_accent, chosen.accent),
        (chosen.accent, chosen.note_back),
        (chosen.good, chosen.surface),
        (chosen.bad, chosen.surface),
        (chosen.text, chosen.bad_back),
    ):
        assert contrast(text, back) >= 4.5, (text, back)


CONTROLS = (QAbstractButton, QComboBox, QLineEdit, QPlainTextEdit, QTextBrowser, QAbstractItemView)


def ancestors(widget: QWidget) -> list[QWidget]:
    found, parent = [], widget.parentWidget()
    while parent is not None:
        found.append(parent)
        parent = parent.parentWidget()
    return found


def unnamed(widget: QWidget) -> list[str]:
    """Controls that a screen reader could not name; insides of Qt's own controls are Qt's."""
    found = []
    for control in widget.findChildren(QWidget):
        inner = any(isinstance(one, QComboBox | QLineEdit) for one in ancestors(control))
        if not isinstance(control, CONTROLS) or inner or control.isHidden():
            continue
        text = control.text() if isinstance(control, QAbstractButton) else ""
        own = control.objectName().startswith("qt_")
        if not (control.accessibleName() or text or own):
            found.append(f"{type(control).__name__} in {type(control.parentWidget()).__name__}")
    return found


def test_every_control_has_a_name(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES, OTHER)
    window.ask("How many?")
    app = window.app
    shown: list[QWidget] = [
        window.window,
        dialogs.settings(app),
        dialogs.models(app).dialog,
        dialogs.batch(app).dialog,
        dialogs.about(app),
    ]
    for widget in shown:
        assert unnamed(widget) == [], type(widget).__name__
    for widget in shown[1:]:
        widget.close()


def test_the_theme_changes_at_once(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.ask("How many?")
    colours = []
    for name in ("light", "dark"):
        window.app.change(theme=name)
        colours.append(window.window.sidebar.grab().toImage().pixelColor(5, 300).name())
    assert colours == [theme.LIGHT.back, theme.DARK.back]


def test_the_history_hides_in_a_narrow_window(make_window: Make) -> None:
    window = make_window()
    window.window.resize(900, 600)
    window.wait(lambda: not window.window.sidebar.isVisible())
    window.window.resize(1200, 700)
    window.wait(lambda: window.window.sidebar.isVisible())


# --- languages ------------------------------------------------------------------------------------
def _lupdate_runs() -> bool:
    """It is linked to parts of Qt that the window does not need, and so to other libraries."""
    command = [str(catalogues.TOOLS / "pyside6-lupdate"), "-help"]
    return subprocess.run(command, capture_output=True).returncode == 0


needs_lupdate = pytest.mark.skipif(not _lupdate_runs(), reason="pyside6-lupdate does not run here")


@needs_lupdate
def test_catalogues_are_complete_and_fresh() -> None:
    assert catalogues.problems() == []


@needs_lupdate
def test_a_text_that_a_catalogue_lacks_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (catalogues.FOLDER / "ko.ts").read_text(encoding="utf-8")
    lacking = re.sub(r"<message>\s*<source>Undo</source>.*?</message>", "", whole, flags=re.DOTALL)
    assert lacking != whole
    (tmp_path / "ko.ts").write_text(lacking, encoding="utf-8")
    monkeypatch.setattr(catalogues, "FOLDER", tmp_path)
    found = catalogues.problems()
    assert "ko.ts: new text ('Kept', 'Undo')" in found


def test_every_placeholder_is_translated() -> None:
    for (_, text), korean in catalogues.texts(catalogues.FOLDER / "ko.ts").items():
        assert korean is not None
        fields = [sorted(re.findall(r"\{\w*(?::[^}]*)?\}", one)) for one in (text, korean)]
        assert fields[0] == fields[1], text


def test_the_engines_words_are_those_of_the_window(make_window: Make, tmp_path: Path) -> None:
    """Notes, errors, facts about models and headings of exports, in the language that is chosen;
    also of an answer that is there already, and of one that was kept."""
    window = make_window(None)
    window.app.change(language="ko", groups={"budget": {"token_budget": 12}})
    window.open(SHAPES)
    exchange = window.ask("How many?")
    notes = window.cards[0].notes
    assert "토큰 예산 12개을(를) 다 썼습니다" in notes.text()
    assert exchange.notes[0].startswith("the token budget of 12 is used up")  # English where kept
    window.app.change(language="en")
    window.wait(lambda: "the token budget of 12 is used up" in notes.text())
    window.app.change(language="ko")
    assert window.talk.ask("How many?", form=("choices", "A"))
    window.wait(lambda: not window.talk.busy)
    failed = window.talk.exchanges[-1]
    assert failed.status == "failed"
    assert "선택지가 'A'입니다" in window.cards[-1].problem.text()
    assert "서로 다른 것을 둘 이상 주세요" in window.cards[-1].problem.text()
    kept = window.app.history.exchanges(window.talk.current.id)
    assert [one.error for one in kept] == ["", str(failed.error)]
    assert said(kept[1].error) == said(failed.error) != failed.error
    assert said(kept[0].notes[0]) in notes.text()
    target = tmp_path / "out.md"
    window.app.exporter.write(target)
    window.wait(target.exists)
    assert "**추론**" in target.read_text(encoding="utf-8")
    desk = dialogs.models(window.app)
    window.wait(lambda: "자기 어텐션" in desk.dialog.details.text())
    assert "후보" in window.window.model_label.toolTip()


def test_names_that_are_no_text_are_said_as_they_are(make_window: Make) -> None:
    make_window()
    odd = "n\udcff"
    assert said(odd) == odd
    assert said(Phrase("{name} is empty", name=odd)) == f"{odd} is empty"


def test_what_is_said_can_be_translated() -> None:
    """Errors are raised with constants or phrases: what an f-string made has no catalogue."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sentences.sources()}
    kinds = sentences.errors_of(list(trees.values()))
    found = [
        f"{path}:{told.lineno}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for told in sentences.said_by(node, kinds)
        if isinstance(told, ast.JoinedStr | ast.BinOp)
    ]
    assert found == []


def test_the_language_changes_at_once_and_back(make_window: Make) -> None:
    window = make_window()
    window.open(SHAPES)
    window.ask("How many?")
    box, sidebar = window.window.answers.box, window.window.sidebar
    window.app.change(language="ko")
    window.wait(lambda: box.ask_button.text() == "묻기")
    assert window.window.state_label.text() == "준비됨"
    assert sidebar.title.text() == "대화"
    assert window.window.actions_by_name["open"].text() == "그림 열기…"
    assert "꼼꼼히" in window.cards[0].facts.text()
    dialog = dialogs.settings(window.app)
    assert dialog.windowTitle() == "설정"
    dialog.reject()
    window.app.change(language="en")
    window.wait(lambda: box.ask_button.text() == "Ask")
    assert window.window.state_label.text() == "Ready"


def test_korean_letters_have_shapes(make_window: Make) -> None:
    """Two different letters look different; boxes for missing glyphs would look the same."""
    window = make_window()
    if not set(KOREAN_FONTS) & set(QFontDatabase.families()):
        pytest.skip("no Korean font is installed")
    window.app.change(language="ko")
    button = window.window.answers.box.ask_button
    seen = []
    for text in ("가", "힣"):
        button.setText(text)
        seen.append(button.grab().toImage())
    assert seen[0] != seen[1]


def test_a_model_that_was_removed_elsewhere_is_an_error_with_a_way_out(make_window: Make) -> None:
    window = make_window(None)
    window.app.change(preset="fast", model="gone")
    window.open(SHAPES)
    failed = window.ask("How many circles are there?")
    assert failed.status == "failed"
    assert "gone" in failed.error
    dialogs.models(window.app).use("demo")
    assert window.ask("How many circles are there?").status == "answered"
    assert window.app.models_desk is not None
    window.app.models_desk.dialog.close()


def test_a_pull_is_cancelled_and_goes_on_where_it_was(
    make_window: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = {path.name: path.read_bytes() for path in (demo.text_path(), demo.mmproj_path())}
    name = demo.text_path().name
    with Hub({"Someone/Shapes-GGUF": files}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        window = make_window()
        desk = dialogs.models(window.app)
        hub.bad[name] = BadDay(delay=0.1)
        desk.dialog.repo.setText("Someone/Shapes-GGUF")
        window.qtbot.mouseClick(desk.dialog.pull_button, Qt.MouseButton.LeftButton)
        window.wait(lambda: desk.dialog.bar.value() > 100 or desk.working is None)  # of 1000
        assert desk.working is not None, desk.dialog.problem.text()
        assert "MB/s" in desk.dialog.doing.text() or "kB/s" in desk.dialog.doing.text()
        window.qtbot.mouseClick(desk.dialog.cancel_button, Qt.MouseButton.LeftButton)
        window.wait(lambda: desk.working is None)
        assert Store().entries() == []
        assert "what has come is kept" in desk.dialog.problem.text()
        hub.bad.clear()
        desk.dialog.repo.returnPressed.emit()
        window.wait(lambda: desk.working is None)
        assert "is ready" in desk.dialog.problem.text()
        assert [entry.name for entry in Store().entries()] == [demo.text_path().stem]
        assert hub.sent[name] < 1.6 * len(files[name])  # not all of it again
        desk.dialog.close()


# --- the real model -------------------------------------------------------------------------------
def test_the_first_start_leads_to_the_real_model(
    make_window: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size, memory, and the speed to expect here, before anything is fetched."""
    window = make_window()
    window.window.picture.empty.models_button.click()
    desk = window.app.models_desk
    assert desk is not None
    dialog = desk.dialog
    assert dialog.isVisible()
    window.wait(lambda: dialog.foreseen is not None)
    found = dialog.foreseen
    assert found is not None
    assert found.tokens_per_second > 0
    assert found.picture_seconds > 0
    facts = dialog.real_facts.text()
    assert "Downloads 21.3 GB and keeps 7.3 GB" in facts
    assert "Needs 8.2 GB of memory" in facts
    assert "tokens a second" in facts
    asked: list[tuple[str, str, str]] = []
    monkeypatch.setattr(desk, "work", lambda *what: asked.append(what))
    dialog.work.disconnect()
    dialog.work.connect(desk.work)
    dialog.repo.setFocus()
    window.qtbot.keyClick(dialog.repo, Qt.Key.Key_Return)
    assert asked == []
    dialog.get_button.click()
    assert asked == [("pull", "Xkev/Llama-3.2V-11B-cot", "")]


def test_a_measurement_that_dies_is_said(make_window: Make) -> None:
    """The card said that it was looking for ever."""
    window = make_window()
    window.app.act("models")
    desk = window.app.models_desk
    assert desk is not None
    desk.looking[""].kill()
    window.wait(lambda: "could not be measured" in desk.dialog.real_facts.text())


def test_a_computer_that_is_too_small_for_it_says_so(make_window: Make) -> None:
    window = make_window()
    window.app.act("models")
    desk = window.app.models_desk
    assert desk is not None
    window.wait(lambda: desk.dialog.foreseen is not None)
    small = replace(desk.dialog.foreseen, free=4_000_000_000)
    desk.dialog.show_foresight(small)
    assert "It does not fit here now" in desk.dialog.real_facts.text()


# --- a model on a server --------------------------------------------------------------------------
def test_a_model_on_a_server(make_window: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent before somebody has said so; then the window works as with any other."""
    said: list[str] = []
    choice = [1]

    def answer(box: QMessageBox) -> int:
        said.append(box.text())
        monkeypatch.setattr(box, "clickedButton", lambda: box.buttons()[choice[0]])
        return 0

    monkeypatch.setattr(QMessageBox, "exec", answer)
    script = Script()
    with scripted(script) as url:
        window = make_window(None)
        desk = dialogs.models(window.app)
        for text in ("localhost:8080", "", url):
            desk.dialog.server.setText(text)
            window.qtbot.mouseClick(desk.dialog.server_button, Qt.MouseButton.LeftButton)
        assert "http://HOST:PORT" in desk.dialog.problem.text()
        assert [url.removeprefix("http://") in one for one in said] == [True]
        assert window.app.preferences.model == "demo"
        assert not script.headers
        choice[0] = 0
        window.qtbot.mouseClick(desk.dialog.server_button, Qt.MouseButton.LeftButton)
        assert window.app.preferences.model == url
        assert "Pictures are sent to 127.0.0.1:" in window.window.model_label.text()
        assert "A server: pictures are sent to" in desk.dialog.about_it.text()
        assert not desk.dialog.remove_button.isEnabled()
        window.open(SHAPES)
        exchange = window.ask("How many?")
        assert exchange.stages["conclusion"] in ("3", "2")
        assert script.answers[-1]["messages"][0]["content"][0]["type"] == "image_url"
        script.broken = "cut"
        window.type("And now?")
        window.wait(lambda: bool(window.talk.exchanges[-1].error))
        assert "ended the reply early" in window.talk.exchanges[-1].error
    desk.use("demo")
    assert "Pictures are sent" not in window.window.model_label.text()
