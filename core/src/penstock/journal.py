"""The journal: append-only, hash-chained events in SQLite; the one source of truth about every run.

An event is durable when `append` returns. Each carries the hash of the one before it, over all runs of the
project, so that an edited record is found.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.errors import ConfigError, PluginError
from penstock.model import Event

_SCHEMA = 1
_CREATE = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, time REAL NOT NULL, type TEXT NOT NULL, step TEXT,
    data TEXT NOT NULL, hash BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS events_of_run ON events (run, id);
CREATE TABLE IF NOT EXISTS runs (run INTEGER PRIMARY KEY, plan TEXT NOT NULL, started REAL NOT NULL,
    state TEXT NOT NULL, finished REAL, revision TEXT);
"""


@dataclass(frozen=True)
class New:
    """An event that is not in the journal yet."""

    type: str
    step: str | None
    data: dict[str, Any]
    time: float


@dataclass(frozen=True)
class RunLine:
    """One line of `penstock runs`: a projection of the run's events, kept for speed."""

    run: int
    plan: str
    started: float
    state: str
    finished: float | None
    revision: str | None


class Journal:
    """The journal of one project. Several processes may use it at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > _SCHEMA:
                raise PluginError(
                    f"{path} was written by a newer Penstock (journal version {version}, this one reads "
                    f"{_SCHEMA}). Try: pip install --upgrade penstock"
                )
            if version == 0:
                self._db.executescript(_CREATE)
                self._db.execute(f"PRAGMA user_version={_SCHEMA}")
        except sqlite3.Error as error:
            raise PluginError(f"the journal {path} can't be used: {error}") from None

    def begin(self, plan: str, events: Iterable[New]) -> tuple[int, list[Event]]:
        """Open a new run with its first events; its number."""
        with self._transaction():
            run = self._db.execute("SELECT coalesce(max(run), 0) + 1 FROM runs").fetchone()[0]
            made = self._append(run, events)
            self._db.execute(
                "INSERT INTO runs VALUES (?, ?, ?, 'running', NULL, NULL)", (run, plan, made[0].time)
            )
        return run, made

    def append(self, run: int, events: Iterable[New]) -> list[Event]:
        """Make events durable, in one commit. Raises PluginError where the disk does not take them."""
        with self._transaction():
            return self._append(run, events)

    def events(self, run: int, after: int = 0) -> list[Event]:
        """The events of a run, in order."""
        rows = self._db.execute(
            "SELECT id, run, time, type, step, data FROM events WHERE run = ? AND id > ? ORDER BY id",
            (run, after),
        )
        return [_event(*row) for row in rows]

    def runs(self, limit: int | None = None) -> list[RunLine]:
        """The runs, the newest first."""
        rows = self._db.execute(
            "SELECT run, plan, started, state, finished, revision FROM runs ORDER BY run DESC LIMIT ?",
            (-1 if limit is None else limit,),
        )
        return [RunLine(*row) for row in rows]

    def run(self, number: int) -> RunLine:
        """One run. Raises ConfigError where there is none of that number."""
        row = self._db.execute(
            "SELECT run, plan, started, state, finished, revision FROM runs WHERE run = ?", (number,)
        ).fetchone()
        if row is None:
            raise ConfigError(f"there is no run {number}. The runs: penstock runs")
        return RunLine(*row)

    def find(self, kind: str) -> Iterator[Event]:
        """All events of a type over all runs, the newest first."""
        rows = self._db.execute(
            "SELECT id, run, time, type, step, data FROM events WHERE type = ? ORDER BY id DESC", (kind,)
        )
        return (_event(*row) for row in rows)

    def check(self) -> tuple[int, str, int | None]:
        """Walk the chain: the number of events, the head's hash, and the id where it breaks, if it does."""
        previous, count = b"", 0
        rows = self._db.execute("SELECT id, run, time, type, step, data, hash FROM events ORDER BY id")
        for number, run, time, kind, step, data, digest in rows:
            count += 1
            if number != count or _hash(previous, number, run, time, kind, step, data) != digest:
                return count, previous.hex(), number
            previous = digest
        return count, previous.hex(), None

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _append(self, run: int, events: Iterable[New]) -> list[Event]:
        row = self._db.execute("SELECT id, hash FROM events ORDER BY id DESC LIMIT 1").fetchone()
        number, previous = row or (0, b"")
        made = []
        for event in events:
            number += 1
            data = json.dumps(event.data, sort_keys=True, separators=(",", ":"))
            previous = _hash(previous, number, run, event.time, event.type, event.step, data)
            self._db.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
                (number, run, event.time, event.type, event.step, data, previous),
            )
            self._project(run, event)
            made.append(
                Event(id=number, run=run, time=event.time, type=event.type, step=event.step, data=event.data)
            )
        return made

    def _project(self, run: int, event: New) -> None:
        if event.type in ("run.finished", "run.waiting", "run.resumed"):
            state = {"run.waiting": "waiting", "run.resumed": "running"}.get(event.type)
            self._db.execute(
                "UPDATE runs SET state = ?, finished = ? WHERE run = ?",
                (state or event.data["state"], None if state == "running" else event.time, run),
            )
        elif event.type == "step.finished" and event.data.get("revision"):
            revision = event.data["revision"].get("commit")
            self._db.execute("UPDATE runs SET revision = ? WHERE run = ?", (revision, run))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise PluginError(
                f"the journal can't be written: {error}. Nothing is lost: penstock resume goes on "
                "once there is room"
            ) from None


def _hash(previous: bytes, *fields: object) -> bytes:
    text = json.dumps(fields, separators=(",", ":"))
    return hashlib.sha256(previous + text.encode()).digest()


def _event(number: int, run: int, time: float, kind: str, step: str | None, data: str) -> Event:
    return Event(id=number, run=run, time=time, type=kind, step=step, data=json.loads(data))
