"""A directory with a path short enough for a Unix socket, which does not outlast its process for long."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LONGEST = 50
"""Bytes of the name of the directory around it: the address of a Unix socket has 107, of which ours takes 33,
and what ssh makes in it up to 24."""


@contextmanager
def short() -> Iterator[Path]:
    """A directory that goes with the block. What killed processes of this user have left goes before it."""
    usual = tempfile.gettempdir()
    root = usual if len(os.fsencode(usual)) <= _LONGEST else "/tmp"  # noqa: S108 - private, and short
    prefix = f"penstock-ssh-{os.geteuid()}-"
    for left in Path(root).glob(f"{prefix}*"):
        _sweep(left)
    place, lock = _made(prefix, root)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(lock)


def _made(prefix: str, root: str) -> tuple[Path, int]:
    """Make one, and lock it: it is somebody's for as long as that lasts."""
    while True:
        place = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
        try:
            lock = _opened(place)
        except FileNotFoundError:  # it was swept away before it was locked
            continue
        if _locked(lock) and place.exists():
            return place, lock
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # nothing can be locked there: then nobody sweeps there, either
        return True
    return True


def _sweep(place: Path) -> None:
    """Remove it if it is our own user's, and nobody holds it."""
    with suppress(OSError):
        if place.lstat().st_uid != os.geteuid():
            return
        lock = _opened(place)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(place, ignore_errors=True)
        finally:
            os.close(lock)


def _opened(place: Path) -> int:
    return os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
