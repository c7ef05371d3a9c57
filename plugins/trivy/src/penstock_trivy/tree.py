"""The tree that Trivy looks at: copies of the source and of what was built, and things planted to be found.

Trivy is not let loose on the workspace itself, for what it leaves out without a word: directories named
`dev`, `proc` and `sys` at the top, `.git` anywhere, and whatever a comment in a file asks it to ignore.
"""

from __future__ import annotations

import codecs
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from penstock import Artifact, Step, StepFailed

from penstock_trivy import saved
from penstock_trivy.image import Image, layer_name, look_through, opened
from penstock_trivy.unpack import Limits, Readable, looks_packed, unpack

SOURCE = "source"
CANARY = "canary"
_CHUNK = 1 << 20
_WHOLE = 8 << 20  # no configuration file that Trivy understands is larger
_INLINE_IGNORE = re.compile(rb"\b(trivy|tfsec):(?=[^\s]{0,200}ignore)", re.IGNORECASE)
_HIDDEN = {".git": "_.git"}
_SHOWN = {name: original for original, name in _HIDDEN.items()}
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_KEY = "AKIA" + "Q3EGRZ7T4WLP2NXD"  # in two parts, or a scan of this file would find it
PLANTED_SECRET = {"lib/tests/example/vendor/locale/x.dist-info/key.md": f'aws_access_key_id = "{_KEY}"\n'}
PLANTED = {
    **PLANTED_SECRET,
    "Dockerfile": "FROM scratch\nUSER root\n",
    "requirements.txt": "penstock-canary==1.0\n",
    "penstock-canary-1.0.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: penstock-canary\nVersion: 1.0\nLicense: GPL-3.0\n"
    ),
}
"""Something of each kind that Trivy must find, in the places that it would leave out by itself."""


@dataclass
class Tree:
    """Where the copies lie, what they are called, and what is not in them."""

    root: Path
    skip: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    """The artifact's name for each directory at the top."""
    files: int = 0
    skipped: int = 0
    images: list[tuple[Image, list[str]]] = field(default_factory=list)
    """Images, which are scanned by themselves, with the files in them that are skipped."""
    packed: list[str] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)

    def planted(self, path: str) -> bool:
        """Whether a path of this tree is one that was planted."""
        return path.startswith(f"{CANARY}/")

    def mentions(self, text: str) -> bool:
        """Whether a finding speaks of something that was planted and is no file: nothing here is."""
        return False

    def shown(self, path: str, layer: str | None = None) -> str:
        """How a path of this tree is shown to people: with the artifact's name, or as in the source."""
        top, _, rest = path.partition("/")
        rest = "/".join(_SHOWN.get(part, part) for part in rest.split("/"))
        # A file's name must not pass for an artifact's, nor for another line of a log.
        rest = "".join(c if c.isprintable() else "?" for c in rest).replace(": ", ":?")
        if top == SOURCE:
            return rest
        return f"{self.names[top]}: {rest}" if top in self.names else path


def lay_out(step: Step, targets: str, skip: tuple[str, ...], limits: Limits | None = None) -> Tree:
    """Copy and unpack what is to be scanned. StepFailed where that is nothing."""
    tree = Tree(step.tmp / "tree", skip)
    if targets != "artifacts":
        _copy_directory(tree, SOURCE, step.workspace)
    if targets != "source":
        _add_artifacts(tree, step, limits)
    if not tree.files and not tree.images:
        raise StepFailed(_nothing(step, targets, tree))
    _plant(tree.root / CANARY)
    return tree


def copied(root: Path, files: Iterable[Path], place: Path) -> Tree:
    """Copies of these files of a directory, and what is planted, without any step."""
    tree = Tree(place)
    for path in files:
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as content:
                _write(tree, SOURCE, PurePosixPath(path.relative_to(root).as_posix()), content)
    _plant(tree.root / CANARY)
    return tree


def defused(text: str) -> str:
    """A text in which no comment makes Trivy look away."""
    return _INLINE_IGNORE.sub(rb"\1_", text.encode(errors="replace")).decode()


def matches(path: str, globs: Sequence[str]) -> bool:
    """Whether a path, or the part of it below any of its directories, matches one of these globs."""
    return any(fnmatchcase(path, glob) or fnmatchcase(path, f"*/{glob}") for glob in globs)


