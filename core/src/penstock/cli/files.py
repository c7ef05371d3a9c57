"""Files that come into being whole, or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from penstock.artifacts import remove

_NEW = ".penstock-new-"
"""Begins the names of directories for what is on its way to a place beside them."""


def create(path: Path, data: bytes) -> None:
    """Write a new file. Raises FileExistsError where there is something of that name."""
    with beside(path) as place:
        settle(_written(place / "it", data), path, force=False)


def replace(path: Path, data: bytes) -> None:
    """Write a file, in place of the one that may be there, with its mode; through a symbolic link.

    What is there and is no file, such as a pipe or /dev/null, is written to: nothing may take its place.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    path = path.resolve()
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    with beside(path) as place:
        new = _written(place / "it", data)
        if mode is not None:
            new.chmod(mode)
        settle(new, path, force=True)


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A directory beside `path` for what is on its way there; it goes in the end, with what is left in it.

    It is held until then: what writers left beside it that were killed, the next one removes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    place, held = _made(path.parent)
    try:
        with _ended_after(lambda: remove(place)):
            yield place
    finally:
        remove(place)
        os.close(held)


def settle(temporary: Path, path: Path, *, force: bool) -> None:
    """Bring what is complete to its place. Raises FileExistsError where something is, unless by `force`."""
    if temporary.is_dir():
        if os.path.lexists(path):
            raise FileExistsError(path)
        temporary.rename(path)
        return
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    if force:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)  # unlike a rename, it never replaces
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        temporary.rename(path)


def _written(path: Path, data: bytes) -> Path:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return path


def _made(parent: Path) -> tuple[Path, int]:
    """A new directory, and the descriptor that holds it."""
    while True:
        place = parent / f"{_NEW}{secrets.token_hex(4)}"
        place.mkdir(mode=0o700)
        with contextlib.suppress(FileNotFoundError):  # it was swept away before it was held
            held = _opened(place)
            with contextlib.suppress(OSError):  # a file system without locks: nobody sweeps there either
                fcntl.flock(held, fcntl.LOCK_EX)
            if os.fstat(held).st_nlink:
                return place, held
            os.close(held)


def sweep(parent: Path) -> None:
    """Remove what killed writers left in a directory: also for who finds that there is nothing to write."""
    for left in parent.glob(f"{_NEW}*"):
        with contextlib.suppress(OSError):  # somebody is at it, or it is somebody else's
            held = _opened(left)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(left)
            finally:
                os.close(held)


def _opened(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


@contextlib.contextmanager
def _ended_after(undo: Callable[[], None]) -> Iterator[None]:
    """Undo what was begun before a signal ends this process."""

    def end(number: int, _: FrameType | None) -> None:
        undo()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    # Python lets no other thread set a handler.
    main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGHUP) if main else ()
    changed = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in changed:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)
