"""The content-addressed store: bytes go in, their digest comes out, and nothing else comes out for it.

A file is kept under the SHA-256 of its bytes. A directory is kept as a manifest, a JSON text that names
every file with its mode and digest, and is known by the manifest's digest.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from penstock import disk, incoming
from penstock.errors import PenstockError, PluginError, StepFailed, StepRefused
from penstock.incoming import Batch
from penstock.model import Artifact, sha256_of
from penstock.trees import remove as remove
from penstock.trees import walk as walk

_CHUNK = 1 << 20
TREE = "penstock-tree-v1"
_DIGITS = 64


class Store:
    """Artifacts in a directory. Writing is atomic and durable; reading checks the digest."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Where the bytes of a digest lie, or would lie."""
        return Path(self._place(digest))

    def _place(self, digest: str) -> str:
        digits = digest.removeprefix("sha256:")
        return f"{self.root}/{digits[:2]}/{digits[2:]}"

    def has(self, digest: str) -> bool:
        """Whether the bytes are there (unchecked: reading checks)."""
        return os.path.isfile(self._place(digest))  # noqa: PTH113 - asked at every step

    def hold(self, digest: str) -> bool:
        """Whether the bytes are there; if so, `discard` takes them for as new as if just added."""
        try:
            with self._guarded(fcntl.LOCK_SH):
                os.utime(self._place(digest))
        except FileNotFoundError:
            return False
        except OSError:  # a disk that is read-only: nobody can discard anything there either
            return self.has(digest)
        return True

    def discard(self, digest: str, older_than: float) -> int:
        """Remove bytes that nobody has added or held since then, in seconds since 1970; how many went."""
        with suppress(FileNotFoundError), self._guarded(fcntl.LOCK_EX):
            info = os.lstat(self._place(digest))
            if info.st_mtime < older_than:
                self.path(digest).unlink()
                return info.st_size
        return 0

    def digests(self, begin: str = "sha256:") -> Iterator[tuple[str, int]]:
        """What is kept whose digest begins so, and the size of its bytes."""
        digits = begin.removeprefix("sha256:")
        for first in sorted(self.root.glob("[0-9a-f][0-9a-f]")):
            if not first.name.startswith(digits[:2]):
                continue
            with os.scandir(first) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
            for entry in entries:
                if len(entry.name) == _DIGITS - 2 and entry.name.startswith(digits[2:]):
                    yield f"sha256:{first.name}{entry.name}", entry.stat(follow_symlinks=False).st_size

    def add_bytes(self, data: bytes) -> str:
        """Keep some bytes; their digest. Raises PluginError where the disk does not take them."""
        return self._add_bytes(data, None)

    def add_all(self, many: Iterable[bytes]) -> None:
        """Keep several, in one go. Raises as `add_bytes`."""
        with self._together() as together:
            for data in many:
                self._add_bytes(data, together)

    def _add_bytes(self, data: bytes, together: Batch | None) -> str:
        digest = sha256_of(data)
        if not self._sound(digest):
            with self._new(together) as file:
                file.write(data)
                self._settle(file, digest, together)
        return digest

    def sync(self) -> None:
        """Make all that was added durable. Raises PluginError where the disk does not take it."""
        try:
            disk.sync(self.root)
        except OSError as error:
            raise self._unwritable(error) from error

    def add_file(self, source: Path) -> tuple[str, int]:
        """Keep a file's bytes; their digest and size.

        Raises StepFailed where it is no file that can be read, PluginError where the disk does not take it.
        """
        return self._add_file(source, None)

    def _add_file(self, source: Path, together: Batch | None) -> tuple[str, int]:
        """Keep a file's bytes now, or when all that stand in `together` are made durable."""
        with _opened(source) as original:
            digest, size = _copy(original, None)
            if (together is not None and digest in together.files) or self._sound(digest):
                return digest, size
            original.seek(0)
            with self._new(together) as file:
                digest, size = _copy(original, file)  # again: it may have changed meanwhile
                self._settle(file, digest, together)
        return digest, size

    def add_tree(self, root: Path, *, leave_out: frozenset[str] = frozenset()) -> tuple[str, int]:
        """Keep a directory: its files, links and empty directories; the manifest's digest, the files' size.

        `leave_out` names entries at the top that do not count.
        """
        entries, total = [], 0
        with self._together() as together:
            for relative, path, info in walk(root, leave_out):
                entry: dict[str, str | int] = {"path": relative}
                if stat.S_ISLNK(info.st_mode):
                    entry["link"] = os.readlink(path)
                elif stat.S_ISDIR(info.st_mode):
                    entry["dir"] = 1
                else:
                    entry["sha256"], size = self._add_file(Path(path), together)
                    entry["size"] = size
                    entry["exec"] = int(bool(info.st_mode & stat.S_IXUSR))
                    total += size
                entries.append(entry)
            # Escaped, a name that is not UTF-8 stands in the manifest as the bytes that it is.
            manifest = json.dumps({"type": TREE, "entries": entries}, sort_keys=True, separators=(",", ":"))
            digest = self._add_bytes(manifest.encode(), together)
        return digest, total

    def keep(self, path: Path, kind: str, *, name: str | None = None) -> Artifact:
        """Keep a file or a directory as an artifact. Raises as `add_file`."""
        digest, size = self.add_tree(path) if path.is_dir() else self.add_file(path)
        name = os.fsencode(name or path.name).decode(errors="replace")
        return Artifact(name=name, kind=kind, digest=digest, size=size)

    def read(self, digest: str) -> bytes:
        """The bytes of a digest.

        Raises StepRefused where they are not there or are not those that were kept.
        """
        try:
            data = self.path(digest).read_bytes()
        except OSError as error:
            raise _unreadable(digest, error) from error
        if sha256_of(data) != digest:
            raise self._tampered(digest)
        return data

    def verify(self, digest: str) -> None:
        """Compare a file's bytes with its digest, and hold them. Raises StepRefused as `read`."""
        self.hold(digest)
        self._take_out(digest, None)

    def write_to(self, digest: str, target: Path) -> None:
        """Copy a file out of the store, checking its digest on the way. Raises StepRefused as `read`."""
        with target.open("xb") as file:
            try:
                self._take_out(digest, file)
            except BaseException:
                target.unlink()
                raise

    def _take_out(self, digest: str, out: IO[bytes] | None) -> None:
        try:
            source = open(self._place(digest), "rb")  # noqa: PTH123, SIM115 - for every step, as `has`
        except OSError as error:
            raise _unreadable(digest, error) from error
        with source:
            if _copy(source, out)[0] != digest:
                raise self._tampered(digest)

    def is_tree(self, digest: str) -> bool:
        """Whether a digest is that of a directory's manifest."""
        head, tail = b'{"entries":', f'"type":"{TREE}"}}'.encode()
        try:
            with self.path(digest).open("rb") as file:
                if file.read(len(head)) != head:
                    return False
                file.seek(-len(tail), os.SEEK_END)
                return file.read() == tail
        except OSError:
            return False

    def tree(self, digest: str) -> list[dict[str, str | int]]:
        """The entries of a directory. Raises StepRefused as `read`, and where it is none or leads outside."""
        try:
            manifest = json.loads(self.read(digest))
            entries: list[dict[str, str | int]] = manifest["entries"]
            if manifest["type"] == TREE and _is_tidy(entries):
                return entries
        except (ValueError, KeyError, TypeError):
            pass
        raise StepRefused(f"{digest} is not a directory that Penstock has kept")

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
            path.symlink_to(str(entry["link"]))  # as it was: where it leads is not followed here
        elif "dir" in entry:
            path.mkdir(exist_ok=True)
        else:
            self.write_to(str(entry["sha256"]), path)
            path.chmod(0o755 if entry["exec"] else 0o644)

    def sweep(self) -> None:
        """Remove what writers left behind that were killed: nobody holds it open any more."""
        with suppress(OSError):
            with os.scandir(self.root / "incoming") as scan:
                entries = list(scan)
            for entry in entries:
                batch, of, _ = entry.path.rpartition(incoming.OF)
                with suppress(OSError):
                    if not of or not incoming.is_held(batch):
                        incoming.remove_if_left(entry.path)

    def _sound(self, digest: str) -> bool:
        """Whether a digest's bytes are there, undamaged: adding those that are not brings them back."""
        if not self.has(digest):
            return False
        try:
            self.verify(digest)
        except StepRefused:
            return False
        return True

    @contextmanager
    def _guarded(self, how: int) -> Iterator[None]:
        """Between whoever finds bytes that are there already, and whoever removes those that nobody needs."""
        guard = os.open(f"{self.root}/guard", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(guard, how)
            yield
        finally:
            os.close(guard)

    @contextmanager
    def _together(self) -> Iterator[Batch]:
        """Files that are made durable in one go, and only then are in the store."""
        files: dict[str, str] = {}
        with self._held() as name:
            try:
                yield Batch(name, files)
                if files:
                    self.sync()
                for digest, path in files.items():
                    self._put(path, digest)
            except BaseException:
                for path in files.values():
                    Path(path).unlink(missing_ok=True)
                raise

    @contextmanager
    def _held(self) -> Iterator[str]:
        """A file that is held for all that are named after it: whoever sweeps leaves those alone."""
        path = self._incoming()
        try:
            file = incoming.created(path)
        except OSError as error:
            raise self._unwritable(error) from error
        with file:
            try:
                yield path
            finally:
                Path(path).unlink(missing_ok=True)

    def _incoming(self) -> str:
        return f"{self.root}/incoming/{os.urandom(16).hex()}"

    def _unwritable(self, error: OSError) -> PluginError:
        return PluginError(f"the artifact store {self.root} can't be written: {error.strerror}")

    @contextmanager
    def _new(self, together: Batch | None = None) -> Iterator[IO[bytes]]:
        path = f"{together.name}{incoming.OF}{os.urandom(16).hex()}" if together else self._incoming()
        try:
            with incoming.created(path) as file:
                try:
                    yield file
                except BaseException:
                    Path(path).unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise self._unwritable(error) from error

    def _settle(self, file: IO[bytes], digest: str, together: Batch | None) -> None:
        """Nothing more is written to a new file: it comes into the store now, or with those in `together`."""
        file.flush()
        os.fchmod(file.fileno(), 0o444)
        if together is not None:
            together.files[digest] = file.name
            return
        os.fsync(file.fileno())
        self._put(file.name, digest)

    def _put(self, name: str, digest: str) -> None:
        target = self._place(digest)
        try:
            os.rename(name, target)  # noqa: PTH104
        except FileNotFoundError:  # the first whose digest begins so
            Path(target).parent.mkdir(exist_ok=True)
            os.rename(name, target)  # noqa: PTH104

    def _tampered(self, digest: str) -> StepRefused:
        return StepRefused(
            f"the bytes in the store are not those of {digest}: they were changed after they were kept. "
            f"The file: {self.path(digest)}"
        )


def _unreadable(digest: str, error: OSError) -> PenstockError:
    """What to raise where bytes can't be had. What the machine lacks says nothing about them."""
    kind = PluginError if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM) else StepRefused
    return kind(f"{digest} can't be read from the store: {error.strerror}")


