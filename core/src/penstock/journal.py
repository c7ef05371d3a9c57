"""The journal: append-only, hash-chained events in SQLite; the one source of truth about every run.

An event is durable when `append` returns. Each carries the hash of the one before it, over all runs of the
project, so that an edited record is found. The rest of Penstock knows a journal by the calls of `Events`.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from penstock import chain
from penstock.chain import New as New
from penstock.chain import Row
from penstock.chain import RunLine as RunLine
from penstock.errors import ConfigError, PluginError
from penstock.migrations import NEWEST, make, migrate, version_of
from penstock.model import Event

_PART = 16
"""Events that are read at a time, to begin with, by whoever may need the newest alone."""
_PATIENCE = 60.0
"""Seconds to wait for another process to be done with the journal."""


class Events(Protocol):
    """What is asked of a journal, whatever keeps it.

    `begin` and `append` return once events are durable; `stage` once they are written, and `commit` makes
    durable what was staged, all of it or nothing. Whatever can't be written or read is a PluginError that
    says what to do. Several processes may use a journal at once; it gives events and runs their numbers, in
    order and without gaps.
    """

    def begin(self, events: Iterable[New]) -> tuple[int, list[Event]]: ...  # noqa: D102
    def append(self, run: int, events: Iterable[New]) -> list[Event]: ...  # noqa: D102
    def stage(self, run: int, events: Iterable[New]) -> list[Event]: ...  # noqa: D102
    def commit(self) -> None: ...  # noqa: D102
    def events(self, run: int, after: int = 0) -> list[Event]: ...  # noqa: D102
    def of_run(self, run: int, kinds: Collection[str]) -> list[Event]: ...  # noqa: D102
    def since(self, after: int) -> list[Event]: ...  # noqa: D102
    def find(  # noqa: D102
        self, kind: str, after: int = 0, *, step: str | None = None, first: int = 0, holding: str = ""
    ) -> Iterator[Event]: ...
    def first_since(self, moment: float) -> int: ...  # noqa: D102
    def runs_of_steps(self, first: int) -> dict[str, int]: ...  # noqa: D102
    def run(self, number: int) -> RunLine: ...  # noqa: D102
    def runs(self, limit: int | None = None, *, unfinished: bool = False) -> list[RunLine]: ...  # noqa: D102
    def results(self, keys: Sequence[str], limit: int = 5) -> list[tuple[int, Event | None]]: ...  # noqa: D102
    def last_result(self, step: str) -> Event | None: ...  # noqa: D102
    def forget(self, event: int) -> None: ...  # noqa: D102
    def rows(self, first: int = 1) -> Iterator[Row]: ...  # noqa: D102
    def tip(self) -> tuple[int, bytes]: ...  # noqa: D102
    def at_once(self) -> AbstractContextManager[None]: ...  # noqa: D102
    def check(self) -> tuple[int, str, int | None]: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Journal:
    """The journal of one project. Several processes may use it at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._newest: tuple[int, bytes] | None = None  # number and hash, once known in this transaction
        only_to_read = _only_to_read(path)
        make(path)
        self._file: tuple[int, int] | None = None
        try:
            where = f"{path.resolve().as_uri()}?immutable=1" if only_to_read else path
            self._db = sqlite3.connect(where, timeout=_PATIENCE, uri=only_to_read, isolation_level=None)
            version = version_of(self._db)
            if version > NEWEST:
                raise PluginError(
                    f"{path} was written by a newer Penstock (journal version {version}, this one reads "
                    f"{NEWEST}). Try: pip install --upgrade penstock"
                )
            if only_to_read and version:
                return  # an old one can be read as it is
            self._use_wal()
            self._db.execute("PRAGMA synchronous=FULL")
            migrate(self._db)
            self._file = _identity(path)
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
        """Open a new run with its first events, `run.started` before all; its number.

        Raises PluginError where the newest event is not what was written: nothing is built upon it.
        """
        with self._writing():
            self._check_tip()
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
                self._check_place()
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

    def runs(self, limit: int | None = None, *, unfinished: bool = False) -> list[RunLine]:
        """The runs, the newest first; with `unfinished` those only that are not over."""
        which = "WHERE state IN ('running', 'waiting')" if unfinished else ""
        query = f"SELECT {_LINE} FROM runs {which} ORDER BY run DESC LIMIT ?"  # noqa: S608 - constants
        return [RunLine(*row) for row in self._read(query, (-1 if limit is None else limit,))]

    def of_run(self, run: int, kinds: Collection[str]) -> list[Event]:
        """The events of a run that are of these types, in order."""
        query = (
            "SELECT id, run, time, type, step, data FROM events "  # noqa: S608 - only ? are put in
            f"WHERE run = ? AND type IN ({', '.join('?' * len(kinds))}) ORDER BY id"
        )
        return [_event(*row) for row in self._read(query, (run, *kinds))]

    def run(self, number: int) -> RunLine:
        """One run. Raises ConfigError where there is none of that number."""
        for row in self._read(f"SELECT {_LINE} FROM runs WHERE run = ?", (number,)):  # noqa: S608 - as above
            return RunLine(*row)
        raise ConfigError(f"there is no run {number}. The runs: penstock runs")

    def find(
        self, kind: str, after: int = 0, *, step: str | None = None, first: int = 0, holding: str = ""
    ) -> Iterator[Event]:
        """All events of a type that follow the event `after`, the newest first.

        Of those, what is about a `step`, is of a run from `first` on, and holds a text somewhere.
        """
        query = (
            "SELECT id, run, time, type, step, data FROM events WHERE type = ?1 AND id > ?2 "
            "AND (?3 IS NULL OR step = ?3) AND run >= ?4 AND (?5 = '' OR instr(data, ?5)) AND id < ?6 "
            "ORDER BY id DESC LIMIT ?7"
        )
        # Part by part: whoever reads no further would otherwise see the journal of that moment from then
        # on, and could write nothing to it any more once somebody else has.
        before, size = sys.maxsize, _PART
        while rows := list(self._read(query, (kind, after, step, first, holding, before, size))):
            yield from (_event(*row) for row in rows)
            before, size = rows[-1][0], size * 2

    def first_since(self, moment: float) -> int:
        """The first run that began at a moment or later; a number that no run has where none did."""
        for (run,) in self._read("SELECT min(run) FROM runs WHERE started >= ?", (moment,)):
            if run is not None:
                return int(run)
        return sys.maxsize

    def runs_of_steps(self, first: int) -> dict[str, int]:
        """Of each step that was begun in runs from `first` on: in how many."""
        query = (
            "SELECT step, count(DISTINCT run) FROM events "
            "WHERE run >= ? AND type = 'step.started' AND step IS NOT NULL GROUP BY step"
        )
        return dict(self._read(query, (first,)))

    def since(self, after: int) -> list[Event]:
        """The events of all runs that follow this one, in order."""
        query = "SELECT id, run, time, type, step, data FROM events WHERE id > ? ORDER BY id"
        return [_event(*row) for row in self._read(query, (after,))]

    def rows(self, first: int = 1) -> Iterator[Row]:
        """The events as they are kept, with their hashes, from one on."""
        query = "SELECT id, run, time, type, step, data, hash FROM events WHERE id >= ? ORDER BY id"
        return (Row(*row) for row in self._read(query, (first,)))

    def tip(self) -> tuple[int, bytes]:
        """The number and the hash of the newest event; 0 and nothing where there is none yet."""
        for number, digest in self._read("SELECT id, hash FROM events ORDER BY id DESC LIMIT 1"):
            return number, digest
        return 0, b""

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
        rows = [Row(*row) for row in self._read(query, (number - 1, number + 1))]
        before = rows.pop(0).hash if rows and rows[0].id < number else b""
        if not rows or not chain.stands(rows, before, number - 1):
            return None
        with suppress(PluginError):  # what can't be read was changed
            return _event(*rows[0][:-1])
        return None

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is read within is all of one moment, whatever others write meanwhile."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def check(self) -> tuple[int, str, int | None]:
        """Walk the chain: the number of events, the head's hash, and the id where it breaks, if it does.

        Where a run's line in `runs` is not what its events say, that is the event that had the last word.
        """
        with self.at_once():
            walked = chain.walk(self.rows())
            if walked.broken is not None:
                return walked.count, walked.head.hex(), walked.broken.event
            wrong = chain.wrong_lines(walked, self.runs())
        return walked.count, walked.head.hex(), wrong[0].event if wrong else None

    def _check_tip(self) -> None:
        """Raise PluginError where the newest event does not follow from the one before it."""
        newest = "SELECT id, run, time, type, step, data, hash FROM events ORDER BY id DESC LIMIT 2"
        rows = [Row(*row) for row in self._read(newest)]
        if not rows:
            return
        before = rows[1] if len(rows) > 1 else None
        last, previous = (before.id, before.hash) if before else (0, b"")
        broken = chain.walk(rows[:1], previous, last).broken if isinstance(previous, bytes) else True
        if broken:
            raise PluginError(
                f"the journal {self._path} was changed: its newest event, {rows[0].id}, is not what was "
                "written. Nothing is added to it. What is wrong: penstock audit. Put back a copy of it, or "
                "move .penstock away and begin anew"
            )

    def _check_place(self) -> None:
        """Raise PluginError where another file is the journal, or none: nobody would find what is written."""
        if _identity(self._path) != self._file:
            raise PluginError(
                f"the journal {self._path} was moved or removed while it was in use, and nothing more is put "
                f"on record. Put {self._path.parent} back as it was. {_AGAIN}; without it, begin anew"
            )

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _append(self, run: int, events: Iterable[New]) -> list[Event]:
        number, previous = self._newest or self.tip()
        made = []
        for event in events:
            number += 1
            data = chain.encode(event.data)
            at = float(event.time)
            previous = chain.link(previous, number, run, at, event.type, event.step, data)
            self._db.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
                (number, run, at, event.type, event.step, data, previous),
            )
            made.append(Event(id=number, run=run, time=at, type=event.type, step=event.step, data=event.data))
            self._project(run, number, event)
        self._newest = number, previous
        return made

    def _project(self, run: int, number: int, event: New) -> None:
        if key := chain.key_of(event):
            self._db.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", (number, key, event.step))
        if not chain.tells(event):
            return
        row = self._db.execute(f"SELECT {_LINE} FROM runs WHERE run = ?", (run,)).fetchone()  # noqa: S608
        before = RunLine(*row) if row else None
        line = chain.told(before, run, event)
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
                self._newest = None
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


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands there; None where there is none."""
    with suppress(OSError):
        found = os.stat(path)  # noqa: PTH116 - asked at every commit
        return found.st_dev, found.st_ino
    return None


def _only_to_read(path: Path) -> bool:
    """Whether it lies whole in a place where nothing can be written: SQLite would want to, even to read."""
    whole = path.is_file() and not path.with_name(path.name + "-wal").exists()
    return whole and not os.access(path.parent, os.W_OK)


def _why(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without its extension
    return _WHY.get(code, f"it is not as it was made ({error}). {_ANEW}")


_LINE = "run, plan, started, state, finished, revision"


def _event(number: int, run: int, time: float, kind: str, step: str | None, data: str) -> Event:
    try:
        return Event(id=number, run=run, time=time, type=kind, step=step, data=json.loads(data))
    except ValueError as error:
        raise PluginError(f"event {number} in the journal can't be read, it was changed: {error}") from None
