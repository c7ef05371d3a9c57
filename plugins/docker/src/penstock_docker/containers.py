"""The containers of one service on one engine: found by label, made, and put in each other's place.

Nothing is remembered between two calls but what the engine itself has: whoever was killed in the middle, the
same call once more finds what is there, and goes on from it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from docker.errors import APIError
from docker.types import LogConfig
from penstock import Release, Step, StepFailed

from penstock_docker import complaints, ending, secretfiles
from penstock_docker.engine import DockerClient, NotFound
from penstock_docker.settings import Service

LABEL = "dev.penstock."
SERVICE, ENVIRONMENT, RELEASE = f"{LABEL}service", f"{LABEL}environment", f"{LABEL}release"
_IMAGE, _SETTINGS, _SECRETS = f"{LABEL}configuration", f"{LABEL}settings", f"{LABEL}secrets"
_RUNNING = ("running", "restarting", "paused")
_LAST_LINES = 20
_ENDING = ("removing", "dead")
_OF_CONTAINER = {
    "command",
    "ports",
    "variables",
    "service_secrets",
    "secret_files",
    "volumes",
    "networks",
    "container_labels",
    "memory",
    "cpus",
}
"""The settings that make another container of the same image."""


class Place(NamedTuple):
    """A service on a host."""

    client: DockerClient
    host: str
    service: str
    settings: Service
    step: Step


class Found(NamedTuple):
    """A container, as an engine's list has it."""

    id: str
    name: str
    image: str
    state: str
    labels: Mapping[str, str]

    @property
    def runs(self) -> bool:
        """Whether it serves, or is meant to."""
        return self.state in _RUNNING

    @property
    def release(self) -> str | None:
        """The release that it is of; None where its image is not that release's."""
        return self.labels.get(RELEASE) if self.labels.get(_IMAGE) == self.image else None


def of_service(place: Place) -> list[Found]:
    """All containers of the service, running or not: one question."""
    labels = [f"{SERVICE}={place.service}", f"{ENVIRONMENT}={place.step.environment or ''}"]
    return [
        Found(one["Id"], _name(one), one["ImageID"], one["State"], one.get("Labels") or {})
        for one in place.client.api.containers(all=True, filters={"label": labels})
    ]


def current(place: Place, found: Sequence[Found]) -> Found | None:
    """The container that serves, or that was meant to when its host went down."""
    running = [one for one in found if one.runs]
    if len(running) < 2:
        return next(iter(running), None)
    return max(running, key=lambda one: str(_state(place.client, one.id).get("StartedAt", "")))


def ready(place: Place, release: Release, image: str, found: Sequence[Found]) -> Found:
    """The container of a release with these settings and secrets: the one that is there, or a new one."""
    values = _secrets(place)
    labels = {
        **place.settings.container_labels,
        SERVICE: place.service,
        ENVIRONMENT: place.step.environment or "",
        RELEASE: release.digest,
        _IMAGE: image,
        _SETTINGS: _digest(place.settings),
    }
    usable = [one for one in found if one.image == image and one.state not in _ENDING]
    made = next((one for one in usable if _is(one, labels, values)), None)
    if made is None:
        salt = secrets.token_hex(4)
        if values:
            labels[_SECRETS] = f"{salt}:{_hidden(values, salt)}"
        made = _create(place, f"{place.service}-{release.digest[7:15]}-{salt}", labels, image)
    if not made.runs:
        complete(place, made)
    return made


def switch(place: Place, chosen: Found, found: Sequence[Found]) -> None:
    """Stop what runs, start what is chosen; where that can't be started, what ran runs again."""
    stopped = [one for one in found if one.runs and one.id != chosen.id]
    for one in stopped:
        place.step.log(f"Stopping {one.name} on {place.host}")
        _stop(place, one)
    if chosen.runs and chosen.state != "paused":
        if not ending.is_being_stopped(place.client, chosen.id):
            return
        place.step.log(f"{chosen.name} is about to end on {place.host}: somebody was cut off who stopped it")
        _stop(place, chosen)
    try:
        if chosen.state == "paused":
            place.client.api.unpause(chosen.id)
        else:
            place.client.api.start(chosen.id)
    except APIError as error:
        again = [one.name for one in stopped if _starts(place.client, one)]
        after = f". What ran before runs again: {', '.join(again)}" if again else ""
        raise StepFailed(
            f"{chosen.name} can't be started on {place.host}: {complaints.of_error(error)}{after}"
        ) from None
    place.step.log(f"Started {chosen.name} on {place.host}")


