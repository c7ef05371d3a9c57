"""The report files that a command wrote: not those from before it, nor what lies outside the workspace."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

LIMIT = 64 * 1024 * 1024
"""The largest report that is read, in bytes."""

Mark = tuple[int, ...]


class BadReportError(Exception):
    """A report that can't be used: the message names the file and what is wrong with it."""


class Report(NamedTuple):
    """One report as the command left it."""

    name: str
    """Its path in the workspace."""
    data: bytes


class Found(NamedTuple):
    """The reports of a command, and those that were ignored."""

    reports: tuple[Report, ...]
    old: tuple[str, ...]
    """Files that match, but were there before the command ran and were not written by it."""


def marks(workspace: Path, globs: Sequence[str]) -> dict[str, Mark]:
    """What matches now, each file with what changes when it is written."""
    return {
        path.relative_to(workspace).as_posix(): _mark(path)
        for pattern in globs
        for path in workspace.glob(pattern)
        if not path.is_dir() or path.is_symlink()
    }


def collect(workspace: Path, globs: Sequence[str], before: dict[str, Mark]) -> Found:
    """Read what the command wrote. Raises BadReportError where a glob matches nothing, or nothing usable."""
    fresh: dict[str, Path] = {}
    old: dict[str, None] = {}
    for pattern in globs:
        matches = {name: workspace / name for name in sorted(marks(workspace, (pattern,)))}
        new = {name: path for name, path in matches.items() if before.get(name) != _mark(path)}
        if not matches:
            raise BadReportError(f'nothing matches "{pattern}" after the command')
        if not new:
            was = "was" if len(matches) == 1 else "were"
            raise BadReportError(
                f"{_list(matches)} {was} there before the command ran, and it wrote nothing new: old results "
                "are not taken"
            )
        fresh |= new
        old |= dict.fromkeys(matches.keys() - new.keys())
    root = workspace.resolve()
    reports = tuple(_read(root, _shown(name), path) for name, path in sorted(fresh.items()))
    return Found(reports, tuple(_shown(name) for name in sorted(old)))


def _read(root: Path, name: str, path: Path) -> Report:
    if path.is_symlink():
        raise BadReportError(f"{name} is a symbolic link. Write the report itself there")
    if not path.resolve().is_relative_to(root):
        raise BadReportError(f"{name} leads out of the workspace, through a symbolic link")
    try:
        # Neither a link that was put there meanwhile nor a pipe without a writer may hold us up.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadReportError(f"{name} is not a regular file")
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise BadReportError(f"{name} can't be read: {error.strerror}") from None
    if len(data) > LIMIT:
        raise BadReportError(f"{name} is larger than {LIMIT // 1024 // 1024} MiB")
    if not data.strip():
        raise BadReportError(f"{name} is empty")
    return Report(name, data)


def _mark(path: Path) -> Mark:
    try:
        info = path.lstat()
    except OSError:
        return ()
    return (info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def _list(names: dict[str, Path]) -> str:
    shown = [_shown(name) for name in names][:3]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _shown(name: str) -> str:
    # A file's name need not be text; what is said about it must.
    return os.fsencode(name).decode(errors="replace")
