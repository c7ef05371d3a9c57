"""Files into a container and back, where its engine does not see this machine's.

What comes back is not trusted: a program of the step has made it, on a machine of its own.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from penstock import StepFailed

from penstock_docker.engine import DockerClient

_CHUNK = 1 << 20
_PERMISSIONS = 0o777


def bring(client: DockerClient, container: str, paths: Iterable[Path], user: str) -> None:
    """Put files and directories into a container that is not started yet, each at its own path."""
    uid, _, gid = user.partition(":")
    with tempfile.TemporaryFile() as packed:
        write(packed, paths, int(uid), int(gid))
        packed.seek(0)
        client.api.put_archive(container, "/", packed)


def write(packed: IO[bytes], paths: Iterable[Path], uid: int, gid: int) -> None:
    """An archive of these, by their whole paths, as this user's."""

    def owned(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid, info.gid, info.uname, info.gname = uid, gid, "", ""
        return info

    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in paths:
            tar.add(path, arcname=str(path).lstrip("/"), filter=owned)


def take_back(client: DockerClient, container: str, places: Sequence[Path]) -> None:
    """Make each of these directories what it is in a container that has ended."""
    for place in places:
        stream, _ = client.api.get_archive(container, str(place), chunk_size=_CHUNK)
        with tempfile.TemporaryFile() as packed:
            for chunk in stream:
                packed.write(chunk)
            packed.seek(0)
            put_in_place(packed, place)


def put_in_place(packed: IO[bytes], place: Path) -> None:
    """Make a directory what an archive of it says. Raises StepFailed, with nothing changed, for a bad one."""
    new = Path(tempfile.mkdtemp(prefix=".coming-", dir=place.parent))
    try:
        with tarfile.open(fileobj=packed) as tar:
            for member in tar:
                _extract(tar, member, new, place.name)
    except (tarfile.TarError, OSError, ValueError) as error:
        shutil.rmtree(new, ignore_errors=True)
        raise StepFailed(f"what the engine hands back of {place} can't be taken: {error}") from None
    _replace(place, new)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path, top: str) -> None:
    """One entry, in its place below `root` and nowhere else: no link is followed on the way there."""
    target = _place(member.name, root, top)
    if target == root:
        return
    _check_above(target, root)
    if member.isdir():
        if not _is_directory(target):
            target.mkdir()
        target.chmod((member.mode & _PERMISSIONS) | stat.S_IRWXU)
    elif member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        source = _place(member.linkname, root, top)
        _check_above(source, root)
        if not stat.S_ISREG(source.lstat().st_mode):
            raise ValueError(f"{member.name} is a link to what is no file")
        os.link(source, target, follow_symlinks=False)
    elif member.isreg():
        found = tar.extractfile(member)
        assert found is not None
        with target.open("xb") as file:
            shutil.copyfileobj(found, file, _CHUNK)
        target.chmod(member.mode & _PERMISSIONS)
        os.utime(target, (member.mtime, member.mtime))
    # Sockets, pipes and devices are of no use once their process has ended.


def _place(name: str, root: Path, top: str) -> Path:
    first, _, inner = name.rstrip("/").partition("/")
    parts = inner.split("/") if inner else []
    if first != top or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{name} does not lie in {top}")
    return root.joinpath(*parts)


def _check_above(target: Path, root: Path) -> None:
    """Refuse a place that a link leads to."""
    for above in target.parents:
        if above == root:
            return
        if not _is_directory(above):
            raise ValueError(f"{target.relative_to(root)} lies in what is no directory")


def _is_directory(path: Path) -> bool:
    """Whether it is one itself, and no link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _replace(place: Path, new: Path) -> None:
    for entry in list(place.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    for entry in list(new.iterdir()):
        entry.rename(place / entry.name)
    new.rmdir()
