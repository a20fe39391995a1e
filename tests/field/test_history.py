"""A history with damaged cells: the window opens, shows what can be read, and keeps the rest."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
from pathlib import Path

import pytest

from llavao1_gui.state.history import Conversation, Exchange, History
from llavao1_gui.state.stored_rows import UNREADABLE

TRACE = {"strategy": "staged", "options": {}, "seed": 0, "counters": {}, "remarks": [],
         "candidates": [], "comparisons": []}  # fmt: skip


@pytest.fixture
def history(tmp_path: Path) -> History:
    made = History(tmp_path / "home")
    for number in range(3):
        talk = Conversation(0, f"title {number}", None, "a.png", crop=(1, 2, 30, 40))
        stages = {"summary": "s", "conclusion": "2"}
        made.save(
            talk, Exchange(0, "How many?", {"preset": "fast"}, "answered", "2", stages, TRACE)
        )
    return made


def damage(history: History, table: str, column: str, value: object) -> None:
    history.close()
    db = sqlite3.connect(history.path)
    db.execute(f"UPDATE {table} SET {column}=? WHERE id=2", (value,))
    db.commit()
    assert db.execute("PRAGMA quick_check").fetchone()[0] == "ok"
    db.close()


VALUES = [
    "x",
    "{",
    "[1]",
    "null",
    "5",
    '"a"',
    "[" * 50_000,
    b"\xff\xfe",
    7,
    1e300,
    "",
    '{"a": {"b": 1}}',
]
CELLS = [
    *(("conversations", name) for name in ("crop", "title", "picture", "picture_name", "created", "updated")),
    *(("exchanges", name) for name in ("question", "request", "status", "conclusion", "stages", "trace", "notes", "error", "seconds", "asked")),
]  # fmt: skip


@pytest.mark.parametrize(("table", "column"), CELLS, ids=lambda text: text)
def test_a_damaged_cell_costs_that_cell(table: str, column: str, history: History) -> None:
    for value in VALUES:
        damage(history, table, column, value)
        history = History(history.folder)
        assert history.set_aside is None
        found = history.conversations()
        assert sorted(each.id for each in found) == [1, 2, 3]
        for talk in found:
            (exchange,) = history.exchanges(talk.id)
            assert isinstance(exchange.question, str)
            assert isinstance(exchange.stages, dict)
            assert talk.crop is None or len(talk.crop) == 4
        assert [history.exchanges(1)[0].notes, history.exchanges(3)[0].notes] == [(), ()]
    history.close()


def test_what_cannot_be_read_is_said_and_kept(history: History) -> None:
    damage(history, "exchanges", "trace", '{"candidates": 5}')
    history = History(history.folder)
    (exchange,) = history.exchanges(2)
    assert exchange.trace is None
    assert exchange.notes == (UNREADABLE,)
    assert exchange.conclusion == "2"
    history.close()
    db = sqlite3.connect(history.path)
    assert db.execute("SELECT trace FROM exchanges WHERE id=2").fetchone()[0] == '{"candidates": 5}'
    db.close()


def test_bytes_changed_anywhere_never_stop_the_window(history: History, tmp_path: Path) -> None:
    history.close()
    whole = history.path.read_bytes()
    rng = random.Random(0)
    for number in range(150):
        folder = tmp_path / f"h{number}"
        folder.mkdir()
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3, 20))):
            data[rng.randrange(100, len(data))] = rng.randrange(256)
        (folder / "history.sqlite").write_bytes(data)
        opened = History(folder)
        for talk in opened.conversations():
            opened.exchanges(talk.id)
        opened.close()


def test_two_histories_damaged_in_one_second_get_two_names(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        (tmp_path / "history.sqlite").write_bytes(b"no database" * 100)
        made = History(tmp_path, clock=lambda: 1000.0)
        assert made.set_aside is not None
        names.add(made.set_aside.name)
        made.close()
    assert len(names) == 3


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_nobody_else_may_read_it(history: History) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    history.keep_picture(b"x")
    assert mode(history.folder) == mode(history.shelf.folder) == 0o700
    assert mode(history.path) == 0o600
    for beside in history.folder.glob("history.sqlite-*"):
        assert mode(beside) == 0o600
    history.close()
