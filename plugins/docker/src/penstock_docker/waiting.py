"""Whether a service is well: its container, the check that the engine makes of it, its port."""

from __future__ import annotations

import socket
import time
from typing import Any, NamedTuple

from penstock import StepFailed

from penstock_docker.engine import DockerClient, NotFound
from penstock_docker.service_settings import ServiceContainer

_LINES = 10
_LONGEST_LINE = 300
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_HELD = 0.3
"""Seconds that a connection has to last: an engine's own proxy takes one though nobody listens behind it."""
_LISTENS = "0A"
_ALIVE = ("created", "running", "restarting", "paused")


class Door(NamedTuple):
    """Where a service is reached from here, and at which port it listens inside of its container."""

    host: str | None
    """None: from here it is not reached."""
    port: int | None
    inner: int | None


def published(client: DockerClient, container: str, ports: tuple[int, ...]) -> dict[int, int]:
    """At which ports of the engine's host those of the container were opened."""
    bound = client.api.inspect_container(container)["NetworkSettings"]["Ports"] or {}
    found = {port: bound.get(f"{port}/tcp") for port in ports}
    if not all(found.values()):  # it has ended already, and lost them
        return {}
    return {port: int(bindings[0]["HostPort"]) for port, bindings in found.items() if bindings}


def until_well(client: DockerClient, settings: ServiceContainer, container: str, door: Door) -> None:
    """Wait for it. Raises StepFailed, with its last lines, where it ends or its time is over."""
    deadline = time.monotonic() + settings.start_timeout
    pause = _FIRST_PAUSE
    while True:
        inspected = client.api.inspect_container(container)
        state = inspected["State"]
        if state["Status"] not in _ALIVE:
            raise StepFailed(f"{_how_it_ended(state)}{_last_lines(client, container)}")
        lacks = _lacks(client, settings, container, state, door)
        if not lacks:
            return
        if time.monotonic() >= deadline:
            raise StepFailed(
                f"it was not healthy within {settings.start_timeout:g} s of its start (start_timeout): "
                f"{lacks}{_last_lines(client, container)}"
            )
        time.sleep(
            min(pause, max(0.0, deadline - time.monotonic()))
        )  # the engine tells of no port that opens
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def how_it_ended(client: DockerClient, container: str) -> str:
    """How it ended by itself; nothing where it runs."""
    try:
        state = client.api.inspect_container(container)["State"]
    except NotFound:
        return "somebody removed its container"
    return "" if state["Status"] in _ALIVE else _how_it_ended(state)


def _lacks(
    client: DockerClient, settings: ServiceContainer, container: str, state: dict[str, Any], door: Door
) -> str:
    """What it still lacks; nothing: it is well."""
    checked = state.get("Health")
    if checked and checked.get("Status") not in (None, "", "none"):
        return "" if checked["Status"] == "healthy" else _last_check(settings, checked)
    if settings.health == "running":
        return ""
    if door.inner is None:
        if settings.health == "port":
            raise StepFailed('health = "port", and it has none: the image exposes none, and ports names none')
        return ""
    if door.host is not None and door.port is not None:
        return "" if _answers(door.host, door.port) else f"its port {door.inner} is not open"
    return "" if _listens(client, container, door.inner) else f"its port {door.inner} is not open"


def _last_check(settings: ServiceContainer, checked: dict[str, Any]) -> str:
    what = " ".join(settings.health) if isinstance(settings.health, tuple) else "the image's own check"
    log = checked.get("Log") or ()
    if not log:
        return f"{what} has not ended yet"
    said = " ".join(str(log[-1].get("Output", "")).split())[:_LONGEST_LINE]
    return f"{what} ended with {log[-1].get('ExitCode')}" + (f' and said "{said}"' if said else "")


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.settimeout(_HELD)
            try:
                return bool(connection.recv(1))
            except TimeoutError:
                return True  # it waits for us to speak
    except OSError:
        return False


def _listens(client: DockerClient, container: str, port: int) -> bool:
    """Whether something in the container listens at a port, as the kernel's tables there say."""
    api: Any = client.api
    made = api.exec_create(container, ["cat", "/proc/net/tcp", "/proc/net/tcp6"], stderr=False)
    printed: bytes = api.exec_start(made["Id"])
    status = api.exec_inspect(made["Id"])["ExitCode"]
    if status in (126, 127):
        raise StepFailed(
            "whether its port is open can't be seen: its image has no cat, and nothing is opened to this "
            "machine. Name a command that tells whether it is well: health = [...]"
        )
    return is_listening(printed.decode(errors="replace"), port)


def is_listening(table: str, port: int) -> bool:
    """Whether /proc/net/tcp has a socket that listens at a port."""
    rows = (line.split() for line in table.splitlines())
    return any(
        len(row) > 3 and row[3] == _LISTENS and row[1].rpartition(":")[2] == f"{port:04X}" for row in rows
    )


def _how_it_ended(state: dict[str, Any]) -> str:
    if state.get("OOMKilled"):
        return "it was ended for want of memory: give it more (memory), or have it use less"
    said = f": {state['Error']}" if state.get("Error") else ""
    return f"it ended by itself, with status {state.get('ExitCode')}{said}"


def _last_lines(client: DockerClient, container: str) -> str:
    printed = client.api.logs(container, tail=_LINES).decode(errors="replace")
    lines = [line[:_LONGEST_LINE] for line in printed.strip().splitlines()]
    if not lines:
        return ". It printed nothing"
    return ". The last that it printed:\n" + "\n".join(f"  {line}" for line in lines)
