"""What a section needs of the world: engines that answer, room for images, registries that let it in."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from penstock import Check, ConfigError, StepFailed, StepRefused, Tool

from penstock_docker import buildkit, engine, registry
from penstock_docker.engine import DockerClient
from penstock_docker.settings import Anything

_PATIENCE = 20.0
_ROOM = 1 << 30
_LOOPBACK = ("tcp://127.", "tcp://localhost", "tcp://[::1]")


def look(settings: Anything) -> Iterator[Check]:
    """Each engine, then the registry."""
    for host in hosts_of(settings):
        yield _engine(host, settings)
    if settings.repository is not None:
        yield _registry(settings.repository, insecure=settings.insecure)


def tools(settings: Anything) -> list[Tool]:
    """The engine that builds, and the docker program that speaks BuildKit to it; without it neither.

    Hosts that are deployed to are no tools: what they are may be another thing a minute later.
    """
    found: list[Tool] = []
    if settings.hosts:
        return found
    try:
        with engine.connected(settings.host, tls=settings.tls, patience=_PATIENCE) as client:
            info = client.api.info()
        where = f"{engine.address(settings.host)}#{info['ID']}"
        found.append(Tool(name="docker engine", version=info["ServerVersion"], path=where))
    except (StepFailed, ConfigError):
        return []
    program = buildkit.find(_ask) if settings.builder != "classic" else None
    return [*found, _program(program.argv[0])] if program else found


def hosts_of(settings: Anything) -> tuple[str | None, ...]:
    """The engines that a section speaks to."""
    return settings.hosts or (settings.host,)


def room(client: DockerClient, where: str) -> tuple[int, str] | None:
    """The bytes that are left where an engine of this machine keeps its images, and where that is."""
    place = str(client.api.info().get("DockerRootDir", ""))
    if not where.startswith("unix://") or not os.path.isdir(place):  # noqa: PTH112 - False where nobody may look
        return None
    return shutil.disk_usage(place).free, place


def _engine(host: str | None, settings: Anything) -> Check:
    where = engine.address(host)
    try:
        with engine.connected(host, tls=settings.tls, patience=_PATIENCE) as client:
            version = client.api.version()
            left = room(client, where)
    except (StepFailed, ConfigError) as error:
        return Check(name="engine", passed=False, detail=str(error))
    said = f"Docker {version['Version']} at {where}, API {version['ApiVersion']}"
    if where.startswith("tcp://") and not settings.tls and not where.startswith(_LOOPBACK):
        said += ". It speaks no TLS: who can reach it is root there. Have it ask for certificates: tls"
    if left is not None and left[0] < _ROOM:
        said += (
            f". {left[0] >> 20} MiB are left in {left[1]}, where it keeps images. Make room: "
            "docker system df, docker system prune"
        )
        return Check(name="engine", passed=False, detail=said)
    return Check(name="engine", passed=True, detail=said)


def _registry(repository: str, *, insecure: bool) -> Check:
    host = registry.split(repository)[0]
    try:
        with registry.opened(repository, insecure=insecure) as place:
            place.greet()
    except (StepFailed, StepRefused) as error:
        return Check(name="registry", passed=False, detail=str(error))
    return Check(name="registry", passed=True, detail=f"{host} lets us in")


def _ask(argv: list[str]) -> str | None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def _program(path: str) -> Tool:
    try:
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        digest = None
    version = buildkit.version_in(_ask([path, "--version"]) or "")
    return Tool(name="docker, for BuildKit", version=version, path=path, sha256=digest)
