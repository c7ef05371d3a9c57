"""`plugins list` and `plugins info`, and the commands that a project's plugins add."""

from __future__ import annotations

from typing import Any

import click

from penstock import beside, observe
from penstock.cli.common import enabled_here, print_json, warn
from penstock.cli.new import new
from penstock.errors import ConfigError, PenstockError, PluginError, in_words
from penstock.inhouse import is_path, name_of
from penstock.model import short
from penstock.plugins import HOOK_OF, Installed, Plugins, how_to_install, installed


@click.group()
def plugins() -> None:
    """List plugins, tell about one, or begin a new one."""


@plugins.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_plugins(as_json: bool) -> int:
    """What is installed, enabled, broken."""
    known = installed()
    entries, root = enabled_here()
    loaded = Plugins.load(entries, known, root=root)
    own = {name for name, broken in loaded.broken.items() if name not in known} | set(loaded.files)
    rows = [_row(name, known.get(name), loaded) for name in sorted({*known, *own})]
    if as_json:
        print_json(rows)
        return 0
    if not rows:
        click.echo('No plugin is installed. A useful set: pip install "penstock[python]"')
    for row in rows:
        state = f"BROKEN: {row['broken']}" if row["broken"] else "enabled" if row["enabled"] else "installed"
        does = f"  ({', '.join(row['phases'])})" if row["phases"] else ""
        does += f"  adds penstock {', penstock '.join(row['commands'])}" if row["commands"] else ""
        where = f"  {row['path']}" if row["path"] and not row["broken"] else ""
        version = short(row["version"]) if row["path"] and row["version"] else row["version"] or "-"
        click.echo(f"{row['name']:<12} {version:<10} {state}{does}{where}")
    return 4 if loaded.broken else 0


def _row(name: str, found: Installed | None, loaded: Plugins) -> dict[str, Any]:
    broken, file = loaded.broken.get(name), loaded.files.get(name)
    version = file.digest if file else found.version if found else None
    return {
        "name": name,
        "version": version,
        "distribution": found.distribution if found else None,
        "path": file.path if file else None,
        "enabled": name in loaded.modules or name in loaded.broken,
        "phases": list(_hooks(name, loaded)),
        "commands": _commands(name, loaded),
        "broken": broken.reason if broken else None,
    }


def _hooks(name: str, loaded: Plugins) -> dict[str, str]:
    """What sections may use a plugin for, by their first word, and the hook that takes their settings."""
    found = {phase: HOOK_OF[phase] for phase in loaded.phases(name)}
    if loaded.has(name, beside.HOOK):
        found[beside.PHASE] = beside.HOOK
    if loaded.observes_by_section(name):
        found[observe.PHASE] = observe.HOOK
    return found


def _commands(name: str, loaded: Plugins) -> list[str]:
    if not loaded.has(name, "penstock_commands"):
        return []
    try:
        return [str(command.name) for command in _added(name, loaded)]
    except PluginError:  # it must not keep the others from being listed
        return []


def _added(name: str, loaded: Plugins) -> list[click.Command]:
    """The commands that a plugin adds. Raises PluginError where it can't say."""
    answers = loaded.call_here(name, "penstock_commands")
    commands = [each for answer in answers if isinstance(answer, list | tuple) for each in answer]
    if not all(isinstance(command, click.Command) for command in commands):
        raise PluginError(
            f'the plugin "{name}" returned from penstock_commands what is no list of click commands'
        )
    return commands


@plugins.command()
@click.argument("name")
def info(name: str) -> int:
    """What a plugin does, and its settings; NAME may be a file of the project."""
    known = installed()
    entries, root = enabled_here()
    own = {name_of(entry): entry for entry in entries if is_path(entry)}
    entry = own.get(name, name)
    if not is_path(entry) and name not in known:
        raise ConfigError(how_to_install(name, [*known, *own]))
    loaded = Plugins.load([entry], known, root=root)
    for broken in loaded.broken.values():
        if broken.absent and entry == name:  # a path that the command line names
            raise ConfigError(broken.reason)
        click.echo(str(broken))
        return 4
    [name] = loaded.modules
    file = loaded.files.get(name)
    origin = f"{short(file.digest)}, in {file.path}" if file else None
    about = loaded.modules[name].__doc__ or ""
    click.echo(f"{name} {origin or f'{known[name].version}, of {known[name].distribution}'}")
    click.echo(about.strip().partition("\n\n")[0])
    for phase, hook in _hooks(name, loaded).items():
        model = loaded.settings_model(name, hook)
        click.echo(f'\n[{phase}.NAME] uses = "{name}"')
        for key, field in model.model_fields.items():
            value = "required" if field.is_required() else f"default {_default(field)}"
            click.echo(f"  {key}  ({value})\n      {field.description or ''}")
    return 0


def _default(field: Any) -> str:
    try:
        value = field.get_default(call_default_factory=True)
        if isinstance(value, tuple | list):
            return str(list(value))
        return "none" if value is None else str(value)
    except Exception as error:  # whatever a plugin's default does is its own fault, and hides no other
        return f"that fails: {in_words(error)}"


plugins.add_command(new)


def command_of_plugin(name: str) -> click.Command | None:
    """A command that one of the project's plugins adds.

    Outside a project every installed plugin is asked: keys, for one, belong to a user.
    """
    try:
        entries, root = enabled_here()
    except PenstockError:
        return None
    loaded = Plugins.load(entries or tuple(installed()), root=root)
    for plugin in loaded.modules:
        if not loaded.has(plugin, "penstock_commands"):
            continue
        try:
            found = [command for command in _added(plugin, loaded) if command.name == name]
        except PluginError as error:  # the command may be another's
            warn([str(error)])
            continue
        if found:
            return found[0]
    return None
