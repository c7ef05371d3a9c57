"""Whether tests imported the tree where it is not what the wheel holds.

A project whose package lies at its root, or tests that put `src` on the import path, may import the tree
although the wheel is installed. That is as good as long as the files are the same. Python leaves a note of
what it imported, in `__pycache__`.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from penstock import StepFailed

_ROOTS = ("", "src", "lib", "python", "source")
"""Where projects keep their packages, seen from the project's directory."""
_NOT_LOOKED_AT = frozenset({".git", ".tox", ".nox", ".venv", "venv", "node_modules"})
_TESTS = frozenset({"test", "tests", "testing", "conftest"})


class Tree:
    """The files of a project before and after its tests ran."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._before = frozenset(_notes(project))

    def strangers(self, wheel: Path) -> list[str]:
        """The modules that were imported from the tree and are other ones than the wheel's, with why."""
        try:
            with zipfile.ZipFile(wheel) as archive:
                return list(self._strangers(archive))
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
            raise StepFailed(f"{wheel.name} is not a wheel that can be read: {error}") from None

    def _strangers(self, archive: zipfile.ZipFile) -> Iterator[str]:
        members = {_installed(name): name for name in archive.namelist()}
        units = {PurePosixPath(name).parts[0] for name in members if name}
        for file in sorted({_source(note) for note in _notes(self._project) if note not in self._before}):
            name = _inside(file, units)
            if name is None or not (self._project / file).is_file():
                continue
            if name in members:
                if archive.read(members[name]) != (self._project / file).read_bytes():
                    yield f"{file} is not what the wheel has"
            elif not _is_test(PurePosixPath(name)):
                yield f"{file} is not in the wheel"


def _notes(project: Path) -> Iterator[str]:
    """The compiled files of modules, relative to the project."""
    for place, directories, files in os.walk(project):
        directories[:] = [name for name in directories if name not in _NOT_LOOKED_AT]
        if Path(place).name == "__pycache__":
            inside = PurePosixPath(os.path.relpath(place, project))
            yield from (str(inside / name) for name in files if name.endswith(".pyc"))


def _source(note: str) -> str:
    """The module that a compiled file was made of: `a/__pycache__/b.cpython-313.pyc` is `a/b.py`."""
    path = PurePosixPath(note)
    return str(path.parent.parent / f"{path.name.partition('.')[0]}.py")


def _inside(file: str, units: set[str]) -> str | None:
    """A file of the tree as the wheel would name it; None where none of the wheel's packages has it."""
    for root in _ROOTS:
        path = PurePosixPath(file)
        if root and not path.is_relative_to(root):
            continue
        inside = path.relative_to(root)
        if inside.parts[0] in units:
            return str(inside)
    return None


def _installed(member: str) -> str:
    """Where in site-packages a member of a wheel comes to lie; empty for what is no code."""
    first, _, rest = member.partition("/")
    if first.endswith(".dist-info"):
        return ""
    if not first.endswith(".data"):
        return member
    scheme, _, inner = rest.partition("/")
    return inner if scheme in ("purelib", "platlib") else ""


def _is_test(path: PurePosixPath) -> bool:
    stems = [part.partition(".")[0] for part in path.parts]
    return any(stem in _TESTS or stem.startswith("test_") or stem.endswith("_test") for stem in stems)
