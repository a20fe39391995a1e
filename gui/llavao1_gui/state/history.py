"""Conversations on disk: one SQLite file, pictures by content hash in a folder beside it.

Everything is written as it happens, in write-ahead mode: a crash loses at most what was not sent.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llavao1_edge.errors import LlavaError
from llavao1_edge.files import write_whole
from llavao1_edge.lifetime import Closing

MIGRATIONS = (
    """
    CREATE TABLE conversations (
        id INTEGER PRIMARY KEY, title TEXT NOT NULL, picture TEXT, picture_name TEXT NOT NULL,
        crop TEXT, created REAL NOT NULL, updated REAL NOT NULL, deleted REAL);
    CREATE TABLE exchanges (
        id INTEGER PRIMARY KEY,
        conversation INTEGER NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
        question TEXT NOT NULL, request TEXT NOT NULL, status TEXT NOT NULL,
        conclusion TEXT NOT NULL DEFAULT '', stages TEXT NOT NULL DEFAULT '{}',
        trace TEXT, notes TEXT NOT NULL DEFAULT '[]', error TEXT NOT NULL DEFAULT '',
        seconds REAL, asked REAL NOT NULL);
    CREATE INDEX by_conversation ON exchanges(conversation);
    """,
)
BUSY_S = 3.0
UNDO_S = 30 * 24 * 3600  # what was deleted can come back for a month


class HistoryError(LlavaError):
    """The history cannot be written now; what was to be written is kept and tried again."""


@dataclass
class Exchange:
    """A question and what became of it. status: asked, answered, stopped, failed."""

    id: int
    question: str
    request: dict[str, Any]
    status: str = "asked"
    conclusion: str = ""
    stages: dict[str, str] = field(default_factory=dict)
    trace: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    error: str = ""
    seconds: float | None = None
    asked: float = 0.0


@dataclass
class Conversation:
    """picture: hash of the picture's file, and its name as it came. crop: of original pixels."""

    id: int
    title: str
    picture: str | None
    picture_name: str
    crop: tuple[int, int, int, int] | None = None
    created: float = 0.0
    updated: float = 0.0


