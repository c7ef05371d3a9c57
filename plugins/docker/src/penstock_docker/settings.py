"""What sections that use `docker` may say."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from penstock import Duration, Settings
from pydantic import ByteSize, Field, model_validator

_NAME = r"^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*$"
_REPOSITORY = (
    r"^(?:[A-Za-z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
    r"(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*$"
)
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]
Repository = Annotated[str, Field(pattern=_REPOSITORY, examples=["registry.example.com/shop"])]


class Engine(Settings):
    """Which engine is spoken to, and how."""

    host: str | None = Field(
        None,
        min_length=1,
        examples=["ssh://deploy@build-1"],
        description="Speaks to the engine at this address (unix://, tcp:// or ssh://). By default that of "
        "DOCKER_HOST, or the machine's own.",
    )


class Placed(Engine):
    """How a registry is spoken to."""

    insecure: bool = Field(
        False, description="Speaks HTTP to a registry that is not on this machine. Anybody may read along."
    )


class Image(Placed):
    """Builds an image from a Dockerfile, and keeps it by its digests."""

    name: str | None = Field(
        None,
        pattern=_NAME,
        description="Names the image. By default as its `repository`, or else as the section.",
    )
    repository: Repository | None = Field(
        None,
        description="Puts the image there too, by its digest and without a tag, right after the build. "
        "Without it the image goes out of Penstock's own store to each engine that needs it.",
    )
    dockerfile: str = Field(
        "Dockerfile", min_length=1, description="Builds what this file in `context` says."
    )
    context: str = Field(
        ".",
        min_length=1,
        description="Hands the engine this directory of the revision, without .dockerignore's.",
    )
    target: str | None = Field(None, min_length=1, description="Stops at this stage of the Dockerfile.")
    args: dict[Variable, str] = Field(
        {}, description="Sets these build arguments. They are no place for secrets."
    )
    build_secrets: tuple[Variable, ...] = Field(
        (),
        description="Lets RUN --mount=type=secret,id=NAME read these, out of those that the section names "
        "under "
        "`secrets`. They land in no layer. Needs BuildKit.",
    )
    image_labels: dict[str, str] = Field(
        {}, description="Labels the image with these, beside revision, source time and version of OCI's own."
    )
    builder: Literal["auto", "buildkit", "classic"] = Field(
        "auto",
        description="Builds with BuildKit where a docker program and the engine have it, and with the "
        "engine's "
        "classic builder otherwise; the log says which. A name asks for that one alone.",
    )
    pull: bool = Field(False, description="Asks for newer base images although some are there.")
    reuse: bool = Field(True, description="Uses what the engine has of earlier builds.")


class Published(Placed):
    """Tags an image in its registry, and puts its evidence beside it. No byte of it changes."""

    repository: Repository | None = Field(
        None, description="Publishes there. By default where the build step has put the image."
    )
    tags: tuple[Annotated[str, Field(pattern=r"^\w[\w.-]{0,127}$")], ...] = Field(
        (), description="Names the image with these tags, beside its digest."
    )
    move_tags: bool = Field(False, description="Lets a tag that names another image be moved to this one.")


class Service(Settings):
    """Runs the image as a container on each of these hosts, known by its digest."""

    hosts: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        ("local",),
        min_length=1,
        examples=[["ssh://deploy@web-1", "ssh://deploy@web-2"]],
        description="Deploys to these engines, each a target of the rollout: unix://, tcp:// or ssh://; "
        '"local" '
        "is that of DOCKER_HOST, or the machine's own.",
    )
    service: str | None = Field(
        None,
        pattern=_NAME,
        description="Names the container. By default as the image's last word and the environment.",
    )
    image: str = Field("*", min_length=1, description="Deploys the image whose name matches this pattern.")
    repository: Repository | None = Field(
        None,
        description="Has the hosts pull the image from there, by digest. By default they get it out of "
        "Penstock's "
        "store.",
    )
    command: tuple[str, ...] | None = Field(None, description="Runs this instead of the image's own command.")
    ports: tuple[Annotated[str, Field(pattern=r"^(?:[\d.]+:)?\d{1,5}:\d{1,5}(?:/(?:tcp|udp))?$")], ...] = (
        Field((), examples=[["8000:8000"]], description="Publishes these ports, as [ADDRESS:]HOST:CONTAINER.")
    )
    variables: dict[Variable, str] = Field({}, description="Sets these in the container's environment.")
    service_secrets: tuple[Variable, ...] = Field(
        (),
        description="Hands the container these, out of those that the section names under `secrets`, as "
        "variables "
        "of the same names.",
    )
    volumes: tuple[Annotated[str, Field(pattern=r"^[^:]+:/[^:]*(?::r[ow])?$")], ...] = Field(
        (),
        examples=[["data:/var/lib/shop"]],
        description="Mounts these, as NAME:PATH or /HOST/PATH:PATH[:ro].",
    )
    networks: tuple[str, ...] = Field(
        (), description="Joins these networks, which are made where they are missing."
    )
    container_labels: dict[str, str] = Field(
        {}, description="Labels the container with these, for a proxy to find it."
    )
    memory: ByteSize | None = Field(None, description="Ends the container where it uses more memory.")
    cpus: float | None = Field(None, gt=0, description="Gives it so many processors at the most.")
    health: str | None = Field(
        None,
        pattern=r"^(/|https?://)\S*$",
        examples=["/health"],
        description="Asks here whether it is well, which it is when the answer is status 200: a path on the "
        "first "
        "published port of the host, or a whole URL, in which `{host}` is the host. Without it the image's "
        "own "
        "HEALTHCHECK counts, or else that it runs.",
    )
    start_timeout: Duration = Field(
        30.0, description="Leaves it so long after its start to become healthy; then it counts as unhealthy."
    )
    settle: Duration = Field(
        1.0, description="Without any health check: counts as healthy when it has run so long."
    )
    stop_grace: Duration = Field(10.0, description="Leaves it so long to end by itself after SIGTERM.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.health and self.health.startswith("/") and not self.ports:
            raise ValueError(
                f'health = "{self.health}" is a path, which needs a port. Add one under ports, or a whole URL'
            )
        if len(set(self.hosts)) < len(self.hosts):
            raise ValueError("hosts names one of them twice")
        return self
