"""The `docker` plugin: images built, kept by digest, published, and deployed to Docker hosts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from penstock import Artifact, Evidence, Inside, Launcher, Publication, Step, Target, Tool, hookimpl
from penstock import Service as Beside

from penstock_docker.service_settings import ServiceContainer
from penstock_docker.settings import Image, Published, Service

PENSTOCK_API = 1

__all__ = [
    "Image",
    "Published",
    "Service",
    "ServiceContainer",
    "penstock_build",
    "penstock_launcher",
    "penstock_publish",
    "penstock_reap",
    "penstock_service",
    "penstock_service_tools",
    "penstock_targets",
]


@hookimpl
def penstock_build(settings: Image, step: Step) -> list[Artifact]:
    """Build an image from a Dockerfile."""
    from penstock_docker import building

    return building.build(settings, step)


@hookimpl
def penstock_publish(settings: Published, step: Step, evidence: Sequence[Evidence]) -> list[Publication]:
    """Tag the images in their registries, with their evidence beside them."""
    from penstock_docker import publishing

    return publishing.publish(settings, step, evidence)


@hookimpl
def penstock_targets(settings: Service, step: Step) -> list[Target]:
    """One target a host."""
    from penstock_docker import targets

    return targets.targets(settings, step)


@hookimpl
def penstock_service(settings: ServiceContainer, service: Step, step: Step) -> AbstractContextManager[Beside]:
    """A container on a network of the step's own."""
    from penstock_docker import services

    return services.running(settings, service, step)


@hookimpl
def penstock_service_tools(settings: ServiceContainer) -> list[Tool]:
    """The image that a tag names now."""
    from penstock_docker import references

    return references.tools(settings)


@hookimpl
def penstock_reap(run: int, step_name: str | None, home: Path) -> None:
    """Containers, networks and volumes that carry a step's labels."""
    from penstock_docker import reaping

    reaping.reap(run, step_name, home)


@hookimpl
def penstock_launcher(artifact: Artifact, limits: Inside, step: Step) -> Launcher | None:
    """Containers of an image."""
    if artifact.kind != "image":
        return None
    from penstock_docker import inside

    return inside.Containers(artifact, limits, step)
