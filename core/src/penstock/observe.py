"""The `[observe.NAME]` sections → who is told of what happens: a plugin each, and its settings, checked."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from penstock import settings
from penstock.configfile import ConfigFile
from penstock.model import Model
from penstock.plugins import Installed, Plugins, unusable
from penstock.sections import tables

PHASE = "observe"
"""The first word of these sections. It is no phase: what they name takes no part in a run."""
HOOK = "penstock_event"
_USES = "uses"


class Observe(Model):
    """One section as written: the plugin that is told, and its settings, checked."""

    name: str
    plugin: str
    settings: dict[str, JsonValue]

    @property
    def references(self) -> frozenset[str]:
        """What in its settings stands for a secret in an environment variable."""
        return frozenset(text for text in _strings(self.settings) if text.startswith("env:"))


def read_observers(
    data: dict[str, Any],
    plugins: Plugins,
    known: Mapping[str, Installed],
    source: ConfigFile,
    errors: list[str],
) -> list[Observe]:
    """Every such section; what is wrong with one is added to `errors`."""
    found = []
    for name, table in tables(data, PHASE, source, errors).items():
        full = f"{PHASE}.{name}"
        uses = table.get(_USES)
        rest = {key: value for key, value in table.items() if key != _USES}
        if message := _why_not(uses, plugins, known):
            errors.append(source.error(full, _USES, message))
            continue
        model = plugins.settings_model(str(uses), HOOK)
        values = settings.read(model, rest, source, full, errors, plugin=str(uses), also=(_USES,))
        if values is not None:
            found.append(Observe(name=full, plugin=str(uses), settings=values))
    return found


def that_can(plugins: Plugins) -> list[str]:
    """The enabled plugins that such a section may use."""
    return [name for name in plugins.modules if plugins.observes_by_section(name)]


def _why_not(uses: object, plugins: Plugins, known: Mapping[str, Installed]) -> str:
    able = ", ".join(json.dumps(name) for name in that_can(plugins)) or "none of the enabled ones"
    if uses is None:
        return f"is missing. Plugins that can observe: {able}"
    if not isinstance(uses, str):
        return "must be a string: the name of a plugin"
    if message := unusable(uses, plugins, known):
        return message
    if not plugins.has(uses, HOOK):
        return f'the plugin "{uses}" can\'t observe. Plugins that can: {able}'
    if not plugins.observes_by_section(uses):
        return f'the plugin "{uses}" has no settings to be told, and observes every run without a section'
    return ""


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [text for each in inside for text in _strings(each)]
