"""An image → an OCI layout that Trivy reads, with things planted in it that Trivy must find.

The layers are the image's own, byte for byte. So is the configuration, but for its history: Trivy takes no
secrets from the layers below a `CMD` that is not the last (it holds them for another image's), checks nothing
where it can't read a line, and follows comments.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock_trivy.history import one_line, planted, readable
from penstock_trivy.image import Image, layer_name
from penstock_trivy.tree import PLANTED, PLANTED_SECRET

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_PACKED, _PLAIN = "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Layout:
    """An image as it is shown to Trivy, and what its report means by it."""

    image: Image
    path: Path
    canary: str
    """The directory at the image's top, and the maintainer, that were planted."""
    diff_ids: tuple[str, ...]

    def planted(self, path: str) -> bool:
        """Whether a path of the report is one that was planted."""
        return path.lstrip("/").startswith(f"{self.canary}/")

    def mentions(self, text: str) -> bool:
        """Whether a finding speaks of what was planted in the configuration."""
        return self.canary in text

    def shown(self, path: str, diff_id: str | None = None) -> str:
        """How a path of the report is shown to people: with the image, and the layer where it is known."""
        name, own = self.image.name, str(self.path)
        if path == own:
            return f"{name}: image configuration"
        inner = path.removeprefix(f"{own} (").removesuffix(")") if path.startswith(f"{own} (") else path
        # A file's name must not pass for an image's, nor for another line of a log.
        inner = "".join(c if c.isprintable() else "?" for c in inner.lstrip("/")).replace(": ", ":?")
        return ": ".join(filter(None, (name, self._layer(diff_id), inner)))

    def _layer(self, diff_id: str | None) -> str:
        numbers = [n for n, layer in enumerate(self.image.layers, 1) if layer.diff_id == diff_id]
        return layer_name(numbers[0], self.image) if numbers else ""


def write(image: Image, place: Path, canary: str) -> Layout:
    """Write the layout into a new directory; `canary` is a name that no image can know."""
    blobs = place / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    # At the bottom, where Trivy might leave secrets out; and at the top, where nothing is taken away.
    # Each has names of its own, since Trivy tells of a secret once where it stands twice under one name.
    below, above = _layer(f"{canary}/below", PLANTED_SECRET), _layer(canary, PLANTED)
    own = [_descriptor(_media_type(layer.path), layer.digest, layer.size) for layer in image.layers]
    for layer in image.layers:
        _same(layer.path, blobs / layer.digest.removeprefix("sha256:"))
    diff_ids = (_digest(below), *(layer.diff_id for layer in image.layers), _digest(above))
    layers = [_blob(blobs, _PLAIN, below), *own, _blob(blobs, _PLAIN, above)]
    config = _blob(blobs, _CONFIG, _encoded(_config(image.config, canary, diff_ids)))
    manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers}
    index = {"schemaVersion": 2, "manifests": [_blob(blobs, _MANIFEST, _encoded(manifest))]}
    (place / "index.json").write_bytes(_encoded(index))
    (place / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return Layout(image, place, canary, diff_ids)


# --- the configuration ---


def _config(config: Mapping[str, Any], canary: str, diff_ids: tuple[str, ...]) -> dict[str, Any]:
    entries = config.get("history")
    history = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    told = [{}, *map(readable, history), {}, planted(canary)]
    inner = config.get("config")
    return {
        **config,
        "config": _settings(inner) if isinstance(inner, dict) else {},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": told,
    }


def _settings(inner: Mapping[str, Any]) -> dict[str, Any]:
    """The settings from which Trivy makes lines of a Dockerfile, each in one line."""
    said = dict(inner)
    if isinstance(user := said.get("User"), str):
        said["User"] = one_line(user)
    if isinstance(check := said.get("Healthcheck"), dict) and isinstance(check.get("Test"), list):
        said["Healthcheck"] = {**check, "Test": [one_line(str(word)) for word in check["Test"]]}
    return said


# --- bytes ---


def _layer(directory: str, planted: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in planted.items():
            entry = tarfile.TarInfo(f"{directory}/{name}")
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def _same(source: Path, target: Path) -> None:
    """The same file under another name: Trivy follows no symbolic link."""
    if target.exists():
        return
    try:
        target.hardlink_to(source)
    except OSError:  # on another disk, or one that knows no links
        shutil.copyfile(source, target)


def _media_type(path: Path) -> str:
    with path.open("rb") as file:
        return _PACKED if file.read(2) == b"\x1f\x8b" else _PLAIN


def _blob(blobs: Path, media_type: str, data: bytes) -> dict[str, Any]:
    digest = _digest(data)
    (blobs / digest.removeprefix("sha256:")).write_bytes(data)
    return _descriptor(media_type, digest, len(data))


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _encoded(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
