"""Writes a commit's files into a directory, byte for byte.

They are taken as the objects that they are: no configuration, filter, hook or attribute takes part. Nothing
is written through a link, since every directory is there before the first link is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from penstock import StepFailed

from penstock_git import parse
from penstock_git.objects import Objects, UnreadableError
from penstock_git.parse import Entry
from penstock_git.repository import Repository

_POINTER_SIZES = range(100, 1025)


class Snapshot(NamedTuple):
    """What was written."""

    entries: list[Entry]
    pointers: list[bytes]
    """Those of the files that are Git LFS pointers, and not what they stand for."""

    @property
    def submodules(self) -> list[bytes]:
        """The submodules among them, which are empty directories."""
        return [entry.path for entry in self.entries if entry.mode == parse.SUBMODULE]


def write(repository: Repository, commit: str) -> Snapshot:
    """Put the project's files at a commit into the empty workspace; what they are."""
    step, objects = repository.git.step, repository.objects
    what = f"reading commit {commit[:12]}"
    try:
        entries = _entries(objects, commit, repository.prefix)
    except (UnreadableError, ValueError) as error:
        raise StepFailed(f"{what} failed: {error}") from None
    name = parse.twice(entries)
    if name is not None:
        raise StepFailed(
            f'commit {commit[:12]} holds "{parse.shown(name)}" twice, so it is not clear what its files are. '
            "Somebody made this tree by hand: do not trust it. To see it: git fsck"
        )
    try:
        pointers = _write(objects, entries, os.fsencode(step.workspace))
    except (UnreadableError, OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise StepFailed(
            f"the files of commit {commit[:12]} can't be written: {why}. Where objects are missing from a "
            "partial or damaged clone, check the commit out with git first; where two names differ by case "
            "only, the file system can't hold both"
        ) from error
    repository.git.must(objects.end(), "cat-file", what=what)
    return Snapshot(entries, pointers)


def _entries(objects: Objects, commit: str, prefix: bytes) -> list[Entry]:
    """All files, links and submodules below the project's directory, in the order of their paths."""
    digest = len(commit) // 2
    top = f"{commit}^{{tree}}"
    for part in prefix.split(b"/")[:-1]:
        [entries] = _trees(objects, [(b"", top)], digest)
        inner = [entry for entry in entries if entry.path == part and stat.S_ISDIR(entry.mode)]
        if not inner:
            return []
        top = inner[0].object
    found: list[Entry] = []
    level = [(b"", top)]
    while level:
        every = [entry for entries in _trees(objects, level, digest) for entry in entries]
        for entry in every:
            _refuse_odd(entry)
        level = [(entry.path + b"/", entry.object) for entry in every if stat.S_ISDIR(entry.mode)]
        found += [entry for entry in every if not stat.S_ISDIR(entry.mode)]
    return sorted(found, key=lambda entry: entry.path)


def _trees(objects: Objects, wanted: Sequence[tuple[bytes, str]], digest: int) -> list[list[Entry]]:
    sizes = objects.sizes([name for _, name in wanted], b"tree")
    return [
        parse.tree(objects.read(size), above, digest) for (above, _), size in zip(wanted, sizes, strict=True)
    ]


def _refuse_odd(entry: Entry) -> None:
    if parse.leads_out(entry.path.rpartition(b"/")[2]):
        raise ValueError(f"invalid path '{parse.shown(entry.path)}'")
    if stat.S_IFMT(entry.mode) not in (stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR, parse.SUBMODULE):
        raise ValueError(f"'{parse.shown(entry.path)}' is of no kind that git knows")


def _write(objects: Objects, entries: Sequence[Entry], root: bytes) -> list[bytes]:
    """Write them below a directory, none over another; which are Git LFS pointers."""
    modules = (entry.path for entry in entries if entry.mode == parse.SUBMODULE)
    for directory in sorted({*modules, *(entry.path.rpartition(b"/")[0] for entry in entries)}):
        os.makedirs(os.path.join(root, directory), exist_ok=True)  # noqa: PTH103, PTH118 - bytes
    pointers = []
    blobs = [entry for entry in entries if entry.mode != parse.SUBMODULE]
    sizes = objects.sizes([entry.object for entry in blobs], b"blob")
    for entry, size in zip(blobs, sizes, strict=True):
        path = os.path.join(root, entry.path)  # noqa: PTH118 - bytes
        if stat.S_ISLNK(entry.mode):
            os.symlink(objects.read(size), path)  # noqa: PTH211 - bytes
        elif _write_file(objects, size, path, 0o777 if entry.mode & stat.S_IXUSR else 0o666):
            pointers.append(entry.path)
    return pointers


def _write_file(objects: Objects, size: int, path: bytes, mode: int) -> bool:
    """Write a file that is not there yet; whether it is a Git LFS pointer."""
    data = b""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        for data in objects.chunks(size):
            _write_all(file, data)
    finally:
        os.close(file)
    return size in _POINTER_SIZES and parse.lfs_pointer(data) is not None


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
