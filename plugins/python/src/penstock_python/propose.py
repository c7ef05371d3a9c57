"""What `penstock init` says about a Python project's build. Reads files alone, and runs nothing."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from penstock import Proposal, StepFailed
from pydantic import JsonValue

from penstock_python import discovery
from penstock_python.project import read

_BACKENDS = (
    *(
        "hatchling",
        "flit-core",
        "poetry-core",
        "poetry",
        "pdm-backend",
        "pdm-pep517",
        "uv-build",
        "scikit-build-core",
    ),
    *("maturin", "meson-python", "setuptools"),  # many name setuptools beside their own
)
_DEEPEST = 3
_NOT_MEMBERS = frozenset(
    ("test", "tests", "doc", "docs", "example", "examples", "node_modules", "venv", "build", "dist", "vendor")
)
_SHOWN = 3


def propose(root: Path) -> Proposal | None:
    """A build of wheel and sdist; None where there is nothing that pip could install.

    Where the root is no package and directories below it are, a build of each of these; of a workspace's
    root and of its members, if it is one itself.
    """
    try:
        project = read(root, ".")
    except StepFailed as error:
        if not (root / "pyproject.toml").is_file():
            return _of_members(root, None)
        return Proposal(saw="pyproject.toml, which can't be built", unsure=(str(error),))
    data = _pyproject(root)
    if not (root / "setup.py").is_file():
        if not {"build-system", "project"} & data.keys() and "poetry" not in _tool(data):
            return _of_members(root, None)
        if why := _why_not(root, data):
            return _of_members(root, data) or Proposal(
                saw="an application, which is not built", unsure=(f"{why}: no build step",), enable=False
            )
    built = Proposal(saw=f"{_backend(project.requires)}, {_layout(root)}", sections={"build.wheel": {}})
    # What a workspace's package needs of its other members is on no index.
    return _of_members(root, data, built) or built if _workspace(data) else built


def _why_not(root: Path, data: dict[str, Any]) -> str | None:
    """Why pyproject.toml is that of an application; None where it is a package's."""
    if _table(_tool(data), "poetry").get("package-mode") is False:
        return "[tool.poetry] says package-mode = false"
    if _table(_tool(data), "uv").get("package") is False:
        return "[tool.uv] says package = false"
    if "build-system" in data or _table(_tool(data), "uv").get("package") is True:
        return None
    if "project" not in data:
        return "pyproject.toml has no [build-system]"
    if "workspace" in _table(_tool(data), "uv"):
        return "pyproject.toml is a workspace's and has no [build-system]"
    if "setuptools" in _tool(data) or (root / "setup.cfg").is_file():
        return None  # it says itself what it is made of
    found = discovery.top_level(root)
    if len(found) == 1:
        return None
    what = f"several packages or modules ({', '.join(found[:_SHOWN])})" if found else "nothing to package"
    return f"pyproject.toml has no [build-system], and setuptools would find {what}"


def _of_members(root: Path, data: dict[str, Any] | None, built: Proposal | None = None) -> Proposal | None:
    """A build for each package below a root, beside the root's own; None where there are none below."""
    sections: dict[str, dict[str, JsonValue]] = dict(built.sections) if built else {}
    saw = [built.saw] if built else []
    for place in sorted(_members(root, data or {})):
        try:
            project = read(place, place.name)
        except StepFailed:
            continue
        directory = place.relative_to(root).as_posix()
        sections[f"build.{_name(place.name, sections)}"] = {"directory": directory}
        saw.append(f"{_backend(project.requires)} in {directory}/")
    return Proposal(saw=", ".join(saw), sections=sections) if len(sections) > bool(built) else None


def _members(root: Path, data: dict[str, Any]) -> Iterator[Path]:
    """The directories that a workspace names, or else all that hold a package."""
    if workspace := _workspace(data):
        left = {path for pattern in _strings(workspace.get("exclude")) for path in root.glob(pattern)}
        named = {path for pattern in _strings(workspace.get("members")) for path in root.glob(pattern)}
        yield from (path for path in named - left if path != root and _is_package(path))
        return
    yield from _packages(root, _DEEPEST)


def _workspace(data: dict[str, Any]) -> dict[str, Any]:
    return _table(_table(_tool(data), "uv"), "workspace")


def _packages(place: Path, depth: int) -> Iterator[Path]:
    for path in place.iterdir():
        if path.is_symlink() or not path.is_dir() or path.name.startswith(".") or path.name in _NOT_MEMBERS:
            continue
        if _is_package(path):
            yield path
        elif depth > 1 and not (path / "pyvenv.cfg").exists():
            yield from _packages(path, depth - 1)


def _is_package(place: Path) -> bool:
    return (place / "setup.py").is_file() or "build-system" in _pyproject(place)


def _name(word: str, taken: dict[str, dict[str, JsonValue]]) -> str:
    """A section's name for a directory's, each once."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", word)[:60].strip("-") or "package"
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(name for name in names if f"build.{name}" not in taken)


def _backend(requires: frozenset[str]) -> str:
    return next((name for name in _BACKENDS if name in requires), "setuptools")


def _layout(root: Path) -> str:
    return "src layout" if (root / "src").is_dir() else "flat layout"


def _pyproject(place: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((place / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _tool(data: dict[str, Any]) -> dict[str, Any]:
    return _table(data, "tool")


def _table(data: dict[str, Any], key: str) -> dict[str, Any]:
    table = data.get(key)
    return table if isinstance(table, dict) else {}


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
