"""`penstock.toml` → Project, with errors that point at file, line and key.

Reads and checks; decides nothing about the order of steps, which is the plan's.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, JsonValue, Strict, field_validator

from penstock import __version__
from penstock.configfile import ConfigFile
from penstock.errors import ConfigError, did_you_mean
from penstock.faults import checked
from penstock.model import Digest, Duration, Model, Percentage
from penstock.plugins import CORE_KEYS, HOOK_OF, PHASES, Installed, Plugins, installed

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_LATER = {"when", "matrix", "labels", "cache", "inside", "services"}
_GATES = ("source", "sign", "approve", "deploy")
_ENVIRONMENT_PHASES = ("approve", "deploy", "verify")


class Rollout(Model):
    """How a deploy step moves its targets to the new release."""

    strategy: Literal["all-at-once", "rolling"] = Field(
        default="all-at-once", description="All targets together, or one batch after another."
    )
    batch: Annotated[int, Strict()] | Percentage = Field(
        default=1, description='Rolling: how many targets at a time, or "25%" of them.'
    )
    pause: Duration = Field(default=0, description="Rolling: how long to wait between batches.")
    healthy_within: Duration = Field(
        default=60, description="How long a target may take until it is healthy; after that it is put back."
    )
    interval: Duration = Field(default=0.25, description="How long to wait between two probes.")

    @field_validator("batch")
    @classmethod
    def _some(cls, value: float) -> float:
        if value <= 0:
            raise ValueError('a batch is at least 1 target, or a share such as "25%"')
        return value


def _inside(pattern: str) -> str:
    if not pattern or pattern.startswith("/") or ".." in pattern.split("/"):
        raise ValueError(f'"{pattern}" leads out of the workspace. A glob is such as "dist/*"')
    return pattern


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
    env: dict[str, str] = Field(
        default={}, description="Environment variables for the programs that it runs."
    )
    secrets: dict[str, str] = Field(
        default={}, description='What the step is handed in secret, as NAME = "env:NAME" or "file:PATH".'
    )
    artifacts: tuple[Annotated[str, AfterValidator(_inside)], ...] = Field(
        default=(), description="Files that it leaves in its workspace and that are kept, as globs."
    )
    environment: str | None = Field(
        default=None, description="The environment that it belongs to; a test then runs after its deployment."
    )
    allow_failure: bool = Field(
        default=False, strict=True, description="Whether the pipeline goes on if it fails."
    )
    rollout: Rollout = Field(default=Rollout(), description="How a deploy step moves its targets.")

    @field_validator("environment")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value is not None and not NAME.fullmatch(value):
            raise ValueError(f'"{value}" is no name: a name is made of at most 63 letters, digits, - and _')
        return value


class Manual(Model):
    """Waits for `penstock approve`: an approve step that needs no plugin."""

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
    name: str | None = Field(default=None, description="The pipeline's name; otherwise the directory's.")


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
    sections = _sections(data, plugins, known, source, errors)
    policies = {
        name: checked(Policy, table, source, f"policy.{name}", errors)
        for name, table in _tables(data, "policy", source, errors).items()
    }
    roles = _roles(data, source, errors)
    _check_environments(sections, source, errors)
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


def _tables(
    data: dict[str, Any], name: str, source: ConfigFile, errors: list[str]
) -> dict[str, dict[str, Any]]:
    found = data.get(name, {})
    if not isinstance(found, dict):
        return {}
    good = {}
    for key, value in found.items():
        if not isinstance(value, dict):
            errors.append(
                source.error(name, key, f"must stand in a section with a name: [{name}.NAME], then {key} = …")
            )
        elif not NAME.fullmatch(key):
            errors.append(
                source.error(f"{name}.{key}", "", "a name is made of at most 63 letters, digits, - and _")
            )
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
    keys = checked(Keys, core, source, full, errors)
    if keys is None:
        return None
    model = _settings_of(phase, full, keys.uses, plugins, known, source, errors)
    settings = checked(model, rest, source, full, errors, also=Keys.model_fields) if model else None
    if len(errors) > count or settings is None:
        return None
    return Section(
        name=full,
        phase=phase,
        keys=keys,
        plugin=keys.uses,
        settings=settings.model_dump(mode="json"),
        environment=keys.environment or (name if phase in _ENVIRONMENT_PHASES else None),
    )


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
        errors.append(source.error(full, "uses", what))
        return None
    if phase not in plugins.phases(uses):
        can = ", ".join(plugins.phases(uses)) or "nothing"
        errors.append(source.error(full, "uses", f'the plugin "{uses}" can\'t {phase}; it can: {can}'))
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
