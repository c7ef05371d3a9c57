"""Directories on disk, however deep: walks through one in a fixed order, and removes what is there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path


def walk(root: Path, leave_out: frozenset[str] = frozenset()) -> Iterator[tuple[str, str, os.stat_result]]:
    """Every file, link and empty directory under `root`, in a fixed order: relative path, path, lstat.

    Pipes, sockets and devices do not count.
    """
    queue = _inside(os.fspath(root), "", leave_out)
    while queue:  # and not by recursion: directories may be deeper than Python's stack
        relative, path, info = queue.pop()
        inner = _inside(path, f"{relative}/") if stat.S_ISDIR(info.st_mode) else []
        queue.extend(inner)
        if not inner:
            yield relative, path, info


_COUNTED = frozenset((stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR))


def _inside(
    directory: str, prefix: str, leave_out: frozenset[str] = frozenset()
) -> list[tuple[str, str, os.stat_result]]:
    with os.scandir(directory) as scan:
        entries = [(e.name, e.path, e.stat(follow_symlinks=False)) for e in scan if e.name not in leave_out]
    entries.sort(reverse=True)
    return [(prefix + name, path, i) for name, path, i in entries if stat.S_IFMT(i.st_mode) in _COUNTED]


def remove(path: Path) -> None:
    """Remove a file or a directory, whatever its modes and however deep, if it is there."""
    try:
        info = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(info.st_mode):
        path.unlink()
        return
    # Level by level: what a directory holds is moved up before it is removed. So neither the length of
    # a path nor Python's stack limits the depth, and what is left by a kill is removed by the next call.
    while _remove_level(path):
        pass
    path.rmdir()


def _remove_level(top: Path) -> bool:
    """Remove the directories right below one, whose own directories come to stand there; whether any did."""
    more = False
    for path, is_directory in _entries(top):
        if not is_directory:
            path.unlink()
            continue
        for below, is_directory_too in _entries(path):
            if not is_directory_too:
                below.unlink()
                continue
            below.chmod(0o700)  # only who may write to a directory may move it
            below.rename(top / os.urandom(12).hex())
            more = True
        path.rmdir()
    return more


def _entries(directory: Path) -> list[tuple[Path, bool]]:
    directory.chmod(0o700)
    with os.scandir(directory) as scan:
        return [(directory / entry.name, entry.is_dir(follow_symlinks=False)) for entry in scan]
