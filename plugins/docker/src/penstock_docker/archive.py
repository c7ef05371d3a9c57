"""An image between an engine and the store: taken out of the one into the other, by digest, and back."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from penstock import Artifact, Step, StepFailed, StepRefused

from penstock_docker import complaints, image
from penstock_docker.engine import DockerClient, ImageNotFound
from penstock_docker.image import ENGINE_DIGEST, Blob, Contents

_CHUNK = 1 << 20
_LEVEL = 6


def keep(client: DockerClient, image_id: str, name: str, step: Step) -> Artifact:
    """Put an engine's image into the store. Raises StepRefused where the engine hands out another one."""
    saved = step.tmp / "saved.tar"
    with saved.open("wb") as file:
        for chunk in client.images.get(image_id).save(chunk_size=_CHUNK):
            file.write(chunk)
    with tarfile.open(saved) as tar:
        config_name, layer_names = _listed(tar)
        config = _member(tar, config_name).read()
        if image.digest_of(config) != image_id:
            raise StepRefused(f"the engine was asked for {image_id} and handed out {image.digest_of(config)}")
        expected = image.diff_ids(config)
        if len(expected) != len(layer_names):
            raise StepRefused(
                f"the engine handed out {len(layer_names)} layers of {len(expected)} of {image_id}"
            )
        layers = [_keep_layer(tar, *layer, step) for layer in zip(layer_names, expected, strict=True)]
    saved.unlink()
    config_kept = _keep_bytes(config, "config", step)
    contents = Contents(config_kept, tuple(layers))
    kept = _keep_bytes(image.manifest(contents), "manifest", step)
    return Artifact(
        name=name,
        kind="image",
        digest=kept.digest,
        size=config_kept.size + sum(layer.size for layer in layers),
        digests={ENGINE_DIGEST: config_kept.digest},
        parts=tuple(dict.fromkeys([config_kept.digest, *(layer.digest for layer in layers)])),
    )


def contents_of(artifact: Artifact, step: Step) -> tuple[bytes, Contents]:
    """An image's manifest out of the store, as bytes and as what it names. Raises StepRefused for another."""
    raw = fetched(Blob(artifact.digest, 0), step).read_bytes()
    found = image.contents(raw)
    if found.config.digest != engine_digest(artifact):
        raise StepRefused(f"the manifest of {artifact.name} names another image than its artifact does")
    return raw, found


def engine_digest(artifact: Artifact) -> str:
    """What an engine knows the image by."""
    found = artifact.digests.get(ENGINE_DIGEST)
    if found is None:
        raise StepFailed(f"{artifact.name} says no {ENGINE_DIGEST}: it was built by another plugin")
    return found


def fetched(blob: Blob, step: Step) -> Path:
    """Some bytes of an image out of the store, checked on the way."""
    return step.fetch(Artifact(name=blob.digest.removeprefix("sha256:"), kind="blob", digest=blob.digest))


def load(client: DockerClient, artifact: Artifact, step: Step) -> str:
    """Bring an image to an engine that may lack it; what the engine knows it by."""
    wanted = engine_digest(artifact)
    if has(client, wanted):
        step.log(f"{artifact.name} is there already: {wanted}")
        return wanted
    step.log(f"Loading {artifact.name} out of the store: {wanted}")
    archive = _archive(contents_of(artifact, step)[1], step)
    with archive.open("rb") as file:
        for event in list(client.api.load_image(file)):  # type: ignore[no-untyped-call]
            if "error" in event:
                said = complaints.of_engine(str(event["error"]))
                raise StepFailed(f"the engine did not load {artifact.name}: {said}")
    archive.unlink()
    if not has(client, wanted):
        raise StepRefused(f"the engine has loaded {artifact.name}, and not as {wanted}")
    return wanted


def has(client: DockerClient, image_id: str) -> bool:
    """Whether an engine has this very image."""
    try:
        return str(client.images.get(image_id).id) == image_id
    except ImageNotFound:
        return False


def _archive(contents: Contents, step: Step) -> Path:
    path = step.tmp / "image.tar"
    config = f"{contents.config.digest.removeprefix('sha256:')}.json"
    names = [f"{number}/layer.tar" for number in range(len(contents.layers))]
    listing = json.dumps([{"Config": config, "RepoTags": None, "Layers": names}]).encode()
    with tarfile.open(path, "w") as tar:
        _add(tar, "manifest.json", io.BytesIO(listing), len(listing))
        for name, blob in zip((config, *names), (contents.config, *contents.layers), strict=True):
            with fetched(blob, step).open("rb") as file:
                _add(tar, name, file, blob.size)
    return path


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    tar.addfile(info, content)


def _listed(tar: tarfile.TarFile) -> tuple[str, list[str]]:
    """The configuration's and the layers' names in an archive. Raises StepFailed for another form."""
    try:
        [entry] = json.load(_member(tar, "manifest.json"))
        return str(entry["Config"]), [str(layer) for layer in entry["Layers"]]
    except (ValueError, KeyError, TypeError) as error:
        raise StepFailed(f"the engine saved the image in a form that is not known here: {error}") from None


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    try:
        found = tar.extractfile(name)  # by way of links: engines save equal layers once
    except KeyError:
        found = None
    if found is None:
        raise StepFailed(f"the engine saved the image without {name}")
    return found


def _keep_layer(tar: tarfile.TarFile, name: str, diff_id: str, step: Step) -> Blob:
    known = step.cache / "layers" / diff_id.removeprefix("sha256:")
    for blob in _noted(known):
        try:
            fetched(blob, step)
        except StepRefused:
            continue
        return blob
    packed = step.tmp / "layer.tar.gz"
    found = hashlib.sha256()
    with (
        _member(tar, name) as plain,
        packed.open("wb") as file,
        gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as out,
    ):
        for chunk in iter(lambda: plain.read(_CHUNK), b""):
            found.update(chunk)
            out.write(chunk)
    if f"sha256:{found.hexdigest()}" != diff_id:
        raise StepRefused(f"the engine handed out other bytes for the layer {diff_id}")
    kept = step.keep(packed, "layer")
    packed.unlink()
    _note(known, Blob(kept.digest, kept.size))
    return Blob(kept.digest, kept.size)


def _noted(path: Path) -> Iterator[Blob]:
    """A layer that was compressed before; that the store has it is for the reader to see."""
    try:
        digest, size = path.read_text().split()
        yield Blob(digest, int(size))
    except (OSError, ValueError):
        return


def _note(path: Path, blob: Blob) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{id(blob)}.new")
    new.write_text(f"{blob.digest} {blob.size}")
    new.replace(path)


def _keep_bytes(data: bytes, name: str, step: Step) -> Blob:
    path = step.tmp / name
    path.write_bytes(data)
    kept = step.keep(path, "blob")
    path.unlink()
    return Blob(kept.digest, kept.size)
