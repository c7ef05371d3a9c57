"""The `[service.NAME]` tables → what runs beside steps: a plugin each, its settings and secrets, checked.

A setting that is the whole name of a build step, such as `image = "build.db"`, means what that step has
built: a step with the service waits for it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field, JsonValue

from penstock import settings
from penstock.configfile import ConfigFile
from penstock.errors import did_you_mean
from penstock.faults import checked
from penstock.keys import Keys, Section
from penstock.model import Model
from penstock.plugins import Installed, Plugins, unusable
from penstock.sections import tables, unknown_references
from penstock.words import Secrets

PHASE = "service"
"""The first word of these sections. It is no phase: they are started for the steps that name them."""
HOOK = "penstock_service"
TOOLS_HOOK = "penstock_service_tools"
MAY_HAVE = ("build", "test", "scan", "verify")
"""The phases whose steps may have services."""
_BUILD = "build."


class ServiceKeys(Model):
    """The keys of such a section that belong to the core."""

    uses: str = Field(description="The plugin that starts it.")
    secrets: Secrets = Field(
        default={}, description='What it is handed in secret, as NAME = "env:NAME" or "file:PATH".'
    )


class Beside(Model):
    """One section as written: the plugin that starts it, and its settings, checked."""

    name: str
    plugin: str
    settings: dict[str, JsonValue] = {}
    secrets: dict[str, str] = {}

    @property
    def builds(self) -> tuple[str, ...]:
        """The build steps whose artifacts it is started from."""
        texts = (value for value in self.settings.values() if isinstance(value, str))
        return tuple(dict.fromkeys(text for text in texts if text.startswith(_BUILD)))


def read_services(
    data: dict[str, Any],
    plugins: Plugins,
    known: Mapping[str, Installed],
    source: ConfigFile,
    errors: list[str],
) -> dict[str, Beside]:
    """Every such section, by the word after the dot; what is wrong with one is added to `errors`."""
    found = {}
    for name, table in tables(data, PHASE, source, errors).items():
        made = _read(name, table, plugins, known, source, errors)
        if made is not None:
            found[name] = made
    return found


def _read(
    name: str,
    table: dict[str, Any],
    plugins: Plugins,
    known: Mapping[str, Installed],
    source: ConfigFile,
    errors: list[str],
) -> Beside | None:
    full, count = f"{PHASE}.{name}", len(errors)
    uses = table.get("uses")
    if message := _why_not(uses, plugins, known):
        errors.append(source.error(full, "uses", message))
        return None
    core = {key: value for key, value in table.items() if key in ServiceKeys.model_fields}
    rest = {key: value for key, value in table.items() if key not in core}
    for key in rest.keys() & Keys.model_fields:
        errors.append(
            source.error(full, key, "is a key of steps. A service has uses and secrets, and its own")
        )
        del rest[key]
    keys = checked(ServiceKeys, core, source, full, errors)
    if keys:
        errors += unknown_references(keys.secrets, full, plugins, source)
    model = plugins.settings_model(str(uses), HOOK)
    values = settings.read(model, rest, source, full, errors, plugin=str(uses), also=ServiceKeys.model_fields)
    if len(errors) > count or keys is None or values is None:
        return None
    return Beside(name=name, plugin=str(uses), settings=values, secrets=keys.secrets)


def that_can(plugins: Plugins) -> list[str]:
    """The enabled plugins that such a section may use."""
    return [name for name in plugins.modules if plugins.has(name, HOOK)]


def check_services(
    sections: Sequence[Section],
    services: Mapping[str, Beside],
    data: Mapping[str, Any],
    source: ConfigFile,
    errors: list[str],
) -> None:
    """Steps name services that there are, where they may, and services builds that there are."""
    written = data.get(PHASE)
    there = list(written) if isinstance(written, dict) else []  # also those that are wrong, and reported
    for section in sections:
        place = section.place("services")
        errors += [
            source.error(place, "services", message) for message in _misplaced(section, services, there)
        ]
    builds = [section.name for section in sections if section.phase == "build"]
    for name, service in services.items():
        for key, value in service.settings.items():
            if value in service.builds and value not in builds and not errors:
                ways = f"There are {', '.join(builds)}" if builds else "There is no build step at all"
                near = did_you_mean(str(value), builds, otherwise=ways)
                message = f'there is no build step "{value}"{near}'
                errors.append(source.error(f"{PHASE}.{name}", key, message))


def _misplaced(section: Section, services: Mapping[str, Beside], there: Sequence[str]) -> Iterable[str]:
    named = section.keys.services
    if named and section.phase not in MAY_HAVE:
        yield f"has no place in this phase. It is for {', '.join(MAY_HAVE[:-1])} and {MAY_HAVE[-1]}"
    cache = section.keys.cached
    for name in named:
        if name not in there:
            ways = f"Add a section [{PHASE}.{name}]" + (
                f", or name one of {', '.join(there)}" if there else ""
            )
            yield f'there is no service "{name}"{did_you_mean(name, there, otherwise=ways)}'
        elif section.name in (services[name].builds if name in services else ()):
            yield f'the service "{name}" is started from what this very step builds'
        elif cache and not cache.ignore_secrets and name in services and services[name].secrets:
            yield (
                f'the service "{name}" is handed secrets, whose values are not compared: with another one '
                "the step might come to another result. If not, say so: cache = { ignore_secrets = true }"
            )


def with_needs(section: Section, services: Mapping[str, Beside]) -> Section:
    """The section with the builds among its needs that its services are started from."""
    builds = [build for name in section.keys.services for build in services[name].builds]
    needs = section.keys.needs
    if not builds or (needs is None and section.phase != "build"):
        return section  # by default it waits for all builds
    keys = section.keys.model_copy(update={"needs": tuple(dict.fromkeys([*(needs or ()), *builds]))})
    return section._replace(keys=keys)


def secrets(services: Iterable[Beside]) -> Iterable[dict[str, str]]:
    """The secrets of each."""
    return (service.secrets for service in services)


def _why_not(uses: object, plugins: Plugins, known: Mapping[str, Installed]) -> str:
    able = ", ".join(json.dumps(name) for name in that_can(plugins)) or "none of the enabled ones"
    if uses is None:
        return f"is missing. Plugins that can start a service: {able}"
    if not isinstance(uses, str):
        return "must be a string: the name of a plugin"
    if message := unusable(uses, plugins, known):
        return message
    if not plugins.has(uses, HOOK):
        return f'the plugin "{uses}" can\'t start a service. Plugins that can: {able}'
    return ""
