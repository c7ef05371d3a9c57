"""What a wheel says of itself: its name, what it needs, and which modules it carries."""

from __future__ import annotations

import email.parser
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from penstock import Model, StepFailed

_FROM_PATH = re.compile(r"@\s*file:")
_TESTS = frozenset({"test", "tests", "testing"})


class Wheel(Model):
    """One wheel under test."""

    path: Path
    name: str
    version: str
    requires: tuple[str, ...] = ()
    requires_python: str = ""
    extras: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()

    @property
    def units(self) -> tuple[str, ...]:
        """What it adds to the import path: packages and modules, as paths without their ending."""
        return units(self.files)

    @property
    def from_paths(self) -> tuple[str, ...]:
        """What it needs from a path, which was there when it was built."""
        return tuple(line for line in self.requires if _FROM_PATH.search(line))

    @property
    def from_indexes(self) -> tuple[str, ...]:
        """What else it needs."""
        return tuple(line for line in self.requires if not _FROM_PATH.search(line))


def read(path: Path) -> Wheel:
    """Read a wheel's metadata and table of contents. Raises StepFailed for what is not a wheel."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            found = [name for name in names if PurePosixPath(name).match("*.dist-info/METADATA")]
            metadata = email.parser.BytesParser().parsebytes(archive.read(found[0]))
    except (zipfile.BadZipFile, OSError, IndexError) as error:
        raise StepFailed(f"{path.name} is not a wheel that can be tested: {error}") from None
    return Wheel(
        path=path,
        name=canonicalize_name(metadata["Name"] or ""),
        version=metadata["Version"] or "",
        requires=tuple(sorted(metadata.get_all("Requires-Dist") or ())),
        requires_python=metadata["Requires-Python"] or "",
        extras=tuple(canonicalize_name(extra) for extra in metadata.get_all("Provides-Extra") or ()),
        files=frozenset(file for name in names if (file := _installed(name))),
    )


def choose(paths: Sequence[Path], version: tuple[int, int], *, own: bool = True) -> tuple[Path, ...]:
    """One wheel for each distribution: the one that fits this version of Python.

    A distribution's only wheel is taken without asking, since the installer says best what is wrong.
    """
    by_name: dict[str, list[Path]] = {}
    for path in dict.fromkeys(paths):
        by_name.setdefault(_name(path), []).append(path)
    tags = frozenset(sys_tags()) if own else _tags(version)
    return tuple(_fitting(name, found, tags, version) for name, found in by_name.items())


def check_python(wheel: Wheel, version: str) -> None:
    """Refuse a Python that the wheel is not made for."""
    try:
        fits = SpecifierSet(wheel.requires_python).contains(version, prereleases=True)
    except InvalidSpecifier:
        return  # the installer's to judge
    if not fits:
        raise StepFailed(
            f"{wheel.path.name} needs Python {wheel.requires_python}, and the tests would run on {version}. "
            f"Set `python` to one that fits"
        )


def units(files: Iterable[str]) -> tuple[str, ...]:
    """The packages and modules at the top of a wheel; of a namespace, the first packages inside.

    Tests at the top of a wheel don't count: they are the project's, not what it ships.
    """
    files = frozenset(files)
    packages = {str(PurePosixPath(file).parent) for file in files if _stem(file) == "__init__"}
    found = set()
    for file in files:
        if not file.endswith((".py", ".so", ".pyd", ".pyi")):
            continue
        parents = [str(parent) for parent in reversed(PurePosixPath(file).parents)][1:]
        package = next((parent for parent in parents if parent in packages), None)
        if package is None and len(parents) > 0:
            package = parents[-1]
        found.add(package or _stem(file))
    outer = [unit for unit in found if not any(unit.startswith(f"{other}/") for other in found)]
    return tuple(sorted(unit for unit in outer if not is_test(PurePosixPath(unit).parts[0])))


def is_test(name: str) -> bool:
    """Whether a file or directory is named as tests are."""
    stem = name.partition(".")[0]
    return stem in {*_TESTS, "conftest"} or stem.startswith("test_") or stem.endswith("_test")


def _installed(name: str) -> str | None:
    """Where in site-packages a member comes to lie."""
    first, _, rest = name.partition("/")
    if name.endswith("/") or first.endswith(".dist-info"):
        return None
    if not first.endswith(".data"):
        return name
    scheme, _, inner = rest.partition("/")
    return inner if scheme in ("purelib", "platlib") else None


def _stem(file: str) -> str:
    return PurePosixPath(file).name.partition(".")[0]


def _name(path: Path) -> str:
    try:
        return str(parse_wheel_filename(path.name)[0])
    except InvalidWheelFilename as error:
        raise StepFailed(f"{path.name} is not a wheel that can be tested: {error}") from None


def _tags(version: tuple[int, int]) -> frozenset[Tag]:
    return frozenset([*cpython_tags(version), *compatible_tags(version, f"cp{version[0]}{version[1]}")])


def _fitting(name: str, paths: list[Path], tags: frozenset[Tag], version: tuple[int, int]) -> Path:
    if len(paths) == 1:
        return paths[0]
    fitting = [path for path in paths if parse_wheel_filename(path.name)[3] & tags]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(path.name for path in paths)
    python = ".".join(map(str, version))
    problem = "none of them fits" if not fitting else f"{len(fitting)} of them fit"
    raise StepFailed(
        f"there are {len(paths)} wheels of {name}, and {problem} Python {python}: {names}. "
        "Name the build step that is meant under `needs`"
    )
