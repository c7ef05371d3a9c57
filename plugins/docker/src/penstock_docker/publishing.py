"""A publish step: the image in its registry by digest, its tags, and its evidence as referrers beside it.

Evidence goes where other tools look for it: OCI referrers whose layer is a Sigstore bundle, and for a
registry without the referrers API the index under the tag `sha256-HEX` (distribution specification 1.1).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from penstock import Artifact, ConfigError, Evidence, Publication, Step, StepFailed, StepRefused

from penstock_docker import archive, image, registry
from penstock_docker.image import Blob
from penstock_docker.registry import Registry
from penstock_docker.settings import Published

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_EMPTY = b"{}"


def publish(settings: Published, step: Step, evidence: Sequence[Evidence]) -> list[Publication]:
    """Publish every image that the step was handed."""
    images = [artifact for artifact in step.artifacts if artifact.kind == "image"]
    if not images:
        raise StepFailed("there is no image to publish: no build step before it made one")
    if settings.repository and len(images) > 1:
        raise ConfigError(
            f"[{step.name}] repository names one place for {len(images)} images. Give each build step its own"
        )
    return [found for artifact in images for found in _publish(settings, artifact, step, evidence)]


def _publish(
    settings: Published, artifact: Artifact, step: Step, evidence: Sequence[Evidence]
) -> list[Publication]:
    repository = settings.repository or artifact.name
    if settings.repository is None and "/" not in repository:
        raise ConfigError(f"[{step.name}] repository is missing: {artifact.name} was built without one")
    raw, _ = archive.contents_of(artifact, step)
    with registry.opened(repository, insecure=settings.insecure) as place:
        already = place.manifest(artifact.digest) == raw
    if not already:
        registry.put(repository, artifact, step, insecure=settings.insecure)
    with registry.opened(repository, insecure=settings.insecure) as place:
        for tag in settings.tags:
            already &= _tag(place, tag, artifact, raw, step, move=settings.move_tags)
        _attach(place, artifact, len(raw), evidence, step)
    return [
        Publication(artifact=artifact.digest, location=f"{repository}@{artifact.digest}", already=already)
    ]


def _tag(place: Registry, tag: str, artifact: Artifact, raw: bytes, step: Step, *, move: bool) -> bool:
    """Have a tag name the image; whether it did before."""
    there = place.manifest(tag)
    if there == raw:
        return True
    if there is not None and not move:
        raise StepRefused(
            f"{place.host}/{place.name}:{tag} names another image already, {image.digest_of(there)}. "
            "Choose a tag "
            "that is free, or say that tags may move: move_tags = true"
        )
    place.put_manifest(raw, image.MANIFEST, tag)
    step.log(f"Tagged {artifact.digest} as {tag}")
    return False


def _attach(place: Registry, artifact: Artifact, size: int, evidence: Sequence[Evidence], step: Step) -> None:
    """Put the signed statements about an image beside it, each once."""
    about = [entry for entry in evidence if artifact.digest in entry.subjects and not entry.invalid]
    made = [
        _referrer(place, artifact, size, entry, bundle, step) for entry in about for bundle in entry.bundles
    ]
    if made:
        step.log(f"{len(made)} statements stand beside {artifact.digest}")
    unlisted = [descriptor for descriptor, listed in made if not listed]
    if unlisted:
        _list(place, artifact, unlisted)


def _referrer(
    place: Registry, artifact: Artifact, size: int, entry: Evidence, bundle: str, step: Step
) -> tuple[dict[str, Any], bool]:
    """The descriptor of a manifest that holds one bundle, and whether the registry itself lists it."""
    path = archive.fetched(Blob(bundle, 0), step)
    for digest, source in ((image.digest_of(_EMPTY), _file(_EMPTY, step)), (bundle, path)):
        if not place.has_blob(digest):
            place.put_blob(digest, source)
    annotations = {
        "org.opencontainers.image.created": datetime.fromtimestamp(step.revision.time or 0, UTC).isoformat(),
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": entry.predicate_type,
    }
    raw = image.encoded(
        {
            "schemaVersion": 2,
            "mediaType": image.MANIFEST,
            "artifactType": BUNDLE,
            "config": {"mediaType": _EMPTY_TYPE, "digest": image.digest_of(_EMPTY), "size": len(_EMPTY)},
            "layers": [
                {
                    "mediaType": BUNDLE,
                    "digest": bundle,
                    "size": path.stat().st_size,
                    "annotations": {
                        "org.opencontainers.image.title": f"{entry.step}.{bundle[7:15]}.sigstore.json"
                    },
                }
            ],
            "subject": {"mediaType": image.MANIFEST, "digest": artifact.digest, "size": size},
            "annotations": annotations,
        }
    )
    digest = image.digest_of(raw)
    headers = place.put_manifest(raw, image.MANIFEST, digest)
    descriptor = {
        "mediaType": image.MANIFEST,
        "artifactType": BUNDLE,
        "digest": digest,
        "size": len(raw),
        "annotations": annotations,
    }
    return descriptor, "OCI-Subject" in headers


def _list(place: Registry, artifact: Artifact, descriptors: Sequence[dict[str, Any]]) -> None:
    """Name them in the index that clients fall back to where a registry has no referrers API."""
    tag = artifact.digest.replace(":", "-")
    there = place.manifest(tag)
    listed = _manifests(there) if there else []
    known = {entry.get("digest") for entry in listed}
    new = [descriptor for descriptor in descriptors if descriptor["digest"] not in known]
    if not new:
        return
    index = {"schemaVersion": 2, "mediaType": image.INDEX, "manifests": [*listed, *new]}
    place.put_manifest(image.encoded(index), image.INDEX, tag)


def _manifests(raw: bytes) -> list[dict[str, Any]]:
    try:
        return [entry for entry in json.loads(raw)["manifests"] if isinstance(entry, dict)]
    except (ValueError, KeyError, TypeError):
        raise StepRefused("the registry's index of referrers can't be read; it was left as it is") from None


def _file(data: bytes, step: Step) -> Any:
    path = step.tmp / image.digest_of(data)[7:]
    path.write_bytes(data)
    return path