def _nothing(step: Step, targets: str, tree: Tree) -> str:
    if tree.skipped:
        return "nothing was scanned: `skip` leaves every file out. Correct `skip`"
    if targets == "artifacts" and not step.artifacts:
        return (
            "nothing was scanned: no step before this one has built anything. Add a build step, or set "
            'targets = "source"'
        )
    return "nothing was scanned: there is no file in what was to be looked at (`targets`)"


def _add_artifacts(tree: Tree, step: Step, limits: Limits | None) -> None:
    for number, artifact in enumerate(step.artifacts):
        top = f"a{number}"
        tree.names[top] = artifact.name
        step.progress(number, len(step.artifacts), artifact.name)
        _add_artifact(tree, top, artifact, step, limits)


def _add_artifact(tree: Tree, top: str, artifact: Artifact, step: Step, limits: Limits | None) -> None:
    if artifact.kind == "image":
        _add_image(tree, opened(artifact, step))
        return
    path = step.fetch(artifact)
    if path.is_dir():
        _copy_directory(tree, top, path)
        return
    images, parts = saved.images(path, artifact.name, step.tmp / "saved" / top)
    for image in images:
        _add_image(tree, image)
    before = tree.files + tree.skipped

    def write(inner: PurePosixPath, content: Readable) -> int:
        return 0 if str(inner) in parts else _write(tree, top, inner, content)

    if unpack(path, write, limits):
        if tree.files + tree.skipped == before:
            raise StepFailed(f"{artifact.name} can't be scanned: it holds no file. Build it anew")
        return
    with path.open("rb") as file:
        head = file.read(8192)
        file.seek(0)
        _write(tree, top, PurePosixPath(path.name), file)
    if b"\0" in head or looks_packed(head):
        tree.opaque.append(artifact.name)


def _add_image(tree: Tree, image: Image) -> None:
    """Compare an image's layers with what it says of them, and copy the files that Trivy would pass over."""
    skipped: list[str] = []

    def look(number: int, path: PurePosixPath, size: int, content: Readable) -> None:
        if matches(str(path), tree.skip):
            skipped.append(str(path))
            return
        data = _read(content, size) if size <= _WHOLE else b""
        if data.startswith(_UTF_16) or _INLINE_IGNORE.search(data):
            top = f"i{len(tree.names)}"
            tree.names[top] = f"{image.name}: {layer_name(number, image)}"
            _write(tree, top, path, io.BytesIO(data))

    look_through(image, look)
    tree.skipped += len(skipped)
    tree.images.append((image, skipped))


def _copy_directory(tree: Tree, top: str, directory: Path) -> None:
    for path in _files(directory):
        inner = PurePosixPath(path.relative_to(directory).as_posix())
        try:
            with path.open("rb") as content:
                _write(tree, top, inner, content)
        except OSError as error:
            raise StepFailed(f"{inner} can't be scanned: {error.strerror}") from None


def _files(directory: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise StepFailed(f"{error.filename} can't be scanned: {error.strerror}") from None

    for place, directories, names in os.walk(directory, onerror=fail):
        directories.sort()
        for name in sorted(names):
            path = Path(place, name)
            # What a link leads to is scanned where it lies, or isn't part of what was built.
            if path.is_file() and not path.is_symlink():
                yield path


def _write(tree: Tree, top: str, inner: PurePosixPath, content: Readable) -> int:
    if matches(str(inner), tree.skip):
        tree.skipped += 1
        return 0
    target = tree.root.joinpath(top, *(_HIDDEN.get(part, part) for part in inner.parts))
    target.parent.mkdir(parents=True, exist_ok=True)
    data = _read(content, _WHOLE + 1)
    if looks_packed(data[:8]):
        tree.packed.append(tree.shown(f"{top}/{inner}"))
    size = len(data)
    with target.open("xb") as file:
        file.write(data if size > _WHOLE else _readable(data))
        while size > _WHOLE and (data := content.read(_CHUNK)):
            size += len(data)
            file.write(data)
    tree.files += 1
    return size


def _readable(data: bytes) -> bytes:
    """A file's content, so that no comment in it and no encoding of it makes Trivy look away."""
    if data.startswith(_UTF_16):
        data = data.decode("utf-16", errors="replace").encode(errors="replace")
    return _INLINE_IGNORE.sub(rb"\1_", data)


def _read(content: Readable, size: int) -> bytes:
    parts: list[bytes] = []
    while size and (data := content.read(min(size, _CHUNK))):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def _plant(place: Path) -> None:
    for name, text in PLANTED.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
