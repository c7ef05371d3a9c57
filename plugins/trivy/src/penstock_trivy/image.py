"""An image out of the store: its manifest, its configuration and its layers, each compared with its digest.

Trivy itself compares nothing: it takes what stands under a digest's name for what has that digest.
OCI image specification 1.1: https://github.com/opencontainers/image-spec
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

from penstock import Artifact, Digest, Step, StepFailed, StepRefused
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from penstock_trivy.unpack import Readable, Refused, inside

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_CHUNK = 1 << 20
_LARGEST = 64 << 20  # of a manifest or a configuration; real ones have some thousand bytes

_P = TypeVar("_P", bound="_Part")
Look = Callable[[int, PurePosixPath, int, Readable], None]
"""Sees one file of a layer: the layer's number, the file's path, its size, its bytes."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Blob(_Part):
    digest: Digest
    size: int = Field(ge=0)


class _Manifest(_Part):
    config: _Blob
    layers: list[_Blob]


class _Layers(_Part):
    diff_ids: list[Digest]


class _Config(_Part):
    rootfs: _Layers


@dataclass(frozen=True)
class Layer:
    """One layer: its bytes, as they are kept, and what they must come to."""

    path: Path
    digest: str
    size: int
    diff_id: str
    """The digest of the tar archive that is inside."""
    made_by: str
    """The instruction that it comes from, where the image says so."""


@dataclass(frozen=True)
class Image:
    """An image whose bytes are those that its digest stands for."""

    name: str
    digest: str | None
    """Of its manifest; none where it came without one."""
    id: str
    config: dict[str, Any]
    layers: tuple[Layer, ...]


def opened(artifact: Artifact, step: Step) -> Image:
    """The image that an artifact is. Raises StepRefused or StepFailed, naming it, where it is not whole."""
    try:
        return _opened(artifact, step)
    except (StepRefused, StepFailed) as error:
        raise type(error)(f"{artifact.name} can't be scanned: {error}") from None


def look_through(image: Image, look: Look) -> None:
    """Show every file of every layer, lowest first, and see that each layer is what the image says it is.

    Raises StepRefused for another one, StepFailed for one that can't be read.
    """
    for number, layer in enumerate(image.layers, 1):
        what = f"{image.name} can't be scanned: its {layer_name(number, image)}"
        try:
            found = _look(layer, partial(look, number))
        except Refused as error:
            raise StepFailed(f"{what}: {error}. Nothing of it is trusted") from None
        except (OSError, EOFError, ValueError, OverflowError, tarfile.TarError, zlib.error) as error:
            raise StepFailed(f"{what} can't be unpacked ({error}). Build it anew") from None
        if found != layer.diff_id:
            raise StepRefused(f"{what} is {found}, and its configuration says {layer.diff_id}. Build it anew")


def layer_name(number: int, image: Image) -> str:
    """What a layer is called, in a finding's location too: the lowest is 1."""
    return f"layer {number}/{len(image.layers)}"


def _opened(artifact: Artifact, step: Step) -> Image:
    manifest = _read(_Manifest, _bytes(artifact.digest, step), "manifest")
    for blob in (manifest.config, *manifest.layers):
        if blob.digest not in artifact.parts:
            raise StepFailed(f"its manifest names {blob.digest}, which is none of its parts. Build it anew")
    if artifact.digests.get("image ID", manifest.config.digest) != manifest.config.digest:
        raise StepRefused(
            f"its manifest names the image {manifest.config.digest}, and it was built as "
            f"{artifact.digests['image ID']}"
        )
    raw = _bytes(manifest.config.digest, step)
    layers = [(_layer(blob, step), blob.digest) for blob in manifest.layers]
    return made(artifact.name, artifact.digest, raw, layers)


