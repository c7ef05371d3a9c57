"""A directory for the tests' temporary files, with a path that is short enough for a Unix socket."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONG = 32  # characters: a socket's path has 107 at most, and pytest and tests take the rest


@contextmanager
def short(place: Path) -> Iterator[Path]:
    """A directory in the place of `place`: itself where its path is short, else one that goes with the step.

    It is locked while the step lives: what a killed step has left is removed by the next one of this user,
    wherever that runs.
    """
    if len(str(place)) <= _LONG:
        yield place
        return
    root = min((tempfile.gettempdir(), "/tmp"), key=len)  # noqa: S108 - owned and closed to others, see below
    prefix = f"penstock-{os.geteuid()}-"
    for left in Path(root).glob(f"{prefix}*"):
        _sweep(left)
    directory = Path(root, prefix + hashlib.sha256(str(place).encode()).hexdigest()[:8])
    lock = _made(directory)
    if lock is None:
        yield place
        return
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _made(directory: Path) -> int | None:
    """Make it, for nobody else, and lock it; None where something of that name is there."""
    try:
        directory.mkdir(mode=0o700)
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), directory.lstat()):
            return lock
    os.close(lock)  # somebody swept it away before it was locked
    return None


def _sweep(directory: Path) -> None:
    """Remove it if it is our own user's, and no step holds it."""
    with contextlib.suppress(OSError):
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(lock)
