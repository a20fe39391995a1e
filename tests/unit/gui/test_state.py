"""What the window shows and keeps, without Qt."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image

from llavao1_edge.errors import LlavaError, UsageError
from llavao1_edge.phrases import Phrase, packed
from llavao1_edge.settings import ranges
from llavao1_gui.state import batch, export, preferences, tables
from llavao1_gui.state import messages as m
from llavao1_gui.state.formulas import depth, extract
from llavao1_gui.state.history import MIGRATIONS, Conversation, Exchange, History, HistoryError
from llavao1_gui.state.live import LiveAnswer
from llavao1_gui.state.preferences import GROUPS, Preferences
from llavao1_gui.state.sight import sight
from llavao1_gui.state.tree import columns
from tests import qt


# --- messages -------------------------------------------------------------------------------------
def test_every_message_comes_back_as_it_was_sent() -> None:
    sent: list[m.Message] = [
        m.Ask(1, "Wie viele?", "/a/b.png", (1, 2, 3, 4), (("q", {"caption": "c"}),), seed=3),
        m.Text(1, "caption", ((0, "a\nb"), (1, "\u2028")), 2),
        m.Answered(1, "2", {"conclusion": "2"}, {"candidates": []}, ("note",), False, 1.5),
        m.Failed(1, Phrase("{name} failed", name=Phrase("it")), "try again"),
        m.Stop(7),
    ]
    for message in sent:
        line = m.encode(message)
        assert line.count(b"\n") == 1
        found = m.decode(line)
        assert found == message
        assert packed(vars(found)) == packed(vars(message))


@pytest.mark.parametrize(
    "line", [b"", b"no json", b"[]", b'{"type": "Nothing"}', b'{"type":"Ask"}']
)
def test_a_line_that_is_no_message_is_an_error(line: bytes) -> None:
    with pytest.raises(LlavaError, match="cannot be read"):
        m.decode(line)


# --- live -----------------------------------------------------------------------------------------
def test_a_live_answer_knows_how_long_reading_takes() -> None:
    now = [0.0]
    live = LiveAnswer(1, clock=lambda: now[0])
    assert live.phase == "queued"
    now[0] = 100.0
    live.begin("waiting")
    live.expected = 60.0
    now[0] = 110.0
    live.feed(m.Working(1, "picture", 0.0))
    assert live.seconds_of_work_left is None  # nothing to go by yet
    now[0] = 120.0
    live.feed(m.Working(1, "picture", 0.25))
    assert live.seconds_of_work_left == pytest.approx(30)
    assert live.seconds_left == pytest.approx(40)
    live.feed(m.Working(1, "prompt", 0.0))
    assert (live.phase, live.seconds_of_work_left) == ("prompt", None)
    now[0] = 124.0
    live.feed(m.Working(1, "prompt", 0.5))
    assert live.seconds_of_work_left == pytest.approx(4)
    now[0] = 170.0
    assert live.seconds_left is None  # late: an estimate would be a lie
    live.feed(m.StageBegan(1, "summary", 1))
    assert live.seconds_of_work_left is None


def test_a_live_answer_follows_its_messages() -> None:
    now = [0.0]
    live = LiveAnswer(1, clock=lambda: now[0])
    live.feed(m.Loading("demo"))
    assert live.phase == "loading"
    live.feed(m.Seen(1, 1, 1, 5, 5, True, 0.0))
    assert live.reused
    live.feed(m.StageBegan(1, "caption", 2))
    now[0] = 1.0
    live.feed(m.Text(1, "caption", ((1, "second"), (0, "first")), 4))
    live.feed(m.Text(2, "caption", ((0, "of another answer"),), 1))
    assert live.stages == {"caption": "first"}
    assert live.tokens == 4
    assert live.tokens_per_second == pytest.approx(20)  # four in the shortest window, 0.2 s
    live.feed(m.CandidateDone(1))
    live.feed(m.Compared(1))
    assert (live.finished, live.candidates, live.phase) == (1, 2, "judging")
    live.feed(m.Kept(1, "caption", "second"))
    assert live.stages == {"caption": "second"}
    live.stop()
    now[0] = 2.0
    live.stop()  # once more changes nothing
    assert (live.stopping, live.is_stuck) == (True, False)
    now[0] = 4.0
    assert live.is_stuck
    now[0] = 9.0
    live.feed(m.Failed(1, "gone", stopped=True))
    now[0] = 20.0
    assert (live.phase, live.elapsed, live.done) == ("stopped", 9.0, True)


def test_a_stage_that_is_written_by_sentences_is_shown_whole() -> None:
    live = LiveAnswer(1, clock=lambda: 0.0)
    live.feed(m.StageBegan(1, "caption", 2))
    live.feed(m.Text(1, "caption", ((0, "A dog."),), 2))
    live.feed(m.Kept(1, "caption", "A dog."))
    live.feed(m.StageBegan(1, "caption", 2))
    assert live.stages == {"caption": "A dog."}
    live.feed(m.Text(1, "caption", ((0, " It runs."),), 3))
    assert live.stages == {"caption": "A dog. It runs."}
    live.feed(m.Kept(1, "caption", "A dog. It sits."))
    live.feed(m.StageBegan(1, "reasoning", 2))
    live.feed(m.Text(1, "reasoning", ((0, "So"),), 1))
    assert live.stages == {"caption": "A dog. It sits.", "reasoning": "So"}


# --- tree -----------------------------------------------------------------------------------------
def node(key: int, parent: int, stage: str, **more: Any) -> dict[str, Any]:
    return {"key": key, "parent": parent, "stage": stage, "text": f"t{key}", "tokens": 3,
            "mean_logprob": -0.1} | more  # fmt: skip


def test_the_tree_says_why_each_candidate_stands_where_it_does() -> None:
    trace = {
        "candidates": [
            node(1, 0, "summary", by="only one", kept=True, chosen=True),
            node(2, 1, "caption", by="all equal", kept=True, chosen=True),
            node(3, 1, "caption"),
            node(4, 2, "reasoning", by="judge", kept=True, chosen=True),
            node(5, 2, "reasoning"),
            node(6, 4, "conclusion", by="logprob", score=-0.1, kept=True, chosen=True),
            node(7, 4, "conclusion", by="logprob", score=-0.2),
        ],
        "comparisons": [{"first": 4, "second": 5, "winner": 4}],
    }
    found = columns(trace)
    assert [column.stage for column in found] == ["summary", "caption", "reasoning", "conclusion"]
    kinds = [[box.reason.kind for box in column.boxes] for column in found]
    assert kinds == [["alone"], ["equal", "equal"], ["judge", "judge"], ["score", "score"]]
    assert (found[2].boxes[0].reason.wins, found[2].boxes[1].reason.wins) == (1, 0)
    assert [box.row for box in found[1].boxes] == [0, 1]
    assert columns({"candidates": []}) == ()


# --- history --------------------------------------------------------------------------------------
def begun(history: History, exchange: Exchange | None = None, *, title: str = "x") -> Conversation:
    talk = Conversation(0, title, None, "x")
    history.save(talk, exchange or Exchange(0, "q", {}))
    return talk


def test_a_conversation_is_found_again_as_it_was(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        digest = history.keep_picture(b"\x89PNG picture")
        talk = Conversation(0, "How many?", digest, "a.png", (1, 2, 3, 4))
        exchange = Exchange(0, "How many 100%_?", {"seed": 1})
        history.save(talk, exchange)
        history.save_stages(exchange.id, {"caption": "half"})
    with History(tmp_path) as history:
        assert history.exchanges(talk.id)[0].stages == {"caption": "half"}
        exchange.status, exchange.conclusion, exchange.trace = "answered", "Zwölf", {"a": 1}
        history.save(talk, exchange)
        assert history.exchanges(talk.id) == [exchange]
        assert history.conversation(talk.id).crop == (1, 2, 3, 4)  # type: ignore[union-attr]
        assert history.picture_path(digest).read_bytes() == b"\x89PNG picture"
        for part in ("MANY", "100%_", "zwölf"[1:], "a.PNG"):
            assert [found.id for found in history.conversations(part)] == [talk.id], part
        assert history.conversations("100x") == []
        history.rename(talk.id, "Shapes")
        assert history.conversations()[0].title == "Shapes"
        history.delete(talk.id)
        assert history.conversations() == []
        history.restore(talk.id)
        assert len(history.conversations()) == 1


def test_what_was_deleted_long_ago_is_forgotten(tmp_path: Path) -> None:
    now = [1000.0]
    with History(tmp_path, clock=lambda: now[0]) as history:
        talk = begun(history, Exchange(0, "x", {}))
        history.delete(talk.id)
    now[0] += 40 * 24 * 3600
    with History(tmp_path, clock=lambda: now[0]) as history:
        history.restore(talk.id)
        assert history.conversations() == []
        assert history.exchanges(talk.id) == []


def test_what_is_deleted_for_good_leaves_the_disk(tmp_path: Path) -> None:
    """With its pictures, unless another conversation or the window refers to them."""
    with History(tmp_path) as history:
        names = {name: history.keep_picture(name.encode()) for name in ("own", "shared", "more")}
        strip = history.keep_picture(b"in the strip")
        talks = [Conversation(0, "secret title", names[name], name) for name in ("own", "shared")]
        other = Conversation(0, "other", names["shared"], "shared")
        for talk in (*talks, other):
            history.save(talk, Exchange(0, "q", {"more": [names["more"]]}))
        history.delete(talks[0].id)
        history.delete(talks[1].id)
        assert [one.id for one in history.deleted()] == [talks[1].id, talks[0].id]
        assert all(one.deleted for one in history.deleted())
        before = history.n_bytes()
        history.erase([talks[0].id, talks[1].id], shown=[strip])
        assert history.deleted() == []
        kept = {path.name for path in history.shelf.folder.iterdir()}
        assert kept == {names["shared"], names["more"], strip}
        assert history.n_bytes() < before
        assert b"secret title" not in history.path.read_bytes()
        history.erase(None)
        assert history.conversations() == []
        assert [path.name for path in history.shelf.folder.iterdir()] == [strip]
    assert list(history.shelf.folder.iterdir()) == []


def test_pictures_that_nobody_asked_about_are_not_kept(tmp_path: Path) -> None:
    """What another window has opened stays for a day, what is not named as ours for ever."""
    with History(tmp_path) as history:
        asked = history.keep_picture(b"asked about")
        history.save(Conversation(0, "x", asked, "x"), Exchange(0, "q", {}))
        only = history.keep_picture(b"only looked at")
        history.shelf.keep_thumbnail(only, b"small")
        names = {"fresh": "0" * 64, "left behind by a crash": "1" * 64, "holiday": "IMG_0001.jpg"}
        for name in names.values():
            (history.shelf.folder / name).write_bytes(b"x")
        for name in (names["left behind by a crash"], names["holiday"]):
            os.utime(history.shelf.folder / name, (1, 1))
    kept = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert kept == {asked, names["fresh"], names["holiday"]}
    assert not (tmp_path / "history.sqlite-wal").exists()  # all in one file at the end


def test_a_picture_that_another_window_opened_too_is_left(tmp_path: Path) -> None:
    with History(tmp_path) as other:
        with History(tmp_path) as first:
            digest = first.keep_picture(b"both")
            os.utime(first.picture_path(digest), (1, 1))
            other.keep_picture(b"both")
        assert other.picture_path(digest).exists()
    assert not other.picture_path(digest).exists()  # nobody has asked about it


def test_what_is_deleted_for_good_is_gone_whoever_brought_it(tmp_path: Path) -> None:
    """The window was started again since; and what is being opened meanwhile stays."""
    with History(tmp_path) as history:
        digest = history.keep_picture(b"private")
        history.shelf.keep_thumbnail(digest, b"small")
        history.save(Conversation(0, "x", digest, "x"), Exchange(0, "q", {}))
    with History(tmp_path) as history:
        arriving = history.keep_picture(b"being opened")
        history.erase(None)
        assert [path.name for path in history.shelf.folder.iterdir()] == [arriving]


def test_a_damaged_history_keeps_its_pictures(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        digest = history.keep_picture(b"asked about")
        history.save(Conversation(0, "x", digest, "x"), Exchange(0, "q", {}))
    os.utime(tmp_path / "pictures" / digest, (1, 1))
    (tmp_path / "history.sqlite").write_bytes(b"damaged" * 1000)
    for _ in range(2):  # also the start after that
        with History(tmp_path) as history:
            assert history.picture_path(digest).exists()


def test_a_conversation_that_another_window_deleted_begins_anew(tmp_path: Path) -> None:
    """Its number is not given to another one; what is said in it is not lost."""
    with History(tmp_path) as first, History(tmp_path) as second:
        talk = begun(first, title="deleted elsewhere")
        second.erase(None)
        other = begun(second, title="another")
        assert other.id != talk.id
        first.save(talk, Exchange(0, "and now?", {}))
        assert [one.question for one in first.exchanges(other.id)] == ["q"]
        assert [one.question for one in first.exchanges(talk.id)] == ["and now?"]
        assert {one.title for one in first.conversations()} == {"deleted elsewhere", "another"}


def test_an_old_history_is_taken_over(tmp_path: Path) -> None:
    """With its exchanges, though the table they refer to is made anew."""
    db = sqlite3.connect(tmp_path / "history.sqlite")
    db.executescript(f"{tables.MIGRATIONS[0]}; PRAGMA user_version=1;")
    db.execute("INSERT INTO conversations VALUES (7, 'old', NULL, 'a.png', 'null', 1.0, 2.0, NULL)")
    db.execute(
        "INSERT INTO exchanges(conversation, question, request, status, asked)"
        " VALUES (7, 'kept?', '{}', 'answered', 1.0)"
    )
    db.commit()
    db.close()
    with History(tmp_path) as history:
        assert history.set_aside is None
        assert [one.question for one in history.exchanges(7)] == ["kept?"]
        assert begun(history).id == 8
        history.erase([7])
        assert history.exchanges(7) == []


def test_the_place_of_a_window_changes_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"theme": "dark", "of a newer version": [1], "model": "pink"}')
    preferences.write_layout(path, {"window": "AAAA"})
    assert json.loads(path.read_text()) == {
        "theme": "dark", "of a newer version": [1], "model": "pink", "layout": {"window": "AAAA"},
    }  # fmt: skip
    path.write_text('{"theme": "dark",}')  # a comma too many
    preferences.write_layout(path, {"window": "BBBB"})
    assert path.read_text() == '{"theme": "dark",}'


def test_a_name_that_is_no_text_can_be_exported(tmp_path: Path) -> None:
    talk = Conversation(1, "caf\udce9", None, "caf\udce9.png")
    for ending in ("md", "html", "json"):
        (written,) = export.write(
            tmp_path / f"a.{ending}", talk, SAID, picture=None, rendered=str
        )  # fmt: skip
        assert "caf" in written.read_text(encoding="utf-8")


def test_deletions_are_undone_one_after_the_other(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        talks = [begun(history, title=name) for name in "abc"]
        for talk in talks:
            history.delete(talk.id)
        history.restore(talks[2].id, talks[0].id)
        assert {one.title for one in history.conversations()} == {"a", "c"}


@pytest.mark.parametrize(
    "content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\7" * 5000]
)
def test_a_damaged_database_is_set_aside_and_never_deleted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "history.sqlite").write_bytes(content)
    with History(tmp_path) as history:
        assert history.set_aside is not None
        assert history.set_aside.read_bytes() == content
        assert begun(history).id == 1


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        begun(history)
    db = sqlite3.connect(tmp_path / "history.sqlite")
    db.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(HistoryError, match="newer version"):
        History(tmp_path)
    assert (tmp_path / "history.sqlite").exists()


def test_a_healthy_history_that_cannot_be_opened_now_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with History(tmp_path) as history:
        begun(history)

    def fail(*_: object) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ  # type: ignore[misc]
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(History, "_migrate", fail)
        with pytest.raises(HistoryError, match="disk I/O error"):
            History(tmp_path)
    with History(tmp_path) as history:
        assert history.set_aside is None
        assert len(history.conversations()) == 1


def test_damage_found_later_is_checked_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llavao1_gui.state.history.CHECKED_BYTES", 0)  # every file is a large one
    with History(tmp_path) as history:
        for _ in range(40):
            begun(history, Exchange(0, "q" * 3000, {}))
    data = bytearray((tmp_path / "history.sqlite").read_bytes())
    data[8192:] = b"\7" * (len(data) - 8192)
    (tmp_path / "history.sqlite").write_bytes(data)
    with History(tmp_path) as history:
        assert history.set_aside is None
        with pytest.raises(HistoryError, match="Start the program again"):
            history.exchanges(1)
    with History(tmp_path) as history:
        assert history.set_aside is not None
        assert history.set_aside.read_bytes()[8192:] == bytes(data[8192:])
        assert begun(history).id == 1
    assert not (tmp_path / "history.doubt").exists()


def test_a_question_and_its_conversation_are_saved_together_or_not_at_all(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        talk, asked = Conversation(0, "x", None, "caf\udce9.png"), Exchange(0, "q", {"bad": {1}})
        with pytest.raises(TypeError):
            history.save(talk, asked)
        assert (talk.id, asked.id, history.conversations()) == (0, 0, [])
        asked.request = {}
        history.save(talk, asked)
        assert history.conversations()[0].picture_name == "caf?.png"  # bytes that are no text


def test_another_window_and_a_full_disk_are_sentences(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        other = sqlite3.connect(tmp_path / "history.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(HistoryError, match="another window"):
            begun(history)
        other.execute("ROLLBACK")
        other.close()
        pages = history._db.execute("PRAGMA page_count").fetchone()[0]
        history._db.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(HistoryError, match="full"):
            begun(history, title="x" * 50_000)


# --- preferences ----------------------------------------------------------------------------------
def test_preferences_come_back_and_bad_values_are_named(tmp_path: Path) -> None:
    path = tmp_path / "config" / "settings.json"
    assert preferences.read(path) == (Preferences(), [])
    chosen = Preferences(theme="dark", shortcuts={"open": "Ctrl+P"}).with_setting(
        "sampling", "temperature", 0.5
    )
    preferences.write(path, chosen)
    assert preferences.read(path) == (chosen, [])
    stored = json.loads(path.read_text())
    stored |= {"theme": "pink", "remember": "yes", "unknown": 1}
    stored["groups"] = {"sampling": {"temperature": 77, "top_p": 0.5, "x": 1}, "y": {}}
    path.write_text(json.dumps(stored))
    found, problems = preferences.read(path)
    assert (found.theme, found.remember) == ("system", True)
    assert found.group("sampling") == {"top_p": 0.5}
    assert len(problems) == 5
    for value in ("pink", "yes", "77", "x is 1", "y in"):
        assert any(value in problem for problem in problems), value


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"', "\0"])
def test_unreadable_settings_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.json").write_text(text)
    found, problems = preferences.read(tmp_path / "s.json")
    assert found == Preferences()
    assert "s.json" in problems[0]


def test_a_default_is_not_stored_and_a_bad_value_is_refused() -> None:
    changed = Preferences().with_setting("search", "candidates", 8)
    assert changed.group("search") == {"candidates": 8}
    assert changed.with_setting("search", "candidates", None).group("search") == {}
    with pytest.raises(UsageError, match="candidates is 1000"):
        Preferences().with_setting("search", "candidates", 1000)


def test_every_setting_has_a_name_and_a_help_that_can_be_translated() -> None:
    if qt.problem():
        pytest.skip(qt.problem())
    from llavao1_gui.widgets.settings_texts import HELP, NAMES

    for kind in GROUPS.values():
        for name, limits in ranges(kind):
            assert name in NAMES
            assert limits.help in HELP
    assert len(HELP) == sum(len(fields(kind)) for kind in GROUPS.values())


# --- formulas and sight ---------------------------------------------------------------------------
def test_formulas_are_found_but_not_in_code() -> None:
    text, found = extract(r"So \( \frac{a}{b} \) and `\(x\)` and \[ x^2 \] and \( \) end")
    assert [(one.tex, one.block) for one in found] == [(r"\frac{a}{b}", False), ("x^2", True)]
    assert r"`\(x\)`" in text
    assert all(one.mark in text for one in found)


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        (r"So $x^2$ and $\frac{1}{2}$.", ["x^2", r"\frac{1}{2}"]),
        ("It is $$a + b$$ here", ["a + b"]),
        ("from $5 to $10", []),
        ("$5 and $10, or $ 3 $", []),
        ("$5 a kilo, 10$ a box", []),
        ("$5-$10", []),
        (r"$5 \text{ apples}$ and $2x$", [r"5 \text{ apples}", "2x"]),
        (r"\$x\$ and `$y$`", []),
        ("$x\ny$", []),
        ("$$$ and $$", []),
    ],
)
def test_dollars_are_formulas_where_they_are(text: str, formulas: list[str]) -> None:
    marked, found = extract(text)
    assert [one.tex for one in found] == formulas
    assert formulas or marked == text


@given(st.text(alphabet=r"\()[]`ab$ " + "\ue000\ue0010\n", max_size=60))
def test_no_text_is_lost(text: str) -> None:
    marked, found = extract(text)
    clean = text.replace("\ue000", "").replace("\ue001", "")
    for one in found:
        mark = f"\n\n{one.mark}\n\n" if one.block else one.mark
        marked = marked.replace(mark, one.source, 1)
    assert marked == clean


def test_sight_follows_the_models_tiling() -> None:
    seen = sight(900, 500, tile=56, max_tiles=4)
    assert (seen.canvas.rows, seen.canvas.columns, seen.canvas.width) == (2, 2, 112)
    assert seen.scale == pytest.approx(112 / 900)


def test_a_formula_that_would_take_long_stays_source() -> None:
    assert depth(r"\frac{a}{\sqrt{b_{1}}}") == 3
    assert depth(r"\left( \left[ x \right] \right) \leftarrow \{ \{ \}") == 2
    assert depth("}" * 9 + "{") == 1
    deep = r"\( " + r"\frac{1}{" * 7 + "x" + "}" * 7 + r" \)"
    assert extract(deep) == (deep, [])
    assert extract(r"\( " + "x" * 1001 + r" \)")[1] == []


# --- export ---------------------------------------------------------------------------------------
TALK = Conversation(1, "How <many>?", "d", "a [1].png", (0, 0, 5, 5))
SAID = [
    Exchange(
        1, "How <many>?", {}, "answered", "**2**", {"caption": "<b>x</b>"}, {"candidates": []}
    ),
    Exchange(2, "And now?", {}, "failed", error="it broke"),
]


@pytest.mark.parametrize("ending", ["md", "html", "json"])
def test_an_export_holds_everything(tmp_path: Path, ending: str) -> None:
    picture = tmp_path / "stored"
    picture.write_bytes(b"\x89PNG data")
    written = export.write(
        tmp_path / f"out.{ending}", TALK, SAID, picture=picture, rendered=lambda t: f"[{t}]"
    )
    text = written[-1].read_text() if ending != "md" else (tmp_path / "out.md").read_text()
    assert "it broke" in text
    if ending == "md":
        assert (tmp_path / "out.png").read_bytes() == b"\x89PNG data"
        assert "out.png" in text
    elif ending == "html":
        assert "data:image/png;base64,iVBORyBkYXRh" in text
        assert "<many>" not in text
        assert "&lt;many&gt;" in text
    else:
        assert json.loads(text)["exchanges"][0]["trace"] == {"candidates": []}
    assert not list(tmp_path.glob(".*partial"))


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000", "ICO", "PPM"]
)
def test_an_exported_picture_is_one_that_browsers_show(tmp_path: Path, kind: str) -> None:
    """Whatever came in, decoded again from what was written; TIFF was once called `bin`."""
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    picture = tmp_path / "stored"
    Image.new("RGB", (32, 32), "red").save(picture, format=kind)
    written = export.write(
        tmp_path / "a.md", TALK, SAID, picture=picture, rendered=str
    )  # fmt: skip
    page = export.write(tmp_path / "a.html", TALK, SAID, picture=picture, rendered=str)[0]
    beside = next(path for path in written if path.suffix != ".md")
    inside = re.search(r"data:image/(\w+);base64,([^\"]+)", page.read_text())
    assert inside is not None
    for data, name in (
        (beside.read_bytes(), beside.suffix[1:].replace("jpg", "jpeg")),
        (base64.b64decode(inside[2]), inside[1]),
    ):
        assert name in ("png", "jpeg", "gif", "webp")
        with Image.open(io.BytesIO(data), formats=[name.upper()]) as opened:
            red, green, blue = opened.convert("RGB").getpixel((16, 16))  # type: ignore[misc]
        assert red > 240
        assert max(green, blue) < 15


def test_a_picture_that_cannot_be_read_any_more_is_left_out(tmp_path: Path) -> None:
    picture = tmp_path / "stored"
    picture.write_bytes(b"no picture")
    written = export.write(tmp_path / "a.md", TALK, SAID, picture=picture, rendered=str)
    assert [path.name for path in written] == ["a.md"]


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(LlavaError, match="unknown ending"):
        export.write(tmp_path / "a.doc", TALK, SAID, picture=None, rendered=str)
    with pytest.raises(LlavaError, match="cannot write"):
        export.write(tmp_path / "no" / "a.md", TALK, SAID, picture=None, rendered=str)
    assert list(tmp_path.iterdir()) == []
    assert export.file_name('a/b: "c"?') == "ab c"


def test_an_exported_text_fetches_nothing(tmp_path: Path) -> None:
    nasty = Exchange(
        1, "a\n# b <img src=x>", {}, "answered",
        "![x](http://a/b.png) and <img src=x> and \\<b> and \\\\<b> but 1 < 2",
    )  # fmt: skip
    export.write(tmp_path / "a.md", TALK, [nasty], picture=None, rendered=str)
    text = (tmp_path / "a.md").read_text()
    assert "## a # b \\<img src=x>\n" in text
    html = MarkdownIt().render(text)
    assert "<img" not in html
    assert "<b>" not in html
    assert "1 &lt; 2" in html


# --- batch ----------------------------------------------------------------------------------------
def test_rows_of_a_folder_and_of_a_table(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", "c.jp2", "d.pgm", "e.heic", "f.tga", "g.pdf"):
        (tmp_path / name).write_bytes(b"")
    found = [Path(row.picture).name for row in batch.of_folder(tmp_path, "?")]
    assert found == ["a.jpg", "b.PNG", "c.jp2", "d.pgm", "e.heic", "f.tga"]
    table = tmp_path / "t.csv"
    table.write_text("picture,question\na.jpg,How many?\n", encoding="utf-8-sig")
    assert batch.of_csv(table) == [batch.Row(str(tmp_path / "a.jpg"), "How many?")]


def test_bad_sources_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("picture,question\na.jpg,\n")
    (tmp_path / "empty.csv").write_text("picture,question\n")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    for call, said in (
        (lambda: batch.of_folder(tmp_path / "none", "?"), "cannot read the folder"),
        (lambda: batch.of_folder(tmp_path, "?"), "holds no picture"),
        (lambda: batch.of_folder(tmp_path, " "), "question is empty"),
        (lambda: batch.of_csv(tmp_path / "x.csv"), "x.csv, line 2"),
        (lambda: batch.of_csv(tmp_path / "empty.csv"), "no rows"),
        (lambda: batch.of_csv(tmp_path / "binary.csv"), "no rows"),
        (lambda: batch.of_csv(tmp_path / "none.csv"), "cannot read"),
    ):
        with pytest.raises(UsageError, match=said):
            call()


def test_results_go_on_after_a_kill(tmp_path: Path) -> None:
    rows = [batch.Row("a", "q"), batch.Row("b", "q"), batch.Row("a", "q")]
    results = batch.Results(tmp_path / "r.jsonl")
    results.add(rows[0], {"conclusion": "=1+1", "error": "", "notes": ["x"], "seconds": 1.0})
    with (tmp_path / "r.jsonl").open("a") as file:
        file.write('{"picture": "b", "ques')  # killed while writing
    again = batch.Results(tmp_path / "r.jsonl")
    assert again.left(rows) == [rows[1]]
    again.add(rows[1], {"conclusion": "-5", "error": "", "notes": [], "seconds": 1.0})
    assert batch.Results(tmp_path / "r.jsonl").left(rows) == []
    table = (tmp_path / "r.csv").read_text("utf-8-sig").splitlines()
    assert table[0].startswith("picture,question,conclusion")
    assert "'=1+1" in table[1]  # no formula
    assert ",-5," in table[2]


def test_the_table_is_made_anew_from_the_rows(tmp_path: Path) -> None:
    results = batch.Results(tmp_path / "r.jsonl")
    results.add(batch.Row("a", "q"), {"conclusion": "1"})
    whole = (tmp_path / "r.csv").read_bytes()
    (tmp_path / "r.csv").write_bytes(whole[:-5])  # killed while writing
    batch.Results(tmp_path / "r.jsonl")
    assert (tmp_path / "r.csv").read_bytes() == whole
    (tmp_path / "r.csv").write_text("my,table\n1,2\n")
    with pytest.raises(LlavaError, match="not a table of results"):
        batch.Results(tmp_path / "r.jsonl")
    assert (tmp_path / "r.csv").read_text() == "my,table\n1,2\n"


def test_an_export_leaves_another_picture_of_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"the user's own")
    (tmp_path / "stored").write_bytes(b"\x89PNG data")
    for _ in range(2):  # the second time it is there already
        export.write(tmp_path / "a.md", TALK, SAID, picture=tmp_path / "stored", rendered=str)
    assert (tmp_path / "a.png").read_bytes() == b"the user's own"
    assert (tmp_path / "a-2.png").read_bytes() == b"\x89PNG data"
    assert "a-2.png" in (tmp_path / "a.md").read_text()
    assert not (tmp_path / "a-3.png").exists()


def test_a_file_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("my\nnotes\n")
    with pytest.raises(LlavaError, match="not a file of results"):
        batch.Results(tmp_path / "r.jsonl")
    assert (tmp_path / "r.jsonl").read_text() == "my\nnotes\n"


@pytest.mark.parametrize("content", ['{"my": "notes"}', "x", '{"picture": 1}\n', "[]"])
def test_a_foreign_line_is_not_cut_off(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.jsonl").write_text(content)
    with pytest.raises(LlavaError, match="not a file of results"):
        batch.Results(tmp_path / "r.jsonl")
    assert (tmp_path / "r.jsonl").read_text() == content


def test_what_failed_is_tried_again_and_the_later_line_counts(tmp_path: Path) -> None:
    rows = [batch.Row("a", "q"), batch.Row("caf\udce9.png", "q")]
    results = batch.Results(tmp_path / "r.jsonl")
    results.add(rows[0], {"conclusion": "", "error": "it broke"})
    results.add(rows[1], {"conclusion": "2", "error": ""})
    again = batch.Results(tmp_path / "r.jsonl")
    assert again.left(rows) == [rows[0]]
    again.add(rows[0], {"conclusion": "1", "error": ""})
    assert batch.Results(tmp_path / "r.jsonl").left(rows) == []
    assert len((tmp_path / "r.jsonl").read_bytes().splitlines()) == 3
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size")
def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    results = batch.Results(tmp_path / "r.jsonl")
    results.add(batch.Row("a", "q"), {"conclusion": "1"})
    whole = (tmp_path / "r.jsonl").read_bytes()
    limit = len(whole) + 10
    code = f"""
