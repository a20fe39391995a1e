"""Whether a history file is damaged, or only cannot be used now."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence


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


def is_damage(error: sqlite3.Error) -> bool:
    """A full disk, a lock or a missing permission is none: such a history is healthy."""
    kinds = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return isinstance(error, Damaged) or code(error) in kinds


def code(error: sqlite3.Error) -> int:
    """The primary result code; the extended ones carry it in their lowest byte."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
