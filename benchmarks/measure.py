"""Runs a program to its end and says what it cost: wall time, processor time, memory."""

from __future__ import annotations

import os
import select
import signal
import statistics
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """What one run cost, with all processes that it waited for."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of user and system time."""
    peak: float
    """MiB of the largest of its processes."""
    status: int
    output: str


class TooLongError(Exception):
    """A run did not end within its time."""


def run(argv: Sequence[str], cwd: Path, env: Mapping[str, str], limit: float) -> Sample:
    """Run a program in a session of its own. Raises TooLongError, and OSError where it is not there."""
    log = cwd.parent / "output.txt"
    with log.open("wb") as output:
        started = time.perf_counter()
        child = subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        ended = _ends_within(child.pid, limit)
        wall = time.perf_counter() - started
        if not ended:
            os.killpg(child.pid, signal.SIGKILL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if not ended:
        raise TooLongError
    return Sample(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        peak=usage.ru_maxrss / 1024,
        status=child.returncode,
        output=log.read_text(errors="replace"),
    )


def _ends_within(pid: int, limit: float) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], limit)[0])
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Cost:
    """The medians of several runs."""

    wall: float
    cpu: float
    peak: float
    runs: int


def medians(samples: Iterable[Sample]) -> Cost:
    """What a run costs, the middle of several."""
    each = list(samples)
    return Cost(
        wall=statistics.median(sample.wall for sample in each),
        cpu=statistics.median(sample.cpu for sample in each),
        peak=statistics.median(sample.peak for sample in each),
        runs=len(each),
    )
