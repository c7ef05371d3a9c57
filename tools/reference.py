"""The parts of the reference that are made from the code: a hook of mkdocs.

A line `::: NAME` in a page is replaced by what the function of that name below returns, so that the
reference can't say anything else than the hook specs, the models and the command line do.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click
from penstock import config, errors, findings, hookspecs, model, plugins, quarantine, target
from penstock.keys import Cache, Wave
from pydantic import BaseModel

_MARKER = re.compile(r"^::: (\w+)$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by mkdocs for each page."""
    return _MARKER.sub(lambda match: _PARTS[match[1]](), markdown)


def hooks() -> str:
    """Every hook: its signature and its docstring."""
    parts = [inspect.getdoc(hookspecs) or ""]
    for name, function in vars(hookspecs).items():  # in the order of the file
        if not name.startswith("penstock_"):
            continue
        signature = re.sub(r"'([\w\[\] |.]+)'", r"\1", str(inspect.signature(function)))
        parts += [f"## {name}", f"```python\ndef {name}{signature}\n```", f"*{_who(function)}*"]
        parts.append(inspect.getdoc(function) or "")
    return "\n\n".join(parts)


def values() -> str:
    """The models that hooks take and return."""
    names = (
        "Revision Artifact TestReport TestCase ScanReport Finding Exempted Signature Signer Publication"
        " Approval Pending Proposal Release TargetState Health Job Verification Check Evidence Refusal Tool"
        " Service Event"
    )
    parts = []
    for name in names.split():
        found: type[BaseModel] = next(getattr(m, name) for m in (model, findings, target) if hasattr(m, name))
        parts += [f"### {name}", inspect.getdoc(found) or "", _table(found)]
    return "\n\n".join(parts)


def keys() -> str:
    """The keys that every section may have."""
    return _table(config.Keys)


def wave() -> str:
    """A wave of `rollout.waves` as a table."""
    return _table(Wave)


def retries() -> str:
    """`retries` as a table."""
    return _table(config.Retries)


def parameter() -> str:
    """An entry of `[parameters]`."""
    return _table(config.Parameter)


def cache() -> str:
    """What the key `cache` may say."""
    return _table(Cache)


def penstock() -> str:
    """The `[penstock]` section."""
    return _table(config.Penstock)


def policy() -> str:
    """A `[policy.ENV]` section."""
    return _table(config.Policy)


def quarantined() -> str:
    """A `[[quarantine]]` entry."""
    return _table(quarantine.Quarantine)


def manual() -> str:
    """An approve section without a plugin."""
    return _table(config.Manual)


def settings() -> str:
    """The settings of each installed plugin, by phase."""
    known = plugins.installed()
    loaded = plugins.Plugins.load(known)
    if loaded.broken:
        raise RuntimeError("; ".join(str(broken) for broken in loaded.broken.values()))
    parts = []
    for name in sorted(known):
        parts += [f"## {name}", f"`pip install {known[name].distribution}`"]
        for phase in loaded.phases(name):
            found = loaded.settings_model(name, plugins.HOOK_OF[phase])
            parts += [f'### [{phase}.NAME] with uses = "{name}"', inspect.getdoc(found) or "", _table(found)]
        if loaded.has(name, "penstock_service"):
            found = loaded.settings_model(name, "penstock_service")
            parts += [f'### [service.NAME] with uses = "{name}"', inspect.getdoc(found) or "", _table(found)]
        if loaded.observes_by_section(name):
            found = loaded.settings_model(name, "penstock_event")
            parts += [f'### [observe.NAME] with uses = "{name}"', inspect.getdoc(found) or "", _table(found)]
    return "\n\n".join(parts)


def commands() -> str:
    """Every command of the core with its options."""
    from penstock import cli

    group = cli.cli
    context = click.Context(group, info_name="penstock")
    parts = ["## penstock", f"```text\n{group.get_help(context)}\n```"]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            parts += list(_command(command, f"penstock {name}", context))
    return "\n\n".join(parts)


def plugin_commands() -> str:
    """The commands that installed plugins add, each with its options."""
    loaded = plugins.Plugins.load(plugins.installed())
    context = click.Context(click.Group(), info_name="penstock")
    parts = []
    for name in sorted(loaded.modules):
        if loaded.has(name, "penstock_commands"):
            [added] = loaded.call(name, "penstock_commands")
            for command in added:
                title, *more = _command(command, f"penstock {command.name}", context)
                parts += [title, f"*Of the plugin {name}.*", *more]
    return "\n\n".join(parts)


def exit_codes() -> str:
    """The tree of errors."""
    return f"```text\n{(inspect.getdoc(errors) or '').partition(chr(10) * 2)[2].strip()}\n```"


def _command(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent)
    yield f"## {name}"
    yield f"```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            if found is not None:
                yield from _command(found, f"{name} {inner}", context)


def _who(function: Callable[..., Any]) -> str:
    options: Mapping[str, Any] = vars(function)["penstock_spec"]
    if "settings" in inspect.signature(function).parameters:
        if not options["firstresult"]:
            return "Called on every enabled plugin without settings, and for each section that names one."
        return "Called on the one plugin that the step uses."
    first = " until one has an answer" if options["firstresult"] else ""
    return f"Called on every enabled plugin{first}."


def _table(found: type[BaseModel]) -> str:
    schema = found.model_json_schema()
    rows = [
        f"| `{key}` | {kind} | {default} | {text} |" for key, kind, default, text in _rows(schema, schema)
    ]
    if not rows:
        return "It has no settings."
    return "\n".join(["| key | type | default | what you get |", "| --- | --- | --- | --- |", *rows])


def _rows(schema: Mapping[str, Any], root: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, ...]]:
    required = schema.get("required", ())
    for key, field in schema.get("properties", {}).items():
        inner = _resolve(field, root)
        if inner.get("properties") and inner.get("type") == "object":
            yield from _rows(inner, root, f"{prefix}{key}.")
            continue
        default = "required" if key in required else _value(field.get("default"))
        text = " ".join(str(field.get("description", "")).split()).replace("|", "\\|")
        yield f"{prefix}{key}", _type(field, root), default, text


def _value(value: object) -> str:
    if value is None or value == [] or value == {}:
        return "none"
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _resolve(field: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in field:
        found: Mapping[str, Any] = root["$defs"][field["$ref"].rpartition("/")[2]]
        return found
    return field


def _type(field: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    field = _resolve(field, root)
    if "enum" in field:
        return ", ".join(f'`"{choice}"`' for choice in field["enum"])
    if "const" in field:
        return f'`"{field["const"]}"`'
    if "anyOf" in field:
        return _union([choice for choice in field["anyOf"] if choice.get("type") != "null"], root)
    if field.get("type") == "array":
        items: Mapping[str, Any] = field.get("items", {})
        return f"list of {_type(items, root)}"
    if field.get("type") == "string" and "%" in field.get("pattern", ""):
        return "percentage"
    name = str(field.get("type", "any value"))
    return {"object": "table", "boolean": "true or false", "integer": "whole number"}.get(name, name)


def _union(choices: list[Mapping[str, Any]], root: Mapping[str, Any]) -> str:
    if any("ms|s|m|h|d" in choice.get("pattern", "") for choice in choices):
        return "duration"
    return " or ".join(dict.fromkeys(_type(choice, root) for choice in choices))


_PARTS: Mapping[str, Callable[[], str]] = {
    part.__name__: part
    for part in (
        *(hooks, values, keys, wave, retries, cache, parameter, penstock, policy, quarantined, manual),
        *(settings, commands, plugin_commands, exit_codes),
    )
}
