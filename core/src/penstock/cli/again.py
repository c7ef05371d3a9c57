"""`rerun`: a new run of the same revision, which takes over what an earlier one has found out."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

import click

from penstock import again
from penstock.again import Choice
from penstock.cli.common import Opened, load_plan, not_pruned, open_project, sound, warn
from penstock.cli.lines import Look, names_width, row
from penstock.cli.run import begin, known_environments, with_dirty
from penstock.configfile import find
from penstock.errors import ConfigError, StepRefused, nearest
from penstock.journal import New
from penstock.parameters import as_text
from penstock.plan import Plan
from penstock.plugins import Plugins
from penstock.proof import take_over
from penstock.state import LETS_ON, RunState

_SIGNS = {"kept": "cached", "again": "running", "left out": "skipped"}


@click.command()
@click.argument("run", default="last")
@click.option("--from", "start", multiple=True, metavar="STEP", help="Run this and all that waits for it.")
@click.option("--approve", multiple=True, metavar="ENV", help="Approve ENV in advance, as yourself.")
@click.option("--json", "as_json", is_flag=True, help="Events as JSON Lines on standard output.")
def rerun(run: str, start: tuple[str, ...], approve: tuple[str, ...], as_json: bool) -> int:
    """Run a revision again, from a step on, and keep what an earlier run found out before.

    Without --from: from what did not pass. The configuration is the one of now, and for a run of a commit
    the one that is committed there.
    """
    opened = open_project()
    sound(opened)
    before = _earlier(opened, run)
    plugins, plan, carried = _configured(opened, before)
    dirty = bool(before.options.get("dirty"))
    if dirty:
        plan = with_dirty(plan, plugins)
    known_environments(approve, plan, "--approve")
    data = {
        event.step: event.data for event in opened.journal.events(before.run) if event.type == "step.finished"
    }
    choices = again.choose(
        plan, before, _start(plan, before, start), lambda name: _lacking(opened, data[name])
    )
    if not any(choice.fate == "again" for choice in choices.values()):
        raise ConfigError(
            f"run {before.run} passed, and nothing of it has to be run again. To run a step of it, name it: "
            f"penstock rerun {before.run} --from STEP"
        )
    _tell(before, choices)
    kept = {name: choice for name, choice in choices.items() if choice.fate == "kept"}
    asked = [name for name, choice in choices.items() if choice.fate != "left out"]
    options = {
        "selected": None if len(asked) == len(choices) else asked,
        "approve": list(approve),
        "dirty": dirty,
        "parameters": plan.parameters,
        "no_cache": bool(start),  # who names a step wants it to run
        "rerun": {"run": before.run, "from": list(start)},
        **carried,
    }
    taken = [_taken_over(name, before, data[name], choice) for name, choice in kept.items()]
    return begin(opened, plugins, plan, options, taken, as_json=as_json)


def _configured(opened: Opened, before: RunState) -> tuple[Plugins, Plan, dict[str, Any]]:
    """What is run, with the parameters of the earlier run; and what the run has to record of that."""
    path, root, carried = opened.path, None, {}
    if kept := before.options.get("configuration"):
        path, root = find(opened.home.configuration(kept)), opened.root
        carried = {"configuration": kept, "revision": before.options["revision"]}
    project, plugins, plan = load_plan(path, root=root)
    given = {name: value for name, value in before.plan.parameters.items() if name in project.parameters}
    if given:
        words = [f"{name}={as_text(value)}" for name, value in given.items()]
        project, plugins, plan = load_plan(path, words, root=root)
    warn(project.unusable)
    return plugins, plan, carried


def _earlier(opened: Opened, run: str) -> RunState:
    """The run that is repeated. Raises ConfigError where that can't be done."""
    before = opened.state(run)
    not_pruned(before, "so it can't be repeated. Start anew: penstock run")
    if before.given is not None:
        raise ConfigError(
            f"run {before.run} is a return to an earlier release, and has no steps to keep. "
            f"Again: penstock rollback {before.given.environment}"
        )
    if before.state == "running" and opened.home.engine_lock(before.run).is_held():
        raise ConfigError(
            f"run {before.run} is being worked on. Watch it: penstock logs -f {before.run}. "
            f"Or stop it: penstock cancel {before.run}"
        )
    snapshot = before.revision.snapshot if before.revision else None
    if snapshot is None:
        raise ConfigError(
            f"run {before.run} has no snapshot of its source to repeat. Start anew: penstock run"
        )
    store = opened.home.store
    try:
        whole = store.hold(snapshot) and all(
            store.hold(str(entry["sha256"])) for entry in store.tree(snapshot) if "sha256" in entry
        )
    except StepRefused as error:
        raise ConfigError(f"the snapshot of run {before.run} can't be used: {error}") from None
    if not whole:
        raise ConfigError(
            f"files of the snapshot of run {before.run} are not in the store any more. "
            "Start anew: penstock run"
        )
    return before


def _start(plan: Plan, before: RunState, names: tuple[str, ...]) -> set[str]:
    """The steps that --from means. Raises ConfigError where it names none that can be run again."""
    found: set[str] = set()
    for name in names:
        meant = plan.named(name)
        if not meant:
            raise ConfigError(f'--from: there is no step "{name}"{nearest(name, plan.by_name, "steps")}')
        if plan.by_name[meant[0]].phase == "source":
            raise ConfigError(
                f"--from: {name} says which files there are, and a run that is repeated has those of the "
                "earlier one. For the files of now: penstock run"
            )
        if not again.asked_for(plan, before).intersection(meant):
            raise ConfigError(
                f"--from: {name} was not asked for in run {before.run}. Run it: penstock run --only {name}"
            )
        found.update(meant)
    sources = [step.name for step in plan.steps if step.phase == "source"]
    for name in sources:
        if name not in before.steps or before.steps[name].state not in LETS_ON:
            raise ConfigError(
                f"{name} has not passed in run {before.run}, so what to repeat is not known. "
                "Start anew: penstock run"
            )
    return found


def _lacking(opened: Opened, data: dict[str, Any]) -> str:
    try:
        take_over(opened.home, data)
    except StepRefused as error:
        return str(error)
    return ""


def _taken_over(name: str, before: RunState, data: dict[str, Any], choice: Choice) -> New:
    origin = {"run": (data.get("origin") or {}).get("run", before.run), "why": choice.why}
    return New(
        "step.finished", name, {**data, "state": "cached", "reason": "", "origin": origin}, time.time()
    )


def _tell(before: RunState, choices: dict[str, Choice]) -> None:
    """What becomes of each step, before the first one begins."""
    revision = before.revision.short if before.revision else "unknown revision"
    click.echo(f"Run {before.run} again, of revision {revision}:", err=True)
    look = Look.of(sys.stderr).inside(2)
    names = names_width(choices)
    for line in _lines(before, choices, look, names):
        click.echo(f"  {line}", err=True)
    click.echo(err=True)


def _lines(before: RunState, choices: dict[str, Choice], look: Look, names: int) -> Iterable[str]:
    word = {"kept": "kept", "again": "runs", "left out": "left out"}
    for name, choice in choices.items():
        if choice != again.not_asked(before):
            yield from row(look, _SIGNS[choice.fate], name, names, f"{word[choice.fate]}: {choice.why}")
