"""What a step is about, as it travels to a worker, and the environment that its programs get of it."""

import hashlib
import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from penstock import processes
from penstock.model import Artifact, Inside, Model, Revision
from penstock.parameters import Given, variables

# What would lead a program to another environment or repository: git sets these for its hooks.
_LEADING_AWAY = (
    *("VIRTUAL_ENV", "PYTHONHOME"),
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX"),
)


class StepInfo(Model):
    """What a step is about: the part of a step that travels to its worker."""

    name: str
    phase: str
    run: int
    attempt: int = 1
    plan: str
    environment: str | None = None
    revision: Revision
    artifacts: tuple[Artifact, ...] = ()
    builds: dict[str, tuple[str, ...]] = {}
    """Of the builds that its services are started from: the digests of what they have built."""
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    hidden: tuple[str, ...] = ()
    """Environment variables that hold secrets of other steps."""
    parameters: dict[str, Given] = {}
    inside: Inside | None = None
    candidates: tuple[Artifact, ...] = ()
    """What the step has made that `inside` names."""


class Places(NamedTuple):
    """Where a step may write."""

    workspace: Path
    tmp: Path
    cache: Path
    log: Path
    inbox: Path
    project: Path


def surroundings(
    info: StepInfo, inherited: Mapping[str, str], workspace: Path, *, without: Collection[str] = ()
) -> dict[str, str]:
    """The machine's environment as the programs of a step see it, with what tells them of the step."""
    hidden = {*info.hidden, *_LEADING_AWAY, processes.MARK, *without}
    env = {name: value for name, value in inherited.items() if name not in hidden}
    # Tools that were installed beside Penstock are found, after those that the user's PATH names.
    # An empty entry would be the directory that a program runs in.
    places = [place for place in env.get("PATH", os.defpath).split(os.pathsep) if place]
    env["PATH"] = os.pathsep.join([*places, str(Path(sys.executable).parent)])
    env |= {
        "PENSTOCK_RUN": str(info.run),
        "PENSTOCK_STEP": info.name,
        "PENSTOCK_REVISION": info.revision.commit or "",
        **variables(info.parameters),
        # The user's own repository is somewhere above, and none of a step's business.
        "GIT_CEILING_DIRECTORIES": str(workspace.parent),
    }
    if info.environment:
        env["PENSTOCK_ENVIRONMENT"] = info.environment
    if info.revision.time is not None:
        env.setdefault("SOURCE_DATE_EPOCH", str(info.revision.time))
    return env


def of_attempt(info: StepInfo, tmp: Path, mark: str) -> dict[str, str]:
    """What programs are told that end with the attempt."""
    trace = hashlib.sha256(f"{info.plan}/{info.run}".encode()).hexdigest()[:32]
    span = hashlib.sha256(f"{info.name}/{info.attempt}".encode()).hexdigest()[:16]
    return {"TMPDIR": str(tmp), "TRACEPARENT": f"00-{trace}-{span}-01", processes.MARK: mark}


def secret_variables(info: StepInfo) -> set[str]:
    """The environment variables that the step's secrets come from."""
    return {ref.removeprefix("env:") for ref in info.secrets.values() if ref.startswith("env:")}
