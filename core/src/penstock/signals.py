"""What wakes an engine that waits: Ctrl-C and SIGTERM, and a word from another process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from penstock.home import Home
from penstock.process import here_opened

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What tells a process to end: Ctrl-C, whoever ends it, and a terminal that closes."""
SOCKET = "wake"
"""The name of the socket in a run's directory: it is there as long as its engine listens."""


def _heard() -> list[int]:
    """Those of them that are for this process: `nohup` means that it is to outlive the terminal."""
    nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [number for number in ENDING if not (nohup and number == signal.SIGHUP)]


@contextlib.contextmanager
def interrupts(handle: Callable[[int], None]) -> Iterator[socket.socket]:
    """Call `handle` with the signal on Ctrl-C, SIGTERM or when the terminal closes.

    The socket has something to read then.
    """
    reader, writer = socket.socketpair()
    for end in (reader, writer):
        end.setblocking(False)
    before = [(number, signal.signal(number, lambda number, _: handle(number))) for number in _heard()]
    previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in before:
            signal.signal(number, handler)
        reader.close()
        writer.close()


@contextlib.contextmanager
def remembered(earlier: Iterable[int] = ()) -> Iterator[list[int]]:
    """While these signals are only noted, for an engine that will hear of them, or has no more to do.

    Whoever asks a second time is not kept waiting: a KeyboardInterrupt is raised.
    """
    noted = list(earlier)

    def note(number: int, _: object) -> None:
        if noted and number != signal.SIGHUP:
            raise KeyboardInterrupt
        noted.append(number)

    before = [(number, signal.signal(number, note)) for number in _heard()]
    try:
        yield noted
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextlib.contextmanager
def wake_socket(home: Home, run: int) -> Iterator[socket.socket]:
    """A socket to which other processes write after they have appended an event."""
    calls = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    calls.setblocking(False)
    path = home.run(run) / SOCKET
    with _inside(path.parent):
        path.unlink(missing_ok=True)
        calls.bind(path.name)
    try:
        yield calls
    finally:
        calls.close()
        path.unlink(missing_ok=True)


def wake(home: Home, run: int) -> bool:
    """Tell the engine of a run, if one lives, that there is something new; whether one lives."""
    if not home.engine_lock(run).is_held():
        return False  # a worker of one that was killed may have its socket still
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as caller:
        caller.setblocking(False)
        try:
            with _inside(home.run(run)):
                caller.sendto(b"!", SOCKET)
        except BlockingIOError:
            return True  # it has not come to read yet what others wrote, and will
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _inside(directory: Path) -> Iterator[None]:
    # The address of a Unix socket has about a hundred bytes: a relative one always fits.
    before = here_opened()
    try:
        os.chdir(directory)
        yield
    finally:
        os.fchdir(before)
        os.close(before)
