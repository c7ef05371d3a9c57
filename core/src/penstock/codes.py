"""Which code a step's result depends on, and on which machine it ran: a part of the cache key."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from penstock import __version__
from penstock.plan import Plan, PlanStep
from penstock.plugins import Plugins


class Codes:
    """The code of a project's plugins, looked at once."""

    def __init__(self, plugins: Plugins, plan: Plan) -> None:
        self._plugins = plugins
        self._plan = plan
        self._codes: dict[str, dict[str, str]] = {}
        self._machine: dict[str, str] = {}

    def look_at(self, steps: Iterable[PlanStep]) -> None:
        """Find out now what is going to be asked for about these steps."""
        for step in steps:
            self.of(step)
        self.machine()

    def of(self, step: PlanStep) -> dict[str, str]:
        """Which plugin, and which others start its services."""
        found = self._code(step.uses or "")
        for other in {service.plugin for service in step.services} - {step.uses}:
            code = self._code(other)
            found = {**found, other: code[other], f"code of {other}": code["code"]}
        return found

    def machine(self) -> dict[str, str]:
        """What the results of all steps depend on: this Penstock, its Python, this kind of machine."""
        if not self._machine:
            self._machine = _machine()
        return self._machine

    def _code(self, name: str) -> dict[str, str]:
        """A plugin: its version, and its code, which may change without one."""
        if name not in self._codes:
            module = self._plugins.modules.get(name)
            file = self._plugins.files.get(name)
            self._codes[name] = (
                {name: file.path, "code": file.digest}  # its version is its digest
                if file
                else {
                    name: self._plan.plugins.get(name, ""),
                    "code": _code_of(getattr(module, "__file__", None)),
                }
            )
        return self._codes[name]


def _machine() -> dict[str, str]:
    import platform

    try:
        release = platform.freedesktop_os_release()
        system = f"{release.get('ID', 'linux')} {release.get('VERSION_ID', '')}".strip()
    except OSError:
        system = platform.mac_ver()[0]
    name = os.uname()
    return {
        "penstock": __version__,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "at": sys.prefix,
        "system": f"{name.sysname} {name.machine} {system}",
    }


def _code_of(file: str | None) -> str:
    """The digest of a plugin's own Python files."""
    if file is None:
        return ""
    path = Path(file)
    files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    hasher = hashlib.sha256()
    for each in files:
        try:
            data = each.read_bytes()
        except OSError:  # what can't be read, such as a link to nothing, can't be executed either
            continue
        hasher.update(
            f"{each.relative_to(path.parent)}\0{len(data)}\0".encode(errors="surrogateescape") + data
        )
    return "sha256:" + hasher.hexdigest()