class History(Closing):
    """Opens or makes the history in `folder`.

    A file that is no usable database is set aside under another name (`set_aside` says which).
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.folder, self.clock = folder, clock
        self.path = folder / "history.sqlite"
        self.pictures = folder / "pictures"
        self.set_aside: Path | None = None
        with _explained("open"):
            self.pictures.mkdir(parents=True, exist_ok=True)
            try:
                self._db = self._connect()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                    raise
                self._put_aside()
                self._db = self._connect()
            self._forget_deleted()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA foreign_keys=ON")
            if db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("damaged")
            self._migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise HistoryError(
                f"{self.path} was written by a newer version of this program ({version})",
                hint="Update the program, or choose another data folder with --data.",
            )
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            db.executescript(f"BEGIN; {script}; PRAGMA user_version={number}; COMMIT;")

    def _put_aside(self) -> None:
        self.set_aside = self.path.with_name(f"history-damaged-{int(self.clock())}.sqlite")
        self.path.replace(self.set_aside)
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").replace(f"{self.set_aside}{suffix}")

    def _forget_deleted(self) -> None:
        self._db.execute(
            "DELETE FROM conversations WHERE deleted IS NOT NULL AND deleted < ?",
            (self.clock() - UNDO_S,),
        )

    def close(self) -> None:
        self._db.close()

    # --- pictures -----------------------------------------------------------------------------
    def keep_picture(self, data: bytes) -> str:
        """Stores a picture's file under its hash. Raises HistoryError (a full disk)."""
        digest = hashlib.sha256(data).hexdigest()
        target = self.pictures / digest
        with _explained("store a picture in"):
            if not target.exists():
                write_whole(target, data)
        return digest

    def picture_path(self, digest: str) -> Path:
        return self.pictures / digest

    # --- writing ------------------------------------------------------------------------------
    def begin(
        self, title: str, picture: str | None, picture_name: str,
        crop: tuple[int, int, int, int] | None = None,
    ) -> Conversation:  # fmt: skip
        now = self.clock()
        number = self._write(
            "INSERT INTO conversations(title, picture, picture_name, crop, created, updated)"
            " VALUES (?,?,?,?,?,?)",
            title, picture, picture_name, json.dumps(crop), now, now,
        )  # fmt: skip
        return Conversation(number, title, picture, picture_name, crop, now, now)

    def ask(self, conversation: int, question: str, request: dict[str, Any]) -> Exchange:
        now = self.clock()
        number = self._write(
            "INSERT INTO exchanges(conversation, question, request, status, asked)"
            " VALUES (?,?,?,'asked',?)",
            conversation, question, json.dumps(request), now,
        )  # fmt: skip
        self._write("UPDATE conversations SET updated=? WHERE id=?", now, conversation)
        return Exchange(number, question, request, asked=now)

    def save(self, exchange: Exchange) -> None:
        """What an exchange has become so far."""
        self._write(
            "UPDATE exchanges SET request=?, status=?, conclusion=?, stages=?, trace=?, notes=?,"
            " error=?, seconds=? WHERE id=?",
            json.dumps(exchange.request),
            exchange.status,
            exchange.conclusion,
            json.dumps(exchange.stages),
            None if exchange.trace is None else json.dumps(exchange.trace),
            json.dumps(exchange.notes),
            exchange.error,
            exchange.seconds,
            exchange.id,
        )

    def save_stages(self, exchange: int, stages: dict[str, str]) -> None:
        """What was written so far; cheap enough for every piece of text."""
        self._write("UPDATE exchanges SET stages=? WHERE id=?", json.dumps(stages), exchange)

    def rename(self, conversation: int, title: str) -> None:
        self._write("UPDATE conversations SET title=? WHERE id=?", title, conversation)

    def delete(self, conversation: int) -> None:
        """Out of sight; `restore` brings it back."""
        self._write("UPDATE conversations SET deleted=? WHERE id=?", self.clock(), conversation)

    def restore(self, conversation: int) -> None:
        self._write("UPDATE conversations SET deleted=NULL WHERE id=?", conversation)

    # --- reading ------------------------------------------------------------------------------
    def conversations(self, search: str = "") -> list[Conversation]:
        """Newest first. search: a part of a title, a question or a conclusion, in any case."""
        pattern = "%" + search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        with _explained("read"):
            rows = self._db.execute(
                "SELECT * FROM conversations c WHERE deleted IS NULL AND (title LIKE ?1 ESCAPE '\\'"
                " OR picture_name LIKE ?1 ESCAPE '\\' OR EXISTS (SELECT 1 FROM exchanges e WHERE"
                " e.conversation = c.id AND (e.question LIKE ?1 ESCAPE '\\' OR e.conclusion LIKE ?1"
                " ESCAPE '\\'))) ORDER BY updated DESC, id DESC",
                (pattern,),
            ).fetchall()
        return [_conversation(row) for row in rows]

    def conversation(self, number: int) -> Conversation | None:
        with _explained("read"):
            row = self._db.execute("SELECT * FROM conversations WHERE id=?", (number,)).fetchone()
        return None if row is None else _conversation(row)

    def exchanges(self, conversation: int) -> list[Exchange]:
        """In the order they were asked."""
        with _explained("read"):
            rows = self._db.execute(
                "SELECT * FROM exchanges WHERE conversation=? ORDER BY id", (conversation,)
            ).fetchall()
        return [_exchange(row) for row in rows]

    def _write(self, statement: str, *values: Any) -> int:
        with _explained("write"):
            return self._db.execute(statement, values).lastrowid or 0


def _conversation(row: sqlite3.Row) -> Conversation:
    crop = json.loads(row["crop"] or "null")
    return Conversation(
        row["id"], row["title"], row["picture"], row["picture_name"],
        None if crop is None else tuple(crop), row["created"], row["updated"],
    )  # fmt: skip


def _exchange(row: sqlite3.Row) -> Exchange:
    return Exchange(
        row["id"],
        row["question"],
        json.loads(row["request"]),
        row["status"],
        row["conclusion"],
        json.loads(row["stages"]),
        None if row["trace"] is None else json.loads(row["trace"]),
        tuple(json.loads(row["notes"])),
        row["error"],
        row["seconds"],
        row["asked"],
    )


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Errors of SQLite and of the disk as sentences."""
    try:
        yield
    except sqlite3.OperationalError as error:
        locked = "locked" in str(error)
        raise HistoryError(
            f"cannot {what} the history: "
            + ("another window is writing to it" if locked else str(error)),
            hint="Nothing is lost: it is tried again with the next change."
            if locked
            else "Free some space; it is tried again with the next change.",
        ) from error
    except OSError as error:
        raise HistoryError(
            f"cannot {what} the history: {error.strerror or error}",
            hint="Free some space, or check the permissions of the data folder.",
        ) from error
