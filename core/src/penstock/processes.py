"""The processes of this machine, as /proc tells of them (Linux): which there are, and whose they are.

Only looks. The processes of a step carry a mark in their environment, so that those that outlived a
killed worker can be found.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

MARK = "PENSTOCK_STEP_MARK"

_EXEC = 0.2
"""Seconds that the kernel may take to put a new program in a process's place: seldom over a thousandth."""
_KERNEL_THREAD = 0x00200000


def marked(*prefixes: str) -> list[int]:
    """Every process whose environment carries a mark that begins with one of these."""
    wanted = [f"\0{MARK}={prefix}".encode() for prefix in prefixes]
    environments = ((pid, b"\0" + _environment_of(pid)) for pid in _pids() if pid != os.getpid())
    return [pid for pid, found in environments if any(mark in found for mark in wanted)]


def _environment_of(pid: int) -> bytes:
    """The variables that a process was started with; none where it is gone or somebody else's."""
    deadline = time.monotonic() + _EXEC
    while True:
        try:
            found = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return b""
        # Around an exec it reads as empty: such a process would escape whoever looks just then.
        if found or _has_no_variables(pid) or time.monotonic() >= deadline:
            return found
        time.sleep(0.0005)


def _has_no_variables(pid: int) -> bool:
    """Whether a process was started with none, is the kernel's own, or is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        state, flags, start, end_of_them = fields[0], int(fields[6]), int(fields[47]), int(fields[48])
    except (OSError, ValueError, IndexError):
        return True
    return state in (b"Z", b"X") or bool(flags & _KERNEL_THREAD) or 0 < start == end_of_them


def descendants(root: int, *, spare: Collection[int] = ()) -> list[int]:
    """Every living process below `root`, by the parents that /proc names.

    Without those in `spare`, what is below them, and what is in a session that one of them leads.
    """
    children: dict[int, list[int]] = {}
    for pid, parent, session in _living():
        if pid not in spare and session not in spare:
            children.setdefault(parent, []).append(pid)
    found: list[int] = []
    queue = list(children.get(root, ()))
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue.extend(children.get(pid, ()))
    return found


def sessions() -> set[int]:
    """The sessions in which anything lives, each by the process that began it."""
    return {session for _, _, session in _living()}


def groups() -> set[int]:
    """The process groups in which anything lives."""
    return {int(fields[2]) for _, fields in _stats()}


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    if sys.platform != "linux":
        return _exists(pid)
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def holders(*paths: Path) -> list[int]:
    """Every process, this one aside, that has one of these files open."""
    wanted = set()
    for path in paths:
        with contextlib.suppress(OSError):
            info = path.stat()
            wanted.add((info.st_dev, info.st_ino))
    return _with_open(lambda info: (info.st_dev, info.st_ino) in wanted) if wanted else []


def holders_of_sockets(inodes: Collection[int]) -> list[int]:
    """Every process, this one aside, that has one end of one of these sockets open."""
    return _with_open(lambda info: stat.S_ISSOCK(info.st_mode) and info.st_ino in inodes)


def _with_open(is_it: Callable[[os.stat_result], bool]) -> list[int]:
    own = os.getpid()
    return [pid for pid in _pids() if pid != own and any(is_it(info) for info in _open_files(pid))]


def _open_files(pid: int) -> Iterator[os.stat_result]:
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as scan:
        for entry in scan:
            with contextlib.suppress(OSError):
                yield entry.stat()


def _living() -> Iterator[tuple[int, int, int]]:
    """Each process that is no zombie, its parent and its session."""
    for pid, fields in _stats():
        yield pid, int(fields[1]), int(fields[3])


def _stats() -> Iterator[tuple[int, list[bytes]]]:
    """Each process that is no zombie, and what /proc says of it after its name: state, parent, group, …"""
    for pid in _pids():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            if len(fields) > 3 and fields[0] not in (b"Z", b"X"):
                yield pid, fields


def _pids() -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from (int(name) for name in os.listdir("/proc") if name.isdigit())
