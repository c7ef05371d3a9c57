"""Configuration as pages show it, made whole: what a block leaves to the reader is added, and then it is read.

The real configuration code reads it, with the real plugins: a key that does not exist is an error.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from penstock import config, plan
from penstock.plugins import PHASES, Installed, Plugins, installed

_ADDED = {
    "build": 'uses = "shell"\nrun = "make"\nartifacts = ["dist/*"]',
    "test": 'uses = "shell"\nrun = "true"',
    "scan": 'uses = "shell"\nrun = "true"\nreports = ["scan.sarif"]',
    "sign": 'uses = "sigstore"',
    "approve": "",
    "deploy": 'uses = "local"\ndirectory = "../release"',
    "verify": 'uses = "shell"\nrun = "true"',
}
_NEEDED_FOR = {"tests": "test.added", "scan": "scan.added", "signature": "sign.added"}
_OURS = ("penstock", "parameters", "defaults", "service", "observe", "policy", "roles", "quarantine", *PHASES)


def is_configuration(data: Mapping[str, Any]) -> bool:
    """Whether a TOML document is one of Penstock's, and not some other tool's."""
    return bool(data) and (set(data) <= set(_OURS) or "penstock" in data.get("tool", {}))


def check(text: str, directory: Path, available: Mapping[str, Installed] | None = None) -> plan.Plan:
    """The plan of a block. Raises ConfigError as `penstock validate` does."""
    data = tomllib.loads(text)
    known = {**installed(), **(available or {})}
    path = directory / ("pyproject.toml" if "tool" in data else "penstock.toml")
    path.write_text(text if "tool" in data else whole(text, data))
    project, plugins = config.load(path, known)
    return plan.make(project, plugins.versions)


def whole(text: str, data: Mapping[str, Any]) -> str:
    """The text, with the sections that it speaks of and does not show."""
    added = dict.fromkeys(name for name in _missing(data))
    sections = [f"[{name}]\n{_ADDED[name.partition('.')[0]]}\n" for name in added]
    more = dict.fromkeys(re.findall(r'^uses = "(.+)"', "\n".join(sections), re.MULTILINE))
    head = data.get("penstock", {})
    if "plugins" not in head:
        tables = [*_tables(data), *data.get("defaults", {}).values()]
        used = [table["uses"] for table in tables if "uses" in table]
        names = dict.fromkeys(["git", *used, *more])
        line = f"plugins = {_list(names)}\n"
        text = text.replace("[penstock]\n", f"[penstock]\n{line}") if head else f"[penstock]\n{line}\n{text}"
    else:
        names = dict.fromkeys([*head["plugins"], *more])
        text = re.sub(r"^plugins = \[[^]]*\]", f"plugins = {_list(names)}", text, count=1, flags=re.MULTILINE)
    return "\n".join([text, *sections])


def plugin(name: str, source: str, directory: Path) -> Installed:
    """A block of Python as an installed plugin; `directory` is on the import path."""
    module = f"page_plugin_{name.replace('-', '_')}"
    (directory / f"{module}.py").write_text(source)
    return Installed(name, f"penstock-{name}", "1.0.0", EntryPoint(name, module, "penstock"))


def loaded(made: Installed) -> Plugins:
    """The plugin, imported and checked by the core."""
    return Plugins.load([made.name], {made.name: made})


def _missing(data: Mapping[str, Any]) -> Iterator[str]:
    there = {f"{phase}.{name}" for phase in PHASES for name in data.get(phase, {})}
    for name in [*data.get("policy", {}), *_environments(data)]:
        if f"deploy.{name}" not in there:
            yield f"deploy.{name}"
    for table in _tables(data):
        yield from (need for need in table.get("needs", ()) if need not in there and need != "source")
    for name, policy in data.get("policy", {}).items():
        for entry in policy.get("require", ()):
            wanted = f"approve.{name}" if entry == "approval" else _NEEDED_FOR.get(entry, entry)
            phase = wanted.partition(".")[0]
            shown = wanted in there or (wanted.endswith(".added") and data.get(phase))
            if phase in PHASES and not shown:
                yield wanted


def _environments(data: Mapping[str, Any]) -> Iterator[str]:
    for phase in ("approve", "verify"):
        for name, table in data.get(phase, {}).items():
            yield table.get("environment", name)
    for table in _tables(data):
        if "environment" in table:
            yield table["environment"]


def _tables(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for phase in (*PHASES, "service", "observe"):
        yield from data.get(phase, {}).values()


def _list(names: Mapping[str, None]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
