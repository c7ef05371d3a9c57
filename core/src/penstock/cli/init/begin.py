"""`init` in a project that has no configuration: asks every plugin what it would do, and writes that down."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from penstock import config, plan
from penstock.cli.files import beside, settle, sweep
from penstock.cli.init import text
from penstock.cli.init.look import Look, lines, look
from penstock.cli.schema import write_schema
from penstock.config import Project
from penstock.configfile import FILE, find
from penstock.errors import ConfigError, PluginError
from penstock.plugins import HOOK_OF, PHASES, Plugins, installed

_THERE = "is there already; it is left as it is. Check it: penstock validate"


def begin(root: Path) -> int:
    """Look at the project, write its configuration, and say what was seen."""
    _refuse_existing(root)
    plugins = Plugins.load(sorted(installed()))
    looks = look(plugins, root)
    click.echo("Looked at .")
    for line in lines(looks):
        click.echo(line)
    for broken in plugins.broken.values():
        click.echo(f"  ! {broken}")
    if not any(name.partition(".")[0] in ("build", "test") for one in looks for name in one.sections):
        raise ConfigError(_nothing_understood(root, looks))
    written = compose(looks, plugins)
    with beside(root / FILE) as place:
        project = _checked(place / FILE, written)
        try:
            settle(place / FILE, root / FILE, force=False)
        except FileExistsError:
            raise ConfigError(f"{FILE} {_THERE}") from None
    with suppress(OSError, PluginError):  # a convenience of editors: without it the file is as good
        write_schema(root, Plugins.load(project.plugins))
    _tell(looks, plugins, project)
    return 0


def compose(looks: Sequence[Look], plugins: Plugins) -> str:
    """The whole file."""
    enabled = list(dict.fromkeys(one.plugin for one in looks if one.enable))
    wanted = [(name, one.plugin, settings) for one in looks for name, settings in one.sections.items()]
    sources = [name for name in enabled if "source" in plugins.phases(name)]
    if len(sources) > 1 and not any(name.startswith("source.") for name, _, _ in wanted):
        wanted.append(("source.main", sources[0], {}))  # of several the configuration wants one named
    parts = [text.head(enabled)]
    for phase in PHASES:
        for name, plugin, settings in wanted:
            if name.partition(".")[0] == phase:
                model = plugins.settings_model(plugin, HOOK_OF[phase])
                parts.append(text.section(name, plugin, settings, model))
    return "\n".join(parts)


def _refuse_existing(root: Path) -> None:
    try:
        path = find(root)
    except ConfigError:
        return
    if path.parent == root:
        sweep(root)
        what = FILE if path.name == FILE else f"[tool.penstock] in {path.name}"
        raise ConfigError(f"{what} {_THERE}")


def _checked(path: Path, written: str) -> Project:
    """The project as the file would be understood. Raises ConfigError where `validate` would refuse it."""
    path.write_bytes(written.encode())
    try:
        project, plugins = config.load(path)
        plan.make(project, plugins.versions)
    except ConfigError as error:
        raise ConfigError(
            f"nothing was written: what the plugins propose does not fit together: {error}"
        ) from None
    return project


def _nothing_understood(root: Path, looks: Sequence[Look]) -> str:
    if not looks:
        return (
            'no plugin is installed that could propose anything. A useful set: pip install "penstock[python]"'
        )
    names = ", ".join(dict.fromkeys(one.plugin for one in looks))
    return (
        f"nothing in {root} is understood as something to build or to test ({names} looked at it), and "
        f"nothing was written. Write {FILE} by hand: a section such as [build.all] with a plugin that runs "
        "any command"
    )


def _tell(looks: Sequence[Look], plugins: Plugins, project: Project) -> None:
    written = [section.name for section in project.sections if section.name != "source"]
    click.echo(f"Wrote {FILE}: {', '.join(written)}.")
    if plugins.that_do("deploy") and not any(name.startswith("deploy.") for name in written):
        click.echo("No deploy step yet: `penstock init --add deploy.staging` adds one.")
    first = [command for one in looks for command in one.first]
    click.echo(f"Now: {' && '.join([*first, 'penstock run'])}")
