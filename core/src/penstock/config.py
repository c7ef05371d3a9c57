"""`penstock.toml` → Project, with errors that point at file, line and key.

Reads and checks; decides nothing about the order of steps, which is the plan's.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, JsonValue

from penstock import people, versions
from penstock.configfile import ConfigFile
from penstock.errors import ConfigError, did_you_mean, sentence
from penstock.faults import checked
from penstock.model import Digest, Duration, Model
from penstock.plugins import CORE_KEYS, HOOK_OF, PHASES, Installed, Plugins, how_to_install, installed
from penstock.words import NAME, Batch, Glob, Name, Secrets, Title, Variables

_SHOWN = 20  # faults in one message
_LATER = {"when", "matrix", "labels", "cache", "inside", "services"}
_GATES = ("source", "sign", "approve", "deploy")
_ENVIRONMENT_PHASES = ("approve", "deploy", "verify")


class Rollout(Model):
    """How a deploy step moves its targets to the new release."""

    strategy: Literal["all-at-once", "rolling"] = Field(
        default="all-at-once", description="All targets together, or one batch after another."
    )
    batch: Batch = Field(default=1, description='Rolling: how many targets at a time, or "25%" of them.')
    pause: Duration = Field(default=0, description="Rolling: how long to wait between batches.")
    healthy_within: Duration = Field(
        default=60, description="How long a target may take until it is healthy; after that it is put back."
    )
    interval: Duration = Field(default=0.25, description="How long to wait between two probes.")


class Keys(Model):
    """The keys that every section may have."""

    uses: str | None = Field(default=None, description="The plugin that does the work.")
    needs: tuple[str, ...] | None = Field(
        default=None, description="The steps to wait for, instead of all of the nearest earlier phase."
    )
    timeout: Duration | None = Field(
        default=None,
        gt=0,
        description="How long the step may take, or each operation of a deploy step; then it is ended.",
    )
    retries: int = Field(
        default=0, ge=0, le=100, strict=True, description="How often a failed step is tried again."
    )
    env: Variables = Field(default={}, description="Environment variables for the programs that it runs.")
    secrets: Secrets = Field(
        default={}, description='What the step is handed in secret, as NAME = "env:NAME" or "file:PATH".'
    )
    artifacts: tuple[Glob, ...] = Field(
        default=(), description="Files that it leaves in its workspace and that are kept, as globs."
    )
    environment: Name | None = Field(
        default=None, description="The environment that it belongs to; a test then runs after its deployment."
    )
    allow_failure: bool = Field(
        default=False, strict=True, description="Whether the pipeline goes on if it fails."
    )
    rollout: Rollout = Field(default=Rollout(), description="How a deploy step moves its targets.")


class Manual(Model):
    """The settings of an approve step without a plugin: it waits for `penstock approve`."""

    by: tuple[str, ...] = Field(
        default=(), description="Roles or identities that may approve; empty: anybody."
    )
    expires: Duration = Field(default=86400, description="How long an approval is good for.")


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
    name: Title | None = Field(default=None, description="The pipeline's name; otherwise the directory's.")


class Section(Model):
    """One step as written: the core's keys, and the plugin's settings, checked."""

    name: str
    phase: str
    keys: Keys
    plugin: str | None
    settings: dict[str, JsonValue]
    environment: str | None


class Project(Model):
    """Everything that the configuration says."""

    name: str
    root: str
    digest: Digest = Field(description="Of the file as it was read.")
    plugins: tuple[str, ...]
    sections: tuple[Section, ...]
    policies: dict[str, Policy] = {}
    roles: dict[str, tuple[str, ...]] = {}
    warnings: tuple[str, ...] = Field(default=(), description="What is not wrong, and yet not likely meant.")


def load(path: Path, available: dict[str, Installed] | None = None) -> tuple[Project, Plugins]:
    """Read and check a configuration. Raises ConfigError with every fault that was found."""
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
    plugins = Plugins.load(head.plugins, known)
    warnings: list[str] = []
    for name, broken in plugins.broken.items():
        if name not in known:
            errors.append(source.error("penstock", "plugins", broken.reason))
        else:
            unless = f"{sentence(str(broken))} Nothing is deployed until it is repaired, or taken out here"
            warnings.append(source.error("penstock", "plugins", unless))
    _check_tables(data, source, errors)
    sections = _sections(data, plugins, known, source, errors)
    policies = {
        name: checked(Policy, table, source, f"policy.{name}", errors)
        for name, table in _tables(data, "policy", source, errors).items()
    }
    roles = people.roles(data, source, errors)
    for section in sections:
        if section.phase == "approve" and section.plugin is None:
            by: Any = section.settings["by"]
            warnings += people.check_by(section.name, by, data.get("roles", {}), source, errors)
    _check_environments(sections, source, errors)
    if errors:
        raise ConfigError(_in_lines(errors))
    project = Project(
        name=head.name or path.parent.resolve().name,
        root=str(path.parent.resolve()),
        digest="sha256:" + hashlib.sha256(source.raw).hexdigest(),
        plugins=head.plugins,
        sections=tuple(sections),
        policies={name: policy for name, policy in policies.items() if policy},
        roles=roles,
        warnings=tuple(warnings),
    )
    return project, plugins


def _in_lines(errors: list[str]) -> str:
    lines = sorted(dict.fromkeys(errors), key=_line_of)
    more = len(lines) - _SHOWN
    return "\n".join([*lines[:_SHOWN], *([f"… and {more} more"] if more > 0 else [])])


def _check_tables(data: dict[str, Any], source: ConfigFile, errors: list[str]) -> None:
    allowed = ("penstock", "policy", "roles", *PHASES)
    for name, table in data.items():
        if name in Penstock.model_fields:
            errors.append(source.error(name, "", "is a key, and stands in the section [penstock]"))
        elif name not in allowed:
            way_out = did_you_mean(name, allowed, otherwise=f"The phases are {', '.join(PHASES)}")
            errors.append(source.error(name, "", f"this is no phase{way_out}"))
        elif not isinstance(table, dict):
            like = name if name in ("penstock", "roles") else f"{name}.NAME"
            errors.append(source.error(name, "", f"must be a section: [{like}]"))


def _tables(
    data: dict[str, Any], name: str, source: ConfigFile, errors: list[str]
) -> dict[str, dict[str, Any]]:
    found = data.get(name, {})
    if not isinstance(found, dict):
        return {}
    good = {}
    for key, value in found.items():
        if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
            message = f"two brackets make a list, and a step is a table: [{name}.{key}]"
            errors.append(source.error(f"{name}.{key}", "", message))
        elif not isinstance(value, dict):
            message = f"must stand in a section with a name: [{name}.NAME], then {key} = …"
            errors.append(source.error(name, key, message))
            return {}
        elif not NAME.fullmatch(key):
            message = "a name is made of at most 63 letters, digits, - and _"
            errors.append(source.error(f"{name}.{key}", "", message))
        else:
            good[key] = value
    return good


def _sections(
    data: dict[str, Any],
    plugins: Plugins,
    known: dict[str, Installed],
    source: ConfigFile,
    errors: list[str],
) -> list[Section]:
    found = []
    for phase in PHASES:
        for name, table in _tables(data, phase, source, errors).items():
            section = _section(phase, name, table, plugins, known, source, errors)
            if section:
                found.append(section)
    if not any(section.phase == "source" for section in found):
        default = _default_source(plugins, source, errors)
        if default:
            found.insert(0, default)
    return found


def _default_source(plugins: Plugins, source: ConfigFile, errors: list[str]) -> Section | None:
    """Without a source section, the one enabled plugin that can do it."""
    able = plugins.that_do("source")
    if len(able) == 1:
        model = plugins.settings_model(able[0], "penstock_source")
        settings = checked(model, {}, source, "source", errors)
        if settings is None:
            return None
        return Section(
            name="source",
            phase="source",
            keys=Keys(uses=able[0]),
            plugin=able[0],
            settings=settings.model_dump(mode="json"),
            environment=None,
        )
    if plugins.broken:
        return None  # it may be the one, and is reported itself
    what = f"several can: {', '.join(able)}. Add a section [source.NAME]" if able else 'add "git"'
    errors.append(source.error("penstock", "plugins", f"no plugin was chosen that gets the source: {what}"))
    return None


def _section(
    phase: str,
    name: str,
    table: dict[str, Any],
    plugins: Plugins,
    known: dict[str, Installed],
    source: ConfigFile,
    errors: list[str],
) -> Section | None:
    full = f"{phase}.{name}"
    count = len(errors)
    core = {key: value for key, value in table.items() if key in CORE_KEYS - _LATER}
    rest = {key: value for key, value in table.items() if key not in CORE_KEYS}
    errors.extend(
        source.error(full, key, "is a key of the core that this version does not have yet")
        for key in table.keys() & _LATER
    )
    if phase != "deploy" and "rollout" in table:
        errors.append(source.error(full, "rollout", "belongs in a deploy section"))
    if phase in _GATES and table.get("allow_failure"):
        message = f"what a step of the phase {phase} stands for can't be done without. Leave it out"
        errors.append(source.error(full, "allow_failure", message))
    if rest and not core and all(isinstance(value, dict) for value in rest.values()):
        message = f"a step's name has no dot. Write it such as [{phase}.{name}-{next(iter(rest))}]"
        errors.append(source.error(f"{full}.{next(iter(rest))}", "", message))
        return None
    keys = checked(Keys, core, source, full, errors)
    if keys:
        _check_secrets(keys, full, plugins, source, errors)
    uses = keys.uses if keys else table.get("uses")
    if not isinstance(uses, str | None):
        return None
    model = _settings_of(phase, full, uses, plugins, known, source, errors)
    settings = checked(model, rest, source, full, errors, also=Keys.model_fields) if model else None
    if len(errors) > count or settings is None or keys is None:
        return None
    return Section(
        name=full,
        phase=phase,
        keys=keys,
        plugin=keys.uses,
        settings=settings.model_dump(mode="json"),
        environment=keys.environment or (name if phase in _ENVIRONMENT_PHASES else None),
    )


def _check_secrets(keys: Keys, full: str, plugins: Plugins, source: ConfigFile, errors: list[str]) -> None:
    """Somebody must know what a reference means."""
    if plugins.broken or any(plugins.has(name, "penstock_secret") for name in plugins.modules):
        return
    for name, reference in keys.secrets.items():
        scheme = reference.partition(":")[0]
        if scheme not in ("env", "file"):
            message = f'no enabled plugin knows "{scheme}:". References are such as env:NAME or file:PATH'
            errors.append(source.error(full, f"secrets.{name}", message))


def _settings_of(
    phase: str,
    full: str,
    uses: str | None,
    plugins: Plugins,
    known: dict[str, Installed],
    source: ConfigFile,
    errors: list[str],
) -> type[BaseModel] | None:
    if uses is None:
        if phase == "approve":
            return Manual
        able = ", ".join(f'"{name}"' for name in plugins.that_do(phase)) or "none of the enabled ones"
        errors.append(source.error(full, "uses", f"is missing. Plugins that can {phase}: {able}"))
        return None
    if uses in plugins.broken:
        errors.append(source.error(full, "uses", str(plugins.broken[uses])))
        return None
    if uses not in plugins.modules:
        if uses in known:
            what = f'the plugin "{uses}" is installed but not enabled. Add it to plugins in [penstock]'
        else:
            what = f'the plugin "{uses}" is not enabled{did_you_mean(uses, plugins.modules)}'
            if not did_you_mean(uses, plugins.modules):
                what = f"{how_to_install(uses, known)}. Then add it to plugins in [penstock]"
        errors.append(source.error(full, "uses", what))
        return None
    if phase not in plugins.phases(uses):
        can = ", ".join(plugins.phases(uses)) or "nothing"
        others = ", ".join(plugins.that_do(phase)) or "none of the enabled ones"
        message = f'the plugin "{uses}" can\'t {phase}; it can: {can}. Plugins that can {phase}: {others}'
        errors.append(source.error(full, "uses", message))
        return None
    return plugins.settings_model(uses, HOOK_OF[phase])


def _check_environments(sections: list[Section], source: ConfigFile, errors: list[str]) -> None:
    """An environment that a section names must be one that something is deployed to."""
    deployed = {section.environment for section in sections if section.phase == "deploy"}
    for section in sections:
        named = section.keys.environment
        if named is not None and named not in deployed and not errors:
            near = did_you_mean(named, [name for name in deployed if name])
            message = f'there is no deploy section for the environment "{named}"{near}'
            errors.append(source.error(section.name, "environment", message))


def _line_of(error: str) -> int:
    number = error.partition(": ")[0].rpartition(":")[2]
    return int(number) if number.isdigit() else 0


def placed(error: ConfigError, path: Path) -> ConfigError:
    """The error with file and line, where it says of which section it is."""
    if not error.section:
        return error
    return ConfigError(ConfigFile(path, Penstock.model_fields).error(error.section, error.key, str(error)))


def enabled(path: Path) -> tuple[str, ...]:
    """Only the names of the plugins that a project enables. Raises ConfigError as `load`."""
    source = ConfigFile(path, Penstock.model_fields)
    errors: list[str] = []
    head = checked(Penstock, source.read().get("penstock", {}), source, "penstock", errors)
    if head is None:
        raise ConfigError("\n".join(errors))
    return head.plugins
