"""What killed processes left on engines, removed by its labels: containers, networks, volumes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock import PenstockError, StepFailed

from penstock_docker.settings import Tls

if TYPE_CHECKING:
    from penstock_docker.engine import DockerClient

_LOOKS = (0.3, 1.0)
"""Seconds after which to look again: an engine may still be at what a process asked that is gone now."""


class _Note(NamedTuple):
    path: Path
    step: str
    host: str | None
    where: str
    tls: Tls | None = None


def reap(run: int, step_name: str | None, home: Path) -> None:
    """Remove what is left of a run, or of one of its steps. Asks no engine where nothing was made."""
    found = list(_noted(run, step_name, home))
    if not found:
        return
    from penstock_docker import engine, labels  # only here: most runs leave nothing

    wrong = []
    wanted = labels.filters(home, run, step_name)
    engines = {_host_of(note, engine.address(note.host)): note.tls for note in found}
    for host, tls in engines.items():
        try:
            with engine.connected(host, tls=tls) as client:
                _remove_all(client, wanted)
        except PenstockError as error:
            wrong.append(str(error))
            continue
        for note in found:
            if _host_of(note, engine.address(note.host)) == host:
                note.path.unlink(missing_ok=True)
    if wrong:
        raise StepFailed("; ".join(wrong))


def remove_labelled(client: DockerClient, wanted: dict[str, list[str]]) -> int:
    """Remove all that carries these labels, once; how many things that were."""
    count = 0
    for container in client.api.containers(all=True, filters=wanted):
        count += _gone(client.api.remove_container, container["Id"], force=True, v=True)
    for network in client.api.networks(filters=wanted):
        count += _gone(client.api.remove_network, network["Id"])
    for volume in client.api.volumes(filters=wanted)["Volumes"] or ():
        count += _gone(client.api.remove_volume, volume["Name"], force=True)
    return count


def _remove_all(client: DockerClient, wanted: dict[str, list[str]]) -> None:
    remove_labelled(client, wanted)
    for pause in _LOOKS:
        # Nobody tells when an engine is done with what nobody waits for any more.
        time.sleep(pause)
        remove_labelled(client, wanted)


def _gone(remove: Any, *names: str, **how: Any) -> bool:
    """Remove something that somebody else may remove at the same time; whether we did."""
    from docker.errors import APIError, NotFound

    try:
        remove(*names, **how)
    except NotFound:
        return False
    except APIError as error:
        if "already in progress" in str(error):
            return False
        raise
    return True


def _noted(run: int, step_name: str | None, home: Path) -> Iterator[_Note]:
    for path in sorted((home / "cache" / "docker" / "made").glob(f"{run}-*")):
        try:
            said = json.loads(path.read_text())
            tls = Tls(**said["tls"]) if said.get("tls") else None
            note = _Note(path, str(said["step"]), said["host"], str(said["where"]), tls)
        except (OSError, ValueError, LookupError, TypeError):  # cut off: then it may be any step's
            note = _Note(path, step_name or "", None, "")
        if step_name in (None, note.step):
            yield note


def _host_of(note: _Note, now: str) -> str | None:
    """What that engine is called now: whoever cleans up may have another DOCKER_HOST."""
    return note.host if note.where in ("", now) else note.where
