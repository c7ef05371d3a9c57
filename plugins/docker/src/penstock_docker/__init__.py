"""The `docker` plugin: images built, kept by digest, published, and deployed to Docker hosts."""

from __future__ import annotations

from collections.abc import Sequence

from penstock import Artifact, Evidence, Job, Publication, Step, Target, hookimpl

from penstock_docker.settings import Image, Published, Service

PENSTOCK_API = 1

__all__ = [
    "Image",
    "Published",
    "Service",
    "penstock_build",
    "penstock_jobs",
    "penstock_publish",
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
def penstock_jobs(settings: Service, step: Step) -> list[Job]:
    """What `before` and `after` name."""
    from penstock_docker import jobs

    return jobs.jobs(settings, step)
