"""Starting and stopping the service of one instance, and knowing how it is."""

from __future__ import annotations

import fcntl
import json
import secrets
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock import Model, Step, StepFailed

from penstock_local import processes, supervisor
from penstock_local.layout import Instance, replace_text

_START_PATIENCE = 10.0
_STOP_MARGIN = 10.0


class Service(Model):
    """What a supervisor runs. No secrets: it lies in files and in the journal."""

    release: str
    place: str
    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    port: int | None = None
    url: str | None = None
    health: str | None = None
    stop_grace: float
    start_timeout: float
    settle: float
    restart: int


class Status(Model):
    """What a supervisor said last."""

    token: str
    state: str
    pid: int | None
    since: float
    deaths: int
    last: str


class Running(Model):
    """A service whose supervisor lives."""

    service: Service
    status: Status
    supervisor: int


def running(instance: Instance) -> Running | None:
    """The service that a living supervisor keeps; none where there is no such supervisor."""
    holder = _holder(instance)
    if holder is None:
        return None
    start, status = told(instance), last_said(instance)
    if start is None or status is None or status.token != start["token"]:
        return None
    try:
        service = Service.model_validate(start["service"])
    except ValueError:
        return None  # another version of this plugin started it: it can be stopped, and that is enough
    return Running(service=service, status=status, supervisor=holder[0])


def told(instance: Instance) -> dict[str, Any] | None:
    """What the supervisor was told to run last."""
    found = _read(instance.start)
    return found if found and {"token", "service"} <= found.keys() else None


def last_said(instance: Instance) -> Status | None:
    """The last that the instance's supervisor said, which may be dead by now."""
    try:
        return Status.model_validate(_read(instance.status))
    except ValueError:
        return None


def start(instance: Instance, service: Service, env: Mapping[str, str], step: Step) -> None:
    """Start a service under a supervisor of its own. To be called under the lock, when nothing runs."""
    token = secrets.token_hex(8)
    replace_text(
        instance.start,
        json.dumps({"token": token, "service": service.model_dump(mode="json")}),
    )
    instance.stopped.unlink(missing_ok=True)
    log = instance.root / "log" / f"{instance.number}.supervisor.log"
    program = [sys.executable, "-I", supervisor.__file__, str(instance.root), str(instance.number), token]
    pid = step.detach(program, log=log, env=env)
    # The supervisor says that it is there by writing a file: nothing else tells.
    deadline = time.monotonic() + _START_PATIENCE
    while time.monotonic() < deadline:
        said = last_said(instance)
        if said and said.token == token:
            step.log(f"Started {' '.join(service.argv)} (supervised by process {pid})")
            return
        if supervisor.start_of(pid) is None:
            break
        time.sleep(0.005)
    raise StepFailed(f"the supervisor of {instance.mark} did not start: {tail(log) or 'it said nothing'}")


def stop(instance: Instance, grace: float) -> None:
    """Stop a service, with all that it started. Returns when it is gone; to be called under the lock."""
    instance.start.unlink(missing_ok=True)  # a supervisor that is just starting finds nothing to do
    deadline = time.monotonic() + _STOP_MARGIN
    while holder := _holder(instance):
        pid, begun = holder
        if begun and not processes.tell(pid, begun, signal.SIGTERM, grace + _STOP_MARGIN):
            processes.tell(pid, begun, signal.SIGKILL, _STOP_MARGIN)
        if time.monotonic() > deadline + grace + _STOP_MARGIN:
            raise StepFailed(
                f"{instance.mark} can't be stopped: process {pid} holds {instance.lock} and does not end"
            )
        time.sleep(0.005)
    processes.end_marked(instance.mark, grace)


def tail(log: Path, lines: int = 3) -> str:
    """The last lines of a log, in one."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return " | ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip())


def _holder(instance: Instance) -> tuple[int, str] | None:
    """The process that holds the instance's lock, and when it began; zero and nothing while it says not."""
    try:
        with instance.lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                try:
                    found = json.loads(file.read())
                    return int(found["pid"]), str(found["start"])
                except (ValueError, KeyError, TypeError):
                    return 0, ""
    except OSError:
        return None
    return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
