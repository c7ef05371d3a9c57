"""While somebody else's module is imported: what it prints, and Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator


class Interrupted(BaseException):
    """Ctrl-C, and not a KeyboardInterrupt that the module raises itself."""


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """What is printed meanwhile goes to standard error, and both streams are there afterwards.

    Standard output is for results: a module that prints when it is imported would be among them.
    """
    saved = [os.dup(descriptor) for descriptor in (1, 2)]
    os.dup2(2, 1)
    try:
        with _ctrl_c():
            yield
    finally:
        _flush()
        for descriptor, before in zip((1, 2), saved, strict=True):
            os.dup2(before, descriptor)
            os.close(before)


@contextlib.contextmanager
def _ctrl_c() -> Iterator[None]:
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not ours or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise Interrupted

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
