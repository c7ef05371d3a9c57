"""Child processes and their trees: start, wait for, and end them, however they try to stay.

The processes of a step carry a mark in their environment, so that those that outlived a killed worker
can be found and ended later. On Linux a worker is the subreaper of what it starts: a child that forks
twice in a session of its own comes back to it. Where /proc is missing (macOS), process groups serve.
"""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

MARK = "PENSTOCK_STEP_MARK"
GRACE = 2.0
"""Seconds between asking a process to end and ending it."""

_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"


def become_subreaper() -> None:
    """Make orphans among this process's descendants its children (Linux; nothing elsewhere)."""
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(root: int) -> list[int]:
    """Every living process below `root`, by the parents that /proc names."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    queue = list(children.get(root, ()))
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue.extend(children.get(pid, ()))
    return found


def marked(prefix: str) -> list[int]:
    """Every process whose environment carries a mark that begins with `prefix`."""
    wanted = f"\0{MARK}={prefix}".encode()
    found = []
    for pid in _pids():
        if pid == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if wanted in b"\0" + Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
    return found


def end(find: Callable[[], list[int]], *, grace: float = GRACE) -> None:
    """End all processes that `find` names, and those that they start meanwhile.

    First with SIGTERM, after `grace` seconds with SIGKILL. Returns when none is left.
    """
    asked: set[int] = set()
    deadline = time.monotonic() + grace
    pause = 0.002
    while pids := find():
        late = time.monotonic() >= deadline
        for pid in pids:
            if late or pid not in asked:
                _signal(pid, signal.SIGKILL if late else signal.SIGTERM)
                asked.add(pid)
        if time.monotonic() >= deadline + 5:
            return  # it hangs in the kernel: nobody can end it
        # There is no event to wait for: most of these are not our own children.
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
        reap()


def end_descendants(*, spare: Iterable[int] = (), grace: float = GRACE) -> None:
    """End everything below this process, except the trees of `spare`."""
    spared = tuple(spare)

    def find() -> list[int]:
        reap()
        found = set(descendants(os.getpid()))
        for pid in spared:
            found -= {pid, *descendants(pid)}
        return sorted(found)

    if _LINUX:
        end(find, grace=grace)


def end_marked(prefix: str, *, grace: float = GRACE) -> None:
    """End every process that carries a mark with this prefix."""
    if _LINUX:
        end(lambda: marked(prefix), grace=grace)


def reap() -> None:
    """Collect the exit status of orphans that came back to this process."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    if not _LINUX:
        return _signal(pid, 0)
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def user() -> str:
    """The operating system's name for whoever runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _pids() -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from (int(name) for name in os.listdir("/proc") if name.isdigit())


def _parents() -> Iterator[tuple[int, int]]:
    for pid in _pids():
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            if fields[0] != b"Z":
                yield pid, int(fields[1])


def end_holders(path: Path, *, grace: float = GRACE) -> None:
    """End every process, this one aside, that has a file open: the workers of an engine that was killed."""

    def find() -> list[int]:
        return [pid for pid in _pids() if pid != os.getpid() and _has_open(pid, path)]

    if _LINUX:
        # They were told to stop when their engine died, and are cleaning up: that comes first.
        deadline = time.monotonic() + grace
        while find() and time.monotonic() < deadline:
            time.sleep(0.02)
        end(find, grace=0)


def _has_open(pid: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(entry.path) == str(path):
                    return True
    return False


def watch_end(child: subprocess.Popen[bytes], selector: selectors.BaseSelector) -> int | None:
    """Have a selector tell when a program has ended; the descriptor to close, where the system can do it."""
    if not hasattr(os, "pidfd_open"):
        return None
    pidfd = os.pidfd_open(child.pid)
    selector.register(pidfd, selectors.EVENT_READ, None)
    return pidfd


def name_of(child: subprocess.Popen[bytes]) -> str:
    """The program that was started."""
    return str(child.args[0]) if isinstance(child.args, list) else str(child.args)


def status_of(returncode: int) -> str:
    """How a program ended, in words."""
    if returncode >= 0:
        return f"status {returncode}"
    try:
        return f"signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"signal {-returncode}"


def end_group(child: subprocess.Popen[bytes]) -> None:
    """End a program and its process group: SIGTERM, and after a grace SIGKILL."""
    if child.poll() is not None:
        return
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(patience)
            break
        except subprocess.TimeoutExpired:
            continue
