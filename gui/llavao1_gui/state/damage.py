"""Whether a history file is damaged, or only cannot be used now."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from llavao1_edge.phrases import Phrase

LOCKED = Phrase("another window is writing to it")
KEPT = Phrase("Nothing is lost: it is tried again with the next change.")
DISK = Phrase("Free some space, or check the permissions of the data folder.")
OTHERWISE = Phrase("Check the disk; it is tried again with the next change.")
_FORBIDDEN = Phrase("Check the permissions of the data folder.")
_DAMAGED = Phrase("Start the program again: the damaged file is then set aside.")
HINTS = {
    sqlite3.SQLITE_FULL: Phrase("Free some space; it is tried again with the next change."),
    sqlite3.SQLITE_READONLY: _FORBIDDEN,
    sqlite3.SQLITE_CANTOPEN: _FORBIDDEN,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}


def _schema(db: sqlite3.Connection) -> set[tuple[str, str, str]]:
    return {tuple(row) for row in db.execute("SELECT type, name, sql FROM sqlite_master")}


def check_schema(db: sqlite3.Connection, scripts: Sequence[str]) -> None:
    """Raises Damaged where the tables are not as they were made: SQLite's check lets pass a byte
    that renames one."""
    fresh = sqlite3.connect(":memory:")
    try:
        for script in scripts:
            fresh.executescript(script)
        if _schema(fresh) != _schema(db):
            raise Damaged("its tables are not as they were made")
    finally:
        fresh.close()


class Damaged(sqlite3.DatabaseError):
    """What `quick_check` found."""


def is_damage(error: Exception) -> bool:
    """A full disk, a lock or a missing permission is none: such a history is healthy."""
    if isinstance(error, UnicodeDecodeError):  # names of columns, which SQLite's check lets pass
        return True
    kinds = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return isinstance(error, Damaged) or code(error) in kinds


def is_locked(error: Exception) -> bool:
    return code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def code(error: Exception) -> int:
    """SQLite's primary result code; the extended ones carry it in their lowest byte."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def explained(error: Exception) -> tuple[str, str]:
    """Why, and what to do."""
    if is_locked(error):
        return LOCKED, KEPT
    if isinstance(error, OSError):
        return error.strerror or str(error), DISK
    found = sqlite3.SQLITE_CORRUPT if isinstance(error, UnicodeDecodeError) else code(error)
    return str(error), HINTS.get(found, OTHERWISE)
