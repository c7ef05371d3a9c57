"""The labels that everything carries which is made for a step: what they name may be removed after it."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

from penstock import Step

HOME = "dev.penstock.home"
"""The checkout, as a short hash of its machine and of the path of its `.penstock`."""
RUN = "dev.penstock.run"
STEP = "dev.penstock.step"
PLACE = "dev.penstock.place"
"""The machine and that path in clear, so that what a removed checkout has left can be found."""


def of(step: Step) -> dict[str, str]:
    """The labels of what is made for a step: containers, networks, volumes."""
    home = step.project / ".penstock"
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
