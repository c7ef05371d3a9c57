"""`penstock.toml` → Project, with errors that point at file, line and key.

Reads and checks; decides nothing about the order of steps, which is the plan's.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from pydantic import Field

from penstock import __version__
from penstock.configfile import ConfigFile
from penstock.errors import ConfigError, did_you_mean
from penstock.faults import checked
from penstock.keys import Keys as Keys
from penstock.keys import Manual as Manual
from penstock.keys import Rollout as Rollout
from penstock.keys import Section as Section
from penstock.model import Digest, Model
from penstock.plugins import PHASES, Installed, Plugins, installed
from penstock.sections import check_environments, read_sections, tables


class Policy(Model):
    """What has to be on record before something is deployed to an environment."""

    require: tuple[str, ...] = Field(
        description='"provenance", "tests", "scan", "approval", "signature", or steps such as "test.e2e".'
    )


class Penstock(Model):
    """The `[penstock]` section."""

    requires: str | None = Field(
        default=None, description='The versions of Penstock that will do, such as ">=0.1".'
    )
    plugins: tuple[str, ...] = Field(default=(), description="The plugins that this project uses.")
    name: str | None = Field(default=None, description="The pipeline's name; otherwise the directory's.")


class Project(Model):
    """Everything that the configuration says."""

    name: str
    root: str
    digest: Digest = Field(description="Of the file as it was read.")
    plugins: tuple[str, ...]
    sections: tuple[Section, ...]
    policies: dict[str, Policy] = {}
    roles: dict[str, tuple[str, ...]] = {}


def load(path: Path, available: dict[str, Installed] | None = None) -> tuple[Project, Plugins]:
    """Read and check a configuration. Raises ConfigError with every fault that was found."""
    source = ConfigFile(path, Penstock.model_fields)
    data = source.read()
    errors: list[str] = []
    known = installed() if available is None else available
    head = checked(Penstock, data.get("penstock", {}), source, "penstock", errors)
    if head is None or errors:
        raise ConfigError("\n".join(errors))
    _check_requires(head, source)
    plugins = Plugins.load(head.plugins, known)
    for name, broken in plugins.broken.items():
        if name not in known:
            errors.append(source.error("penstock", "plugins", broken.reason))
    _check_tables(data, source, errors)
    sections = read_sections(data, plugins, known, source, errors)
    policies = {
        name: checked(Policy, table, source, f"policy.{name}", errors)
        for name, table in tables(data, "policy", source, errors).items()
    }
    roles = _roles(data, source, errors)
    check_environments(sections, source, errors)
    if errors:
        raise ConfigError("\n".join(dict.fromkeys(errors)))
    project = Project(
        name=head.name or path.parent.resolve().name,
        root=str(path.parent.resolve()),
        digest="sha256:" + hashlib.sha256(source.raw).hexdigest(),
        plugins=head.plugins,
        sections=tuple(sections),
        policies={name: policy for name, policy in policies.items() if policy},
        roles=roles,
    )
    return project, plugins


def _check_requires(head: Penstock, source: ConfigFile) -> None:
    if head.requires is None:
        return
    for clause in head.requires.split(","):
        match = re.fullmatch(r"\s*(>=|<=|==|!=|<|>|~=)\s*(\d+(?:\.\d+)*)\s*", clause)
        if match is None:
            raise ConfigError(
                source.error("penstock", "requires", f'"{clause}" is not a version bound, such as ">=0.1"')
            )
        if not _holds(__version__, match[1], match[2]):
            raise ConfigError(
                source.error(
                    "penstock",
                    "requires",
                    f"this is Penstock {__version__}, and the project asks for {head.requires}. "
                    f'Try: pip install "penstock{head.requires}"',
                )
            )


def _version(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.match(r"[\d.]+", text)[0].rstrip(".").split(".")]  # type: ignore[index]  # both callers pass versions
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _holds(version: str, operator: str, limit: str) -> bool:
    ours, bound = _version(version), _version(limit)
    if operator == "~=":  # "~=0.1" is any 0.…, "~=0.1.0" is any 0.1.…
        same = max(1, limit.count("."))
        filled = (0,) * same
        return ours >= bound and (*ours, *filled)[:same] == (*bound, *filled)[:same]
    return {
        ">=": ours >= bound,
        "<=": ours <= bound,
        "==": ours == bound,
        "!=": ours != bound,
        "<": ours < bound,
        ">": ours > bound,
    }[operator]


def _check_tables(data: dict[str, Any], source: ConfigFile, errors: list[str]) -> None:
    allowed = ("penstock", "policy", "roles", *PHASES)
    for name, table in data.items():
        if name not in allowed:
            way_out = did_you_mean(name, allowed, otherwise=f"The phases are {', '.join(PHASES)}")
            errors.append(source.error(name, "", f"this is no phase{way_out}"))
        elif not isinstance(table, dict):
            errors.append(source.error(name, "", f"must be a table, such as [{name}.NAME]"))


def _roles(data: dict[str, Any], source: ConfigFile, errors: list[str]) -> dict[str, tuple[str, ...]]:
    roles = {}
    table = data.get("roles", {})
    for name, members in table.items() if isinstance(table, dict) else ():
        if isinstance(members, list) and all(isinstance(member, str) for member in members):
            roles[name] = tuple(members)
        else:
            errors.append(source.error("roles", name, 'must be a list, such as ["ana@example.com"]'))
    return roles


def enabled(path: Path) -> tuple[str, ...]:
    """Only the names of the plugins that a project enables. Raises ConfigError as `load`."""
    source = ConfigFile(path, Penstock.model_fields)
    errors: list[str] = []
    head = checked(Penstock, source.read().get("penstock", {}), source, "penstock", errors)
    if head is None:
        raise ConfigError("\n".join(errors))
    return head.plugins
