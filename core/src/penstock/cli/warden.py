"""Does what this process can't do any more, where it was killed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

from penstock.signals import ENDING


@contextlib.contextmanager
def cleaned_up_by(undo: Callable[[], object]) -> Iterator[None]:
    """Where this process ends within, another one that waits for that undoes what it began.

    Who leaves in order has done so itself.
    """
    reader, writer = os.pipe()
    # Held back, for good in the other one: Python would lose an exception that a handler raises in a fork.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    pid = os.fork()
    if pid == 0:
        _wait_and(undo, reader, writer)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(reader)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # somebody has ended the other one
            os.write(writer, b".")
        os.close(writer)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _wait_and(undo: Callable[[], object], reader: int, writer: int) -> None:
    try:
        os.close(writer)
        os.setsid()  # what ends a whole group, or hangs up a terminal, is not for it
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):  # who reads what is printed does not wait for it
            os.dup2(null, descriptor)
        if not os.read(reader, 1):
            undo()
    finally:
        os._exit(0)
