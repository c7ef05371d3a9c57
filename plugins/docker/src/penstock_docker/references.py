"""An image that a service is to be run from → its image ID on an engine, and what goes on record of it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, NamedTuple

from docker.utils import parse_repository_tag
from penstock import Step, StepFailed, Tool

from penstock_docker import archive, engine
from penstock_docker.engine import DockerClient, ImageNotFound
from penstock_docker.service_settings import BUILD, ServiceContainer


class Found(NamedTuple):
    """An image that an engine has."""

    id: str
    config: dict[str, Any]
    tools: tuple[Tool, ...]


def tools(settings: ServiceContainer) -> list[Tool]:
    """What a service would be started from now. Raises StepFailed where that can't be told beforehand."""
    if settings.image.startswith(BUILD):
        return []  # the artifact itself is among what the step is handed
    if settings.pull == "always":
        raise StepFailed(f'pull = "always": which image {settings.image} is turns out when it is fetched')
    with engine.connected(settings.host) as client:
        try:
            return [_tool(settings.image, _inspected(client, settings.image))]
        except ImageNotFound:
            raise StepFailed(f"the engine does not have {settings.image} yet") from None


def found(client: DockerClient, settings: ServiceContainer, step: Step) -> Found:
    """The image, on the engine by then. Raises StepFailed where it can't be had."""
    if settings.image.startswith(BUILD):
        image_id = _built(client, settings.image, step)
        return Found(image_id, _config(_inspected(client, image_id)), ())
    known = _known(client, settings.image)
    if settings.pull == "always" or (known is None and settings.pull == "missing"):
        _pull(client, settings.image, step)
        known = _known(client, settings.image)
    if known is None:
        raise StepFailed(f"the engine does not have the image {settings.image}{_how_to_get(settings)}")
    tool = _tool(settings.image, known)
    step.log(f"{settings.image} is {known['Id']}")
    return Found(str(known["Id"]), _config(known), (tool,))


def _built(client: DockerClient, name: str, step: Step) -> str:
    images = [artifact for artifact in step.built(name) if artifact.kind == "image"]
    if len(images) != 1:
        what = "no image" if not images else f"{len(images)} images"
        raise StepFailed(f'image = "{name}": that step has built {what}, and one is needed')
    return archive.load(client, images[0], step)


def _known(client: DockerClient, reference: str) -> dict[str, Any] | None:
    try:
        return _inspected(client, reference)
    except ImageNotFound:
        return None


def _inspected(client: DockerClient, reference: str) -> dict[str, Any]:
    api: Any = client.api  # half of it is typed
    found: dict[str, Any] = api.inspect_image(reference)
    return found


def _pull(client: DockerClient, reference: str, step: Step) -> None:
    if reference.startswith("sha256:"):
        raise StepFailed(
            f"the engine does not have {reference}, and no registry knows an image ID: name the image by its "
            "digest in a registry, such as postgres@sha256:…"
        )
    repository, tag = parse_repository_tag(reference)
    step.log(f"Fetching {reference}")
    for event in client.api.pull(repository, tag=tag or "latest", stream=True, decode=True):
        if "error" in event:
            raise StepFailed(f"{reference} can't be fetched: {event['error']}")
        if event.get("status", "").startswith(("Digest:", "Status:")):
            step.log(event["status"])


def _how_to_get(settings: ServiceContainer) -> str:
    return f', and pull = "{settings.pull}"' if settings.pull == "never" else ""


def _config(inspected: dict[str, Any]) -> dict[str, Any]:
    return inspected.get("Config") or {}


def _tool(reference: str, inspected: dict[str, Any]) -> Tool:
    digest = next((each.partition("@")[2] for each in inspected.get("RepoDigests") or ()), "")
    name = PurePosixPath(parse_repository_tag(reference)[0]).name
    return Tool(
        name=name, version=digest, path=reference, sha256=str(inspected["Id"]).removeprefix("sha256:")
    )
