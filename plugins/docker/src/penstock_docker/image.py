"""An image as the store has it: an OCI manifest, a configuration, layers; each known by its digest. Pure.

The manifest's digest is what a registry serves the image under, the configuration's is what an engine runs.
OCI image specification 1.1: https://github.com/opencontainers/image-spec
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from penstock import StepRefused

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ENGINE_DIGEST = "image ID"
"""What the configuration's digest is called among an artifact's digests."""


class Blob(NamedTuple):
    """Some bytes of an image."""

    digest: str
    size: int


class Contents(NamedTuple):
    """What an image is made of."""

    config: Blob
    layers: tuple[Blob, ...]
    """Compressed, the lowest first."""


def digest_of(data: bytes) -> str:
    """The digest of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encoded(value: object) -> bytes:
    """The one JSON text of a manifest."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def manifest(contents: Contents) -> bytes:
    """The one manifest of these contents: canonical JSON."""
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(CONFIG, contents.config),
        "layers": [_descriptor(LAYER, layer) for layer in contents.layers],
    }
    return encoded(value)


def contents(raw: bytes) -> Contents:
    """What a manifest of ours names. Raises StepRefused for any other."""
    try:
        value = json.loads(raw)
        found = Contents(_blob(value["config"]), tuple(_blob(layer) for layer in value["layers"]))
    except (ValueError, KeyError, TypeError) as error:
        raise StepRefused(f"the image's manifest in the store is none: {error}") from None
    if manifest(found) != raw:
        raise StepRefused("the image's manifest in the store is not one that this plugin wrote")
    return found


def diff_ids(config: bytes) -> Sequence[str]:
    """The digests of the layers before they were compressed, the lowest first."""
    try:
        return [str(entry) for entry in json.loads(config)["rootfs"]["diff_ids"]]
    except (ValueError, KeyError, TypeError) as error:
        raise StepRefused(f"the image's configuration is none: {error}") from None


def _descriptor(media_type: str, blob: Blob) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _blob(descriptor: dict[str, Any]) -> Blob:
    return Blob(str(descriptor["digest"]), int(descriptor["size"]))
