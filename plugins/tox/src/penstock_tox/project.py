"""Where a project configures tox, and what its files say at a glance. What tox makes of it, tox is asked."""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock import Model, StepFailed

FILES = ("tox.ini", "setup.cfg", "pyproject.toml", "tox.toml")
"""In the order in which tox looks for them."""

_NAMES = re.compile(r"(?:[^\s,{}]|\{[^}]*\})+")  # separated by commas, but not by those in braces


class Config(Model):
    """A tox configuration, read without tox."""

    path: Path
    environments: tuple[str, ...] = ()
    """The environments that have a section of their own, and those of a plain env_list."""
    commands: tuple[str, ...] = ()
    """What they run, a line each."""


def require(workspace: Path, directory: str) -> Path:
    """The file that configures tox in a directory of the workspace. Raises StepFailed where there is none."""
    project = (workspace / directory).resolve()
    if not project.is_relative_to(workspace.resolve()) or not project.is_dir():
        raise StepFailed(f'`directory`: the revision has no directory "{directory}"')
    for name in FILES:
        if (project / name).is_file() and (name == "tox.toml" or _speaks_of_tox(project / name)):
            return project / name
    raise StepFailed(
        f'there is no tox configuration in "{directory}": tox.ini, tox.toml, [tool.tox] in pyproject.toml or '
        "[tox:tox] in setup.cfg. Is it committed? `directory` names another place"
    )


def read(root: Path) -> Config | None:
    """The configuration of a project; None where it has none that can be read."""
    try:
        path = require(root, ".")
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            return _of_toml(path, tomllib.loads(text))
        return _of_ini(path, _ini(text))
    except (StepFailed, OSError, ValueError, configparser.Error):
        return None


def _speaks_of_tox(path: Path) -> bool:
    """Whether a file that other tools use as well has a word for tox."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.name == "pyproject.toml":
        try:
            tools = tomllib.loads(text).get("tool", {})
        except ValueError:
            return False
        return isinstance(tools, dict) and "tox" in tools
    try:
        sections = _ini(text).sections()
    except configparser.Error:
        return path.name == "tox.ini"
    if path.name == "setup.cfg":
        return "tox:tox" in sections
    return any(section == "tox" or section.startswith("testenv") for section in sections)


def _ini(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    parser.read_string(text)
    return parser


def _of_ini(path: Path, parser: configparser.RawConfigParser) -> Config:
    core = "tox:tox" if path.name == "setup.cfg" else "tox"
    listed: list[str] = []
    if parser.has_section(core):
        text = parser.get(core, "env_list", fallback=None) or parser.get(core, "envlist", fallback=None)
        listed = _NAMES.findall(text or "")
    sections = [name for name in parser.sections() if name == "testenv" or name.startswith("testenv:")]
    own = [name.removeprefix("testenv:") for name in sections if name != "testenv"]
    lines = [
        line.strip()
        for name in sections
        for line in (parser.get(name, "commands", fallback="") or "").splitlines()
    ]
    return Config(
        path=path,
        environments=tuple(dict.fromkeys([*listed, *own])),
        commands=tuple(line for line in lines if line and not line.startswith("#")),
    )


def _of_toml(path: Path, document: dict[str, Any]) -> Config | None:
    table = document.get("tool", {}).get("tox", {}) if path.name == "pyproject.toml" else document
    if not isinstance(table, dict):
        return None
    legacy = table.get("legacy_tox_ini")
    if isinstance(legacy, str):
        return _of_ini(path, _ini(legacy))
    own = table.get("env", {})
    own = own if isinstance(own, dict) else {}
    listed = [name for name in _list(table.get("env_list")) if isinstance(name, str)]
    tables = [table.get("env_run_base"), *own.values()]
    commands = [line for each in tables if isinstance(each, dict) for line in _lines(each.get("commands"))]
    return Config(path=path, environments=tuple(dict.fromkeys([*listed, *own])), commands=tuple(commands))


def _lines(commands: object) -> Iterator[str]:
    for command in _list(commands):
        yield " ".join(str(word) for word in _list(command)) or str(command)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
