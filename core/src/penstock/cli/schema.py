"""`schema`: one JSON Schema for `penstock.toml`, out of the core's keys and the plugins' settings models.

Editors find it in `.penstock/`, where the first line of the file leads them to. It is written again
whenever the configuration is checked, so that it fits the plugins that are enabled now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from penstock import beside, config, observe
from penstock.cli.common import enabled_here, print_json
from penstock.cli.files import replace
from penstock.configfile import find
from penstock.defaults import NOT_SHARED
from penstock.errors import ConfigError, PluginError, in_words
from penstock.home import Home
from penstock.plugins import HOOK_OF, PHASES, Plugins, installed
from penstock.quarantine import TABLE, Quarantine
from penstock.sections import NO_MATRIX

_VALUES = [{"type": "string"}, {"type": "integer"}, {"type": "boolean"}]
FIRST_LINE = "#:schema ./.penstock/schema.json"
"""What leads an editor to the schema: a directive of Taplo, which TOML extensions are built on."""


@click.command()
@click.option("--write", "to_file", is_flag=True, help="Write it to .penstock/schema.json, for editors.")
def schema(to_file: bool) -> int:
    """Print the JSON Schema of penstock.toml, for this project's plugins."""
    if to_file:
        path = find(Path.cwd())
        write_schema(path.parent, Plugins.load(config.enabled(path), root=path.parent))
        click.echo(f"Wrote .penstock/schema.json. Editors find it by the first line: {FIRST_LINE}", err=True)
        return 0
    try:
        entries, root = enabled_here()
    except ConfigError:
        entries, root = (), Path.cwd()  # a schema helps to write what is not right yet
    print_json(make_schema(Plugins.load(entries or tuple(installed()), root=root), _shared(root)))
    return 0


def write_schema(project: Path, plugins: Plugins) -> None:
    """Write the schema for these plugins where editors look for it."""
    text = json.dumps(make_schema(plugins, _shared(project)), indent=1, ensure_ascii=False) + "\n"
    replace(Home.of(project).root / "schema.json", text.encode())


def refresh(path: Path, plugins: Plugins) -> None:
    """Write the schema anew for a file that leads editors to it; where that can't be, it is no fault."""
    with suppress(OSError, PluginError):
        if path.read_text("utf-8-sig").startswith(FIRST_LINE):
            write_schema(path.parent, plugins)


def _shared(root: Path) -> Mapping[str, str]:
    """The plugins that whole phases use; none where the file can't be read, or there is none yet."""
    with suppress(ConfigError):
        return config.shared_plugins(find(root))
    return {}


def make_schema(plugins: Plugins, shared_plugins: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """One JSON Schema out of the core's keys and the settings models of these plugins.

    `shared_plugins` are those that the defaults of a phase name: its sections need not say so.
    """
    definitions: dict[str, Any] = {}

    def add(name: str, model: Any) -> dict[str, Any]:
        found = _described(name, model)
        # Two plugins may have models of one name that are not the same.
        definitions.update({f"{name}.{key}": value for key, value in found.pop("$defs", {}).items()})
        definitions[name] = found
        return found

    keys = add("Keys", config.Keys)["properties"]
    properties: dict[str, Any] = {"penstock": add("Penstock", config.Penstock)}
    for phase in PHASES:
        choices = []
        able: list[Any] = [
            (name, plugins.settings_model(name, HOOK_OF[phase])) for name in plugins.that_do(phase)
        ]
        if phase == "approve":
            able.append((None, config.Manual))
        for name, model in able:
            own = add(f"{phase}_{name or 'manual'}", model)
            fixed = {"uses": {"const": name}} if name else {}
            leave = {"matrix", *_misplaced(phase)}
            shared = {key: value for key, value in keys.items() if key not in leave}
            choice = {
                "type": "object",
                "properties": {**own.get("properties", {}), **shared, **fixed},
                "required": [
                    *own.get("required", []),
                    *(["uses"] if name and shared_plugins.get(phase) != name else []),
                ],
                "additionalProperties": False,
            }
            choices.append(choice if phase in NO_MATRIX else _with_matrix(choice))
        if choices:
            properties[phase] = {"type": "object", "additionalProperties": {"oneOf": choices}}
    properties["parameters"] = {
        "type": "object",
        "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        "additionalProperties": {"anyOf": [add("Parameter", config.Parameter), *_VALUES]},
    }
    properties["defaults"] = {
        "type": "object",
        "properties": {phase: _defaults(phase, keys, plugins) for phase in PHASES},
        "additionalProperties": False,
    }
    besides = add("ServiceKeys", beside.ServiceKeys)["properties"]
    for word, able_to, hook, core in (
        (beside.PHASE, beside.that_can(plugins), beside.HOOK, besides),
        (observe.PHASE, observe.that_can(plugins), observe.HOOK, {}),
    ):
        choices = []
        for name in able_to:
            own = add(f"{word}_{name}", plugins.settings_model(name, hook))
            choices.append(
                {
                    "type": "object",
                    "properties": {**own.get("properties", {}), **core, "uses": {"const": name}},
                    "required": [*own.get("required", []), "uses"],
                    "additionalProperties": False,
                }
            )
        if choices:
            properties[word] = {"type": "object", "additionalProperties": {"oneOf": choices}}
    properties["policy"] = {"type": "object", "additionalProperties": add("Policy", config.Policy)}
    properties[TABLE] = {"type": "array", "items": add("Quarantine", Quarantine)}
    members = {"type": "array", "items": {"type": "string"}}
    properties["roles"] = {"type": "object", "additionalProperties": members}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "penstock.toml",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": definitions,
    }