@contextmanager
def _opened(source: Path) -> Iterator[IO[bytes]]:
    """A regular file, opened. Anything else would wait for a writer, or never end."""
    try:
        if not stat.S_ISREG(source.stat().st_mode):
            raise StepFailed(f"{source.name} can't be kept: it is neither a file nor a directory")
        file = source.open("rb")
    except OSError as error:
        raise StepFailed(f"{source.name} can't be read: {error.strerror}") from None
    with file:
        yield file


def _copy(source: IO[bytes], out: IO[bytes] | None) -> tuple[str, int]:
    """Read to the end, writing what is read; its digest and size."""
    hasher, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        hasher.update(chunk)
        size += len(chunk)
        if out is not None:
            out.write(chunk)
    return "sha256:" + hasher.hexdigest(), size


def _is_tidy(entries: list[dict[str, str | int]]) -> bool:
    """Whether every entry stays below the directory, and none stands below a link or a file."""
    leaves: set[str] = set()
    above: set[str] = set()
    for entry in entries:
        path = entry["path"]
        if not isinstance(path, str) or {"", ".", ".."} & set(path.split("/")) or path in leaves:
            return False
        leaves.add(path)
        while "/" in path:
            path = path.rpartition("/")[0]
            above.add(path)
    return leaves.isdisjoint(above)


def file_name(name: str) -> str:
    """An artifact's name as that of a file right there: images have slashes in theirs."""
    flat = name.replace("/", "_").replace("\0", "_")
    return flat if flat not in ("", ".", "..", ".incoming") else f"_{flat}"
