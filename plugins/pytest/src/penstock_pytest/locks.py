"""A project's lock file → the versions that its tests are held to. Reads files alone."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from penstock import Model

# The standard's own file first; then each tool's, and where its list of packages stands.
_FILES = {"pylock.toml": "packages", "uv.lock": "package", "poetry.lock": "package", "pdm.lock": "package"}
_NOT_AN_INDEX = ("editable", "virtual", "directory", "path", "git", "url", "vcs", "archive")


class Lock(Model):
    """The versions that a lock file names."""

    file: str = ""
    lines: tuple[str, ...] = ()
    """As constraints. What the file has in several versions for this Python and platform is left open."""


def read(root: Path, python: str) -> Lock:
    """The first lock file of a project that can be read, for this version of Python; an empty one without."""
    here = {"python_version": ".".join(python.split(".")[:2]), "python_full_version": python}
    for file, key in _FILES.items():
        try:
            data = tomllib.loads((root / file).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        entries = data.get(key)
        lines = tuple(_lines(entries if isinstance(entries, list) else [], here))
        if lines:
            return Lock(file=file, lines=lines)
    return Lock()


def _lines(entries: Iterable[Any], here: Mapping[str, str]) -> Iterable[str]:
    named = (entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("name"), str))
    packages = [entry for entry in named if _is_for(entry, here)]
    times = Counter(canonicalize_name(package["name"]) for package in packages)
    for package in packages:
        name = canonicalize_name(package["name"])
        if times[name] == 1 and _from_index(package) and _is_version(package.get("version")):
            yield f"{name}=={package['version']}"


def _is_for(package: Mapping[str, Any], here: Mapping[str, str]) -> bool:
    """Whether a fork of the resolution is this machine's: uv has lists of markers, the others have one."""
    found = package.get("resolution-markers", package.get("marker", package.get("markers")))
    markers = found if isinstance(found, list) else [found]
    return any(_holds(marker, here) for marker in markers)


def _holds(marker: object, here: Mapping[str, str]) -> bool:
    if not isinstance(marker, str):
        return True
    try:
        return Marker(marker).evaluate({**here, "extra": ""})
    except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName):
        return True


def _from_index(package: Mapping[str, Any]) -> bool:
    source = package.get("source")
    names = {*package, *(source if isinstance(source, dict) else {})}
    kind = source.get("type") if isinstance(source, dict) else None
    return not names.intersection(_NOT_AN_INDEX) and kind in (None, "legacy")


def _is_version(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(Version(value))
    except InvalidVersion:
        return False
