"""A directory for the tests' temporary files, with a path that is short enough for a Unix socket."""

from __future__ import annotations

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

    Its name follows from `place`, so that what a killed step has left is removed by the next one there.
    """
    if len(str(place)) <= _LONG:
        yield place
        return
    root = min((tempfile.gettempdir(), "/tmp"), key=len)  # noqa: S108 - owned and closed to others, see below
    name = hashlib.sha256(str(place).encode()).hexdigest()[:8]
    directory = Path(root, f"penstock-{os.geteuid()}-{name}")
    if not _made(directory):
        yield place
        return
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _made(directory: Path) -> bool:
    """Make it anew, for nobody else; False where somebody else has something of that name."""
    try:
        found = directory.lstat()
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return False
        shutil.rmtree(directory, ignore_errors=True)
    try:
        directory.mkdir(mode=0o700)
    except OSError:
        return False
    return True
