"""`init`: asks every installed plugin what it would do here, and writes that down."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from penstock import config
from penstock.configfile import FILE, find
from penstock.errors import ConfigError
from penstock.model import Proposal
from penstock.plugins import HOOK_OF, PHASES, Plugins, installed

_HEAD = """\
# What becomes of a change, from its source to where it runs. A section is a step; steps wait for those of
# the phase before. `penstock plan` shows the order, `penstock plugins info NAME` what a section may say.
"""


@click.command()
def init() -> int:
    """Write a penstock.toml for this project."""
    root = Path.cwd()
    _refuse_existing(root)
    plugins = Plugins.load(sorted(installed()))
    proposals = _ask(plugins, root)
    if not any(_makes_something(proposal) for proposal in proposals.values()):
        raise ConfigError(_nothing_understood(root, plugins))
    text = _write(proposals, plugins)
    with (root / FILE).open("x") as file:
        file.write(text)
    project, _ = config.load(root / FILE)
    click.echo("Looked at .")
    width = max(len(name) for name in proposals) + 1
    for name, proposal in proposals.items():
        click.echo(f"  {name:<{width}} {proposal.saw}")
        for line in proposal.unsure:
            click.echo(f"  {'':<{width}} ! {line}")
    steps = ", ".join(section.name for section in project.sections)
    click.echo(f"Wrote {FILE}: {steps}.")
    if not any(section.phase == "deploy" for section in project.sections):
        click.echo("No deploy step yet: a section [deploy.NAME] adds one.")
    click.echo("Now: penstock run")
    return 0


def _refuse_existing(root: Path) -> None:
    try:
        path = find(root)
    except ConfigError:
        return
    if path.parent == root:
        raise ConfigError(f"{path.name} is there already; it is left as it is. Check it: penstock validate")


def _ask(plugins: Plugins, root: Path) -> dict[str, Proposal]:
    """What each plugin proposes; one that stumbles proposes nothing, and says so."""
    found = {}
    for name in _able(plugins):
        try:
            [answer] = plugins.call(name, "penstock_propose", root=root) or [None]
        except Exception as error:  # a plugin's fault must not keep the others from answering
            found[name] = Proposal(saw="nothing", unsure=(f"the plugin failed: {error}",))
            continue
        if isinstance(answer, Proposal):
            found[name] = answer
    return found


def _able(plugins: Plugins) -> list[str]:
    """The plugins that propose something, in the order in which a pipeline needs them."""
    able = [name for name in plugins.modules if plugins.has(name, "penstock_propose")]
    return sorted(able, key=lambda name: [PHASES.index(phase) for phase in plugins.phases(name)])


def _makes_something(proposal: Proposal) -> bool:
    """Whether it is about this project, and not what suits every directory."""
    return any(section.partition(".")[0] in ("build", "test") for section in proposal.sections)


def _nothing_understood(root: Path, plugins: Plugins) -> str:
    able = _able(plugins)
    if not able:
        return (
            'no plugin is installed that could propose anything. A useful set: pip install "penstock[python]"'
        )
    return (
        f"nothing in {root} is understood by the installed plugins ({', '.join(able)}). "
        f"Write {FILE} by hand: a section such as [build.all] with a plugin that runs any command"
    )


def _write(proposals: Mapping[str, Proposal], plugins: Plugins) -> str:
    names = ", ".join(json.dumps(name) for name in proposals)
    parts = [f'{_HEAD}\n[penstock]\nrequires = ">=0.1"\nplugins = [{names}]\n']
    for phase in PHASES:
        for name, proposal in proposals.items():
            for section, settings in proposal.sections.items():
                if section.partition(".")[0] == phase:
                    model = plugins.settings_model(name, HOOK_OF[phase])
                    parts.append(_section(section, name, settings, model))
    return "\n".join(parts)


def _section(section: str, plugin: str, settings: Mapping[str, Any], model: type[BaseModel]) -> str:
    lines = [f"[{section}]", f'uses = "{plugin}"']
    for key, value in settings.items():
        field = model.model_fields.get(key)
        about = (field.description or "").partition(". ")[0].rstrip(".") if field else ""
        lines.append(f"{key} = {_toml(value)}" + (f"  # {about}" if about else ""))
    others = [key for key in model.model_fields if key not in settings]
    if others:
        lines += textwrap.wrap(", ".join(others), 100, initial_indent="# also: ", subsequent_indent="#   ")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A JSON value as TOML: the same but for tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)