def _described(name: str, model: Any) -> dict[str, Any]:
    """The schema of one model. Raises PluginError where the model is of things that JSON has no word for."""
    try:
        found: dict[str, Any] = model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
        json.dumps(found, allow_nan=False)
    except Exception as error:  # whatever a plugin's model does here is its own fault
        word, _, plugin = name.partition("_")
        raise PluginError(
            f'the settings of the plugin "{plugin}" for {word} can\'t be described: {in_words(error)}. Give '
            "each a type and a default that JSON can hold"
        ) from None
    return found


def _misplaced(phase: str) -> set[str]:
    """The core's keys that have no place in a phase."""
    unfit = {"rollout"} if phase != "deploy" else set()
    unfit |= {"when"} if phase == "source" else set()
    return unfit | ({"services"} if phase not in beside.MAY_HAVE else set())


def _defaults(phase: str, keys: dict[str, Any], plugins: Plugins) -> dict[str, Any]:
    """The schema of what the sections of a phase share."""
    leave = {*NOT_SHARED, *_misplaced(phase)}
    properties = {key: value for key, value in keys.items() if key not in leave}
    able = {"enum": plugins.that_do(phase)} if plugins.that_do(phase) else {"type": "string"}
    return {"type": "object", "properties": {**properties, "uses": able}, "additionalProperties": False}


def _with_matrix(section: dict[str, Any]) -> dict[str, Any]:
    """The schema of a section that may have a matrix: lists of what its keys may be."""
    keys = {key: value for key, value in section["properties"].items() if key != "uses"}
    entries = {"type": "array", "items": {"type": "object"}}
    matrix = {
        "type": "object",
        "properties": {
            **{key: {"type": "array", "minItems": 1, "items": value} for key, value in keys.items()},
            "include": {**entries, "items": {"type": "object", "properties": keys}},
            "exclude": entries,
        },
        "patternProperties": {r"^env\.": {"type": "array", "minItems": 1, "items": {"type": "string"}}},
        "additionalProperties": False,
    }
    # A key that must be there may stand in the matrix instead.
    needed = [
        {
            "anyOf": [
                {"required": [key]},
                {"properties": {"matrix": {"anyOf": _naming(key)}}, "required": ["matrix"]},
            ]
        }
        for key in section["required"]
        if key != "uses"
    ]
    return {
        **section,
        "properties": {**section["properties"], "matrix": matrix},
        "required": [key for key in section["required"] if key == "uses"],
        **({"allOf": needed} if needed else {}),
    }


def _naming(key: str) -> list[dict[str, Any]]:
    return [{"required": [key]}, {"required": ["include"]}]
