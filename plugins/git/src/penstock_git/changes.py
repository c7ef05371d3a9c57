"""Compares the working tree with a snapshot, file by file, and brings changes over.

Nothing is written through a link, whatever the snapshot holds where the working tree has a directory.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from penstock import StepFailed

from penstock_git import parse

_CHUNK = 1 << 20


class Trees(NamedTuple):
    """The working tree's project and the snapshot of it."""

    project: Path
    snapshot: Path

    def differing(self, candidates: Iterable[bytes]) -> list[bytes]:
        """Those of the paths that are not the same in both."""
        return [path for path in candidates if not self._same(path)]

    def take(self, path: bytes) -> None:
        """Make the snapshot's file what the working tree's is, or remove it where that is gone."""
        source, target = self._both(path)
        info = _look(self.project, path)
        if info is None:
            if _look(self.snapshot, path) is not None:
                target.unlink()
                _remove_empty(target.parent, self.snapshot)
            return
        _make_way(target, self.snapshot)
        if stat.S_ISLNK(info.st_mode):
            target.symlink_to(os.readlink(source))
        elif stat.S_ISREG(info.st_mode):
            _copy(source, target, parse.shown(path))
        else:
            raise StepFailed(
                f"{parse.shown(path)} is neither a file nor a link, so it can't be taken. Remove it, or run "
                "without --dirty"
            )

    def _both(self, path: bytes) -> tuple[Path, Path]:
        name = os.fsdecode(path)
        return self.project / name, self.snapshot / name

    def _same(self, path: bytes) -> bool:
        source, target = self._both(path)
        ours, theirs = _look(self.project, path), _look(self.snapshot, path)
        if ours is None or theirs is None:
            return ours is theirs
        if stat.S_IFMT(ours.st_mode) != stat.S_IFMT(theirs.st_mode):
            return False
        if stat.S_ISLNK(ours.st_mode):
            return os.readlink(source) == os.readlink(target)
        if not stat.S_ISREG(ours.st_mode) or (ours.st_mode ^ theirs.st_mode) & stat.S_IXUSR:
            return False
        try:
            return _same_bytes(source, target) or _is_content_of(source, target)
        except OSError:
            return False  # what can't be read is not known to be the same


def _look(root: Path, path: bytes) -> os.stat_result | None:
    """What is at a path: a directory counts as nothing, and so does what lies beyond a link."""
    place = os.fsencode(root)
    *above, name = path.split(b"/")
    try:
        for part in above:
            place = os.path.join(place, part)  # noqa: PTH118 - bytes
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                return None
        info = os.lstat(os.path.join(place, name))  # noqa: PTH118 - bytes
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if stat.S_ISDIR(info.st_mode) else info


def _same_bytes(one: Path, other: Path) -> bool:
    with one.open("rb") as left, other.open("rb") as right:
        if os.fstat(left.fileno()).st_size != os.fstat(right.fileno()).st_size:
            return False
        while chunk := left.read(_CHUNK):
            if right.read(_CHUNK) != chunk:
                return False
    return True


def _is_content_of(source: Path, committed: Path) -> bool:
    """Whether a file is what the committed Git LFS pointer stands for: then nobody changed it."""
    if committed.lstat().st_size > 1024:
        return False
    pointer = parse.lfs_pointer(committed.read_bytes())
    if pointer is None or source.lstat().st_size != pointer.size:
        return False
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == pointer.oid


def _copy(source: Path, target: Path, name: str) -> None:
    try:
        # A file that became a link or a pipe since it was looked at is not followed and not waited for.
        handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as original:  # noqa: PTH123 - an open file
            info = os.fstat(handle)
            if not stat.S_ISREG(info.st_mode):
                raise StepFailed(f"{name} changed while it was read. Run again")
            with target.open("xb") as copy:
                shutil.copyfileobj(original, copy, _CHUNK)
            target.chmod(0o755 if info.st_mode & stat.S_IXUSR else 0o644)
    except OSError as error:
        raise StepFailed(f"{name} can't be taken from the working tree: {error.strerror}") from None


def _make_way(target: Path, root: Path) -> None:
    """See to it that nothing is at `target`, and that every directory above it is a real one."""
    for place in reversed(target.relative_to(root).parents[:-1]):
        directory = root / place
        if directory.is_symlink() or not directory.is_dir():
            directory.unlink(missing_ok=True)
            directory.mkdir()
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)


def _remove_empty(directory: Path, root: Path) -> None:
    """Remove directories that hold nothing any more, as git does."""
    while directory != root and not any(directory.iterdir()):
        directory.rmdir()
        directory = directory.parent