def remove(place: Place, found: Sequence[Found], *, grace: bool = False) -> None:
    """Remove containers, with the volumes that have no name. One that is gone is gone."""
    for one in found:
        if grace and one.runs:
            _stop(place, one)
        remove_one(place, one.id)


def log_last_lines(place: Place, found: Sequence[Found]) -> None:
    """Keep in the step's log what containers wrote last, before they are removed."""
    for one in found:
        if one.state == "created":
            continue
        with suppress(NotFound):
            lines = place.client.api.logs(one.id, tail=_LAST_LINES).decode(errors="replace").splitlines()
            place.step.log(f"{one.name} on {place.host} wrote {'last:' if lines else 'nothing'}")
            for line in lines:
                place.step.log(f"  {line}")


def remove_one(place: Place, container: str) -> None:
    """Remove a container as it is."""
    try:
        place.client.api.remove_container(container, force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        if error.status_code != 409:  # somebody removes it already
            raise


def remove_older(place: Place, chosen: Found, found: Sequence[Found]) -> None:
    """Remove what is not needed to go back: all but the one that ran before the chosen one."""
    others = [one for one in found if one.id != chosen.id]
    ended = {one.id: str(_state(place.client, one.id).get("FinishedAt", "")) for one in others}
    # One that never ran was left behind by a call that was cut off.
    ran = [one for one in others if one.state != "created"]
    newest = sorted(ran, key=lambda one: ended[one.id], reverse=True)[:1]
    older = [one for one in others if one not in newest]
    remove(place, older)
    # What is deployed every day would fill the host's disk: the registry or the store has them still.
    for image in {one.image for one in older} - {one.image for one in (chosen, *newest)}:
        _remove_unnamed(place.client, image)


def refuse_taken_ports(place: Place, found: Sequence[Found]) -> None:
    """Raise StepFailed where another container has a port that is to be published. Stops nothing."""
    wanted = [(port, *_published(port)) for port in place.settings.ports]
    if not wanted:
        return
    ours = {one.id for one in found}
    for other in place.client.api.containers():
        if other["Id"] in ours:
            continue
        for taken in other.get("Ports") or ():
            for text, address, number, protocol in wanted:
                if (taken.get("PublicPort"), taken.get("Type")) == (number, protocol) and _meet(
                    address, str(taken.get("IP", ""))
                ):
                    raise StepFailed(
                        f"port {number} of {place.host} is taken by the container {_name(other)} "
                        f'({other.get("Image")}), which is none of this service; ports has "{text}". Stop it '
                        f"(docker stop {_name(other)}), or publish another. Nothing was stopped"
                    )


def options(place: Place) -> dict[str, Any]:
    """What a container of the service has, and a job for it as well."""
    settings = place.settings
    return {
        "environment": {
            **settings.variables,
            **{name: place.step.secret(name) for name in settings.service_secrets},
        },
        "volumes": list(settings.volumes),
        "mem_limit": int(settings.memory) if settings.memory else None,
        "nano_cpus": int(settings.cpus * 1e9) if settings.cpus else None,
        "init": True,
        "log_config": LogConfig(type=LogConfig.types.JSON, config={"max-size": "10m", "max-file": "3"}),
    }


def networks(place: Place) -> list[str]:
    """The networks of the service, made where they are missing."""
    there = {
        str(one["Name"]) for one in place.client.api.networks(names=list(place.settings.networks) or None)
    }
    for name in place.settings.networks:
        if name not in there:
            try:
                place.client.networks.create(name, check_duplicate=True, labels={SERVICE: place.service})
            except APIError as error:
                if error.status_code != 409:  # somebody made it just now
                    raise
    return list(place.settings.networks)


def _remove_unnamed(client: DockerClient, image: str) -> None:
    """Remove an image that nobody has named there, and no container uses."""
    with suppress(APIError):
        if not client.images.get(image).tags:
            client.api.remove_image(image, noprune=True)


def ports(settings: Service) -> dict[str, Any]:
    """The published ports as the engine's API has them."""
    found: dict[str, Any] = {}
    for port in settings.ports:
        address, number, protocol = _published(port)
        inner = port.partition("/")[0].rpartition(":")[2]
        found.setdefault(f"{inner}/{protocol}", []).append((address, number) if address else number)
    return found


def _create(place: Place, name: str, labels: dict[str, str], image: str) -> Found:
    settings, joined = place.settings, networks(place)
    try:
        made = place.client.containers.create(
            image,
            list(settings.command) if settings.command else None,
            name=name,
            labels=labels,
            ports=ports(settings),
            network=joined[0] if joined else None,
            restart_policy={"Name": "unless-stopped"},  # type: ignore[arg-type]  # the stubs want a count, which is for "on-failure"
            **options(place),
        )
    except APIError as error:
        taken = " Somebody else made it: rename or remove that one" if error.status_code == 409 else ""
        raise StepFailed(
            f"{name} can't be made on {place.host}: {complaints.of_error(error)}{taken}"
        ) from None
    place.step.log(f"Made {name} on {place.host}")
    return Found(str(made.id), name, image, "created", labels)


def complete(place: Place, made: Found) -> None:
    """Give a container that does not run what can't be said when it is made, as often as it is asked for."""
    joined = place.settings.networks
    if joined:
        there = place.client.api.inspect_container(made.id)["NetworkSettings"]["Networks"]
        for name in joined:
            if name not in there:
                place.client.networks.get(name).connect(made.id)
    if made.state == "created":  # one that has run has them
        values = {name: place.step.secret(name) for name in place.settings.secret_files}
        secretfiles.put(place.client, made.id, values)


def _is(one: Found, labels: Mapping[str, str], values: Mapping[str, str]) -> bool:
    salt, _, hidden = one.labels.get(_SECRETS, "").partition(":")
    return labels.items() <= one.labels.items() and hidden == (_hidden(values, salt) if values else "")


def _secrets(place: Place) -> dict[str, str]:
    return {
        name: place.step.secret(name)
        for name in (*place.settings.service_secrets, *place.settings.secret_files)
    }


def _digest(settings: Service) -> str:
    told = json.dumps(settings.model_dump(mode="json", include=_OF_CONTAINER), sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _hidden(values: Mapping[str, str], salt: str) -> str:
    """What tells the same secrets from others, and is of no use to who would guess them."""
    told = json.dumps(sorted(values.items())).encode()
    return hashlib.scrypt(told, salt=salt.encode(), n=1 << 14, r=8, p=1, dklen=16).hex()


def _stop(place: Place, one: Found) -> None:
    with suppress(NotFound):
        place.client.api.stop(one.id, timeout=max(1, round(place.settings.stop_grace)))


def _starts(client: DockerClient, one: Found) -> bool:
    try:
        client.api.start(one.id)
    except APIError:
        return False
    return True


def _state(client: DockerClient, container: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = client.api.inspect_container(container)["State"]
    except NotFound:
        return {}
    return found


def _name(one: Mapping[str, Any]) -> str:
    return str((one.get("Names") or [f"/{one['Id'][:12]}"])[0]).lstrip("/")


def _published(port: str) -> tuple[str, int, str]:
    """Address, number and protocol of `[ADDRESS:]HOST:CONTAINER[/PROTOCOL]`."""
    numbers, _, protocol = port.partition("/")
    *address, host, _ = numbers.split(":")
    return (address[0] if address else ""), int(host), protocol or "tcp"


def _meet(one: str, other: str) -> bool:
    everywhere = ("", "0.0.0.0", "::")  # noqa: S104 - compared, and not listened on
    return one == other or one in everywhere or other in everywhere
