"""Children of this process: waited for, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from penstock import process


def never(_: float) -> None:
    raise AssertionError("it looks again and again, and does not wait for the end")


def child(code: str) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            exec(code, {"os": os, "time": time})
        finally:
            os._exit(1)
    return pid


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="there is nothing to wait for")
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("os._exit(7)", 7),
        ("time.sleep(0.05); os._exit(0)", 0),
        ("time.sleep(0.05); os.kill(os.getpid(), 15)", -signal.SIGTERM),
    ],
)
def test_the_end_of_a_child_is_waited_for_and_not_looked_for(
    code: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = child(code)
    monkeypatch.setattr(time, "sleep", never)

    assert process.waited(pid, patience=30) == status


def test_where_nothing_tells_of_the_end_it_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert process.waited(child("time.sleep(0.02); os._exit(3)"), patience=30) == 3


def test_a_child_that_does_not_end_is_killed() -> None:
    pid = child("time.sleep(600)")

    assert process.waited(pid, patience=0) is None
    assert process.waited(pid, patience=0.01) is None
    assert process.ended(pid, patience=0.01) == -signal.SIGKILL


def test_a_child_that_somebody_else_has_collected_has_ended() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert process.waited(ended.pid, patience=30) == 0
