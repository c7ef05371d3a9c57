"""Where a project configures pytest, and what it says there."""

from __future__ import annotations

import configparser
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

from penstock import Model

_INI = (
    ("pytest.ini", "pytest"),
    (".pytest.ini", "pytest"),
    ("tox.ini", "pytest"),
    ("setup.cfg", "tool:pytest"),
)
_TOML = ("pytest.toml", ".pytest.toml")


class PytestConfig(Model):
    """What matters here of a project's configuration of pytest."""

    file: str | None = None
    testpaths: tuple[str, ...] = ()
    python_files: tuple[str, ...] = ()
    addopts: tuple[str, ...] = ()
    required_plugins: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    """Of all settings that it makes."""

    @property
    def doctests(self) -> bool:
        """Whether examples in documentation or modules are tests."""
        return any(option.startswith(("--doctest-modules", "--doctest-glob")) for option in self.addopts)


def read(project: Path) -> PytestConfig:
    """The project's own configuration; empty where it has none. What pytest can't read, it says itself."""
    for file in _TOML:
        if (project / file).is_file():
            return _of(file, _toml(project / file).get("pytest", {}))
    for file, section in _INI[:2]:
        if (project / file).is_file():
            return _of(file, _ini(project / file, section) or {})
    tool = _toml(project / "pyproject.toml").get("tool", {}).get("pytest")
    if isinstance(tool, dict):
        return _of("pyproject.toml", {**tool, **tool.get("ini_options", {})})
    for file, section in _INI[2:]:
        found = _ini(project / file, section)
        if found is not None:
            return _of(file, found)
    return PytestConfig()


def _of(file: str, values: object) -> PytestConfig:
    table = values if isinstance(values, dict) else {}
    return PytestConfig(
        file=file,
        testpaths=_words(table.get("testpaths")),
        python_files=_words(table.get("python_files")),
        addopts=_words(table.get("addopts")),
        required_plugins=_lines(table.get("required_plugins")),
        names=frozenset(map(str, table)),
    )


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(str(item) for item in value)
    try:
        return tuple(shlex.split(value)) if isinstance(value, str) else ()
    except ValueError:
        return ()


def _lines(value: object) -> tuple[str, ...]:
    """Requirements, of which one may have blanks within."""
    if isinstance(value, list):
        return tuple(str(item) for item in value)
    if not isinstance(value, str):
        return ()
    return tuple(re.findall(r"[A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?(?:\s*[<>=!~]=?\s*[\w.*,<>=!~]+)?", value))


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _ini(path: Path, section: str) -> dict[str, str] | None:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[method-assign, assignment]  # pytest tells DS from ds
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, ValueError):
        return None
    return dict(parser.items(section)) if parser.has_section(section) else None
