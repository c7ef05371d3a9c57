"""`penstock.toml` → Project, with errors that point at file, line and key.

Reads and checks; decides nothing about the order of steps, which is the plan's.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import Field

from penstock import beside, people, quarantine, settings, versions
from penstock.beside import Beside
from penstock.configfile import ConfigFile
from penstock.defaults import read_defaults
from penstock.errors import ConfigError, did_you_mean, sentence
from penstock.faults import checked
from penstock.inhouse import PluginFile, is_path, name_of
from penstock.keys import Keys as Keys
from penstock.keys import Manual as Manual
from penstock.keys import Retries as Retries
from penstock.keys import Rollout as Rollout
from penstock.keys import Section as Section
from penstock.model import Model, sha256_of
from penstock.observe import PHASE as OBSERVE
from penstock.observe import Observe, read_observers
from penstock.parameters import Parameter as Parameter
from penstock.parameters import read_parameters
from penstock.plugins import PHASES, Installed, Plugins, installed
from penstock.quarantine import Quarantine
from penstock.retention import Retention
from penstock.sections import Around, check_environments, read_sections, tables
from penstock.words import Title

_SHOWN = 20  # faults in one message


class Policy(Model):
    """What has to be on record before something is deployed to an environment, and who goes first."""

    require: tuple[str, ...] | None = Field(
        default=None,
        description='"provenance", "tests", "scan", "approval", "signature", or steps such as "test.e2e".',
    )
    supersede: bool = Field(
        default=True,
        strict=True,
        description="Whether a newer run ends an older one that still waits; otherwise each has its turn.",
    )


class Penstock(Model):
    """The `[penstock]` section."""

    requires: str | None = Field(
        default=None, description='The versions of Penstock that will do, such as ">=0.1".'
    )
    plugins: tuple[str, ...] = Field(
        default=(),
        description='The plugins that this project uses: names, or files of its own such as "./ci/ours.py".',
    )
    name: Title | None = Field(default=None, description="The pipeline's name; otherwise the directory's.")
    retention: Retention | None = Field(
        default=None, description="What `penstock prune` leaves; otherwise 50 runs, and those of 30 days."
    )


class Project(NamedTuple):
    """Everything that the configuration says."""

    name: str
    root: str
    digest: str
    """Of the file as it was read."""
    plugins: tuple[str, ...]
    sections: tuple[Section, ...]
    files: tuple[PluginFile, ...] = ()
    observers: tuple[Observe, ...] = ()
    services: Mapping[str, Beside] = MappingProxyType({})
    policies: Mapping[str, Policy] = MappingProxyType({})
    roles: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    parameters: Mapping[str, Parameter] = MappingProxyType({})
    quarantine: tuple[Quarantine, ...] = ()
    unusable: tuple[str, ...] = ()
    """Enabled plugins that can't be used, and why."""
    warnings: tuple[str, ...] = ()
    """What is not wrong, and yet not likely meant."""


