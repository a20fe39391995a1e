"""Conversations on disk: one SQLite file, pictures by content hash in a folder beside it.

Everything is written as it happens, in write-ahead mode: a crash loses at most what was not sent.
Nothing here waits: while another window writes, a call fails at once, and its caller tries again.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from llavao1_edge.errors import LlavaError
from llavao1_edge.lifetime import Closing
from llavao1_edge.phrases import Phrase, packed
from llavao1_gui.state.damage import Damaged, check_schema, explained, is_damage, is_locked
from llavao1_gui.state.shelf import Shelf
from llavao1_gui.state.stored_rows import UNREADABLE, Cells
from llavao1_gui.state.tables import MIGRATIONS

OPEN_S = 3.0  # how long the start waits for another window's writing
BUSY_S = 0.02  # how long a call does: the window stands still meanwhile
CHECKED_BYTES = 64 << 20  # a larger file is checked whole only when it was found damaged
CANNOT_OPEN = Phrase("the history cannot be opened: {reason}")
CANNOT_READ = Phrase("the history cannot be read: {reason}")
CANNOT_WRITE = Phrase("the history cannot be written: {reason}")
CANNOT_STORE = Phrase("a picture cannot be stored in the history: {reason}")
STATUSES = ("asked", "answered", "stopped", "failed")
TYPICAL, FEW = 9, 2  # answers that an expected time comes from, and how many are too few
UNDO_S = 30 * 24 * 3600  # what was deleted can come back for a month


class HistoryError(LlavaError):
    """The history cannot be written now; what was to be written is kept and tried again.

    locked: another window is writing to it, which is over in a moment.
    """

    def __init__(self, message: str, *, hint: str = "", locked: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.locked = locked


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
    """picture: hash of the picture's file, and its name as it came. crop: of original pixels.
    deleted: when, or None."""

    id: int
    title: str
    picture: str | None
    picture_name: str
    crop: tuple[int, int, int, int] | None = None
    created: float = 0.0
    updated: float = 0.0
    deleted: float | None = None


class History(Closing):
    """Opens or makes the history in `folder`.

    A file that is no usable database is set aside under another name (`set_aside` says which).
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.folder, self.clock = folder, clock
        self.path = folder / "history.sqlite"
        self.shelf = Shelf(folder / "pictures", clock)
        self._doubt = folder / "history.doubt"  # there: the next start checks all of the file
        self.set_aside: Path | None = None
        with self._explained(CANNOT_OPEN):
            if not folder.exists():
                folder.mkdir(mode=0o700, parents=True)
            self.shelf.folder.mkdir(mode=0o700, exist_ok=True)
            self.path.touch(mode=0o600)  # before SQLite makes it readable for everybody
            for path, mode in ((self.shelf.folder, 0o700), (self.path, 0o600)):
                path.chmod(mode)
            try:
                self._db = self._connect()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._put_aside()
                self._db = self._connect()
            self._forget_deleted()
            self._doubt.unlink(missing_ok=True)
            self._db.execute(f"PRAGMA busy_timeout={int(1000 * BUSY_S)}")

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=OPEN_S, isolation_level=None)
        try:
            db.row_factory = sqlite3.Row
            db.text_factory = lambda data: data.decode("utf-8", "replace")  # a changed byte
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA secure_delete=ON")  # what was deleted is not left in the file
            if self._doubt.exists() or self.path.stat().st_size <= CHECKED_BYTES:
                found = db.execute("PRAGMA quick_check").fetchone()[0]
                if found != "ok":
                    raise Damaged(found)
            self._migrate(db)
            check_schema(db, MIGRATIONS)
            db.execute("PRAGMA foreign_keys=ON")  # not before: a migration makes tables anew
        except UnicodeDecodeError as error:  # even messages and names of columns may be damaged
            db.close()
            raise Damaged(str(error)) from error
        except BaseException:
            db.close()
            raise
        return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise HistoryError(
                Phrase(
                    "{path} was written by a newer version of this program ({version})",
                    path=self.path,
                    version=version,
                ),
                hint="Update the program, or choose another data folder with --data.",
            )
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            db.executescript(f"BEGIN; {script}; PRAGMA user_version={number}; COMMIT;")

    def _put_aside(self) -> None:
        names = (f"history-damaged-{int(self.clock()) + n}.sqlite" for n in range(10_000))
        free = (self.path.with_name(name) for name in names)
        self.set_aside = next(path for path in free if not path.exists())
        self.path.replace(self.set_aside)
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").replace(f"{self.set_aside}{suffix}")

    def _forget_deleted(self) -> None:
        """What was deleted long ago. Damage that shows here is told by the call that needs the
        data; while another window writes, it is left to the next start."""
        with suppress(sqlite3.DatabaseError):
            self._db.execute(
                "DELETE FROM conversations WHERE deleted IS NOT NULL AND deleted < ?",
                (self.clock() - UNDO_S,),
            )
            self._sweep()

    def _sweep(self) -> None:
        """Pictures that nothing refers to; not while a damaged history may still want them."""
        if not any(self.folder.glob("history-damaged-*")):
            self.shelf.sweep(self._used())

    def close(self) -> None:
        """Everything into the one file; pictures that were never asked about are not kept."""
        with suppress(sqlite3.Error, OSError):  # another window writes, or the disk is gone
            self._sweep()
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()

    # --- pictures -----------------------------------------------------------------------------
    def keep_picture(self, data: bytes) -> str:
        """Stores a picture's file under its hash. Raises HistoryError (a full disk)."""
        with self._explained(CANNOT_STORE):
            return self.shelf.keep(data)

    def picture_path(self, digest: str) -> Path:
        return self.shelf.path(digest)

    def _used(self, numbers: Collection[int] | None = None) -> set[str]:
        """Pictures that conversations refer to (None: all), also those that can be brought back."""
        among = "" if numbers is None else f"IN ({','.join(str(int(one)) for one in numbers)})"
        where = f"WHERE id {among}" if among else ""
        found = {row[0] for row in self._db.execute(f"SELECT picture FROM conversations {where}")}
        where = f"AND conversation {among}" if among else ""
        rows = self._db.execute(
            # Nearly all have no more pictures: they need not be parsed at every start and end.
            "SELECT request FROM exchanges WHERE request LIKE '%\"more\"%'"
            f" AND request NOT LIKE '%\"more\": []%' {where}"
        )
        for row in rows:
            more = Cells(dict(row)).mapping("request").get("more")
            found.update(str(one) for one in (more if isinstance(more, list) else ()))
        return {digest for digest in found if digest}

    def n_bytes(self) -> int:
        """What is kept, on the disk."""
        with self._explained(CANNOT_READ):
            files = self.folder.glob(f"{self.path.name}*")
            return sum(path.stat().st_size for path in files) + self.shelf.n_bytes()

    # --- writing ------------------------------------------------------------------------------
    def save(self, conversation: Conversation, exchange: Exchange) -> None:
        """What they have become so far, all of it or nothing. New ones get their number."""
        with self._together():
            number, now = conversation.id, self.clock()
            known = "SELECT 1 FROM conversations WHERE id=?"
            if number and self._db.execute(known, (number,)).fetchone() is None:
                # Another window deleted it for good: what is said here begins it anew.
                number, exchange.id = 0, 0
            if not number:
                number = self._write(
                    "INSERT INTO conversations"
                    "(title, picture, picture_name, crop, created, updated) VALUES (?,?,?,?,?,?)",
                    conversation.title, conversation.picture, conversation.picture_name,
                    json.dumps(conversation.crop), now, now,
                )  # fmt: skip
            asked = self._save_exchange(number, exchange, now)
        if conversation.id != number:
            conversation.id, conversation.created, conversation.updated = number, now, now
        if not exchange.id:
            exchange.id, exchange.asked = asked, now

    def _save_exchange(self, conversation: int, exchange: Exchange, now: float) -> int:
        if not exchange.id:
            self._write("UPDATE conversations SET updated=? WHERE id=?", now, conversation)
        return self._write(
            "INSERT INTO exchanges(id, conversation, question, asked, request, status, conclusion,"
            " stages, trace, notes, error, seconds) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
            " ON CONFLICT(id) DO UPDATE SET request=excluded.request, status=excluded.status,"
            " conclusion=excluded.conclusion, stages=excluded.stages, trace=excluded.trace,"
            " notes=excluded.notes, error=excluded.error, seconds=excluded.seconds",
            exchange.id or None,
            conversation,
            exchange.question,
            exchange.asked or now,
            json.dumps(exchange.request),
            exchange.status,
            exchange.conclusion,
            json.dumps(exchange.stages),
            None if exchange.trace is None else json.dumps(packed(exchange.trace)),
            json.dumps(packed(exchange.notes)),
            _stored(exchange.error),
            exchange.seconds,
        )

    @contextmanager
    def _together(self) -> Iterator[None]:
        """One transaction."""
        with self._explained(CANNOT_WRITE):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def save_stages(self, exchange: int, stages: dict[str, str]) -> None:
        """What was written so far; cheap enough for every piece of text."""
        self._write("UPDATE exchanges SET stages=? WHERE id=?", json.dumps(stages), exchange)

    def rename(self, conversation: int, title: str) -> None:
        self._write("UPDATE conversations SET title=? WHERE id=?", title, conversation)

    def delete(self, conversation: int) -> None:
        """Out of sight; `restore` brings it back."""
        self._write("UPDATE conversations SET deleted=? WHERE id=?", self.clock(), conversation)

    def restore(self, *conversations: int) -> None:
        for one in conversations:
            self._write("UPDATE conversations SET deleted=NULL WHERE id=?", one)

    def remove(self, exchange: Exchange) -> None:
        """One question with its answer, for good; pictures that only it had go with the close. A
        number may be another's by now, where another window deleted for good: not its time too."""
        self._write("DELETE FROM exchanges WHERE id=? AND asked=?", exchange.id, exchange.asked)

    def erase(self, numbers: Collection[int] | None, *, shown: Collection[str] = ()) -> None:
        """For good, with the pictures that nothing else refers to. numbers: None for everything.
        shown: pictures that are open in the window stay until it is closed."""
        with self._explained(CANNOT_READ):
            referred = self._used(numbers)
        if numbers is None:
            self._write("DELETE FROM conversations")
        else:
            for number in numbers:
                self._write("DELETE FROM conversations WHERE id=?", number)
        with self._explained(CANNOT_WRITE):
            for digest in referred - self._used() - set(shown):
                self.shelf.remove(digest)
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # --- reading ------------------------------------------------------------------------------
    def conversations(self, search: str = "") -> list[Conversation]:
        """Newest first. search: a part of a title, a question or a conclusion, in any case."""
        pattern = "%" + search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        with self._explained(CANNOT_READ):
            rows = self._db.execute(
                "SELECT * FROM conversations c WHERE deleted IS NULL AND (title LIKE ?1 ESCAPE '\\'"
                " OR picture_name LIKE ?1 ESCAPE '\\' OR EXISTS (SELECT 1 FROM exchanges e WHERE"
                " e.conversation = c.id AND (e.question LIKE ?1 ESCAPE '\\' OR e.conclusion LIKE ?1"
                " ESCAPE '\\'))) ORDER BY updated DESC, id DESC",
                (pattern,),
            ).fetchall()
        return [_conversation(row) for row in rows]

    def typical_seconds(self, model: str, preset: str) -> float | None:
        """The median of the last answers of a model with a preset on this machine; None for few."""
        with self._explained(CANNOT_READ):
            rows = self._db.execute(
                "SELECT seconds, request FROM exchanges WHERE status='answered' AND seconds > 0"
                " ORDER BY id DESC LIMIT 100"
            ).fetchall()
        known = ((row["seconds"], Cells(dict(row)).mapping("request")) for row in rows)
        fitting = [
            float(seconds)
            for seconds, request in known
            if (request.get("model"), request.get("preset")) == (model, preset)
        ][:TYPICAL]
        return median(fitting) if len(fitting) >= FEW else None

    def deleted(self) -> list[Conversation]:
        """What can be brought back; the last deleted first."""
        with self._explained(CANNOT_READ):
            rows = self._db.execute(
                "SELECT * FROM conversations WHERE deleted IS NOT NULL ORDER BY deleted DESC"
            ).fetchall()
        return [_conversation(row) for row in rows]

    def conversation(self, number: int) -> Conversation | None:
        with self._explained(CANNOT_READ):
            row = self._db.execute("SELECT * FROM conversations WHERE id=?", (number,)).fetchone()
        return None if row is None else _conversation(row)

    def exchanges(self, conversation: int) -> list[Exchange]:
        """In the order they were asked."""
        with self._explained(CANNOT_READ):
            rows = self._db.execute(
                "SELECT * FROM exchanges WHERE conversation=? ORDER BY id", (conversation,)
            ).fetchall()
        return [_exchange(row) for row in rows]

    def _write(self, statement: str, *values: Any) -> int:
        with self._explained(CANNOT_WRITE):
            return self._db.execute(statement, [_storable(one) for one in values]).lastrowid or 0

    @contextmanager
    def _explained(self, cannot: str) -> Iterator[None]:
        """Errors of SQLite and of the disk as sentences; cannot: a pattern with a {reason}."""
        try:
            yield
        except (UnicodeDecodeError, sqlite3.Error, OSError) as error:
            if is_damage(error):
                with suppress(OSError):
                    self._doubt.touch()
            reason, hint = explained(error)
            raise HistoryError(
                Phrase(cannot, reason=reason), hint=hint, locked=is_locked(error)
            ) from error


def _conversation(row: sqlite3.Row) -> Conversation:
    cells = Cells(dict(row))
    return Conversation(
        row["id"], cells.text("title") or "?", cells.optional_text("picture"),
        cells.text("picture_name"), cells.box("crop"), cells.number("created"),
        cells.number("updated"), cells.optional_number("deleted"),
    )  # fmt: skip


def _exchange(row: sqlite3.Row) -> Exchange:
    cells = Cells(dict(row))
    found = Exchange(
        row["id"],
        cells.text("question"),
        cells.mapping("request"),
        cells.text("status"),
        cells.text("conclusion"),
        cells.texts_by_name("stages"),
        cells.trace("trace"),
        cells.texts("notes"),
        cells.sentence("error"),
        cells.optional_number("seconds"),
        cells.number("asked"),
    )
    if found.status not in STATUSES:
        found.status = "answered" if found.conclusion else "failed"
        cells.damaged.append("status")
    if cells.damaged:
        found.notes = (*found.notes, UNREADABLE)
    return found


def _stored(sentence: str) -> str:
    return json.dumps(packed(sentence)) if isinstance(sentence, Phrase) else sentence


def _storable(value: Any) -> Any:
    """File names may hold bytes that are no text; a database cannot."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
