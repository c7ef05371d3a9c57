"""The files to publish: what an index will know them by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    canonicalize_version,
    parse_sdist_filename,
    parse_wheel_filename,
)
from penstock import Artifact, Model, StepFailed


class File(Model):
    """One wheel or sdist."""

    artifact: Artifact
    path: Path
    project: str
    """Normalised."""
    version: str
    identity: str

    @property
    def name(self) -> str:
        """Its file name."""
        return self.artifact.name


def choose(artifacts: Sequence[Artifact], formats: Sequence[str]) -> list[Artifact]:
    """What is to be published. Raises StepFailed where there is nothing, or two of one name."""
    chosen = [artifact for artifact in artifacts if artifact.kind in formats]
    if not chosen:
        kinds = " or ".join(formats)
        built = ", ".join(f"{artifact.name} ({artifact.kind})" for artifact in artifacts) or "nothing"
        raise StepFailed(
            f"there is no {kinds} to publish. Built: {built}. Does the step wait for a build step (`needs`)?"
        )
    by_identity: dict[str, Artifact] = {}
    for artifact in chosen:
        other = by_identity.setdefault(identity(artifact.name) or artifact.name, artifact)
        if other.digest != artifact.digest:
            raise StepFailed(
                f"two files that are one to an index were built, with different bytes: {other.name} "
                f"({other.digest}) and {artifact.name} ({artifact.digest}). Name one build step under `needs`"
            )
    return list(by_identity.values())


def read(artifact: Artifact, path: Path) -> File:
    """What a file's name says. Raises StepFailed for one that no index takes."""
    try:
        name, version = (
            parse_wheel_filename(artifact.name)[:2]
            if artifact.kind == "wheel"
            else parse_sdist_filename(artifact.name)
        )
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        raise StepFailed(
            f"{artifact.name} is not the name of a {artifact.kind}: {error}. Where it is none, name the "
            "build steps that are meant under `needs`. Nothing was uploaded"
        ) from None
    return File(
        artifact=artifact,
        path=path,
        project=canonicalize_name(name),
        version=str(version),
        identity=identity(artifact.name) or artifact.name,
    )


def identity(name: str) -> str | None:
    """The same for all spellings of one file: `A-1.0.tar.gz` and `a-1.0.0.tar.gz`. None for other files."""
    try:
        if name.endswith(".whl"):
            project, version, build, tags = parse_wheel_filename(name)
            words = [project, canonicalize_version(version), str(build), *sorted(map(str, tags))]
            return " ".join(["wheel", *words])
        project, version = parse_sdist_filename(name)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    return f"sdist {project} {canonicalize_version(version)}"
