"""`validate`, `plan` and `doctor`: before anything runs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from penstock import config
from penstock.cli.common import load_plan, open_project, print_json, warn
from penstock.cli.lines import sign
from penstock.cli.schema import refresh
from penstock.cli.text import clean
from penstock.configfile import find
from penstock.errors import PenstockError
from penstock.parameters import as_text
from penstock.plan import Plan, PlanStep
from penstock.plugins import Plugins, installed
from penstock.state import RunState
from penstock.terms import cut

if TYPE_CHECKING:
    from penstock.cli.forecast import Forecast


@click.command()
def validate() -> int:
    """Check the configuration; says what is wrong with it, all at once."""
    path = find(Path.cwd())
    project, plugins, plan = load_plan(path)
    warn((*project.unusable, *project.warnings))
    refresh(path, plugins)
    click.echo(
        f"{path.name} is right: {_steps(plan.steps)}, plugins {', '.join(dict.fromkeys(project.plugins))}"
    )
    return 0


def _steps(steps: Sequence[PlanStep]) -> str:
    return f"{len(steps)} step{'' if len(steps) == 1 else 's'}"


@click.command()
@click.option("--set", "words", multiple=True, metavar="NAME=VALUE", help="Give a parameter its value.")
@click.option("--effects", "asked", is_flag=True, help="Which target would go from which release to which.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def plan(words: tuple[str, ...], asked: bool, as_json: bool) -> int:
    """Show the steps in the order in which they can run, why each waits, and what the cache has of it."""
    path = find(Path.cwd())
    _, plugins, made = load_plan(path, words)
    would, state = _would(path, plugins, made)
    found = _effects(path, plugins, made, state) if asked else []
    if as_json:
        cache = {name: forecast.document() for name, forecast in would.items()}
        document = {"digest": made.digest, **made.model_dump(mode="json"), "cache": cache}
        print_json({**document, "effects": found} if asked else document)
        return 0
    click.echo(f"{made.name}  plan {made.digest}")
    for name, value in made.parameters.items():
        click.echo(f"  {name} = {clean(as_text(value))}")
    _tell_steps(made, would)
    if asked:
        _tell_effects(found)
    return 0


def _tell_steps(made: Plan, would: dict[str, Forecast]) -> None:
    width = max(len(step.name) for step in made.steps) + 1
    for step in made.steps:
        does = step.uses or "a person's word"
        click.echo(f"  {step.name:<{width}} {does}")
        for need in step.needs:
            click.echo(f"  {'':<{width}}   ← {need.on}  ({need.why})")
        if step.keys.when is not None:
            click.echo(f"  {'':<{width}}   when: {cut(step.keys.when)}")
        if step.requires:
            click.echo(f"  {'':<{width}}   gate: {', '.join(step.requires)}  ({step.policy})")
        if step.name in would:
            click.echo(clean(f"  {'':<{width}}   {would[step.name].words}"))


def _tell_effects(found: list[dict[str, Any]]) -> None:
    from penstock.cli.effects import lines

    for effect in found:
        click.echo("\n".join(["", *lines(effect)]))
    if not found:
        click.echo("\nNothing is deployed.")


def _would(path: Path, plugins: Plugins, plan: Plan) -> tuple[dict[str, Forecast], RunState]:
    """What a run would do with the steps that have a cache; without one nothing is looked at."""
    unknown = RunState(plan, 0)
    if all(step.keys.cached is None for step in plan.steps):
        return {}, unknown
    from penstock.cli.forecast import look_ahead

    try:
        return look_ahead(open_project(path), plugins, plan)
    except PenstockError as error:  # the plan can be shown without
        warn([f"what the cache has can't be told: {error}"])
        return {}, unknown


def _effects(path: Path, plugins: Plugins, plan: Plan, state: RunState) -> list[dict[str, Any]]:
    """What a run would do to the targets. None is touched."""
    from penstock.cli.effects import effects

    return effects(open_project(path), plugins, plan, state)


@click.command()
def doctor() -> int:
    """Check that everything needed is there, and say what to do where it is not."""
    lines: list[tuple[bool, str]] = []
    version = ".".join(str(part) for part in sys.version_info[:3])
    lines.append((sys.version_info >= (3, 11), f"Python {version} at {sys.executable}"))
    known = installed()
    lines.append(
        (
            bool(known),
            f"{len(known)} plugins installed: {', '.join(sorted(known))}"
            if known
            else 'no plugin is installed. A useful set: pip install "penstock[python]"',
        )
    )
    entries: tuple[str, ...] = tuple(known)
    root = Path.cwd()
    steps: tuple[PlanStep, ...] = ()
    try:
        path = find(root)
        root, entries = path.parent, config.enabled(path)
        steps = load_plan(path)[2].steps
        lines.append((True, f"{path} is right: {_steps(steps)}"))
    except PenstockError as error:
        lines.append((False, str(error)))
    loaded = Plugins.load(entries, known, root=root)
    lines += [
        (True, f"{file.path} is the plugin {name}: {file.digest}")
        for name, file in loaded.files.items()
        if name in loaded.modules
    ]
    lines += [(False, str(broken)) for broken in loaded.broken.values()]
    for name in loaded.modules:
        lines += [*_tools(name, loaded, steps), *_checks(name, loaded, steps)]
    lines.append(_room(Path.cwd()))
    for good, text in lines:
        click.echo(f"{sign('passed' if good else 'failed')} {text}")
    return 0 if all(good for good, _ in lines) else 1


def _tools(name: str, plugins: Plugins, steps: Sequence[PlanStep]) -> Iterator[tuple[bool, str]]:
    """The programs that a plugin's steps run, or with its defaults would run."""
    if not plugins.has(name, "penstock_tools"):
        return
    said = set()
    for settings in [step.settings for step in steps if step.uses == name] or [{}]:
        try:
            wanted = plugins.settings(name, "penstock_tools", settings)
            found = plugins.call_here(name, "penstock_tools", settings=wanted) or ()
            line = ", ".join(" ".join(filter(None, (t.name, t.version, "at", t.path))) for t in found)
        except ValidationError:
            continue  # it has no section here, or only ones of another kind
        except Exception as error:  # a plugin's own trouble is what is asked for here
            yield False, f"{name}: {error}"
            continue
        said.add(line)
    if plugins.has(name, "penstock_doctor"):  # it says itself what is missing
        said.discard("")
    for line in sorted(said):
        missing = f"the program that it runs is not there. See: penstock plugins info {name}"
        yield bool(line), f"{name}: {line or missing}"


def _checks(name: str, plugins: Plugins, steps: Sequence[PlanStep]) -> Iterator[tuple[bool, str]]:
    """What a plugin looks for itself, for each of its steps; what several of them need is said once."""
    if not plugins.has(name, "penstock_doctor"):
        return
    found: dict[str, bool] = {}
    for step in steps:
        if step.uses != name:
            continue
        try:
            wanted = plugins.settings(name, "penstock_doctor", step.settings)
            for check in plugins.call_here(name, "penstock_doctor", settings=wanted) or ():
                found[f"{name}: {check.name}: {check.detail}"] = check.passed
        except Exception as error:  # a plugin's own trouble is what is asked for here
            found[f"{name}: {error}"] = False
    yield from ((passed, line) for line, passed in found.items())


def _room(directory: Path) -> tuple[bool, str]:
    free = shutil.disk_usage(directory).free
    enough = free > 500 * 2**20
    return enough, f"{free / 2**30:.1f} GiB free on disk" + (
        "" if enough else ": less than half a GiB is too little"
    )