def made(name: str, digest: str | None, raw: bytes, layers: Sequence[tuple[Path, str]]) -> Image:
    """An image of a configuration and of layers, lowest first, each a file and its digest.

    Raises StepFailed where they are of two images.
    """
    diff_ids = _read(_Config, raw, "configuration").rootfs.diff_ids
    if len(diff_ids) != len(layers):
        raise StepFailed(f"it has {len(layers)} layers, and its configuration names {len(diff_ids)}")
    config = json.loads(raw)
    parts = zip(layers, diff_ids, _instructions(config, len(diff_ids)), strict=True)
    return Image(
        name=name,
        digest=digest,
        id="sha256:" + hashlib.sha256(raw).hexdigest(),
        config=config,
        layers=tuple(
            Layer(path, found, path.stat().st_size, diff_id, made_by)
            for (path, found), diff_id, made_by in parts
        ),
    )


def _layer(blob: _Blob, step: Step) -> Path:
    path = _fetched(blob.digest, step)
    size = path.stat().st_size
    if size != blob.size:
        raise StepFailed(f"its layer {blob.digest} has {size} bytes, and its manifest says {blob.size}")
    return path


def _fetched(digest: str, step: Step) -> Path:
    """Some of an image's bytes, compared with their digest on the way out of the store."""
    path = step.fetch(Artifact(name=digest.removeprefix("sha256:"), kind="blob", digest=digest))
    if path.is_dir():
        raise StepFailed(f"{digest} is a directory. {_FORM}")
    return path


_FORM = (
    "This plugin scans images that are kept as an OCI manifest, with configuration and layers as its parts, "
    "as the plugin docker does"
)


def _bytes(digest: str, step: Step) -> bytes:
    path = _fetched(digest, step)
    if path.stat().st_size > _LARGEST:
        raise StepFailed(f"{digest} is too large for what describes an image. {_FORM}")
    return path.read_bytes()


def _read(model: type[_P], raw: bytes, what: str) -> _P:
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StepFailed(
            f"its {what} is none ({where + ': ' if where else ''}{first['msg']}). {_FORM}"
        ) from None


def _instructions(config: dict[str, Any], count: int) -> list[str]:
    """What made each layer; nothing where the image does not say so for all of them."""
    history = config.get("history")
    entries = history if isinstance(history, list) else []
    made = [
        str(entry.get("created_by") or "")
        for entry in entries
        if isinstance(entry, dict) and not entry.get("empty_layer")
    ]
    return made if len(made) == count else [""] * count


# --- one layer ---


class _Digesting:
    """A stream that knows the digest of what was read from it."""

    def __init__(self, source: IO[bytes] | gzip.GzipFile) -> None:
        self._source = source
        self._digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self._digest.update(data)
        return data

    def digest(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"


def _look(layer: Layer, look: Callable[[PurePosixPath, int, Readable], None]) -> str:
    """Show the files of a layer; the digest of the archive that they are in."""
    with _plain(layer.path) as source:
        plain = _Digesting(source)
        with tarfile.open(fileobj=plain, mode="r|") as tar:  # type: ignore[call-overload]  # it only reads
            for entry in tar:
                if entry.type not in tarfile.SUPPORTED_TYPES:
                    raise Refused(f"its entry {entry.name!r} is of no kind that is known")
                if entry.isreg() and (content := tar.extractfile(entry)) is not None:
                    look(_path(entry.name), entry.size, content)
                    # To its end here: the reader itself would go on behind the end of one that is cut off.
                    while content.read(_CHUNK):
                        pass
            # The reader stops at a header that it can't read as if it were the end; others go on behind it.
            _nothing_more(tar.fileobj)
        while plain.read(_CHUNK):
            pass
        return plain.digest()


def _path(name: str) -> PurePosixPath:
    return inside(name.lstrip("/") or name)


def _nothing_more(rest: Any) -> None:
    while data := rest.read(_CHUNK):
        if data.strip(b"\0"):
            raise Refused("something stands behind its end")


@contextmanager
def _plain(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        if head == _ZSTD:
            raise Refused("it is compressed with zstd, which can't be looked into here. Build it with gzip")
        if not head.startswith(_GZIP):
            yield file
            return
        with gzip.GzipFile(fileobj=file) as plain:
            yield plain
