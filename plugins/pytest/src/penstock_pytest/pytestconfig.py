"""Where a project configures pytest, and which paths it names there."""

from __future__ import annotations

import configparser
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
    return PytestConfig(file=file, testpaths=_words(table.get("testpaths")))


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(str(item) for item in value)
    try:
        return tuple(shlex.split(value)) if isinstance(value, str) else ()
    except ValueError:
        return ()


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _ini(path: Path, section: str) -> dict[str, str] | None:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, ValueError):
        return None
    return dict(parser.items(section)) if parser.has_section(section) else None
