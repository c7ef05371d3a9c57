"""What a `[service.NAME]` section that uses `docker` may say."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from penstock import Duration
from pydantic import ByteSize, Field, model_validator

from penstock_docker.settings import Engine, Variable

BUILD = "build."
_WORD = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_REFERENCE = (
    rf"^(?:build\..+|sha256:[0-9a-f]{{64}}|(?:[A-Za-z0-9.-]+(?::\d+)?/)?{_WORD}(?:/{_WORD})*"
    r"(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?)$"
)
_FILLED = re.compile(r"\{(\w+)\}")
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]


class ServiceContainer(Engine):
    """Runs a container beside a step, on a network of the step's own, and removes both after it."""

    image: str = Field(
        pattern=_REFERENCE,
        examples=["postgres:16", "build.database"],
        description="Runs this image: a reference by tag or by digest, an image ID, or a build step of this "
        "pipeline. It is run by its image ID, which goes into the step's evidence.",
    )
    pull: Literal["missing", "always", "never"] = Field(
        "missing", description="Fetches the image where the engine lacks it, always, or never."
    )
    command: tuple[str, ...] | None = Field(None, description="Runs this instead of the image's own command.")
    variables: dict[Variable, str] = Field(
        {}, description="Sets these in its environment, beside what the section names under `secrets`."
    )
    ports: tuple[Port, ...] = Field(
        (),
        description="Lets the step reach these TCP ports of the container, the first of them as the "
        "service's own. By default those that the image exposes.",
    )
    publish: str | None = Field(
        None,
        pattern=r"^[\da-fA-F.:]+$",
        examples=["10.0.0.5"],
        description="Opens the ports at this address of the engine's host. By default at 127.0.0.1, which is "
        "enough where the engine is on this machine.",
    )
    step_variables: dict[Variable, str] = Field(
        {},
        examples=[{"DATABASE_URL": "postgresql://shop@{host}:{port}/shop"}],
        description="Sets these in the environment of the step's programs; {host} and {port} are where these "
        "reach the service. They are no place for secrets.",
    )
    tmpfs: tuple[Annotated[str, Field(pattern=r"^/[^:]*(?::[\w=,%]+)?$")], ...] = Field(
        (),
        examples=[["/var/lib/postgresql/data"]],
        description="Keeps these directories in memory, as PATH or PATH:OPTIONS.",
    )
    memory: ByteSize | None = Field(
        None, ge=6 << 20, description="Ends the container where it uses more memory."
    )
    cpus: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Gives it so many processors at the most."
    )
    health: tuple[str, ...] | Literal["image", "port", "running"] | None = Field(
        None,
        examples=[["pg_isready"]],
        description='Waits until this is well: a command in the container, "image" for its own HEALTHCHECK, '
        '"port" until its first port is open, or only until it is "running". By default the image\'s own '
        "check, or else the port, or else that it runs.",
    )
    start_timeout: Duration = Field(
        60.0, gt=0, description="Leaves it so long after its start to become healthy; then the step fails."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.health == ():
            raise ValueError("health is an empty command. One is such as ['pg_isready']")
        if self.command == ():
            raise ValueError("command is empty. Leave it out for the image's own")
        if len(set(self.ports)) < len(self.ports):
            raise ValueError("ports names one of them twice")
        for text in self.step_variables.values():
            for word in _FILLED.findall(text):
                if word not in ("host", "port"):
                    raise ValueError(f'"{{{word}}}" is not known: there are {{host}} and {{port}}')
        return self

    def told(self, host: str, port: int | None) -> dict[str, str]:
        """The variables of the step's programs, for a service that they reach there."""
        known = {"host": host, "port": "" if port is None else str(port)}
        return {
            name: _FILLED.sub(lambda match: known[match[1]], text)
            for name, text in self.step_variables.items()
        }
