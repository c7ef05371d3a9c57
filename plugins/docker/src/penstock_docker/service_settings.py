"""What a `[service.NAME]` section that uses `docker` may say."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from typing import Annotated, Literal

from penstock import Duration
from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, field_validator

from penstock_docker.settings import Engine, Variable

BUILD = "build."
_WORD = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"build\..+|sha256:[0-9a-f]{{64}}|(?:[A-Za-z0-9.-]+(?::\d+)?/)?{_WORD}(?:/{_WORD})*"
    r"(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
_TMPFS = re.compile(r"/[^:\0]*(?::[\w=,%]+)?")
_FILLED = re.compile(r"\{(\w+)\}")
_LEAST = 6 << 20
"""Bytes of memory below which an engine makes no container."""


def _check_reference(value: str) -> str:
    if not _REFERENCE.fullmatch(value):
        raise ValueError(
            f'"{value}" is no image. One is such as "postgres:16", "registry.example.com/shop@sha256:…" with '
            'all 64 digits, "sha256:…" for an image ID, or "build.image" for what that step builds'
        )
    return value


def _check_address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError(f'"{value}" is no IP address. One is such as "127.0.0.1"') from None


def _check_tmpfs(value: str) -> str:
    if not _TMPFS.fullmatch(value):
        raise ValueError(
            f'"{value}" is no directory of the container. One is such as "/tmp" or "/tmp:size=64m"'
        )
    return value


def _check_memory(value: int) -> int:
    if value < _LEAST:
        raise ValueError(f'{value} bytes are less than a container can have: at least "6MiB"')
    return value


def _check_template(value: str) -> str:
    for word in _FILLED.findall(value):
        if word not in ("host", "port"):
            raise ValueError(f"{{{word}}} is not known here: there are {{host}} and {{port}}")
    return value


def _check_words(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError(
            "is an empty list. A command is a list of its words; without the key it is the image's own"
        )
    return value


def _check_health(value: object) -> object:
    if isinstance(value, str) and value not in ("image", "port", "running"):
        raise ValueError(
            f'"{value}" is none of "image", "port" and "running"; a command is a list of its words: '
            f"{json.dumps(value.split())}"
        )
    return value


Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Reference = Annotated[str, AfterValidator(_check_reference)]
Address = Annotated[str, AfterValidator(_check_address)]
Tmpfs = Annotated[str, AfterValidator(_check_tmpfs)]
Memory = Annotated[ByteSize, AfterValidator(_check_memory)]
Template = Annotated[str, AfterValidator(_check_template)]
Words = Annotated[tuple[str, ...], AfterValidator(_check_words)]
Health = Words | Literal["image", "port", "running"] | None


class ServiceContainer(Engine):
    """Runs a container beside a step, on a network of the step's own, and removes both after it."""

    image: Reference = Field(
        examples=["postgres:16", "build.database"],
        description="Runs this image: a reference by tag or by digest, an image ID, or a build step of this "
        "pipeline. It is run by its image ID, which goes into the step's evidence.",
    )
    pull: Literal["missing", "always", "never"] = Field(
        "missing", description="Fetches the image where the engine lacks it, always, or never."
    )
    command: Words | None = Field(None, description="Runs this instead of the image's own command.")
    variables: dict[Variable, str] = Field(
        {}, description="Sets these in its environment, beside what the section names under `secrets`."
    )
    ports: tuple[Port, ...] = Field(
        (),
        description="Lets the step reach these TCP ports of the container, the first of them as the "
        "service's own. By default those that the image exposes.",
    )
    publish: Address | None = Field(
        None,
        examples=["10.0.0.5"],
        description="Opens the ports at this address of the engine's host. By default at 127.0.0.1, which is "
        "enough where the engine is on this machine.",
    )
    step_variables: dict[Variable, Template] = Field(
        {},
        examples=[{"DATABASE_URL": "postgresql://shop@{host}:{port}/shop"}],
        description="Sets these in the environment of the step's programs; {host} and {port} are where these "
        "reach the service. They are no place for secrets.",
    )
    tmpfs: tuple[Tmpfs, ...] = Field(
        (),
        examples=[["/var/lib/postgresql/data"]],
        description="Keeps these directories in memory, as PATH or PATH:OPTIONS.",
    )
    memory: Memory | None = Field(None, description="Ends the container where it uses more memory.")
    cpus: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Gives it so many processors at the most."
    )
    health: Annotated[Health, BeforeValidator(_check_health)] = Field(
        None,
        examples=[["pg_isready"]],
        description='Waits until this is well: a command in the container, "image" for its own HEALTHCHECK, '
        '"port" until its first port is open, or only until it is "running". By default the image\'s own '
        "check, or else the port, or else that it runs.",
    )
    start_timeout: Duration = Field(
        60.0, gt=0, description="Leaves it so long after its start to become healthy; then the step fails."
    )

    @field_validator("ports")
    @classmethod
    def _check_ports(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        for port in value:
            if value.count(port) > 1:
                raise ValueError(f"names {port} twice")
        return value

    def told(self, host: str, port: int | None) -> dict[str, str]:
        """The variables of the step's programs, for a service that they reach there."""
        known = {"host": host, "port": "" if port is None else str(port)}
        return {
            name: _FILLED.sub(lambda match: known[match[1]], text)
            for name, text in self.step_variables.items()
        }
