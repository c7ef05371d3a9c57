"""Keeps one service running: a program of its own, which needs nothing but the standard library.

    python -I supervisor.py DIRECTORY INSTANCE TOKEN

It holds a lock for as long as it lives, says how the service is in a status file, and ends the service
with all that it started on SIGTERM. It lives on when Penstock has ended, so it must not import from it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MARK = "PENSTOCK_LOCAL_SERVICE"
"""In the environment of a service and of all that it starts, so that strays are found."""

LOG_BYTES = 10 << 20
STABLE = 60.0
"""Seconds after which a service that ends counts as one that had been well."""
_LOCK_PATIENCE = 5.0
_LONGEST_PAUSE = 10.0
_KILL_PATIENCE = 5.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def stat_of(pid: int) -> list[str]:
    """What the kernel says of a process, from its state on; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()
    except OSError:
        return []


def start_of(pid: int) -> str | None:
    """When a process began, in the kernel's ticks: with the pid it names one process for good."""
    fields = stat_of(pid)
    return fields[19] if len(fields) > 19 and fields[0] != "Z" else None


def descendants(root: int) -> list[int]:
    """Every living process below `root`."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        fields = stat_of(int(name)) if name.isdigit() else []
        if len(fields) > 1 and fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    queue = children.get(root, [])
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue.extend(children.get(pid, ()))
    return found


def write_json(path: Path, value: object) -> None:
    """Replace a file: a reader sees the old text or the new one. Who holds the instance's lock writes it."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(value))
    new.replace(path)


def how_ended(status: int) -> str:
    """How a process ended, in words."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"status {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


class Log:
    """A log that keeps the last 10 to 20 MiB, in two files that only its owner may read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()

    def write(self, data: bytes) -> None:
        """Add to it; a full disk must not stop the service."""
        with contextlib.suppress(OSError):
            if self._size + len(data) > LOG_BYTES:
                os.close(self._fd)
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                self._open()
            self._size += os.write(self._fd, data)

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._fd).st_size


class Supervisor:
    """One service: started, watched, started again, ended."""

    def __init__(self, root: Path, instance: str, token: str) -> None:
        self._run = root / "run"
        self._root = root
        self._instance = instance
        self._token = token
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._stopping = False
        self._child: int | None = None
        self._began = 0.0
        self._deaths = 0
        self._last = ""
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)  # what counts is the byte in the pipe
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._output, self._input = os.pipe()
        os.set_blocking(self._output, False)

    def main(self) -> int:
        """The whole life: 0 where it was told to stop, 1 where the service can't be kept running."""
        if not self._take_lock() or self._stopping:
            return 0
        start = json.loads((self._run / f"{self._instance}.start.json").read_text())
        if start["token"] != self._token:
            return 0  # somebody else was asked to start meanwhile
        self._service: dict[str, Any] = start["service"]
        self._log = Log(self._root / "log" / f"{self._instance}.log")
        self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            return self._keep_running()
        finally:
            self._end_all()

    def _take_lock(self) -> bool:
        self._lock = (self._run / f"{self._instance}.lock").open("r+")
        deadline = time.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline or self._stopping:
                    return False
                self._wait(0.02)
        self._lock.truncate()
        self._lock.write(json.dumps({"pid": os.getpid(), "start": start_of(os.getpid())}))
        self._lock.flush()
        return True

    def _keep_running(self) -> int:
        while not self._stopping:
            if not self._is_ours() or not self._spawn():
                return 1
            while self._child is not None and not self._stopping:
                self._wait(None)
                self._reap()
            if self._stopping:
                break
            self._end_all()  # what a service leaves behind would keep its port
            if time.monotonic() - self._began >= STABLE:
                self._deaths = 0
            self._deaths += 1
            if self._deaths > self._service["restart"]:
                self._say("failed")
                return 1
            self._say("waiting")
            self._rest(min(0.2 * 2 ** (self._deaths - 1), _LONGEST_PAUSE))
        self._say("stopping")
        self._end_all()
        self._say("stopped")
        return 0

    def _is_ours(self) -> bool:
        """Whether the directory is still there: nobody could stop a service whose lock is gone."""
        with contextlib.suppress(OSError):
            there = Path(self._lock.name).stat()
            return os.path.samestat(there, os.fstat(self._lock.fileno()))
        return False

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            self._wait(left)

    def _spawn(self) -> bool:
        own = os.getpid()

        def prepare() -> None:
            self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != own:
                os._exit(1)

        try:
            child = subprocess.Popen(
                self._service["argv"],
                cwd=self._service["cwd"],
                env={**os.environ, MARK: f"{self._root}#{self._instance}"},
                stdin=subprocess.DEVNULL,
                stdout=self._input,
                stderr=self._input,
                start_new_session=True,
                preexec_fn=prepare,  # noqa: PLW1509 - there are no threads here
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._last = f"it can't be started: {getattr(error, 'strerror', None) or error}"
            self._deaths += 1
            self._say("failed")
            return False
        self._child = child.pid
        child.returncode = 0  # `_reap` collects it; Popen must not
        self._began = time.monotonic()
        self._say("running")
        return True

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._child:
                    self._child, self._last = None, how_ended(ended[1])

    def _end_all(self) -> None:
        """End everything below this process: SIGTERM, and after the grace SIGKILL."""
        deadline = time.monotonic() + float(self._service["stop_grace"])
        asked: set[int] = set()
        while True:
            self._reap()
            pids = descendants(os.getpid())
            now = time.monotonic()
            if not pids or now > deadline + _KILL_PATIENCE:
                self._drain()
                return
            for pid in pids:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    if now >= deadline:
                        os.kill(pid, signal.SIGKILL)
                    elif pid not in asked:
                        os.kill(pid, signal.SIGTERM)
                        os.kill(pid, signal.SIGCONT)
                        asked.add(pid)
            # The end of a grandchild that has a living parent is not announced to us.
            self._wait(0.02)

    def _wait(self, timeout: float | None) -> None:
        """Until a signal came, or the service printed something, or the time is over."""
        ready, _, _ = select.select([self._woken, self._output], [], [], timeout)
        if self._woken in ready:
            told = os.read(self._woken, 4096)
            self._stopping = self._stopping or signal.SIGTERM in told or signal.SIGINT in told
        if self._output in ready:
            self._drain()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(64):  # and then have a look at the signals again
                self._log.write(os.read(self._output, 1 << 16))

    def _say(self, state: str) -> None:
        status = {
            "token": self._token,
            "state": state,
            "pid": self._child,
            "since": time.time(),
            "deaths": self._deaths,
            "last": self._last,
        }
        with contextlib.suppress(OSError):  # a full disk must not stop the service
            write_json(self._run / f"{self._instance}.status.json", status)


if __name__ == "__main__":
    sys.exit(Supervisor(Path(sys.argv[1]), sys.argv[2], sys.argv[3]).main())
