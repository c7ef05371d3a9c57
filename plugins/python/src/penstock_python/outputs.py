"""Checks what a build has left: the right files, of the right project, whole."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import Literal

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version
from penstock import StepFailed

Format = Literal["wheel", "sdist"]

_SUFFIX: dict[Format, str] = {"wheel": ".whl", "sdist": ".tar.gz"}
_CHUNK = 1 << 20
_UNHASHED = re.compile(r"[^/]+\.dist-info/RECORD(\.jws|\.p7s)?")


@dataclass(frozen=True)
class Output:
    """One file that was built."""

    format: Format
    path: Path
    name: str
    """Normalised."""
    version: Version


def collect(out: Path, formats: Sequence[Format], project: str | None) -> list[Output]:
    """The outputs in the order of `formats`, checked. Raises StepFailed where anything is wrong."""
    files = sorted(out.iterdir()) if out.is_dir() else []
    outputs = [_check(_only(files, kind), kind) for kind in formats]
    extra = [file.name for file in files if file not in [output.path for output in outputs]]
    if extra:
        raise StepFailed(
            f"the build left more than was asked for: {', '.join(extra)}. Expected: {_listed(outputs)}"
        )
    _agree(outputs, project)
    return outputs


def _only(files: Sequence[Path], kind: Format) -> Path:
    found = [file for file in files if file.name.endswith(_SUFFIX[kind])]
    if len(found) == 1:
        return found[0]
    what = ", ".join(file.name for file in found) or "none"
    raise StepFailed(
        f"the build should have left one {kind} (*{_SUFFIX[kind]}) and left {len(found)}: {what}. That is a "
        "fault of the build backend"
    )


def _check(path: Path, kind: Format) -> Output:
    try:
        if kind == "wheel":
            name, version, *_ = parse_wheel_filename(path.name)
            metadata = _open_wheel(path)
        else:
            name, version = parse_sdist_filename(path.name)
            metadata = _open_sdist(path)
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        raise StepFailed(f"{path.name} is not the name of a valid {kind}: {error}") from None
    except _FAULTS as error:
        raise StepFailed(
            f"{path.name} is not a valid {kind}: {error}. That is a fault of the build backend"
        ) from None
    inner_name, inner_version = metadata
    if canonicalize_name(inner_name) != name or inner_version != version:
        raise StepFailed(
            f"{path.name} says inside that it is {inner_name} {inner_version}. File name and metadata must "
            "agree; that is a fault of the build backend"
        )
    return Output(kind, path, name, version)


def _agree(outputs: Sequence[Output], project: str | None) -> None:
    first, *others = outputs
    for other in others:
        if (other.name, other.version) != (first.name, first.version):
            raise StepFailed(
                f"{first.path.name} and {other.path.name} are not of one release. Where the version is "
                "worked out during the build, make sure that a build from the sdist gives the same one"
            )
    if project is not None and first.name != canonicalize_name(project):
        raise StepFailed(
            f'{first.path.name} is not of the project "{project}" that pyproject.toml or setup.cfg names. '
            "Is directory right?"
        )


class _BadFileError(Exception):
    pass


_FAULTS = (
    _BadFileError,
    csv.Error,
    EOFError,
    NotImplementedError,  # a compression that nobody else reads either
    OSError,
    RuntimeError,  # encrypted
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


def _open_wheel(path: Path) -> tuple[str, Version]:
    with zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        _refuse_unsafe(names)
        infos = {name.partition("/")[0] for name in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)}
        if len(infos) != 1:
            raise _BadFileError(f"it has {len(infos)} *.dist-info/METADATA instead of one")
        info = infos.pop()
        for needed in ("WHEEL", "RECORD"):
            if f"{info}/{needed}" not in names:
                raise _BadFileError(f"it has no {info}/{needed}")
        _check_record(archive, names, f"{info}/RECORD")
        return _identity(archive.read(f"{info}/METADATA"))


def _check_record(archive: zipfile.ZipFile, names: Sequence[str], record: str) -> None:
    text = archive.read(record).decode(errors="replace")
    rows = {row[0]: row for row in csv.reader(io.StringIO(text)) if row}
    unlisted = [name for name in names if name not in rows and not _UNHASHED.fullmatch(name)]
    if unlisted:
        raise _BadFileError(f"RECORD does not list {unlisted[0]}")
    missing = [name for name in rows if name not in names]
    if missing:
        raise _BadFileError(f"RECORD lists {missing[0]}, which is not in it")
    for name in names:
        if not _UNHASHED.fullmatch(name) and not _matches(archive.read(name), rows[name]):
            raise _BadFileError(f"RECORD has another digest for {name}")


def _matches(data: bytes, row: Sequence[str]) -> bool:
    algorithm, _, expected = row[1].partition("=") if len(row) > 1 else ("", "", "")
    if algorithm not in ("sha256", "sha384", "sha512"):
        return False
    actual = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).decode().rstrip("=")
    return actual == expected.rstrip("=")


def _open_sdist(path: Path) -> tuple[str, Version]:
    with gzip.open(path) as stream:
        while stream.read(_CHUNK):
            pass  # tarfile stops at the last member; the checksum comes after it
    with tarfile.open(path, "r:gz") as archive:
        names = archive.getnames()
        _refuse_unsafe(names)
        tops = {name.partition("/")[0] for name in names}
        if len(tops) != 1:
            raise _BadFileError(f"it has {len(tops)} directories at its top instead of one")
        member = f"{tops.pop()}/PKG-INFO"
        file = archive.extractfile(member) if member in names else None
        if file is None:
            raise _BadFileError(f"it has no {member}")
        return _identity(file.read())


def _identity(metadata: bytes) -> tuple[str, Version]:
    headers = HeaderParser().parsestr(metadata.decode(errors="replace"))
    name, version = headers["Name"], headers["Version"]
    if not name or not version:
        raise _BadFileError("its metadata has no Name or no Version")
    try:
        return str(name), Version(str(version))
    except InvalidVersion as error:
        raise _BadFileError(f"its metadata names no valid version: {error}") from None


def _refuse_unsafe(names: Sequence[str]) -> None:
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise _BadFileError(f"the path {name} in it leads outside")
    if len(set(names)) != len(names):
        raise _BadFileError("it has a path twice")


def _listed(outputs: Sequence[Output]) -> str:
    return ", ".join(output.path.name for output in outputs)
