"""The labels that everything carries which is made for a step: what they name may be removed after it.

Where something was made is noted in `.penstock` before it is made, so that whoever cleans up after a
killed process knows which engines to ask, and asks none where there is nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path

from penstock import Step

from penstock_docker import engine
from penstock_docker.settings import Tls

HOME = "dev.penstock.home"
"""The checkout, as a short hash of its machine and of the path of its `.penstock`."""
RUN = "dev.penstock.run"
STEP = "dev.penstock.step"
BESIDE = "dev.penstock.beside"
"""Of a service's container: which of the step's services it is."""
PLACE = "dev.penstock.place"
"""The machine and that path in clear, so that what a removed checkout has left can be found."""


def of(step: Step, host: str | None = None, tls: Tls | None = None) -> dict[str, str]:
    """The labels of what is about to be made for a step on an engine: containers, networks, volumes."""
    home = step.project / ".penstock"
    _write_note(step, host, tls)
    return {HOME: home_of(home), RUN: str(step.number), STEP: step.name, PLACE: place_of(home)}


def home_of(home: Path) -> str:
    """What tells a checkout from others that use the same engine: CI jobs may all have the same path."""
    return hashlib.sha256(place_of(home).encode()).hexdigest()[:16]


def place_of(home: Path) -> str:
    """A checkout's machine and path."""
    return f"{socket.gethostname()}:{home.resolve()}"


def filters(home: Path, run: int | None = None, step: str | None = None) -> dict[str, list[str]]:
    """What an engine is asked for: all that carries the labels of a checkout, of its run, of a step."""
    wanted = [f"{HOME}={home_of(home)}"]
    wanted += [f"{RUN}={run}"] if run is not None else []
    wanted += [f"{STEP}={step}"] if step is not None else []
    return {"label": wanted}


def forget(step: Step, host: str | None = None) -> None:
    """Say that nothing is left of what was made for a step on an engine, and nothing more is to come."""
    _note(step, host).unlink(missing_ok=True)


def notes(home: Path) -> Path:
    """Where it is noted on which engines something was made, in files that begin with the run's number."""
    return home / "cache" / "docker" / "made"


def _note(step: Step, host: str | None) -> Path:
    name = hashlib.sha256(f"{step.name}\0{engine.address(host)}".encode()).hexdigest()[:16]
    return notes(step.project / ".penstock") / f"{step.number}-{name}"


def _write_note(step: Step, host: str | None, tls: Tls | None) -> None:
    path = _note(step, host)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    said = {"step": step.name, "host": host, "where": engine.address(host)}
    new.write_text(json.dumps({**said, **({"tls": tls.model_dump()} if tls else {})}))
    new.replace(path)