import resource, signal, sys
from pathlib import Path
from llavao1_edge.errors import LlavaError
from llavao1_gui.state import batch
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
results = batch.Results(Path({str(tmp_path / "r.jsonl")!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    results.add(batch.Row("b", "q"), {{"conclusion": "2"}})
except LlavaError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert (tmp_path / "r.jsonl").read_bytes() == whole


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp949"])
@pytest.mark.parametrize("divider", [",", ";", "\t"])
def test_a_table_as_spreadsheets_save_it(encoding: str, divider: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    lines = [("picture", "question"), ("사진.jpg", "몇 개입니까, 모두?"), ("", "")]
    text = "".join(divider.join(f'"{cell}"' for cell in line) + "\r\n" for line in lines)
    path.write_bytes(text.encode(encoding))
    assert batch.of_csv(path) == [batch.Row(str(tmp_path / "사진.jpg"), "몇 개입니까, 모두?")]


def test_a_western_table_is_not_taken_for_a_korean_one(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("picture,question\na.jpg,Où est le café très léger ?\n".encode("cp1252"))
    assert batch.of_csv(path)[0].question == "Où est le café très léger ?"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp949", "utf-16"])
def test_results_go_on_after_a_spreadsheet_has_saved_them(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    results = batch.Results(path)
    results.add(batch.Row("가.jpg", "몇 개?"), {"conclusion": "두 개", "seconds": 1})
    table = path.with_suffix(".csv")
    whole = table.read_bytes()
    assert whole.startswith(b"\xef\xbb\xbfpicture,")
    table.write_bytes(whole.decode("utf-8-sig").encode(encoding))
    batch.Results(path).add(batch.Row("나.jpg", "몇 개?"), {"conclusion": "세 개"})
    assert [line.split(",")[0] for line in table.read_text("utf-8-sig").splitlines()] == [
        "picture", "가.jpg", "나.jpg",
    ]  # fmt: skip


def test_pictures_of_a_folder_in_the_order_people_count(tmp_path: Path) -> None:
    for name in ("img10.png", "img2.png", "IMG1.PNG", "b.jfif", "._img3.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "dir.png").mkdir()
    found = [Path(row.picture).name for row in batch.of_folder(tmp_path, "What?")]
    assert found == ["b.jfif", "IMG1.PNG", "img2.png", "img10.png"]
