"""What sections that use `docker` may say."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from penstock import Duration, Settings
from pydantic import AfterValidator, ByteSize, Field, model_validator

_NAME = r"^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*$"
_REPOSITORY = (
    r"^(?:[A-Za-z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
    r"(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*$"
)
_PROXY_NAME = r"^[A-Za-z0-9_.:{}-]+$"
_SCHEMES = ("unix://", "tcp://", "ssh://", "http://", "https://", "npipe://")


def _address(value: str) -> str:
    if value != "local" and not (value.startswith(_SCHEMES) and value.partition("://")[2]):
        raise ValueError(
            f'"{value}" is no address of a Docker Engine. One is "local", or such as "ssh://deploy@web-1", '
            '"tcp://10.0.0.7:2376" or "unix:///run/docker.sock"'
        )
    return value


Address = Annotated[str, AfterValidator(_address)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]
Repository = Annotated[str, Field(pattern=_REPOSITORY, examples=["registry.example.com/shop"])]


class Tls(Settings):
    """The certificates for an engine behind tcp://, as files of this machine."""

    ca: str = Field(min_length=1, description="Trusts the authorities in this file.")
    cert: str = Field(min_length=1, description="Shows the engine this certificate.")
    key: str = Field(min_length=1, description="Its private key.")


class Engine(Settings):
    """Which engine is spoken to, and how."""

    host: Address | None = Field(
        None,
        examples=["ssh://deploy@build-1"],
        description="Speaks to the engine at this address (unix://, tcp:// or ssh://). By default that of "
        "DOCKER_HOST, or the machine's own.",
    )
    tls: Tls | None = Field(
        None,
        examples=[{"ca": "~/.docker/ca.pem", "cert": "~/.docker/cert.pem", "key": "~/.docker/key.pem"}],
        description="Speaks TLS to an engine behind tcp://, and knows it by these.",
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


class Anything(Engine, extra="ignore"):
    """What all sections have, whichever they are: enough to say what they need."""

    hosts: tuple[str, ...] = ()
    repository: Repository | None = None
    insecure: bool = False
    builder: str = "auto"


class Proxy(Settings):
    """The HAProxy that sends requests to the hosts, and is told when not to."""

    haproxy: str = Field(
        pattern=r"^(/.*|\[?[A-Za-z0-9._:-]+\]?:\d{1,5})$",
        examples=["/run/haproxy.sock"],
        description="Speaks to its runtime API there: the path of its socket, or HOST:PORT.",
    )
    backend: str = Field(pattern=_PROXY_NAME, description="Shifts the traffic of this backend.")
    server: str = Field(
        "{host}",
        pattern=_PROXY_NAME,
        description="Names a host there: in it `{host}` is the name of the host, and `{number}` its place in "
        "`hosts`, from 1 on.",
    )
    drain: Duration = Field(
        30.0,
        description="Leaves requests so long to end before their host is changed; then they are cut off.",
    )
    ready: Duration = Field(
        30.0, description="Leaves HAProxy so long to see a host as up that is well; then the rollout fails."
    )


class Command(Settings):
    """A command that runs once a rollout, in the release's own image, as the service would."""

    name: str = Field(pattern=_NAME, description="Names it in messages and in its container's name.")
    command: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] = Field(
        examples=[["python", "-m", "shop.migrate"]], description="Runs this program with these arguments."
    )
    timeout: Duration = Field(300.0, gt=0, description="Ends it, and fails the rollout, after so long.")
    host: str | None = Field(
        None, min_length=1, description="Runs it on this one of `hosts`. By default on the first."
    )


class Service(Settings):
    """Runs the image as a container on each of these hosts, known by its digest."""

    hosts: tuple[Address, ...] = Field(
        ("local",),
        min_length=1,
        examples=[["ssh://deploy@web-1", "ssh://deploy@web-2"]],
        description="Deploys to these engines, each a target of the rollout: unix://, tcp:// or ssh://; "
        '"local" is that of DOCKER_HOST, or the machine\'s own.',
    )
    tls: Tls | None = Field(
        None,
        examples=[{"ca": "~/.docker/ca.pem", "cert": "~/.docker/cert.pem", "key": "~/.docker/key.pem"}],
        description="Speaks TLS to the hosts behind tcp://, and knows them by these.",
    )
    answer_within: Duration = Field(
        120.0,
        gt=0,
        description="Gives a host up whose engine says nothing for so long, also in the middle of a pull.",
    )
    service: str | None = Field(
        None,
        pattern=_NAME,
        description="Names the service. Two of one name and environment are one: the later takes the place "
        "of the earlier. By default the last word of `repository`, the section's name and the environment.",
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
        "variables of the same names. Who may ask that engine can read them (docker inspect).",
    )
    secret_files: tuple[Variable, ...] = Field(
        (),
        description="Hands the container these of the section's `secrets` as files, /run/secrets/NAME. "
        "They stand in the container alone: docker inspect does not show them.",
    )
    before: tuple[Command, ...] = Field(
        (),
        examples=[[{"name": "migrate", "command": ["python", "-m", "shop.migrate"], "timeout": "5m"}]],
        description="Runs these in the new release's image before any host is changed: in order, each once a "
        "rollout. Where one fails nothing is changed.",
    )
    after: tuple[Command, ...] = Field(
        (), description="Runs these once all hosts are healthy. Where one fails all are put back."
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
    proxy: Proxy | None = Field(
        None,
        examples=[{"haproxy": "/run/haproxy.sock", "backend": "shop", "server": "{host}"}],
        description="Takes a host out of this proxy before it is changed, and gives it its traffic back when "
        "it is healthy.",
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
        if self.tls and not any(host.startswith("tcp://") for host in self.hosts):
            raise ValueError("tls is for hosts behind tcp://, and there is none among hosts")
        if twice := set(self.service_secrets) & set(self.secret_files):
            raise ValueError(f"{min(twice)} stands under service_secrets and secret_files. Choose one")
        jobs = [job for jobs in (self.before, self.after) for job in jobs]
        if len({job.name for job in jobs}) < len(jobs):
            raise ValueError("two jobs have one name")
        for job in jobs:
            if job.host is not None and job.host not in self.hosts:
                raise ValueError(f'the job {job.name} is to run on "{job.host}", which is none of hosts')
        return self
