"""Archives → plain files below a directory. Nothing is ever written elsewhere, and no link is made."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from penstock import StepFailed

MAX_ENTRIES = 200_000
MAX_BYTES = 8 * 2**30
_ZIPS = (".whl", ".zip", ".pyz", ".egg", ".jar")
_PACKED = (
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"\x28\xb5\x2f\xfd",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!",
)


class Readable(Protocol):
    """What a file's bytes are read from."""

    def read(self, size: int, /) -> bytes: ...  # noqa: D102


Write = Callable[[PurePosixPath, Readable], int]
"""Writes one file below the tree's root and says how many bytes it had."""


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold before it is taken for an attack."""

    entries: int = MAX_ENTRIES
    bytes: int = MAX_BYTES


class Refused(Exception):
    """Why an archive is not unpacked; becomes a StepFailed that names it."""


def is_tar(path: Path) -> bool:
    """Whether a file is a tar archive, compressed or not. Raises StepFailed where its beginning is none."""
    try:
        return tarfile.is_tarfile(path)
    except OverflowError as error:
        raise StepFailed(
            f"{path.name} can't be scanned: it can't be unpacked ({error}). Build it anew"
        ) from None


def looks_packed(head: bytes) -> bool:
    """Whether a file that begins so is an archive or compressed."""
    return head.startswith(_PACKED)


def unpack(path: Path, write: Write, limits: Limits | None = None) -> bool:
    """Write every file of a zip or tar archive; False where `path` is neither.

    Raises StepFailed where the archive is broken, or holds what would land elsewhere.
    """
    reader = _reader(path)
    if reader is None:
        return False
    try:
        reader(path, _Guard(write, limits or Limits()))
    except Refused as error:
        raise StepFailed(f"{path.name} can't be scanned: {error}. Nothing of it is trusted") from None
    except (
        *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError, OverflowError),
        *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    ) as error:
        raise StepFailed(
            f"{path.name} can't be scanned: it can't be unpacked ({error}). Build it anew"
        ) from None
    return True


def _reader(path: Path) -> Callable[[Path, _Guard], None] | None:
    with path.open("rb") as file:
        starts_as_zip = file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    # An installer reads a wheel by its central directory, whatever stands before it: so do we.
    if starts_as_zip or path.name.lower().endswith(_ZIPS):
        return _read_zip
    if is_tar(path):
        return _read_tar
    return _read_zip if zipfile.is_zipfile(path) else None


class _Guard:
    """Lets a file through once, if it lies inside and the archive stays within its limits."""

    def __init__(self, write: Write, limits: Limits) -> None:
        self._write = write
        self._limits = limits
        self._seen: set[PurePosixPath] = set()
        self._entries = 0
        self._bytes = 0

    def count(self, name: str) -> None:
        self._entries += 1
        if self._entries > self._limits.entries:
            raise Refused(f"it holds more than {self._limits.entries:,} entries ({name} is one too many)")

    def file(self, name: str, content: Readable) -> None:
        path = inside(name)
        if path in self._seen:
            # Which of the two an installer takes is its own choice, so one of them could hide the other.
            raise Refused(f"it holds {name} twice")
        self._seen.add(path)
        left = self._limits.bytes - self._bytes
        self._bytes += self._write(path, _Limited(content, left))


class _Limited:
    """A stream that refuses to give more than it may, whatever its header says."""

    def __init__(self, content: Readable, left: int) -> None:
        self._content = content
        self._left = left

    def read(self, size: int) -> bytes:
        data = self._content.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise Refused("it unpacks to more than its limit of bytes")
        return data


def inside(name: str) -> PurePosixPath:
    """An entry's path, if it stays below the place that it is unpacked to."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise Refused(f"its entry {name!r} would be written outside of it")
    return path


def _check_link(name: str, target: str) -> None:
    depth = len(inside(name).parts) - 1
    if PurePosixPath(target).is_absolute():
        depth = -1
    for part in PurePosixPath(target).parts if depth >= 0 else ():
        depth += -1 if part == ".." else 1
        if depth < 0:
            break
    if depth < 0:
        raise Refused(f"its link {name!r} leads outside of it, to {target!r}")


def _read_zip(path: Path, guard: _Guard) -> None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            guard.count(entry.filename)
            if entry.is_dir():
                inside(entry.filename)
            elif entry.flag_bits & 0x1:
                raise Refused(f"its entry {entry.filename!r} is encrypted")
            elif stat.S_ISLNK(entry.external_attr >> 16):
                _check_link(entry.filename, archive.read(entry)[:4096].decode(errors="replace"))
            else:
                with archive.open(entry) as content:
                    guard.file(entry.filename, content)


def _read_tar(path: Path, guard: _Guard) -> None:
    with tarfile.open(path) as archive:
        for entry in _members(archive):
            guard.count(entry.name)
            if entry.isdir():
                if PurePosixPath(entry.name).parts:
                    inside(entry.name)
            elif entry.issym():
                _check_link(entry.name, entry.linkname)
            elif entry.islnk():
                inside(entry.linkname)
            elif entry.isreg():
                content = archive.extractfile(entry)
                if content is None:
                    raise Refused(f"its entry {entry.name!r} can't be read")
                with content:
                    guard.file(entry.name, content)
            else:
                raise Refused(f"its entry {entry.name!r} is neither a file, a directory nor a link")


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (entry := archive.next()) is not None:
        yield entry
    # The reader stops at a header that it can't read as if it were the end; others go on behind it.
    if archive.fileobj is None:
        return
    archive.fileobj.seek(archive.offset)
    while rest := archive.fileobj.read(1 << 20):
        if rest.strip(b"\0"):
            raise Refused("something stands behind its end")
