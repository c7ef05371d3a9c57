"""Whether an engine is about to end a container that still runs.

It goes on with what a client asked for that is gone since, for as long as the container may take to end, and
says so nowhere but in its events.
"""

from __future__ import annotations

import signal
from datetime import datetime
from typing import Any

from penstock_docker.engine import DockerClient


def is_being_stopped(client: DockerClient, container: str) -> bool:
    """Whether somebody has told it to end since it was started."""
    found = client.api.inspect_container(container)
    started = _seconds(found["State"]["StartedAt"])
    ends = {int(signal.SIGKILL), _number(found["Config"].get("StopSignal") or "TERM")}
    told = client.api.events(  # type: ignore[call-overload]  # the stubs want whole seconds
        since=f"{started:.6f}",
        until=f"{_seconds(client.api.info()['SystemTime']):.6f}",  # its own clock, or they would go on
        filters={"container": container, "event": "kill"},
        decode=True,
    )
    return any(one.get("timeNano", 0) / 1e9 > started and _signal_of(one) in ends for one in told)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _number(name: str) -> int:
    """What the name of a signal means, which may be a number, or count from another: SIGRTMIN+3."""
    word, _, more = name.upper().removeprefix("SIG").partition("+")
    try:
        return int(word) if word.isdigit() else int(signal.Signals[f"SIG{word}"]) + int(more or 0)
    except (KeyError, ValueError):
        return int(signal.SIGTERM)


def _signal_of(event: dict[str, Any]) -> int:
    return _number(str(event.get("Actor", {}).get("Attributes", {}).get("signal", "")))
