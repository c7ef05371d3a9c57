"""`init --add`: one more section in a configuration that is there."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from penstock import config, plan
from penstock.cli.files import replace, sweep
from penstock.cli.init import text
from penstock.cli.init.insert import added
from penstock.cli.init.look import Look, lines, look
from penstock.cli.schema import refresh
from penstock.configfile import FILE, ConfigFile, find
from penstock.errors import ConfigError, did_you_mean
from penstock.keys import Manual
from penstock.plugins import HOOK_OF, PHASES, Plugins, how_to_install, installed
from penstock.words import NAME


@dataclass(frozen=True)
class _Choice:
    """Who does the work of the new section, and why that one."""

    plugin: str | None
    settings: dict[str, Any]
    looks: Sequence[Look] = ()
    others: Sequence[str] = ()


def add_section(start: Path, name: str, uses: str | None) -> int:
    """Add a section to the nearest configuration, and say what is left to fill in."""
    phase = _phase_of(name)
    path = find(start)
    source = ConfigFile(path, config.Penstock.model_fields)
    data = source.read()
    sections = data.get(phase, {})
    if name.partition(".")[2] in (sections if isinstance(sections, dict) else {}):
        sweep(path.parent)
        raise ConfigError(source.error(name, "", "is there already; it is left as it is"))
    # Those of the project first, since a file of it can be one, too.
    entries = config.enabled(path)
    plugins = Plugins.load([*entries, *sorted(set(installed()) - set(entries))], root=path.parent)
    choice = _choose(plugins, path.parent, name, phase, uses)
    base = () if path.name == FILE else ("tool", "penstock")
    written = text.section(
        ".".join((*base, name)), choice.plugin, choice.settings, _model(plugins, choice.plugin, phase)
    )
    head = base or ("penstock",)
    try:
        mark = codecs.BOM_UTF8 if source.raw.startswith(codecs.BOM_UTF8) else b""
        enable = None if choice.plugin in plugins.files else choice.plugin
        new = added(source.text, head, (*base, *name.split(".", 1)), written, enable)
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(_by_hand(path, choice.plugin, written, error)) from None
    replace(path, mark + new.encode())
    _tell(path, name, choice)
    return 0


def _phase_of(name: str) -> str:
    phase, _, own_name = name.partition(".")
    if phase not in PHASES:
        way_out = did_you_mean(phase, PHASES, otherwise=f"The phases are {', '.join(PHASES)}")
        raise ConfigError(f'--add {name}: "{phase}" is no phase{way_out}')
    if not NAME.fullmatch(own_name):
        raise ConfigError(
            f"--add {name}: a section is PHASE.NAME, such as {phase}.{_EXAMPLES.get(phase, 'main')}, and a "
            "name is made of at most 63 letters, digits, - and _"
        )
    return phase


_EXAMPLES = {
    "deploy": "staging",
    "verify": "staging",
    "approve": "production",
    "test": "unit",
    "scan": "deps",
}


def _choose(plugins: Plugins, root: Path, name: str, phase: str, uses: str | None) -> _Choice:
    able = sorted(plugin for plugin in plugins.modules if phase in plugins.phases(plugin))
    if uses is not None:
        _check_able(plugins, able, uses, phase)
        able = [uses]
    elif phase == "approve":  # the core's own asks a person, and needs no plugin
        return _Choice(None, {}, others=able)
    looks = [one for one in look(plugins, root, name) if one.plugin in able]
    proposed = {one.plugin: one.sections[name] for one in reversed(looks) if name in one.sections}
    likely = [plugin for plugin in able if plugin in proposed] or able
    if not likely:
        raise ConfigError(
            f"--add {name}: no plugin is installed that can {phase}. Those that are: penstock plugins list"
        )
    if len(likely) > 1:
        choices = " or ".join(f"--uses {plugin}" for plugin in likely)
        raise ConfigError(f"--add {name}: several plugins can {phase}. Choose one: {choices}")
    chosen = likely[0]
    return _Choice(
        chosen,
        proposed.get(chosen, {}),
        [one for one in looks if one.plugin == chosen],
        [plugin for plugin in able if plugin != chosen],
    )


def _check_able(plugins: Plugins, able: Sequence[str], uses: str, phase: str) -> None:
    if uses in able:
        return
    if uses in plugins.broken:
        raise ConfigError(str(plugins.broken[uses]))
    if uses not in plugins.modules:
        raise ConfigError(f"--uses {uses}: {how_to_install(uses, plugins.modules)}")
    can = ", ".join(plugins.phases(uses)) or "nothing"
    who = ", ".join(able) or "no plugin that is installed"
    raise ConfigError(f"--uses {uses}: {uses} can't {phase}; it can: {can}. Who can {phase}: {who}")


def _model(plugins: Plugins, plugin: str | None, phase: str) -> type[Any]:
    return Manual if plugin is None else plugins.settings_model(plugin, HOOK_OF[phase])


def _by_hand(path: Path, plugin: str | None, written: str, error: Exception) -> str:
    enable = f'\nAdd "{plugin}" to its plugins where it is not among them, and at its end:' if plugin else ""
    return f"{path.name} was left as it is: {error}. Do it by hand.{enable}\n\n{written}"


def _tell(path: Path, name: str, choice: _Choice) -> None:
    by = f', uses = "{choice.plugin}"' if choice.plugin else ", which waits for `penstock approve`"
    click.echo(f"Added [{name}] to {path.name}{by}.")
    for line in lines(choice.looks):
        click.echo(line)
    if choice.others:
        click.echo(f"  Others that can: {', '.join(f'--uses {other}' for other in choice.others)}")
    try:
        project, plugins = config.load(path)
        plan.make(project, plugins.versions)
    except ConfigError as error:
        click.echo("Still to do, as `penstock validate` says:")
        for line in str(error).splitlines():
            click.echo(f"  {line}")
        return
    refresh(path, plugins)
    click.echo("Now: penstock plan shows where it stands")
