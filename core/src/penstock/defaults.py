"""`[defaults.PHASE]`: the core's keys that all steps of a phase share."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from penstock.configfile import ConfigFile
from penstock.errors import did_you_mean
from penstock.faults import Place, checked
from penstock.keys import Keys

NOT_SHARED = {
    "matrix": "each section has a matrix of its own",
    "environment": "a section's name says which it belongs to, or its own environment",
}
"""The keys that are not shared, and why."""
_JOINED = ("env", "secrets")
"""Tables whose entries are put together, where a section has some too."""


def read_defaults(
    data: Mapping[str, Any], phases: tuple[str, ...], source: ConfigFile, errors: list[str]
) -> dict[str, dict[str, Any]]:
    """The shared keys of each phase; what is wrong with one is added to `errors`."""
    found: dict[str, dict[str, Any]] = {}
    tables = data.get("defaults", {})
    for phase, table in tables.items() if isinstance(tables, dict) else ():
        place = f"defaults.{phase}"
        if not isinstance(table, dict):
            like = phase if phase in phases else "test"
            message = f"must stand in a section of a phase, such as [defaults.{like}]"
            errors.append(source.error("defaults", phase, message))
        elif phase not in phases:
            near = did_you_mean(phase, phases, otherwise=f"The phases are {', '.join(phases)}")
            errors.append(source.error(place, "", f"this is no phase{near}"))
        else:
            unfit = table.keys() & NOT_SHARED
            errors += [source.error(place, key, f"can't be shared: {NOT_SHARED[key]}") for key in unfit]
            if phase != "deploy" and "rollout" in table:
                errors.append(source.error(place, "rollout", "belongs in a deploy section"))
            fit = {key: value for key, value in table.items() if key not in unfit}
            checked(Keys, fit, source, place, errors)
            found[phase] = {key: value for key, value in fit.items() if key in Keys.model_fields}
    return found


class Merged(NamedTuple):
    """A section with what its phase shares."""

    table: dict[str, Any]
    shared: frozenset[str]
    """What of it stands in the defaults: keys, and such as `env.NAME`."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that it has from there as a whole."""
        return tuple(sorted(key for key in self.shared if "." not in key))


def merged(defaults: Mapping[str, Any], table: Mapping[str, Any]) -> Merged:
    """A section's table with the defaults of its phase: what it says itself counts."""
    made = {**defaults, **table}
    shared = set(defaults.keys() - table.keys())
    for key in _JOINED:
        ours, theirs = table.get(key), defaults.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            made[key] = {**theirs, **ours}
            shared |= {f"{key}.{name}" for name in theirs.keys() - ours.keys()}
    return Merged(made, frozenset(shared))


class InDefaults(NamedTuple):
    """Says of what came out of the defaults of a phase that it stands there."""

    source: Place
    phase: str
    shared: frozenset[str]

    def error(self, section: str, key: str, message: str) -> str:
        """A message about a key."""
        parts = key.split(".")
        if self.shared.isdisjoint((parts[0], ".".join(parts[:2]))):
            return self.source.error(section, key, message)
        return self.source.error(f"defaults.{self.phase}", key, message)
