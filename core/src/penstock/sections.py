"""The sections of the configuration → steps as written: core keys and plugin settings, checked."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import BaseModel

from penstock import caching, insides, matrix, settings
from penstock.configfile import ConfigFile
from penstock.defaults import InDefaults, merged
from penstock.errors import ConfigError, did_you_mean
from penstock.faults import Place, checked
from penstock.keys import Keys, Manual, Section
from penstock.matrix import MatrixFault, base_of
from penstock.parameters import Parameter
from penstock.plugins import CORE_KEYS, HOOK_OF, PHASES, Installed, Plugins, unusable
from penstock.words import NAME

_GATES = ("source", "sign", "approve", "deploy")
_ENVIRONMENT_PHASES = ("approve", "deploy", "verify")
NO_MATRIX = {
    "source": "a run is about one revision",
    "sign": "one step signs all that is on record",
    "approve": "a person's word is given once for an environment",
    "deploy": "what goes to several places has several targets, and a rollout over them",
}
"""The phases whose steps have no variants, and why."""


class Around(NamedTuple):
    """What sections are read against."""

    plugins: Plugins
    installed: Mapping[str, Installed]
    defaults: Mapping[str, Mapping[str, Any]]
    parameters: Mapping[str, Parameter]


def read_sections(
    data: dict[str, Any], around: Around, source: ConfigFile, errors: list[str]
) -> list[Section]:
    """Every section that is a step; what is wrong with one is added to `errors`."""
    found: list[Section] = []
    for phase in PHASES:
        for name, own in tables(data, phase, source, errors).items():
            whole = merged(around.defaults.get(phase, {}), own)
            place = InDefaults(source, phase, whole.shared)
            if "matrix" in own:
                sections = _variants(phase, name, whole.table, around, place, errors)
            else:
                section = _section(phase, name, whole.table, around, place, errors)
                sections = [section] if section else []
            found += [section._replace(shared=whole.keys) for section in sections]
    if not any(section.phase == "source" for section in found):
        default = _default_source(around, source, errors)
        if default:
            found.insert(0, default)
    return found


def _variants(
    phase: str,
    name: str,
    table: dict[str, Any],
    around: Around,
    source: Place,
    errors: list[str],
) -> list[Section]:
    """The steps that a section with a matrix becomes."""
    full = f"{phase}.{name}"
    if phase in NO_MATRIX:
        errors.append(source.error(full, "matrix", f"has no place in this phase: {NO_MATRIX[phase]}"))
        return []
    try:
        found = matrix.variants(full, table)
    except MatrixFault as fault:
        errors.append(source.error(full, fault.key, fault.message))
        return []
    sections = []
    for variant in found:
        place = _InMatrix(source, variant.keys)
        section = _section(phase, name, variant.table, around, place, errors, variant.values)
        if section:
            named = f"{full}[{variant.label}]"
            sections.append(section._replace(name=named, variant=variant.values))
    return sections


class _InMatrix(NamedTuple):
    """Says of what came out of a matrix that it stands there."""

    source: Place
    keys: frozenset[str]

    def error(self, section: str, key: str, message: str) -> str:
        parts = key.split(".")
        inside = not self.keys.isdisjoint((parts[0], ".".join(parts[:2])))
        return self.source.error(section, f"matrix.{key}" if inside else key, message)


def _default_source(around: Around, source: ConfigFile, errors: list[str]) -> Section | None:
    """Without a source section, the one enabled plugin that can do it."""
    able = around.plugins.that_do("source")
    shared = around.defaults.get("source", {})
    if len(able) == 1 or "uses" in shared:
        table = merged({"uses": able[0] if able else "", **shared}, {})
        place = InDefaults(source, "source", frozenset(shared))
        section = _section("source", "", table.table, around, place, errors)
        return section and section._replace(name="source", shared=tuple(shared))
    if around.plugins.broken:
        return None  # it may be the one, and is reported itself
    what = f"several can: {', '.join(able)}. Add a section [source.NAME]" if able else 'add "git"'
    errors.append(source.error("penstock", "plugins", f"no plugin was chosen that gets the source: {what}"))
    return None


def _section(
    phase: str,
    name: str,
    table: dict[str, Any],
    around: Around,
    source: Place,
    errors: list[str],
    variant: Mapping[str, Any] = MappingProxyType({}),
) -> Section | None:
    full = f"{phase}.{name}" if name else phase
    count = len(errors)
    core = {key: value for key, value in table.items() if key in CORE_KEYS}
    rest = {key: value for key, value in table.items() if key not in CORE_KEYS}
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
        errors += unknown_references(keys.secrets, full, around.plugins, source)
        _check_when(keys, full, around.parameters, variant, source, errors)
        caching.check(keys, full, phase, source, errors)
        insides.check(keys, full, phase, around.plugins, source, errors)
    uses = keys.uses if keys else table.get("uses")
    if not isinstance(uses, str | None):
        return None
    model = _settings_of(phase, full, uses, around.plugins, around.installed, source, errors)
    values = None
    if model:
        values = settings.read(model, rest, source, full, errors, plugin=uses, also=Keys.model_fields)
    if len(errors) > count or values is None or keys is None:
        return None
    return Section(
        name=full,
        phase=phase,
        keys=keys,
        plugin=keys.uses,
        settings=values,
        environment=keys.environment or (name if phase in _ENVIRONMENT_PHASES else None),
    )


def unknown_references(
    secrets: Mapping[str, str], full: str, plugins: Plugins, source: Place
) -> Iterator[str]:
    """The references that nobody knows the meaning of, in words."""
    if plugins.broken or any(plugins.has(name, "penstock_secret") for name in plugins.modules):
        return
    for name, reference in secrets.items():
        scheme = reference.partition(":")[0]
        if scheme not in ("env", "file"):
            message = f'no enabled plugin knows "{scheme}:". References are such as env:NAME or file:PATH'
            yield source.error(full, f"secrets.{name}", message)


def _check_when(
    keys: Keys,
    full: str,
    parameters: Mapping[str, Parameter],
    variant: Mapping[str, Any],
    source: Place,
    errors: list[str],
) -> None:
    """A condition must be one; which steps it may name is the plan's to say."""
    if keys.when is None:
        return
    if full.partition(".")[0] == "source":
        errors.append(source.error(full, "when", "has no place in this phase: every run has a source"))
        return
    from penstock import conditions

    values = {name: parameter.default for name, parameter in parameters.items()}
    try:
        conditions.parse(keys.when, conditions.known(values, variant))
    except ConfigError as error:
        errors.append(source.error(full, "when", str(error)))


