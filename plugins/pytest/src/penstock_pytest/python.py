"""Which Python the tests run on."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from penstock import ConfigError

from penstock_pytest.installer import find_uv

_PROBE = (
    "import json, os, platform, sys, sysconfig; "
    "print(json.dumps([getattr(sys, '_base_executable', sys.executable), platform.python_version(), "
    "list(sys.version_info[:2]), os.path.basename(sysconfig.get_path('stdlib'))]))"
)
_OLDEST = (3, 8)
_NEWEST = 20  # the second number of the newest that is looked for
_PATCHES = 100  # more releases than any series has
_PATIENCE = 30.0  # seconds


@dataclass(frozen=True)
class Interpreter:
    """A Python that environments can be made of."""

    path: Path
    version: str
    release: tuple[int, int]
    library: str
    """The name of its directory under `lib`, such as "python3.13" or "pypy3.10"."""


def own() -> Interpreter:
    """The Python that Penstock itself runs on, outside of its virtual environment."""
    return Interpreter(
        path=Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable))),
        version=platform.python_version().rstrip("+"),  # which some builds between two releases have
        release=sys.version_info[:2],
        library=Path(sysconfig.get_path("stdlib")).name,
    )


def find(wanted: str | None, run: Callable[[list[str]], str | None], uv: Path | None) -> Interpreter:
    """The Python that a section asks for; `run` gives a program's output, None where it fails."""
    if wanted is None:
        return own()
    for candidate in _candidates(wanted, run, uv):
        output = run([candidate, "-I", "-c", _PROBE])
        found = read(output) if output else None
        if found is not None and fits(wanted, found):
            return _checked(found)
    raise ConfigError(
        f'`python` asks for "{wanted}", and there is no such Python on this machine. Install it, '
        "or name the path of one"
    )


def fitting(requires: str) -> Interpreter | None:
    """The Python for a project's `requires-python`: our own, or else the newest that is here and fits."""
    try:
        specifier = SpecifierSet(requires)
    except InvalidSpecifier:
        return own()  # its build will say what is wrong with it
    if specifier.contains(own().version, prereleases=True):
        return own()
    for minor in range(_NEWEST, _OLDEST[1] - 1, -1):
        if not _may_fit(specifier, minor):
            continue  # looking for one takes a good part of a second
        with suppress(ConfigError):
            found = find(f"3.{minor}", _output, find_uv())
            if specifier.contains(found.version, prereleases=True):
                return found
    return None


def _may_fit(specifier: SpecifierSet, minor: int) -> bool:
    """Whether any release of this series is one that is asked for."""
    releases = (f"3.{minor}.{patch}" for patch in range(_PATCHES))
    return any(specifier.contains(release, prereleases=True) for release in releases)


def _output(argv: list[str]) -> str | None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def read(output: str) -> Interpreter | None:
    """What the probe printed."""
    try:
        path, version, release, library = json.loads(output.strip().splitlines()[-1])
        return Interpreter(
            Path(os.path.realpath(path)), version.rstrip("+"), (release[0], release[1]), library
        )
    except (ValueError, TypeError, IndexError, AttributeError):
        return None


def fits(wanted: str, found: Interpreter) -> bool:
    """Whether a Python is the one asked for: a path is, a version must agree as far as it goes."""
    digits = wanted.lower().removeprefix("python").removeprefix("pypy")
    if os.sep in wanted or not digits[:1].isdigit():
        return True
    return f"{found.version}.".startswith(f"{digits}.")


def _candidates(wanted: str, run: Callable[[list[str]], str | None], uv: Path | None) -> Iterator[str]:
    if os.sep in wanted:
        yield str(Path(wanted).expanduser())
        return
    if fits(wanted, own()) and wanted[0].isdigit():
        yield str(own().path)
    name = wanted if not wanted[0].isdigit() else f"python{'.'.join(wanted.split('.')[:2])}"
    if (path := shutil.which(name)) is not None:
        yield path
    if uv is not None and (
        output := run([str(uv), "python", "find", "--no-project", "--no-python-downloads", wanted])
    ):
        yield output.strip()


def _checked(found: Interpreter) -> Interpreter:
    if found.release < _OLDEST:
        raise ConfigError(f"`python`: {found.path} is Python {found.version}; tests run on 3.8 and later")
    return found
