"""A container beside a step: on a network of the step's own, waited for, and gone with it afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from docker.errors import APIError, DockerException
from docker.types import LogConfig
from penstock import Service, Step, StepFailed

from penstock_docker import engine, labels, listening, references, waiting
from penstock_docker.engine import DockerClient, NotFound
from penstock_docker.references import Found
from penstock_docker.service_settings import ServiceContainer

_LOOPBACK = "127.0.0.1"
_SHORTEST_BETWEEN_CHECKS = 500_000_000
_ENDLESS = 1_000_000
"""How often a check may fail: what ends the waiting is `start_timeout`, and not a number of failures."""


class Place(NamedTuple):
    """Where a service's ports are opened, and what the step's programs call that."""

    address: str
    """At which address of the engine's host; empty: at none, since the step is on the network itself."""
    host: str


@contextmanager
def running(settings: ServiceContainer, service: Step, step: Step) -> Iterator[Service]:
    """Start it and wait until it is well; remove it, and the network where nothing else is on it."""
    name = service.name.partition(".")[2]
    place = _place(settings, name, inside=_is_inside(step))
    with engine.connected(settings.host) as client:
        image = references.found(client, settings, step)
        check = _healthcheck(settings, image)
        own = {**labels.of(step, settings.host), labels.BESIDE: name}
        network = _network(client, step, own, internal=not place.address)
        try:
            container = _created(client, settings, service, image, check, own, network, place, name)
        except (DockerException, ValueError):  # after anything else it may have been made: see `reaping`
            _leave(client, network, step, settings)
            raise
        try:
            client.api.start(container)
            with listening.kept(settings.host, container, service, until=partial(_kill, client, container)):
                yield _waited_for(client, settings, image, container, network, place, name)
                if how := waiting.how_it_ended(client, container):
                    step.log(f"service {name}: {how}, while the step was still at work")
        finally:
            with suppress(NotFound):
                client.api.remove_container(container, force=True, v=True)
            _leave(client, network, step, settings)


# --- where it is reached ---


def _is_inside(step: Step) -> bool:
    """Whether the step's programs run in a container, which joins the network."""
    return step.inside is not None


def _place(settings: ServiceContainer, name: str, *, inside: bool) -> Place:
    where = urlsplit(engine.address(settings.host))
    local = where.scheme in ("unix", "npipe") or where.hostname in ("localhost", _LOOPBACK, "::1")
    if inside:
        return Place("", name)
    if settings.publish is None and not local:
        raise StepFailed(
            f"its engine is at {engine.address(settings.host)}, and the step's programs run here. A port "
            'that is opened there can be reached by others, so that has to be said: publish = "0.0.0.0", or '
            "an address of that host. Or have the step run inside an image, on the service's own network"
        )
    return Place(settings.publish or _LOOPBACK, _LOOPBACK if local else str(where.hostname))


def _ports(settings: ServiceContainer, image: Found) -> tuple[int, ...]:
    if settings.ports:
        return settings.ports
    exposed = [port.partition("/") for port in image.config.get("ExposedPorts") or ()]
    return tuple(sorted(int(number) for number, _, protocol in exposed if protocol in ("", "tcp")))


# --- what is made ---


def _network(client: DockerClient, step: Step, own: dict[str, str], *, internal: bool) -> str:
    """The step's network, which its services share; its name."""
    digest = hashlib.sha256(step.name.encode()).hexdigest()[:8]
    name = f"penstock-{own[labels.HOME]}-{step.number}-{digest}"
    if any(found["Name"] == name for found in client.api.networks(names=[name])):
        return name
    shared = {
        key: value
        for key, value in own.items()
        if key in (labels.HOME, labels.RUN, labels.STEP, labels.PLACE)
    }
    try:
        client.api.create_network(
            name, driver="bridge", internal=internal, labels=shared, check_duplicate=True
        )
    except APIError as error:
        if "address pool" in str(error):
            raise StepFailed(
                "the engine has no address left for another network. Remove those that nobody uses: "
                "docker network prune"
            ) from None
        raise
    return name


def _created(
    client: DockerClient,
    settings: ServiceContainer,
    service: Step,
    image: Found,
    check: dict[str, Any],
    own: dict[str, str],
    network: str,
    place: Place,
    name: str,
) -> str:
    api: Any = client.api  # half of it is typed
    ports = _ports(settings, image)
    host = api.create_host_config(
        port_bindings={f"{port}/tcp": (place.address,) for port in ports} if place.address else None,
        tmpfs=dict(_tmpfs(entry) for entry in settings.tmpfs) or None,
        mem_limit=int(settings.memory) if settings.memory else None,
        nano_cpus=round(settings.cpus * 1e9) if settings.cpus else None,
        log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "50m", "max-file": "2"}),
    )
    made = api.create_container(
        image.id,
        command=list(settings.command) if settings.command else None,
        environment={**settings.variables, **secrets(service)},
        labels=own,
        ports=[(port, "tcp") for port in ports],
        healthcheck=check,
        host_config=host,
        networking_config=api.create_networking_config({network: api.create_endpoint_config(aliases=[name])}),
    )
    return str(made["Id"])


def secrets(service: Step) -> dict[str, str]:
    """The secrets that the section declares, each as the variable of its name."""
    return {name: service.secret(name) for name in service.secret_names}


def _tmpfs(entry: str) -> tuple[str, str]:
    path, _, options = entry.partition(":")
    return path, options


def _healthcheck(settings: ServiceContainer, image: Found) -> dict[str, Any]:
    """The check that the engine makes: often, since its first good answer is what the step waits for."""
    often = {"interval": _SHORTEST_BETWEEN_CHECKS, "retries": _ENDLESS}
    if isinstance(settings.health, tuple):
        return {"test": ["CMD", *settings.health], **often}
    own = (image.config.get("Healthcheck") or {}).get("Test")
    if settings.health in (None, "image") and own and own != ["NONE"]:
        return often
    if settings.health == "image":
        raise StepFailed(f'health = "image": {settings.image} has no HEALTHCHECK. Name a command, or "port"')
    return {"test": ["NONE"]}


def _waited_for(
    client: DockerClient,
    settings: ServiceContainer,
    image: Found,
    container: str,
    network: str,
    place: Place,
    name: str,
) -> Service:
    inner = _ports(settings, image)
    published = waiting.published(client, container, inner) if place.address else {}
    ports = published or {port: port for port in inner}
    first = ports[inner[0]] if inner else None
    door = waiting.Door(place.host if place.address else None, first, inner[0] if inner else None)
    waiting.until_well(client, settings, container, door)
    more = {f"PENSTOCK_SERVICE_{_word(name)}_PORT_{port}": str(ports[port]) for port in inner}
    return Service(
        host=place.host,
        port=first,
        variables={**more, **settings.told(place.host, first)},
        network=network,
        tools=image.tools,
    )


def _word(name: str) -> str:
    return name.upper().replace("-", "_")


# --- and removed ---


def _kill(client: DockerClient, container: str) -> None:
    with suppress(APIError):  # it has ended, or is gone
        client.api.kill(container)


def _leave(client: DockerClient, network: str, step: Step, settings: ServiceContainer) -> None:
    """Remove the network, unless another service of the step is still on it."""
    try:
        client.api.remove_network(network)
    except NotFound:
        pass
    except APIError as error:
        if "active endpoints" in str(error):
            return
        raise
    labels.forget(step, settings.host)
