"""An archive of `docker save` → the images in it, as if each part had come out of the store."""

from __future__ import annotations

import hashlib
import re
import tarfile
import zlib
from pathlib import Path
from typing import IO

from penstock import StepFailed, StepRefused
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from penstock_trivy.image import Image, made
from penstock_trivy.unpack import is_tar

_CHUNK = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")


class _Entry(BaseModel):
    config: str = Field(alias="Config")
    layers: list[str] = Field(alias="Layers")


_LISTING = TypeAdapter(list[_Entry])


def images(path: Path, name: str, place: Path) -> tuple[list[Image], frozenset[str]]:
    """The images that an archive holds, with their layers in `place`, and the names of what they are made of.

    None where it is another archive.

    Raises StepFailed where it holds images that can't be read.
    """
    if not is_tar(path):
        return [], frozenset()
    try:
        with tarfile.open(path) as tar:
            names = set(tar.getnames())
            entries = _listed(tar) if "manifest.json" in names else []
            if not entries and {"oci-layout", "index.json"} <= names:
                raise StepFailed(
                    "it is an image as an OCI archive, and this plugin reads those that `docker save` writes "
                    "(with buildx: type=docker)"
                )
            place.mkdir(parents=True)
            found = [_image(tar, entry, name, place, len(entries)) for entry in entries]
            return found, frozenset(part for entry in entries for part in (entry.config, *entry.layers))
    except (StepFailed, StepRefused) as error:
        raise type(error)(f"{name} can't be scanned: {error}") from None
    except (OSError, EOFError, ValueError, KeyError, OverflowError, tarfile.TarError, zlib.error) as error:
        raise StepFailed(f"{name} can't be scanned: it can't be unpacked ({error}). Build it anew") from None


def _listed(tar: tarfile.TarFile) -> list[_Entry]:
    """The images that the archive says it holds; none where its `manifest.json` is about something else."""
    try:
        return _LISTING.validate_json(_member(tar, "manifest.json").read())
    except ValidationError:
        return []


def _image(tar: tarfile.TarFile, entry: _Entry, name: str, place: Path, count: int) -> Image:
    raw = _member(tar, entry.config).read()
    found = hashlib.sha256(raw).hexdigest()
    if _DIGEST.fullmatch(named := Path(entry.config).stem) and named != found:
        raise StepRefused(f"its configuration {entry.config} is sha256:{found}. Build it anew")
    shown = name if count == 1 else f"{name}: {found[:12]}"
    return made(shown, None, raw, [_kept(_member(tar, layer), place) for layer in entry.layers])


def _kept(content: IO[bytes], place: Path) -> tuple[Path, str]:
    path = place / str(len(list(place.iterdir())))
    found = hashlib.sha256()
    with path.open("xb") as file:
        while data := content.read(_CHUNK):
            found.update(data)
            file.write(data)
    return path, f"sha256:{found.hexdigest()}"


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.extractfile(name)  # by way of links: equal layers are saved once
    if found is None:
        raise KeyError(f"{name} is no file")
    return found
