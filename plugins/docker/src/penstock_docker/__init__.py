"""The `docker` plugin: images built, kept by digest, published, and deployed to Docker hosts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from penstock import (
    Artifact,
    Check,
    Evidence,
    Inside,
    Job,
    Launcher,
    Proposal,
    Publication,
    Step,
    Target,
    Tool,
    hookimpl,
)
from penstock import Service as Beside

from penstock_docker.service_settings import ServiceContainer
from penstock_docker.settings import Anything, Image, Published, Service

PENSTOCK_API = 1

__all__ = [
    "Image",
    "Published",
    "Service",
    "ServiceContainer",
    "penstock_build",
    "penstock_doctor",
    "penstock_jobs",
    "penstock_launcher",
    "penstock_propose",
    "penstock_publish",
    "penstock_reap",
    "penstock_service",
    "penstock_service_tools",
    "penstock_targets",
    "penstock_tools",
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
def penstock_tools(settings: Anything) -> list[Tool]:
    """The engine that builds, and the docker program."""
    from penstock_docker import doctor

    return doctor.tools(settings)


@hookimpl
def penstock_doctor(settings: Anything) -> list[Check]:
    """Whether its engines and its registry are there."""
    from penstock_docker import doctor

    return list(doctor.look(settings))


@hookimpl
def penstock_propose(root: Path, add: str | None) -> Proposal | None:
    """An image, where there is a Dockerfile."""
    from penstock_docker import propose

    return propose.propose(root, add)


@hookimpl
def penstock_jobs(settings: Service, step: Step) -> list[Job]:
    """What `before` and `after` name."""
    from penstock_docker import jobs

    return jobs.jobs(settings, step)


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
