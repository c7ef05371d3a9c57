"""Where a project keeps journal, artifacts, logs and workspaces: `.penstock/` beside its configuration."""

from __future__ import annotations

import fcntl
import os
from functools import cached_property
from pathlib import Path

from penstock.artifacts import Store
from penstock.errors import PluginError


class Home:
    """The paths in `.penstock/`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of(cls, project: Path) -> Home:
        """The home of a project, made if it is not there. It ignores itself in git."""
        root = project / ".penstock"
        try:
            if os.path.lexists(root) and not root.is_dir():
                raise PluginError(
                    f"{root} is no directory, and Penstock keeps its journal in one of that name. "
                    "Move it away"
                )
            root.mkdir(exist_ok=True)
            ignore = root / ".gitignore"
            if not ignore.exists() or not ignore.stat().st_size:  # empty: the disk was full
                ignore.write_text("*\n")
        except OSError as error:
            raise PluginError(
                f"{root} can't be made: {error.strerror}. Penstock keeps its journal there"
            ) from None
        return cls(root)

    @property
    def journal(self) -> Path:
        """The database of events."""
        return self.root / "journal.db"

    @cached_property
    def store(self) -> Store:
        """The content-addressed store."""
        return Store(self.root / "artifacts")

    def run(self, number: int) -> Path:
        """What belongs to one run: logs and locks."""
        return Path(f"{self.root}/runs/{number}")

    def log(self, number: int, step: str, attempt: int) -> Path:
        """The output of one attempt at a step."""
        return Path(f"{self.root}/runs/{number}/{step}.{attempt}.log")

    def engine_lock(self, number: int) -> Lock:
        """Held by the engine that works on a run, and by none of its workers."""
        return Lock(self.run(number) / "engine.lock")

    def workers_lock(self, number: int) -> Lock:
        """Held by whatever works on a run: its engine, and each process that was forked from it."""
        return Lock(self.run(number) / "workers.lock")

    def cache(self, plugin: str) -> Path:
        """What a plugin keeps from run to run."""
        return Path(f"{self.root}/cache/{plugin}")

    def configuration(self, digest: str) -> Path:
        """The configuration of a revision that some run is about, with the in-house plugins that it names."""
        return self.configurations / digest

    @property
    def configurations(self) -> Path:
        """Where those are."""
        return self.root / "configurations"

    def observer(self, section: str) -> Path:
        """How far an `[observe.NAME]` section is in the journal, and what went wrong there."""
        return self.root / "observers" / section

    @property
    def unreaped(self) -> Path:
        """The numbers of runs of which something may be left outside any process tree."""
        return self.root / "unreaped"

    @property
    def watch_lock(self) -> Lock:
        """Held by the one process that watches for changes."""
        return Lock(self.root / "watch.lock")

    def environment_lock(self, name: str) -> Lock:
        """Held by the run that deploys to an environment."""
        return Lock(self.root / "environments" / f"{name}.lock")

    @property
    def workspaces(self) -> Path:
        """The checkouts of the workers."""
        return self.root / "workspaces"


def served(step: str, service: str) -> str:
    """The name under which the log of a service lies, beside that of its step."""
    return f"{step}@{service}"


def open_log(path: Path) -> int:
    """A descriptor that writes at the end of a log, which is made where it is missing."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:  # the first of its run
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o644)


class Lock:
    """A lock on a file: held while its file is open, here or in a process that was forked from here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def take(self, *, wait: bool = False) -> bool:
        """Take it; False if somebody else has it and `wait` is not asked for."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(file)
            return False
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return True

    def is_held(self) -> bool:
        """Whether somebody holds it."""
        if not self.path.exists():
            return False
        probe = Lock(self.path)
        free = probe.take()
        probe.release()
        return not free

    def release(self) -> None:
        """Give it up, also for processes that were forked while it was held."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self.drop()

    def drop(self) -> None:
        """Close this process's hold on it; a forked process may still have its own."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
