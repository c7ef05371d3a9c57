"""Files that come into being whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from penstock.artifacts import remove


def create(path: Path, data: bytes) -> None:
    """Write a new file. Raises FileExistsError where there is something of that name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path, data) as temporary:
        try:
            os.link(temporary, path)  # unlike a rename, it never replaces
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            with path.open("xb") as file:
                file.write(data)


def replace(path: Path, data: bytes) -> None:
    """Write a file, in place of the one that may be there, with its mode; through a symbolic link.

    What is there and is no file, such as a pipe or /dev/null, is written to: nothing may take its place.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    with _beside(path, data) as temporary:
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(path)


@contextlib.contextmanager
def incoming(path: Path) -> Iterator[Path]:
    """A place beside `path` for a file or directory that is on its way there; what is left of it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    try:
        yield temporary
    finally:
        remove(temporary)


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


@contextlib.contextmanager
def _beside(path: Path, data: bytes) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
