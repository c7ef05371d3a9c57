"""Child processes and their trees: start, wait for, and end them, however they try to stay.

On Linux a worker is the subreaper of what it starts: a child that forks twice in a session of its own
comes back to it. Where /proc is missing (macOS), process groups serve.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import math
import os
import pwd
import select
import selectors
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import IO

from penstock import processes

GRACE = 1.5
"""Seconds between asking a process to end and ending it."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CHUNK = 1 << 16
_PRINTED = (1, 2)
_LINUX = sys.platform == "linux"
_MARK = processes.MARK.encode()


def become_subreaper() -> None:
    """Make orphans among this process's descendants its children (Linux; nothing elsewhere)."""
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def signal_at_death_of(parent: int, number: int) -> None:
    """Have this process told when its parent dies; ends it where that has happened (Linux)."""
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)


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


def end_descendants(*, spare: Collection[int] = (), grace: float = GRACE) -> None:
    """End everything below this process, except the trees and sessions of `spare`."""

    def find() -> list[int]:
        return processes.descendants(os.getpid(), spare=spare) if reap() else []

    if _LINUX:
        end(find, grace=grace)


def end_marked(prefix: str, *, grace: float = GRACE) -> None:
    """End every process that carries a mark with this prefix."""
    if _LINUX:
        end(lambda: processes.marked(prefix), grace=grace)


def reap() -> bool:
    """Collect the exit status of children and orphans of this process; whether any is left that lives."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def user() -> str:
    """The operating system's name for whoever runs this, whatever the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def end_holders(path: Path, *, grace: float = GRACE) -> None:
    """End every process, this one aside, that has a file open: the workers of an engine that was killed."""
    if _LINUX:
        # They were told to stop when their engine died, and are cleaning up: that comes first.
        deadline = time.monotonic() + grace
        while processes.holders(path) and time.monotonic() < deadline:
            time.sleep(0.02)
        end(lambda: processes.holders(path), grace=0)


def waited(pid: int, *, patience: float) -> int | None:
    """Wait for a child of this process, for so many seconds; its exit status, None if it runs on.

    As in `subprocess`: negative where a signal ended it; 0 where somebody else has collected it.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            found, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return 0
        if found:
            return os.waitstatus_to_exitcode(status)
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        _until_ended(pid, left)


def _until_ended(pid: int, patience: float) -> None:
    """Wait until a child is likely to have ended, for so many seconds at the most."""
    ended = watch(pid)
    if ended is None:
        time.sleep(0.002)  # there is nothing to wait for; it is about to end
        return
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.poll(math.ceil(patience * 1000))
    finally:
        os.close(ended)


def ended(pid: int, *, patience: float) -> int:
    """Wait for a child as `waited` does, and kill it where that is too long; its exit status."""
    status = waited(pid, patience=patience)
    if status is None:
        _signal(pid, signal.SIGKILL)
        status = waited(pid, patience=5)
    return -signal.SIGKILL if status is None else status


def watch(pid: int) -> int | None:
    """A descriptor that can be read once a child has ended; None where the system has no such thing."""
    with contextlib.suppress(AttributeError, OSError):
        return os.pidfd_open(pid)
    return None


def follow(
    child: subprocess.Popen[bytes],
    sinks: Mapping[IO[bytes], Callable[[bytes], object]],
    deadline: float | None,
) -> None:
    """Hand on what a program prints, until it has ended. Raises TimeoutError at `deadline` (monotonic).

    What its children still print after its end is not waited for.
    """
    if not sinks and deadline is None:
        child.wait()
        return
    with selectors.DefaultSelector() as selector:
        for stream, sink in sinks.items():
            selector.register(stream, selectors.EVENT_READ, sink)
        ended = watch(child.pid)
        if ended is not None:
            selector.register(ended, selectors.EVENT_READ, None)
        try:
            _pump(selector, deadline)
        finally:
            if ended is not None:
                os.close(ended)
    try:
        child.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None


def _pump(selector: selectors.BaseSelector, deadline: float | None) -> None:
    while keys := list(selector.get_map().values()):
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        ready = [key for key, _ in selector.select(left)]
        if any(key.data is None for key in ready):
            _drain(keys)
            return
        for key in ready:
            data = os.read(key.fd, _CHUNK)
            if data:
                key.data(data)
            else:
                selector.unregister(key.fileobj)


def _drain(keys: list[selectors.SelectorKey]) -> None:
    """Hand on what a program left in its streams when it ended."""
    for key in keys:
        if key.data is None:
            continue
        (left,) = struct.unpack("i", fcntl.ioctl(key.fd, termios.FIONREAD, b"\0" * 4))
        while left > 0 and (data := os.read(key.fd, min(left, _CHUNK))):
            key.data(data)
            left -= len(data)


def status_of(returncode: int) -> str:
    """How a program ended, in words."""
    return f"status {returncode}" if returncode >= 0 else f"signal {name_of_signal(-returncode)}"


def why_not(program: str, place: Path, error: Exception) -> str:
    """Why a program can't be run in a directory, in words for whoever asked for it."""
    if not isinstance(error, FileNotFoundError):
        return f"{program} can't be run: {why(error)}"
    if not place.is_dir():
        return f"{place} is not there: {program} can't be run in it"
    if "/" in program and (place / program).exists():
        return f"{program} can't be run: the interpreter that its first line names is not there"
    if "/" in program:
        return f"{program} is not there: it can't be run"
    return f"{program} is not on the PATH, so it can't be run. Install it, or add its directory to PATH"


