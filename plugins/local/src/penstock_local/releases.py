"""The releases in a directory: made, found again, compared with what was made, and removed."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from penstock import Artifact, Release, Step, StepFailed

from penstock_local import environment
from penstock_local.layout import Instance, replace_text, sync_directory

MARKER = ".penstock.json"
VENV = ".venv"
_RESERVED = {VENV, "", ".", ".."}


@dataclass(frozen=True)
class Made:
    """A complete release in a directory."""

    path: Path
    digest: str
    recipe: dict[str, Any]
    files: dict[str, list[int]]
    """The size and the time of change of each file."""

    @property
    def environment(self) -> Path | None:
        """Its Python environment, where it has one."""
        place = self.path / VENV
        return place if place.is_dir() else None

    def drift(self) -> list[str]:
        """The files that are not as they were made, or that somebody put into the environment."""
        now = _files(self.path)
        changed = [name for name, found in self.files.items() if now.get(name) != found]
        added = [name for name in now if name.startswith(f"{VENV}/") and name not in self.files]
        return sorted(changed + added)


def find(root: Path, place: str | None) -> Made | None:
    """The release of this name, if it is there and complete."""
    if place is None:
        return None
    path = root / "releases" / place
    try:
        found = json.loads((path / MARKER).read_text())
        return Made(path, found["release"], found["recipe"], found["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def complete(root: Path) -> list[Made]:
    """All complete releases, the newest first."""
    found = [find(root, path.name) for path in (root / "releases").iterdir()]
    return sorted((made for made in found if made), key=_age, reverse=True)


def choose(release: Release, pattern: str) -> list[Artifact]:
    """The artifacts that a pattern means. Raises StepFailed where they can't be put into a directory."""
    chosen = [artifact for artifact in release.artifacts if fnmatchcase(artifact.name, pattern)]
    if not chosen:
        names = ", ".join(artifact.name for artifact in release.artifacts) or "nothing"
        raise StepFailed(f'no artifact of the release matches "{pattern}"; it has: {names}')
    images = [artifact.name for artifact in chosen if artifact.kind == "image"]
    if images:
        raise StepFailed(
            f"{images[0]} is an image, which can't be put into a directory. Choose what to deploy, such as: "
            'artifact = "*.whl"'
        )
    taken = [artifact.name for artifact in chosen]
    for name in taken:
        if name in _RESERVED or name.startswith(".penstock") or "/" in name or "\0" in name:
            raise StepFailed(f"the artifact \"{name}\" can't have that name in the release's directory")
        if taken.count(name) > 1:
            raise StepFailed(f'two artifacts of the release are called "{name}"')
    return chosen


def ensure(root: Path, release: Release, pattern: str, python: str, step: Step) -> Made:
    """The release, made where it is not there already, whole and unchanged. To be called under the lock."""
    chosen = choose(release, pattern)
    recipe = {"artifacts": {a.name: a.digest for a in chosen}, "python": python}
    stem = release.digest.removeprefix("sha256:")[:16]
    for made in complete(root):
        if made.digest == release.digest and made.recipe == recipe and not made.drift():
            os.utime(made.path / MARKER)  # it is the newest again
            return made
    path = _free(root / "releases", stem)
    step.log(f"Making the release {path.name} in {root}")
    path.mkdir()
    _fill(path, chosen, python, step)
    _sync(path)
    text = json.dumps(
        {"release": release.digest, "recipe": recipe, "made": time.time(), "files": _files(path)}
    )
    replace_text(path / MARKER, text)
    sync_directory(path.parent)
    made_now = find(root, path.name)
    assert made_now is not None
    return made_now


def prune(root: Path, keep: int, instances: Sequence[Instance], step: Step) -> None:
    """Remove the releases beyond `keep`, but none that runs or ran before. To be called under the lock."""
    wanted = {instance.place() for instance in instances}
    for instance in instances:
        if instance.previous.exists():
            wanted.add(instance.previous.read_text())
    releases = complete(root)
    wanted |= {made.path.name for made in releases[:keep]}
    for path in (root / "releases").iterdir():
        if path.name not in wanted:
            step.log(f"Removing the release {path.name}")
            remove(path)


def remove(path: Path) -> None:
    """Remove a release; cut off, what is left of it does not count as one."""
    (path / MARKER).unlink(missing_ok=True)
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for directory, _, _ in os.walk(path):
        os.chmod(directory, 0o700)
    shutil.rmtree(path)


def _free(releases: Path, stem: str) -> Path:
    """Where to make a release. One that changed may still run, so it stays where it is."""
    number = 1
    while True:
        path = releases / (stem if number == 1 else f"{stem}-{number}")
        if find(releases.parent, path.name) is None:
            if path.exists() or path.is_symlink():
                remove(path)  # cut off before it was complete
            return path
        number += 1


def _fill(path: Path, chosen: Sequence[Artifact], python: str, step: Step) -> None:
    wheels: list[Path] = []
    for number, artifact in enumerate(chosen):
        step.progress(number, len(chosen), artifact.name)
        source = step.fetch(artifact)
        if artifact.name.endswith(".whl") and source.is_file():
            wheels.append(source)
        elif source.is_dir():
            shutil.copytree(source, path / artifact.name, symlinks=True)
        else:
            _copy(source, path / artifact.name)
    if wheels:
        environment.make(path / VENV, wheels, python, step)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        head = file.read(4)
    # An artifact that is one file is its bytes alone: whether it can be run is told by how it begins.
    target.chmod(0o755 if head.startswith(b"#!") or head == b"\x7fELF" else 0o644)


def _files(root: Path) -> dict[str, list[int]]:
    return {name: [size, changed] for name, size, changed in _walk(root, "")}


def _walk(path: Path, prefix: str) -> Iterator[tuple[str, int, int]]:
    with os.scandir(path) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":  # Python writes there when it runs
                    yield from _walk(Path(entry.path), name + "/")
                continue
            info = entry.stat(follow_symlinks=False)
            if name != MARKER and (stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode)):
                yield name, info.st_size, info.st_mtime_ns


def _age(made: Made) -> int:
    try:
        return (made.path / MARKER).stat().st_mtime_ns
    except OSError:
        return 0


def _sync(path: Path) -> None:
    """Have all files of a release on the disk before it counts as complete."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):
        os.sync()
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if libc.syncfs(descriptor) != 0:
            os.sync()
    finally:
        os.close(descriptor)
