"""A process of its own for a run that a watch begins: how it is set up, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

from penstock import process
from penstock.cli import explain


def be_child(watch: int) -> None:
    """Set up the process of one run: Ctrl-C comes from the watch alone, and its death is the end."""
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    process.signal_at_death_of(watch, signal.SIGKILL)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):  # what the run shows is shown by `penstock show`
        os.dup2(null, descriptor)
    os.close(null)


def exit_code_of(do: Callable[[], int]) -> int:
    """Do it; the exit code that it, or its error, leads to."""
    try:
        code = do()
        sys.stdout.flush()
    except Exception as error:  # the last place where a message can be made of it
        code = explain(error)
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    return code


@contextlib.contextmanager
def children_wake() -> Iterator[None]:
    """While a child that ends wakes whoever waits for a signal."""
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)
