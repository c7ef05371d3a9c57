"""The `docker` plugin: images built, kept by digest, published, and deployed to Docker hosts."""

from __future__ import annotations

from collections.abc import Sequence

from penstock import Artifact, Evidence, Inside, Launcher, Publication, Step, Target, hookimpl

from penstock_docker.settings import Image, Published, Service

PENSTOCK_API = 1

__all__ = [
    "Image",
    "Published",
    "Service",
    "penstock_build",
    "penstock_launcher",
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
def penstock_launcher(artifact: Artifact, limits: Inside, step: Step) -> Launcher | None:
    """Containers of an image."""
    if artifact.kind != "image":
        return None
    from penstock_docker import inside

    return inside.Containers(artifact, limits, step)
