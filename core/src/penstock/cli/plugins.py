"""`plugins list` and `plugins info`, and the commands that a project's plugins add."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from penstock import config
from penstock.cli.common import print_json
from penstock.configfile import find
from penstock.errors import ConfigError, PenstockError
from penstock.plugins import HOOK_OF, Plugins, how_to_install, installed


@click.group()
def plugins() -> None:
    """List plugins, or tell about one."""


@plugins.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_plugins(as_json: bool) -> int:
    """What is installed, enabled, broken."""
    known = installed()
    enabled = _enabled()
    loaded = Plugins.load(enabled, known)
    rows: list[dict[str, Any]] = []
    for name in sorted({*known, *enabled}):
        found = known.get(name)
        broken = loaded.broken.get(name)
        rows.append(
            {
                "name": name,
                "version": found.version if found else None,
                "distribution": found.distribution if found else None,
                "enabled": name in enabled,
                "phases": list(loaded.phases(name)),
                "broken": broken.reason if broken else None,
            }
        )
    if as_json:
        print_json(rows)
        return 0
    if not rows:
        click.echo('No plugin is installed. A useful set: pip install "penstock[python]"')
    for row in rows:
        state = f"BROKEN: {row['broken']}" if row["broken"] else "enabled" if row["enabled"] else "installed"
        does = f"  ({', '.join(row['phases'])})" if row["phases"] else ""
        click.echo(f"{row['name']:<12} {row['version'] or '-':<10} {state}{does}")
    return 4 if loaded.broken else 0


@plugins.command()
@click.argument("name")
def info(name: str) -> int:
    """What a plugin does, and its settings."""
    known = installed()
    if name not in known:
        raise ConfigError(how_to_install(name, known))
    loaded = Plugins.load([name], known)
    if name in loaded.broken:
        click.echo(str(loaded.broken[name]))
        return 4
    about = loaded.modules[name].__doc__ or ""
    click.echo(f"{name} {known[name].version}, of {known[name].distribution}")
    click.echo(about.strip().partition("\n\n")[0])
    for phase in loaded.phases(name):
        model = loaded.settings_model(name, HOOK_OF[phase])
        click.echo(f'\n[{phase}.NAME] uses = "{name}"')
        for key, field in model.model_fields.items():
            value = "required" if field.is_required() else f"default {_default(field)}"
            click.echo(f"  {key}  ({value})\n      {field.description or ''}")
    return 0


def _default(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, tuple | list):
        return str(list(value))
    return "none" if value is None else str(value)


def _enabled() -> tuple[str, ...]:
    try:
        path = find(Path.cwd())
    except ConfigError:
        return ()
    return config.enabled(path)


def command_of_plugin(name: str) -> click.Command | None:
    """A command that one of the project's plugins adds.

    Outside a project every installed plugin is asked: keys, for one, belong to a user.
    """
    try:
        enabled = _enabled() or tuple(installed())
    except PenstockError:
        return None
    loaded = Plugins.load(enabled)
    for commands in loaded.ask_all("penstock_commands"):
        for command in commands:
            if command.name == name:
                return command  # type: ignore[no-any-return]  # the hook's spec says click commands
    return None
