"""Which attempts at a test step were made on which inputs: a short list for each step, to compare with.

It is no record: without it, or without a report that it names, there is less to compare with and nothing
else is lost. Of each step the newest few hundred attempts are kept.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO

from penstock.home import Home
from penstock.model import Model, TestCase

_MOST = 1 << 18
"""Bytes of a list, before its older half is left out."""


class Try(Model):
    """One attempt that came to a report."""

    inputs: str
    run: int
    attempt: int
    failed: bool
    """Whether any case failed."""
    report: str | None = None
    """The digest of its report in the store."""
    only: TestCase | None = None
    """The one case of a command that reports none, and has no report in the store."""


class Tries:
    """The attempts at one step."""

    def __init__(self, home: Home, step: str) -> None:
        self._path = Path(f"{home.root}/tries/{step}.jsonl")

    def on(self, inputs: str) -> list[Try]:
        """Those that were made on these inputs, the newest last."""
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return []
        wanted = inputs.encode()
        found = []
        for line in lines:
            if wanted in line:
                with contextlib.suppress(ValueError):  # cut off by a kill
                    found.append(Try.model_validate_json(line))
        return [each for each in found if each.inputs == inputs]

    def note(self, new: Try) -> None:
        """Add one. Where the disk does not take it, there is nothing to compare with later."""
        with contextlib.suppress(OSError), self._opened() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # A line that was cut off ends where the next begins.
            file.write(b"\n" + new.model_dump_json(exclude_defaults=True).encode())
            file.flush()
            if file.tell() > _MOST:
                _halve(file.fileno())

    def _opened(self) -> IO[bytes]:
        try:
            return self._path.open("ab+")
        except FileNotFoundError:  # the first of the project
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return self._path.open("ab+")


def _halve(file: int) -> None:
    data = os.pread(file, os.fstat(file).st_size, 0)
    os.ftruncate(file, 0)
    os.write(file, data[data.index(b"\n", len(data) // 2) :])
