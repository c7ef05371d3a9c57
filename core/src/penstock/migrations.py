"""The journal's tables, and how those of an earlier release become those of this one.

SQLite keeps the version in the file (`user_version`). Each step leads from one version to the next, and all
that a journal lacks are one transaction: whoever is killed on the way leaves it as it was.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

STEPS: tuple[tuple[str, ...], ...] = (
    (  # 1: the first
        "CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, run INTEGER NOT NULL, "
        "time REAL NOT NULL, type TEXT NOT NULL, step TEXT, data TEXT NOT NULL, hash BLOB NOT NULL)",
        "CREATE INDEX IF NOT EXISTS events_of_run ON events (run, id)",
        "CREATE TABLE IF NOT EXISTS runs (run INTEGER PRIMARY KEY, plan TEXT NOT NULL, "
        "started REAL NOT NULL, state TEXT NOT NULL, finished REAL, revision TEXT)",
    ),
    (  # 2: what is found by its type, and runs that are not over, however many there were before
        "CREATE INDEX events_of_type ON events (type, id)",
        "CREATE INDEX runs_open ON runs (run) WHERE state IN ('running', 'waiting')",
    ),
    (  # 3: results that may be taken over, by their key
        "CREATE TABLE results (event INTEGER PRIMARY KEY, key TEXT NOT NULL, step TEXT NOT NULL)",
        "CREATE INDEX results_by_key ON results (key, event)",
        "CREATE INDEX results_by_step ON results (step, event)",
    ),
)
"""What leads to version 1, 2, …: a step that was released is never changed, others are added below it."""
NEWEST = len(STEPS)
_WAL = slice(18, 20), b"\2\2"
"""Where SQLite's file format says how a database is written, and what says: with a write-ahead log."""


def make(path: Path) -> None:
    """Put a journal of the newest version where there is none: whole and durable, or not at all.

    SQLite waits for the disk six times where it makes one itself, and that is left to it where this fails.
    """
    if path.exists():
        return
    new = path.with_name(f"{path.name}.new")
    try:
        with new.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists():  # another process was faster, and this file may be the journal by now
                if not os.path.samestat(path.stat(), os.fstat(file.fileno())):
                    new.unlink(missing_ok=True)
                return
            file.truncate(0)
            file.write(_empty())
            file.flush()
            os.fsync(file.fileno())
            new.rename(path)
    except (AttributeError, OSError):  # a SQLite that can't, a disk that is full
        with suppress(OSError):
            new.unlink()


def _empty() -> bytes:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        migrate(database)
        made = bytearray(database.serialize())
    where, how = _WAL
    made[where] = how
    return bytes(made)


def version_of(database: sqlite3.Connection) -> int:
    """The version of a journal; 0 for one that is empty."""
    found: int = database.execute("PRAGMA user_version").fetchone()[0]
    return found


def migrate(database: sqlite3.Connection) -> None:
    """Bring a journal to the newest version; it is left as it is where it has that already."""
    if version_of(database) >= NEWEST:
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        number = version_of(database)
        if number < NEWEST:  # another process may have been faster
            for statement in (statement for step in STEPS[number:] for statement in step):
                database.execute(statement)
            database.execute(f"PRAGMA user_version={NEWEST}")
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