def _settings_of(
    phase: str,
    full: str,
    uses: str | None,
    plugins: Plugins,
    known: Mapping[str, Installed],
    source: Place,
    errors: list[str],
) -> type[BaseModel] | None:
    if uses is None:
        if phase == "approve":
            return Manual
        able = ", ".join(f'"{name}"' for name in plugins.that_do(phase)) or "none of the enabled ones"
        errors.append(source.error(full, "uses", f"is missing. Plugins that can {phase}: {able}"))
        return None
    if message := unusable(uses, plugins, known):
        errors.append(source.error(full, "uses", message))
        return None
    if phase not in plugins.phases(uses):
        can = ", ".join(plugins.phases(uses)) or "nothing"
        others = ", ".join(plugins.that_do(phase)) or "none of the enabled ones"
        message = f'the plugin "{uses}" can\'t {phase}; it can: {can}. Plugins that can {phase}: {others}'
        errors.append(source.error(full, "uses", message))
        return None
    return plugins.settings_model(uses, HOOK_OF[phase])


def check_environments(sections: list[Section], source: ConfigFile, errors: list[str]) -> None:
    """An environment that a section names must be one that something is deployed to."""
    deployed = {section.environment for section in sections if section.phase == "deploy"}
    for section in sections:
        named = section.keys.environment
        if named is not None and named not in deployed and not errors:
            near = did_you_mean(named, [name for name in deployed if name])
            message = f'there is no deploy section for the environment "{named}"{near}'
            errors.append(source.error(base_of(section.name), "environment", message))


def tables(
    data: dict[str, Any], name: str, source: ConfigFile, errors: list[str]
) -> dict[str, dict[str, Any]]:
    """The sections below a first word, such as those of a phase, by name."""
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
