"""What a project's own files say about its build: read, checked, never executed."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from penstock import StepFailed

_AT_LINE = re.compile(r"\s*\(at line (\d+), column \d+\)$")
# Without pyproject.toml, or beside it, setuptools' own files may name what the version comes from.
_OLD_FILES = ("setup.py", "setup.cfg")
_OLD_TOOLS = {
    "setuptools-scm": re.compile(r"setuptools[-_]scm|use_scm_version"),
    "pbr": re.compile(r"\bpbr\b"),
    "versioneer": re.compile(r"\bversioneer\b"),
}
_OLD_NAME = re.compile(r"^\[metadata\][^\[]*?^name\s*=\s*(\S+)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Project:
    """The part of a project's metadata that the build is checked against."""

    root: Path
    name: str | None
    """As the project writes it; None where only its backend knows."""
    tools: frozenset[str]
    """The build's requirements, by normalised name, and what setup.py and setup.cfg mention."""
    static_version: bool
    """Whether the version stands in `[project]`."""
    requires: frozenset[str] = frozenset()
    """The build's requirements alone, also those whose say in the version is not asked for."""


def read(root: Path, shown: str) -> Project:
    """The project in a directory, which messages call `shown`. Raises StepFailed where it can't be built."""
    file = root / "pyproject.toml"
    if not file.is_file():
        if not (root / "setup.py").is_file():
            raise StepFailed(
                f"there is nothing to build in {shown}: no pyproject.toml and no setup.py. Add a "
                'pyproject.toml with [build-system] and [project], or say where it is: directory = "…"'
            )
        return _project(root, {}, shown)
    return _project(root, _load(file, _beside(shown)), shown)


def _load(file: Path, shown: str) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise StepFailed(
            f"{shown} is not UTF-8 (byte {error.start}). TOML files are: save it as UTF-8"
        ) from None
    except tomllib.TOMLDecodeError as error:
        text = str(error)
        line = _AT_LINE.search(text)
        place = f"{shown}:{line.group(1)}" if line else shown
        raise StepFailed(f"{place}: {_AT_LINE.sub('', text)}. Correct the TOML; nothing was built") from None


def _project(root: Path, data: dict[str, Any], shown: str) -> Project:
    file = _beside(shown)
    system = _table(data, "build-system", file)
    table = _table(data, "project", file)
    name = table.get("name")
    requires = frozenset(_requirements(system, file))
    return Project(
        root=root,
        name=name if isinstance(name, str) else _old_name(root),
        tools=requires - _unused_tools(data) | _old_tools(root),
        static_version="version" in table,
        requires=requires,
    )


def _requirements(system: dict[str, Any], file: str) -> list[str]:
    requires = system.get("requires", [])
    if system and "requires" not in system:
        raise StepFailed(
            f'{file}: [build-system] has no requires. Add, for instance: requires = ["hatchling"]'
        )
    if not isinstance(requires, list) or not all(isinstance(entry, str) for entry in requires):
        raise StepFailed(f'{file}: build-system.requires is not a list of strings, such as ["hatchling"]')
    names: list[str] = []
    for entry in requires:
        try:
            names.append(canonicalize_name(Requirement(entry).name))
        except InvalidRequirement as error:
            reason = str(error).partition("\n")[0]
            raise StepFailed(
                f"{file}: build-system.requires: {entry!r} is not a requirement: {reason}"
            ) from None
    return names


def _table(data: dict[str, Any], key: str, file: str) -> dict[str, Any]:
    table = data.get(key, {})
    if not isinstance(table, dict):
        raise StepFailed(f"{file}: {key} is not a table. Write [{key}] on a line of its own")
    return table


def _unused_tools(data: dict[str, Any]) -> set[str]:
    """The backends that could take the version from git, and here don't."""
    table: Any = data
    for key in ("tool", "pdm", "version", "source"):
        table = table.get(key) if isinstance(table, dict) else None
    return set() if table == "scm" else {"pdm-backend", "pdm-pep517"}


def _old_tools(root: Path) -> set[str]:
    text = "".join(_text(root / file) for file in _OLD_FILES)
    return {tool for tool, mention in _OLD_TOOLS.items() if mention.search(text)}


def _old_name(root: Path) -> str | None:
    match = _OLD_NAME.search(_text(root / "setup.cfg"))
    return match.group(1) if match else None


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _beside(shown: str) -> str:
    return "pyproject.toml" if shown == "." else f"{shown}/pyproject.toml"