def why(error: Exception) -> str:
    """What an error says, without the numbers and names around it."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


class TooManyProcesses(OSError):
    """The system starts no further one for this user."""


def cause_of(error: Exception) -> TooManyProcesses | None:
    """Why a program could not be started, where that lies with the machine alone."""
    # Of what Popen does, only the fork would have to be tried again.
    return TooManyProcesses(*error.args) if isinstance(error, BlockingIOError) else None


def name_of_signal(number: int) -> str:
    """A signal as people name it."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return str(number)


def end_group(child: subprocess.Popen[bytes]) -> None:
    """End a program and its process group: SIGTERM, and after a grace SIGKILL."""
    deadline = time.monotonic() + GRACE
    _signal_group(child.pid, signal.SIGTERM)
    while _group_lives(child) and time.monotonic() < deadline:
        time.sleep(0.01)  # its members are not all our children: there is no event to wait for
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()


def _group_lives(child: subprocess.Popen[bytes]) -> bool:
    if child.poll() is None:
        return True
    return child.pid in processes.groups()


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


class Surroundings:
    """What is the whole process's is after a `with` as it was: environment, current directory, umask.

    The mark of a step's processes is not looked at, and stays.
    """

    def __init__(self) -> None:
        self._raw = _raw_environment()
        self._environment = _decoded(self._raw)

    def environment(self) -> Mapping[str, str]:
        """The variables as they are now."""
        raw = _raw_environment()
        return self._environment if raw == self._raw else _decoded(raw)

    def __enter__(self) -> None:
        self._here = here_opened()
        self._umask = os.umask(0o022)
        os.umask(self._umask)

    def __exit__(self, *_: object) -> None:
        os.umask(self._umask)
        os.fchdir(self._here)
        os.close(self._here)
        if _raw_environment() != self._raw:
            mark = os.environ.get(processes.MARK)
            os.environ.clear()
            os.environ.update(self._environment | ({processes.MARK: mark} if mark is not None else {}))


def _raw_environment() -> dict[bytes, bytes]:
    # What lies behind `os.environ` is read as it is: going through each variable costs a hundred times more.
    raw: dict[bytes, bytes] = dict(vars(os.environ)["_data"])
    raw.pop(_MARK, None)
    return raw


def _decoded(raw: dict[bytes, bytes]) -> dict[str, str]:
    return {os.fsdecode(name): os.fsdecode(value) for name, value in raw.items()}


def here_opened() -> int:
    """The current directory, to come back to it; it need not be readable."""
    return os.open(".", getattr(os, "O_PATH", os.O_RDONLY))


@contextlib.contextmanager
def printed_to(sink: Callable[[bytes], object], *, end_others: Callable[[], None]) -> Iterator[None]:
    """What this process prints goes to `sink`, as do the children that it starts meanwhile.

    `end_others` ends those children: as long as one prints, there may be more.
    """
    reader, writer = os.pipe()
    before = [os.dup(descriptor) for descriptor in _PRINTED]

    def pump() -> None:
        while data := os.read(reader, _CHUNK):
            sink(data)

    thread = threading.Thread(target=pump, daemon=True)
    _flush()
    for descriptor in _PRINTED:
        os.dup2(writer, descriptor)
    os.close(writer)
    thread.start()
    try:
        yield
    finally:
        end_others()
        _flush()
        for descriptor, saved in zip(_PRINTED, before, strict=True):
            os.dup2(saved, descriptor)
            os.close(saved)
        thread.join(GRACE)  # all that could print has ended; if not, the rest of it is lost
        if not thread.is_alive():
            os.close(reader)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
