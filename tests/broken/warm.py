"""A process in which the command line is imported already: it forks for each command that it is told.

So a command costs its own work and not half a second of imports. One line of JSON in, one out. What a
command left running is told, and ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from penstock import processes
from penstock.process import become_subreaper, end_descendants, reap

_SETTLING = 1.0
"""Seconds in which a process that was told to end may still be seen."""


def _preload() -> None:
    for name in ("begin", "run", "word", "look", "environments", "proof", "plugins", "init"):
        __import__(f"penstock.cli.{name}")
    for name in ("git", "shell", "sigstore"):
        __import__(f"penstock_{name}")


def _become(order: dict[str, Any]) -> NoReturn:
    """The life of one command."""
    status = 70
    try:
        os.setsid()
        for descriptor, path in enumerate((os.devnull, order["out"], order["err"])):
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(file, descriptor)
            os.close(file)
        os.chdir(order["cwd"])
        if order["argv"]:
            os.execvpe(order["argv"][0], order["argv"], order["env"])
        os.environ.clear()
        os.environ.update(order["env"])
        sys.path.insert(0, order["site"])
        sys.stdin, sys.stdout, sys.stderr = (
            open(descriptor, mode, closefd=False)  # noqa: SIM115 - as at the start of Python
            for descriptor, mode in enumerate("rww")
        )
        from penstock.cli import invoke

        status = invoke(order["words"])
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _wait(pid: int, seconds: float) -> int | None:
    """How the command ended, as subprocess tells it; None where that took too long."""
    descriptor = os.pidfd_open(pid)
    try:
        import select

        select.select([descriptor], [], [], seconds)
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
    finally:
        os.close(descriptor)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _left() -> list[str]:
    """The command lines of what still runs, once what was about to end has ended."""
    deadline = time.monotonic() + _SETTLING
    while True:
        reap()
        left = processes.descendants(os.getpid())
        if not left or time.monotonic() >= deadline:
            break
        time.sleep(0.01)
    said = []
    for pid in left:
        with contextlib.suppress(OSError):
            said.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip())
    end_descendants(grace=0)
    return said


def main() -> None:
    become_subreaper()
    _preload()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
        code = _wait(pid, order["within"])
        print(json.dumps({"code": code, "left": _left()}), flush=True)


if __name__ == "__main__":
    main()
