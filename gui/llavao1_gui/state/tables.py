"""The tables of the history, as they came one after the other."""

from __future__ import annotations

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
    # Numbers are never given twice: another window may still have a deleted conversation open.
    """
    CREATE TABLE numbered (
        id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, picture TEXT,
        picture_name TEXT NOT NULL, crop TEXT, created REAL NOT NULL, updated REAL NOT NULL,
        deleted REAL);
    INSERT INTO numbered SELECT * FROM conversations;
    DROP TABLE conversations;
    ALTER TABLE numbered RENAME TO conversations;
    """,
)
