"""Trivy's vulnerability database: whether one is there, how old it is, and who may fetch it at a time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from penstock import StepFailed, Tool

_WAY_OUT = (
    'Let it be fetched (database = "fetch", the default), or leave vulnerabilities out: '
    'scanners = ["secret", "misconfiguration", "license"]'
)
_AHEAD = timedelta(days=1)  # clocks differ


@dataclass(frozen=True)
class Database:
    """A database that is there."""

    directory: Path
    updated: datetime

    def age(self, now: datetime) -> float:
        """Seconds since it was made."""
        return max(0.0, (now - self.updated).total_seconds())

    def as_tool(self) -> Tool:
        """What the verdict rests on beside the program: which one it is, it says in its metadata."""
        metadata = self.directory / "db" / "metadata.json"
        digest = hashlib.sha256(metadata.read_bytes()).hexdigest()
        return Tool(
            name="trivy-db", version=f"{self.updated:%Y-%m-%dT%H:%M:%SZ}", path=str(metadata), sha256=digest
        )

    def describe(self, now: datetime) -> str:
        """How old it is, in words."""
        return f"{in_words(self.age(now))} old, of {self.updated:%Y-%m-%d %H:%M} UTC"


def directory_of(configured: str | None) -> Path:
    """Where the database is kept: as configured, or in the cache that Trivy shares with all projects."""
    if configured is not None:
        return Path(configured).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path("~/.cache").expanduser()) / "trivy"


def present(directory: Path) -> Database | None:
    """The database below a directory; None where there is none. StepFailed where it can't be read."""
    metadata = directory / "db" / "metadata.json"
    if not metadata.is_file() or not (directory / "db" / "trivy.db").is_file():
        return None
    try:
        updated = str(json.loads(metadata.read_text())["UpdatedAt"])
        # Trivy writes nanoseconds, always in UTC.
        when = datetime.fromisoformat(updated[:19]).replace(tzinfo=UTC)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise StepFailed(
            f"the vulnerability database's {metadata} doesn't say when it was made: nothing was scanned. "
            f"Remove {metadata.parent}, so that it is fetched again"
        ) from None
    return Database(directory, when)


def require(database: Database | None, directory: Path, limit: float | None, now: datetime) -> Database:
    """The database, if it is there and young enough to judge by."""
    if database is None:
        raise StepFailed(
            f"there is no vulnerability database in {directory / 'db'}: nothing was scanned. {_WAY_OUT}"
        )
    if database.updated > now + _AHEAD:
        raise StepFailed(
            f"the vulnerability database says that it was made on {database.updated:%Y-%m-%d %H:%M} UTC, and "
            f"here it is {now:%Y-%m-%d %H:%M}: how old it is can't be told, and nothing was scanned. Set "
            f"the clock, or remove {directory / 'db'}, so that it is fetched again"
        )
    age = database.age(now)
    if limit is not None and age > limit:
        raise StepFailed(
            f"the vulnerability database is {in_words(age)} old, and max_database_age allows "
            f'{in_words(limit)}: nothing was scanned. Let it be fetched (database = "fetch", the default), '
            "or raise max_database_age"
        )
    return database


def in_words(seconds: float) -> str:
    """A length of time as people say it."""
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'s' if count > 1 else ''}"
    return "less than a minute"


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Keep others from fetching into this directory while it is read."""
    try:
        lock = (directory / "penstock.lock").open("ab")
    except OSError:
        yield  # a directory that can't be written to isn't fetched into either
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Wait until no other step fetches into this directory or reads from it."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "penstock.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
