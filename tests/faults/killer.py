"""Starts commands out of a process that has imported Penstock, and kills what it is told at the moment it is told.

One line of JSON in: an order as `tests.broken.warm` takes them, with `after` (seconds; none: not at all), `what`
(engine, worker or both) and `pick`, which of the workers. One out: the command's exit code, and whether
something was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import Any

from penstock import processes
from penstock.process import become_subreaper, end_descendants, reap

from tests.broken.warm import _become, _left, _preload


def victims(engine: int, what: str, pick: int) -> list[int]:
    """Whom to kill. Workers are the engine's children of its own program; a step's programs are not."""
    children = [pid for pid, parent, _ in processes._living() if parent == engine]
    workers = sorted(children)
    chosen = [workers[pick % len(workers)]] if workers else []
    return {"engine": [engine], "worker": chosen, "both": [engine, *workers]}[what]


def kill(pids: list[int]) -> bool:
    done = False
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            done = True
    return done


def work(order: dict[str, Any]) -> dict[str, Any]:
    pid = os.fork()
    if pid == 0:
        _become(order)
    descriptor = os.pidfd_open(pid)
    killed, deadline = False, time.monotonic() + order["within"]
    try:
        if order["after"] is not None and not select.select([descriptor], [], [], order["after"])[0]:
            killed = kill(victims(pid, order["what"], order["pick"]))
        over = bool(select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0])
        if not over:
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(descriptor)
    reap()
    left = _left() if order["settle"] else []
    return {"code": code if over else None, "killed": killed, "left": left}


def main() -> None:
    become_subreaper()
    _preload()
    __import__("penstock.cli.audit")
    for line in sys.stdin:
        print(json.dumps(work(json.loads(line))), flush=True)
    end_descendants(grace=0)


if __name__ == "__main__":
    main()
