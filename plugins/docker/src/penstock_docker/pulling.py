"""The image of a release, brought to a host: pulled by digest or out of the store, and compared."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Any

from docker.errors import APIError
from penstock import Artifact, ConfigError, Release, StepFailed, StepRefused

from penstock_docker import archive, complaints
from penstock_docker.containers import Place


def image_of(release: Release, pattern: str) -> Artifact:
    """The image that a section means. Raises ConfigError where there is not just one."""
    images = [a for a in release.artifacts if a.kind == "image"]
    found = [a for a in images if fnmatch.fnmatchcase(a.name, pattern)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(a.name for a in found or images) or "none"
    how = "several images match" if found else "no image of the release matches"
    raise ConfigError(f'{how} image = "{pattern}": {names}')


def bring(place: Place, artifact: Artifact) -> str:
    """Have an image on a host; what its engine knows it by."""
    client, host, repository = place.client, place.host, place.settings.repository
    wanted = archive.engine_digest(artifact)
    if repository is None or archive.has(client, wanted):
        return _load(place, artifact)
    what = f"{repository}@{artifact.digest}"
    place.step.log(f"{host} pulls {what}")
    try:
        for event in client.api.pull(repository, tag=artifact.digest, stream=True, decode=True):
            _take(event, host, what)
    except APIError as error:
        raise StepFailed(f"{host} can't pull {what}: {complaints.of_error(error)}") from None
    if not archive.has(client, wanted):
        raise StepRefused(f"{host} has pulled {what}, and it is not the image {wanted} that was tested")
    return wanted


def _load(place: Place, artifact: Artifact) -> str:
    try:
        return archive.load(place.client, artifact, place.step)
    except StepFailed as error:
        raise type(error)(f"{place.host}: {error}") from None


def _take(event: Mapping[str, Any], host: str, what: str) -> None:
    if "error" not in event:
        return
    said = str(event["error"])
    kind = StepRefused if "verification failed" in said else StepFailed
    raise kind(f"{host} can't pull {what}: {complaints.of_engine(said)}")
