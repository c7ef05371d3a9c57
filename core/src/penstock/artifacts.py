"""The content-addressed store: bytes go in, their digest comes out, and nothing else comes out for it.

A file is kept under the SHA-256 of its bytes. A directory is kept as a manifest, a JSON text that names
every file with its mode and digest, and is known by the manifest's digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from penstock.errors import PluginError, StepRefused
from penstock.model import Artifact

_CHUNK = 1 << 20
TREE = "penstock-tree-v1"


class Store:
    """Artifacts in a directory. Writing is atomic and durable; reading checks the digest."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Where the bytes of a digest lie, or would lie."""
        digits = digest.removeprefix("sha256:")
        return self.root / digits[:2] / digits[2:]

    def has(self, digest: str) -> bool:
        """Whether the bytes are there (unchecked: reading checks)."""
        return self.path(digest).is_file()

    def add_bytes(self, data: bytes) -> str:
        """Keep some bytes; their digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if not self.has(digest):
            with self._new() as file:
                file.write(data)
                self._settle(file, digest)
        return digest

    def add_file(self, source: Path) -> tuple[str, int]:
        """Keep a file's bytes; their digest and size."""
        with self._new() as file, source.open("rb") as original:
            hasher, size = hashlib.sha256(), 0
            while chunk := original.read(_CHUNK):
                hasher.update(chunk)
                file.write(chunk)
                size += len(chunk)
            digest = "sha256:" + hasher.hexdigest()
            if not self.has(digest):
                self._settle(file, digest)
        return digest, size

    def add_tree(self, root: Path, *, leave_out: frozenset[str] = frozenset()) -> tuple[str, int]:
        """Keep a directory: its files, links and empty directories; the manifest's digest, the files' size.

        `leave_out` names entries at the top that do not count.
        """
        entries, total = [], 0
        for relative, path, info in walk(root, leave_out):
            entry: dict[str, str | int] = {"path": relative}
            if stat.S_ISLNK(info.st_mode):
                entry["link"] = os.readlink(path)
            elif stat.S_ISDIR(info.st_mode):
                entry["dir"] = 1
            else:
                entry["sha256"], size = self.add_file(Path(path))
                entry["size"] = size
                entry["exec"] = int(bool(info.st_mode & stat.S_IXUSR))
                total += size
            entries.append(entry)
        manifest = json.dumps({"type": TREE, "entries": entries}, sort_keys=True, separators=(",", ":"))
        return self.add_bytes(manifest.encode()), total

    def keep(self, path: Path, kind: str, *, name: str | None = None) -> Artifact:
        """Keep a file or a directory as an artifact."""
        digest, size = self.add_tree(path) if path.is_dir() else self.add_file(path)
        return Artifact(name=name or path.name, kind=kind, digest=digest, size=size)

    def read(self, digest: str) -> bytes:
        """The bytes of a digest.

        Raises StepRefused where they are not there or are not those that were kept.
        """
        try:
            data = self.path(digest).read_bytes()
        except OSError as error:
            raise StepRefused(f"{digest} can't be read from the store: {error.strerror}") from None
        if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            raise self._tampered(digest)
        return data

    def verify(self, digest: str) -> None:
        """Compare a file's bytes with its digest. Raises StepRefused as `read`."""
        self._copy(digest, None)

    def write_to(self, digest: str, target: Path) -> None:
        """Copy a file out of the store, checking its digest on the way. Raises StepRefused as `read`."""
        with target.open("wb") as file:
            try:
                self._copy(digest, file)
            except StepRefused:
                target.unlink()
                raise

    def _copy(self, digest: str, out: IO[bytes] | None) -> None:
        hasher = hashlib.sha256()
        try:
            source = self.path(digest).open("rb")
        except OSError as error:
            raise StepRefused(f"{digest} can't be read from the store: {error.strerror}") from None
        with source:
            while chunk := source.read(_CHUNK):
                hasher.update(chunk)
                if out is not None:
                    out.write(chunk)
        if "sha256:" + hasher.hexdigest() != digest:
            raise self._tampered(digest)

    def is_tree(self, digest: str) -> bool:
        """Whether a digest is that of a directory's manifest."""
        try:
            with self.path(digest).open("rb") as file:
                head = file.read(len('{"entries":'))
                if head != b'{"entries":':
                    return False
        except OSError:
            return False
        return self.path(digest).read_bytes().endswith(f'"type":"{TREE}"}}'.encode())

    def tree(self, digest: str) -> list[dict[str, str | int]]:
        """The entries of a directory. Raises StepRefused as `read`."""
        entries: list[dict[str, str | int]] = json.loads(self.read(digest))["entries"]
        return entries

    def write_tree(self, digest: str, target: Path) -> None:
        """Copy a directory out of the store into `target`, which may exist. Raises StepRefused as `read`."""
        target.mkdir(parents=True, exist_ok=True)
        for entry in self.tree(digest):
            self.write_entry(entry, target)

    def write_entry(self, entry: dict[str, str | int], root: Path) -> None:
        """Copy one entry of a directory to its place under `root`."""
        path = root / str(entry["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        if "link" in entry:
            path.symlink_to(str(entry["link"]))
        elif "dir" in entry:
            path.mkdir(exist_ok=True)
        else:
            self.write_to(str(entry["sha256"]), path)
            path.chmod(0o755 if entry["exec"] else 0o644)

    @contextmanager
    def _new(self) -> Iterator[IO[bytes]]:
        try:
            incoming = self.root / "incoming"
            incoming.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=incoming, delete=False) as file:
                try:
                    yield file
                finally:
                    Path(file.name).unlink(missing_ok=True)
        except OSError as error:
            raise PluginError(f"the artifact store {self.root} can't be written: {error.strerror}") from error

    def _settle(self, file: IO[bytes], digest: str) -> None:
        file.flush()
        os.fsync(file.fileno())
        target = self.path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.chmod(file.name, 0o444)
        Path(file.name).rename(target)

    def _tampered(self, digest: str) -> StepRefused:
        return StepRefused(
            f"the bytes in the store are not those of {digest}: they were changed after they were kept. "
            f"The file: {self.path(digest)}"
        )


def walk(root: Path, leave_out: frozenset[str] = frozenset()) -> Iterator[tuple[str, str, os.stat_result]]:
    """Every file, link and empty directory under `root`, in a fixed order: relative path, path, lstat."""
    with os.scandir(root) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name in leave_out:
            continue
        info = entry.stat(follow_symlinks=False)
        if not entry.is_dir(follow_symlinks=False):
            if stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode):
                yield entry.name, entry.path, info
            continue
        empty = True
        for relative, path, inner in walk(Path(entry.path)):
            empty = False
            yield f"{entry.name}/{relative}", path, inner
        if empty:
            yield entry.name, entry.path, info


def remove(path: Path) -> None:
    """Remove a file or a directory, whatever its modes, if it is there."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path, onerror=_make_writable)


def _make_writable(_: object, name: str, __: object) -> None:
    path = Path(name)
    path.parent.chmod(0o700)
    if path.is_dir() and not path.is_symlink():
        path.chmod(0o700)
        shutil.rmtree(path)
    else:
        path.unlink()
