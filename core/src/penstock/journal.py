"""The journal: append-only, hash-chained events in SQLite; the one source of truth about every run.

An event is durable when `append` returns. Each carries the hash of the one before it, over all runs of the
project, so that an edited record is found.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from penstock.errors import ConfigError, PluginError
from penstock.model import Event

_SCHEMA = 1
_PATIENCE = 60.0
"""Seconds to wait for another process to be done with the journal."""
_CREATE = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, time REAL NOT NULL, type TEXT NOT NULL, step TEXT,
    data TEXT NOT NULL, hash BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS events_of_run ON events (run, id);
CREATE TABLE IF NOT EXISTS runs (run INTEGER PRIMARY KEY, plan TEXT NOT NULL, started REAL NOT NULL,
    state TEXT NOT NULL, finished REAL, revision TEXT);
"""
_CREATE_RESULTS = """
CREATE TABLE IF NOT EXISTS results (event INTEGER PRIMARY KEY, key TEXT NOT NULL, step TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS results_by_key ON results (key, event);
CREATE INDEX IF NOT EXISTS results_by_step ON results (step, event);
"""


class New(NamedTuple):
    """An event that is not in the journal yet."""

    type: str
    step: str | None
    data: dict[str, Any]
    time: float


class RunLine(NamedTuple):
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
        self._path = path
        try:
            self._reads_only = _only_to_read(path)
            if self._reads_only:
                uri = f"{path.resolve().as_uri()}?immutable=1"
                self._db = sqlite3.connect(uri, uri=True, isolation_level=None)
            else:
                self._db = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
                self._use_wal()
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
            if not self._reads_only:
                self._db.executescript(_CREATE_RESULTS)
        except sqlite3.Error as error:
            raise PluginError(f"the journal {path} can't be opened: {_why(error)}") from None

    def _use_wal(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                # Others that open a new journal at the same moment: for this, SQLite itself does not wait.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
                time.sleep(0.005)

    def begin(self, events: Iterable[New]) -> tuple[int, list[Event]]:
        """Open a new run with its first events, `run.started` before all; its number."""
        with self._writing():
            [(run,)] = self._db.execute("SELECT coalesce(max(run), 0) + 1 FROM runs")
            made = self._append(run, events)
        self.commit()
        return run, made

    def append(self, run: int, events: Iterable[New]) -> list[Event]:
        """Make events durable, in one commit. Raises PluginError where the disk does not take them."""
        made = self.stage(run, events)
        self.commit()
        return made

    def stage(self, run: int, events: Iterable[New]) -> list[Event]:
        """Write events that are durable, and seen by others, once `commit` returns.

        Until then all others who want to write wait. Raises PluginError as `append`; none of what was
        staged is kept then.
        """
        with self._writing():
            return self._append(run, events)

    def commit(self) -> None:
        """Make durable what was staged. Raises PluginError as `append`."""
        if self._db.in_transaction:
            with self._writing():
                self._db.execute("COMMIT")

    def events(self, run: int, after: int = 0) -> list[Event]:
        """The events of a run, in order."""
        return [
            _event(*row)
            for row in self._read(
                "SELECT id, run, time, type, step, data FROM events WHERE run = ? AND id > ? ORDER BY id",
                (run, after),
            )
        ]

    def runs(self, limit: int | None = None) -> list[RunLine]:
        """The runs, the newest first."""
        query = f"SELECT {_LINE} FROM runs ORDER BY run DESC LIMIT ?"  # noqa: S608 - a constant
        return [RunLine(*row) for row in self._read(query, (-1 if limit is None else limit,))]

    def run(self, number: int) -> RunLine:
        """One run. Raises ConfigError where there is none of that number."""
        for row in self._read(f"SELECT {_LINE} FROM runs WHERE run = ?", (number,)):  # noqa: S608 - as above
            return RunLine(*row)
        raise ConfigError(f"there is no run {number}. The runs: penstock runs")

    def find(self, kind: str) -> Iterator[Event]:
        """All events of a type over all runs, the newest first."""
        query = "SELECT id, run, time, type, step, data FROM events WHERE type = ? ORDER BY id DESC"
        return (_event(*row) for row in self._read(query, (kind,)))

    def results(self, keys: Sequence[str], limit: int = 5) -> list[tuple[int, Event | None]]:
        """The results on record under one of these keys, the newest first, each by the number of its event.

        In place of an event whose record was edited stands None.
        """
        marks = ", ".join("?" * len(keys))
        query = f"SELECT event FROM results WHERE key IN ({marks}) ORDER BY event DESC LIMIT ?"  # noqa: S608
        return [(number, self._sound(number)) for (number,) in list(self._read(query, (*keys, limit)))]

    def last_result(self, step: str) -> Event | None:
        """The newest result of a step that may be taken over; None also where its record was edited."""
        query = "SELECT event FROM results WHERE step = ? ORDER BY event DESC LIMIT 1"
        return next((self._sound(number) for (number,) in list(self._read(query, (step,)))), None)

    def forget(self, event: int) -> None:
        """Let a result be found no more, once `commit` returns; what happened stays on record."""
        with self._writing():
            self._db.execute("DELETE FROM results WHERE event = ?", (event,))

    def _sound(self, number: int) -> Event | None:
        """An event that stands in the chain, between the one before it and the one behind it."""
        query = (
            "SELECT id, run, time, type, step, data, hash FROM events WHERE id BETWEEN ? AND ? ORDER BY id"
        )
        previous, found = b"", None
        for row in self._read(query, (number - 1, number + 1)):
            if row[0] >= number and _hash(previous, *row[:-1]) != row[-1]:
                return None
            if row[0] == number:
                found = _event(*row[:-1])
            previous = row[-1]
        return found

    def check(self) -> tuple[int, str, int | None]:
        """Walk the chain: the number of events, the head's hash, and the id where it breaks, if it does.

        Where a run's line in `runs` is not what its events say, that is the event that had the last word.
        """
        previous, count = b"", 0
        lines: dict[int, RunLine] = {}
        last: dict[int, int] = {}
        rows = self._read("SELECT id, run, time, type, step, data, hash FROM events ORDER BY id")
        try:
            for number, run, at, kind, step, data, digest in rows:
                count += 1
                if number != count or _hash(previous, number, run, at, kind, step, data) != digest:
                    return count, previous.hex(), number
                previous = digest
                event = New(kind, step, json.loads(data), at)
                if _tells(event):
                    lines[run] = _told(lines.get(run), run, event)
                    last[run] = number
        except PluginError:  # what can't even be read
            return count + 1, previous.hex(), count + 1
        kept = {line.run: line for line in self.runs()}
        wrong = [number for run, number in last.items() if kept.get(run) != lines[run]]
        return count, previous.hex(), min(wrong, default=None)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _append(self, run: int, events: Iterable[New]) -> list[Event]:
        row = self._db.execute("SELECT id, hash FROM events ORDER BY id DESC LIMIT 1").fetchone()
        number, previous = row or (0, b"")
        made = []
        for event in events:
            number += 1
            data = _encode(event.data)
            at = float(event.time)
            previous = _hash(previous, number, run, at, event.type, event.step, data)
            self._db.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
                (number, run, at, event.type, event.step, data, previous),
            )
            made.append(Event(id=number, run=run, time=at, type=event.type, step=event.step, data=event.data))
            self._project(run, number, event)
        return made

    def _project(self, run: int, number: int, event: New) -> None:
        if key := _key_of(event):
            self._db.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", (number, key, event.step))
        if not _tells(event):
            return
        row = self._db.execute(f"SELECT {_LINE} FROM runs WHERE run = ?", (run,)).fetchone()  # noqa: S608
        before = RunLine(*row) if row else None
        line = _told(before, run, event)
        self._db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)", line)

    def _read(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        try:
            for row in self._db.execute(query, values):  # noqa: UP028 - whoever stops early may have closed it
                yield row
        except sqlite3.Error as error:
            raise PluginError(f"the journal {self._path} can't be read: {_why(error)}") from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Within the transaction that is open, or a new one; where that fails, it is undone."""
        try:
            if not self._db.in_transaction:
                self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise PluginError(f"the journal {self._path} can't be written: {_why(error)}") from None


_AGAIN = "A run that was cut off goes on with: penstock resume"
_ANEW = "Put back a copy of it, or move .penstock away and begin anew"
_WHY = {
    sqlite3.SQLITE_FULL: f"the disk is full. Make room. {_AGAIN}",
    sqlite3.SQLITE_IOERR: f"the disk is full, or fails. Make room, or mend it. {_AGAIN}",
    sqlite3.SQLITE_READONLY: f"it, or its disk, is read-only. Make it writable. {_AGAIN}",
    sqlite3.SQLITE_CANTOPEN: "it is no file that can be opened. See what stands there, and move it away",
    sqlite3.SQLITE_NOTADB: f"it is no database. {_ANEW}",
    sqlite3.SQLITE_CORRUPT: f"it is damaged. {_ANEW}",
    sqlite3.SQLITE_BUSY: "another process has held it for a minute. End that one, then: penstock resume",
}
"""What SQLite's codes mean for whoever runs a pipeline."""


def _only_to_read(path: Path) -> bool:
    """Whether it lies whole in a place where nothing can be written: SQLite would want to, even to read."""
    whole = path.is_file() and not path.with_name(path.name + "-wal").exists()
    return whole and not os.access(path.parent, os.W_OK)


def _why(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without its extension
    return _WHY.get(code, f"it is not as it was made ({error}). {_ANEW}")


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_encode_fields = json.JSONEncoder(separators=(",", ":"), default=repr).encode
_LINE = "run, plan, started, state, finished, revision"
_TELLING = frozenset(("run.started", "run.finished", "run.waiting", "run.resumed"))


def _tells(event: New) -> bool:
    """Whether an event changes its run's line."""
    return event.type in _TELLING or (event.type == "step.finished" and bool(event.data.get("revision")))


def _key_of(event: New) -> str | None:
    """The key under which a result may be taken over, if it may: one that was itself taken over is none."""
    if event.type != "step.finished" or event.data.get("state") != "passed":
        return None
    cache = event.data.get("cache")
    return str(cache["key"]) if cache else None


def _told(line: RunLine | None, run: int, event: New) -> RunLine:
    """A run's line after one more event."""
    if line is None:
        release = event.data.get("release") or {}  # a rollback has no source step: it knows from the start
        revision = release.get("revision", {}).get("commit")
        line = RunLine(run, str(event.data.get("plan", "")), float(event.time), "running", None, revision)
    if event.type == "run.resumed":
        return line._replace(state="running", finished=None)
    if event.type in ("run.finished", "run.waiting"):
        state = "waiting" if event.type == "run.waiting" else str(event.data["state"])
        return line._replace(state=state, finished=float(event.time))
    if event.type == "step.finished":
        return line._replace(revision=event.data["revision"].get("commit"))
    return line


def _hash(previous: bytes, *fields: object) -> bytes:
    return hashlib.sha256(previous + _encode_fields(fields).encode()).digest()


def _event(number: int, run: int, time: float, kind: str, step: str | None, data: str) -> Event:
    try:
        return Event(id=number, run=run, time=time, type=kind, step=step, data=json.loads(data))
    except ValueError as error:
        raise PluginError(f"event {number} in the journal can't be read, it was changed: {error}") from None
