"""Where tox keeps its environments between runs: one directory for each run at a time.

tox notices by itself when an environment's requirements have changed, but not that another tox is at work
in the same directory, nor that it was killed while it installed something.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RUNNING = "penstock-running"
_GONE = "-gone-"
_UNUSED = 30 * 86400.0  # seconds after which a directory that no step used is removed


@contextmanager
def taken(root: Path, *about: str) -> Iterator[Path]:
    """A work directory that is nobody else's as long as the block lasts. `about` tells projects apart."""
    root.mkdir(parents=True, exist_ok=True)
    _tidy(root)
    key = hashlib.sha256("\0".join(about).encode()).hexdigest()[:12]
    number = 0
    while (lock := _lock(root / f"{key}-{number}.lock")) is None:
        number += 1
    work = root / f"{key}-{number}"
    running = work / _RUNNING
    try:
        if running.exists():  # whoever was here was killed: what it left may be half made
            remove(work)
        work.mkdir(exist_ok=True)
        running.touch()
        yield work
        running.unlink(missing_ok=True)
    except Exception:
        running.unlink(missing_ok=True)
        raise
    finally:
        os.close(lock)


def remove(work: Path) -> None:
    """Remove a work directory, also while a tox that is about to be ended still writes into it."""
    gone = work.with_name(f"{work.name}{_GONE}{os.getpid()}")
    shutil.rmtree(gone, ignore_errors=True)
    work.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _lock(path: Path) -> int | None:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    os.utime(file)
    return file


def _tidy(root: Path) -> None:
    """Remove what was not used for long. Locks stay: another process may be about to take one."""
    for path in root.glob(f"*{_GONE}*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in root.glob("*.lock"):
        work = path.with_suffix("")
        if not work.exists() or path.stat().st_mtime > time.time() - _UNUSED:
            continue
        lock = _lock(path)
        if lock is not None:
            shutil.rmtree(work, ignore_errors=True)
            os.close(lock)