def load(
    path: Path, available: Mapping[str, Installed] | None = None, *, root: Path | None = None
) -> tuple[Project, Plugins]:
    """Read and check a configuration. Raises ConfigError with every fault that was found.

    `root` is the project's directory where the file is a copy that lies elsewhere.
    """
    root = (root or path.parent).resolve()
    source = ConfigFile(path, Penstock.model_fields)
    data = source.read()
    errors: list[str] = []
    if not data:
        raise ConfigError(
            f"{path.name}:1: the file says nothing. Remove it, and have one made: penstock init"
        )
    known = installed() if available is None else available
    head = checked(Penstock, data.get("penstock", {}), source, "penstock", errors)
    if head is None or errors:
        raise ConfigError("\n".join(errors))
    if head.requires is not None:
        versions.check(head.requires, source)
    plugins = Plugins.load(head.plugins, known, root=path.parent)
    unusable: list[str] = []
    for broken in plugins.broken.values():
        if broken.absent:
            errors.append(source.error("penstock", "plugins", broken.reason))
        else:
            unless = f"{sentence(str(broken))} Nothing is deployed until it is repaired, or taken out here"
            unusable.append(source.error("penstock", "plugins", unless))
    _check_tables(data, source, errors)
    parameters = read_parameters(data, source, errors)
    shared = read_defaults(data, PHASES, source, errors)
    with settings.guarded():
        sections = read_sections(data, Around(plugins, known, shared, parameters), source, errors)
        services = beside.read_services(data, plugins, known, source, errors)
        observers = read_observers(data, plugins, known, source, errors)
    beside.check_services(sections, services, data, source, errors)
    policies = {
        name: checked(Policy, table, source, f"policy.{name}", errors)
        for name, table in tables(data, "policy", source, errors).items()
    }
    errors += [
        source.error(f"policy.{name}", "require", f"is missing. {about}".rstrip("."))
        for name, policy in policies.items()
        if policy and not policy.model_fields_set and (about := Policy.model_fields["require"].description)
    ]
    roles = people.roles(data, source, errors)
    named = data.get("roles")  # also those that are wrong, and reported
    warnings: list[str] = []
    for section in sections:
        if section.phase == "approve" and section.plugin is None:
            by: Any = section.settings["by"]
            warnings += people.check_by(
                section.name, by, named if isinstance(named, dict) else {}, source, errors
            )
    check_environments(sections, source, errors)
    phases = {section.name: section.phase for section in sections}
    today = datetime.now(UTC).date()
    quarantined, ended = quarantine.read(data, phases, source, errors, today)
    if errors:
        raise ConfigError(_in_lines(errors))
    project = Project(
        name=head.name or root.name,
        root=str(root),
        digest=sha256_of(source.raw),
        plugins=tuple(dict.fromkeys(name_of(entry) if is_path(entry) else entry for entry in head.plugins)),
        files=tuple(file for name, file in plugins.files.items() if name in plugins.modules),
        sections=tuple(sections),
        observers=tuple(observers),
        services=services,
        policies={name: policy for name, policy in policies.items() if policy},
        roles=roles,
        parameters=parameters,
        quarantine=quarantined,
        unusable=tuple(unusable),
        warnings=(*warnings, *ended),
    )
    return project, plugins


def _in_lines(errors: list[str]) -> str:
    lines = sorted(dict.fromkeys(errors), key=_line_of)
    more = len(lines) - _SHOWN
    return "\n".join([*lines[:_SHOWN], *([f"… and {more} more"] if more > 0 else [])])


def _check_tables(data: dict[str, Any], source: ConfigFile, errors: list[str]) -> None:
    others = ("parameters", "defaults", beside.PHASE, OBSERVE, "policy", "roles", quarantine.TABLE)
    allowed = ("penstock", *others, *PHASES)
    for name, table in data.items():
        if name in Penstock.model_fields:
            errors.append(source.error(name, "", "is a key, and stands in the section [penstock]"))
        elif name not in allowed:
            way_out = did_you_mean(name, allowed, otherwise=f"The phases are {', '.join(PHASES)}")
            errors.append(source.error(name, "", f"this is no phase{way_out}"))
        elif name != quarantine.TABLE and not isinstance(table, dict):
            like = name if name in ("penstock", "parameters", "roles") else f"{name}.NAME"
            errors.append(source.error(name, "", f"must be a section: [{like}]"))


def _line_of(error: str) -> int:
    number = error.partition(": ")[0].rpartition(":")[2]
    return int(number) if number.isdigit() else 0


def placed(error: ConfigError, path: Path) -> ConfigError:
    """The error with file and line, where it says of which section it is."""
    if not error.section:
        return error
    return ConfigError(ConfigFile(path, Penstock.model_fields).error(error.section, error.key, str(error)))


def enabled(path: Path) -> tuple[str, ...]:
    """Only what the project names as its plugins, by name or path. Raises ConfigError as `load`."""
    return _head(path).plugins


def retention(path: Path) -> Retention | None:
    """Only what the project says about how long runs are kept. Raises ConfigError as `load`."""
    return _head(path).retention


def _head(path: Path) -> Penstock:
    source = ConfigFile(path, Penstock.model_fields)
    errors: list[str] = []
    head = checked(Penstock, source.read().get("penstock", {}), source, "penstock", errors)
    if head is None:
        raise ConfigError("\n".join(errors))
    return head


def shared_plugins(path: Path) -> dict[str, str]:
    """Only which plugin the defaults of a phase name, by phase. Raises ConfigError as `load`."""
    tables = ConfigFile(path, Penstock.model_fields).read().get("defaults")
    named = tables.items() if isinstance(tables, dict) else ()
    found = {phase: table.get("uses") for phase, table in named if isinstance(table, dict)}
    return {phase: uses for phase, uses in found.items() if isinstance(uses, str)}
