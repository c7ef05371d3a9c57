"""Images as the store has them, written without any engine."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

from penstock import Artifact
from penstock.testing import StepMaker

DEBIAN = {"etc/os-release": 'ID=debian\nVERSION_ID="12"\n', "etc/debian_version": "12.5\n"}
BASH = {
    "var/lib/dpkg/status.d/bash": (
        "Package: bash\nVersion: 5.2-1\nArchitecture: amd64\nStatus: install ok installed\n"
    ),
    "usr/share/doc/bash/copyright": (
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nLicense: GPL-3.0\n"
    ),
}
Files = Mapping[str, str | bytes]


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar(files: Files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def image(
    make_step: StepMaker,
    *layers: Files | bytes,
    config: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    diff_ids: Sequence[str] | None = None,
    packed: bool = True,
    name: str = "shop",
    **changes: Any,
) -> Artifact:
    """Keep an image of these layers, lowest first. `changes` replaces parts of the artifact itself."""
    plain = [layer if isinstance(layer, bytes) else tar(layer) for layer in layers]
    stored = [gzip.compress(layer, mtime=0) if packed else layer for layer in plain]
    inner = {
        "architecture": "amd64",
        "os": "linux",
        "config": config
        if config is not None
        else {"User": "shop", "Healthcheck": {"Test": ["CMD", "true"]}},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids or map(digest_of, plain))},
        "history": list(history),
    }
    raw = json.dumps(inner).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": {"mediaType": "x", "digest": digest_of(raw), "size": len(raw)},
            "layers": [{"mediaType": "x", "digest": digest_of(blob), "size": len(blob)} for blob in stored],
        }
    ).encode()
    parts = [make_step.store.add_bytes(blob) for blob in (raw, *stored)]
    fields = {
        "name": name,
        "kind": "image",
        "digest": make_step.store.add_bytes(manifest),
        "parts": tuple(dict.fromkeys(parts)),
        "digests": {"image ID": digest_of(raw)},
    }
    return Artifact.model_validate({**fields, **changes})
