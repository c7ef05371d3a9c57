"""Files on their way into the store: held while they are written, so that none of them is swept away."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

OF = "+"
"""Between the name of a batch that comes into the store together and that of a file of it."""


class Batch(NamedTuple):
    """Files that come into the store together."""

    name: str
    """Of a file that is held until they are all there, and that theirs begin with."""
    files: dict[str, str]
    """Where the bytes of each digest lie by now."""


def is_held(path: str) -> bool:
    """Whether a writer holds a file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def created(path: str) -> IO[bytes]:
    """A new file for its owner alone, held while it is open; its directory is made where it is missing."""
    while True:
        try:
            file = open(path, "xb", opener=_for_owner)  # noqa: SIM115 - who asked closes it
        except FileNotFoundError:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            continue
        fcntl.flock(file, fcntl.LOCK_SH)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # it was swept away before it was held


def remove_if_left(path: str) -> None:
    """Remove a file that no writer holds, also one that will come to hold it in a moment: it looks."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)  # noqa: PTH108 - as it was listed
    finally:
        os.close(file)


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
