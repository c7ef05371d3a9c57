"""What a section that uses `local` may say."""

from __future__ import annotations

import re
import shlex
import sys
from typing import Annotated, Self

from penstock import Duration, Settings
from pydantic import Field, model_validator

_PLACEHOLDER = re.compile(r"(?<!\$)\{(port|release|python)\}")


class Local(Settings):
    """Releases side by side in a directory of this machine, and a service that runs the current one."""

    directory: str = Field(
        min_length=1,
        description="Deploys to this directory: relative to that of penstock.toml; `~` and `$VARIABLES` are "
        "expanded. It is made where it is missing.",
    )
    run: Annotated[str, Field(min_length=1)] | Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None,
        description="Keeps this running: a list is a program with its arguments, a string a shell script "
        "(sh -eu). `{port}`, `{release}` (the release's directory) and `{python}` are filled in. Without it "
        "only files are deployed.",
    )
    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        examples=[8000],
        description="Serves on this TCP port, which must be free; the second instance on the next one, and "
        "so on. The service finds it as `{port}` and in the variable PORT.",
    )
    health: str | None = Field(
        None,
        pattern=r"^(/|https?://)\S*$",
        examples=["/health"],
        description="Asks here whether the service is well, which it is when it answers with status 200: a "
        'path such as "/health" on 127.0.0.1, or a whole URL, in which `{port}` is filled in.',
    )
    artifact: str = Field(
        "*",
        min_length=1,
        description="Deploys the artifacts whose names match this pattern: wheels are installed, with what "
        "they depend on, into an environment of that release alone; other files and directories are copied.",
    )
    instances: int = Field(
        1, ge=1, le=100, description="Runs the service so many times; each is a target of the rollout."
    )
    keep: int = Field(
        5,
        ge=1,
        description="Keeps so many releases in the directory; those that run and those before them always.",
    )
    stop_grace: Duration = Field(
        10.0,
        description="Leaves a service so long to end by itself after SIGTERM before all of it is killed.",
    )
    start_timeout: Duration = Field(
        30.0,
        description="Leaves a service so long after its start to become healthy; then it counts as "
        "unhealthy.",
    )
    settle: Duration = Field(
        1.0, description="Without `health`: counts a service as healthy when it has run for so long."
    )
    restart: int = Field(
        5,
        ge=0,
        le=1000,
        strict=True,
        description="Starts a service that ended again, up to so many times in a row, with growing pauses.",
    )
    service_secrets: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], ...] = Field(
        (),
        description="Hands the service these secrets, out of those that the section names under `secrets`, "
        "as environment variables of the same names.",
    )
    python: str | None = Field(
        None,
        description="Makes the environments of wheels with this Python: a path or a name on PATH. By default "
        "the one that runs Penstock.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        words = " ".join(words_of(self.run))
        if self.port is None and "port" in _PLACEHOLDER.findall(words + (self.health or "")):
            raise ValueError("{port} is used, but there is no port. Add one, such as: port = 8000")
        if self.health and self.health.startswith("/") and self.port is None:
            raise ValueError(
                f'health = "{self.health}" is a path, which needs a port. Add one, or a whole URL'
            )
        if self.run is None and (self.port or self.health or self.instances > 1 or self.service_secrets):
            raise ValueError(
                "port, health, instances and service_secrets are for a service, but nothing is run. "
                'Add run, such as: run = ["python", "-m", "shop"]'
            )
        if self.port and self.port + self.instances - 1 > 65535:
            raise ValueError(f"{self.instances} instances from port {self.port} on end beyond port 65535")
        return self

    def port_of(self, instance: int) -> int | None:
        """The port of an instance; they are counted from 1."""
        return self.port + instance - 1 if self.port else None

    def url_of(self, instance: int) -> str | None:
        """Where an instance serves, as far as it is known."""
        port = self.port_of(instance)
        return f"http://127.0.0.1:{port}" if port else None

    def health_of(self, instance: int) -> str | None:
        """Where an instance is asked for its health."""
        if self.health is None:
            return None
        if self.health.startswith("/"):
            return f"{self.url_of(instance)}{self.health}"
        return fill(self.health, {"port": str(self.port_of(instance))})


def words_of(run: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The words of a command, its placeholders not filled in yet."""
    return (run,) if isinstance(run, str) else run or ()


def argv_of(run: str | tuple[str, ...], *, port: int | None, release: str, python: str) -> list[str]:
    """The command line of a service. In a shell script paths are quoted where the shell needs it."""
    values = {"port": str(port), "release": release, "python": python}
    if isinstance(run, str):
        return ["sh", "-eu", "-c", fill(run, {name: shlex.quote(value) for name, value in values.items()})]
    return [fill(word, values) for word in run]


def fill(text: str, values: dict[str, str]) -> str:
    """A text with its placeholders filled in. The shell's own ${port} is not one."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def default_python() -> str:
    """The Python that runs Penstock, outside its virtual environment."""
    base: str | None = getattr(sys, "_base_executable", None)
    return base or sys.executable
