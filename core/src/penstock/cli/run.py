"""`run` and `resume`: work on a run until it is over or waits."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from penstock import labels, leftovers, sealing
from penstock.cli.common import (
    Opened,
    event_line,
    load_plan,
    open_project,
    plugins_of,
    sound,
    warn,
)
from penstock.cli.lines import Look
from penstock.cli.outlet import finish, is_behind, outlet
from penstock.cli.terminal import Terminal, ending
from penstock.config import Project, placed
from penstock.configfile import find
from penstock.errors import ConfigError, nearest, sentence
from penstock.executor import Progress
from penstock.journal import New
from penstock.machine import local_engine
from penstock.model import Event
from penstock.plan import Plan
from penstock.plugins import Plugins
from penstock.runs import load_run, new_run, working_on
from penstock.signals import remembered
from penstock.state import RunState

_LOOK_AGAIN = 0.1
"""Seconds until it is looked at again whether a pipe that was full has room."""
EXIT = {"passed": 0, "failed": 1, "refused": 1, "waiting": 3, "cancelled": 130, "running": 4}


@click.command()
@click.option("--only", multiple=True, metavar="STEP", help="Only this step and what it needs.")
@click.option("--to", "to", metavar="ENV", help="Up to this environment, and no further.")
@click.option("--no-deploy", is_flag=True, help="Only what comes before any environment.")
@click.option("--rev", metavar="REV", help="This commit, branch or tag, configured as committed there.")
@click.option("--dirty", is_flag=True, help="Take files that are not committed, too; recorded as such.")
@click.option("--set", "words", multiple=True, metavar="NAME=VALUE", help="Give a parameter its value.")
@click.option("--approve", multiple=True, metavar="ENV", help="Approve ENV in advance, as yourself.")
@click.option("--no-cache", is_flag=True, help="Run every step, also those whose result is known.")
@click.option("--json", "as_json", is_flag=True, help="Events as JSON Lines on standard output.")
def run(
    only: tuple[str, ...],
    to: str | None,
    no_deploy: bool,
    rev: str | None,
    dirty: bool,
    words: tuple[str, ...],
    approve: tuple[str, ...],
    no_cache: bool,
    as_json: bool,
) -> int:
    """Run the pipeline, from the source to where it goes."""
    path = find(Path.cwd())
    # Before anything is written: a run that can't begin leaves nothing.
    if rev is not None and dirty:
        raise ConfigError("--rev and --dirty exclude each other: a commit, or what lies in the working tree")
    project, plugins, plan, given = _configured(path, rev, words)
    warn(project.unusable)
    if dirty:
        plan = with_dirty(plan, plugins)
    known_environments(approve, plan, "--approve")
    if no_deploy and to is not None:
        raise ConfigError("--no-deploy and --to exclude each other: nothing of an environment, or all of it")
    selected = _selected(plan, only, to)
    if no_deploy:
        selected = _before_environments(plan, selected)
    _check_labels(project, plan, selected, path)
    opened = open_project(path)
    return begin(
        opened,
        plugins,
        plan,
        {
            "selected": selected,
            "approve": list(approve),
            "dirty": dirty,
            "no_cache": no_cache,
            "parameters": plan.parameters,
            **given,
        },
        as_json=as_json,
    )


def _configured(
    path: Path, rev: str | None, words: Iterable[str]
) -> tuple[Project, Plugins, Plan, dict[str, Any]]:
    """What is run, as it lies here or is committed at `rev`; with what the run has to record of that."""
    if rev is None:
        return *load_plan(path, words), {}
    from penstock.cli.committed import load_named  # most runs are of what lies here

    return load_named(path, rev, words)


@click.command()
@click.argument("run", default="last")
@click.option("--json", "as_json", is_flag=True, help="Events as JSON Lines on standard output.")
def resume(run: str, as_json: bool) -> int:
    """Go on with a run that was cut off, or that got an answer."""
    opened = open_project()
    return resume_run(opened, opened.number(run), as_json=as_json)


def resume_run(opened: Opened, number: int, *, as_json: bool = False) -> int:
    """Go on with a run; its exit code."""
    sound(opened, number)
    state = load_run(opened.journal, opened.home, number)
    if state.state not in ("running", "waiting"):
        click.echo(f"Run {number} is over: {state.state}. Another: penstock run", err=True)
        leftovers.sweep_run(opened.home, number)
        return _sealed(opened, state) if sealing.is_due(state) else exit_code(state)
    plugins = plugins_of(opened, state)
    return work(opened, plugins, state, as_json=as_json, resumed=True)


def begin(
    opened: Opened,
    plugins: Plugins,
    plan: Plan,
    options: dict[str, Any],
    more: Iterable[New] = (),
    *,
    as_json: bool = False,
) -> int:
    """Begin a run, and work on it in this process; its exit code."""
    with remembered() as told:  # once it is on record, whoever is to end it cancels it
        state, events = new_run(opened.journal, opened.home, plan, options, more)
        return work(opened, plugins, state, as_json=as_json, first=events, told=told)


def work(
    opened: Opened,
    plugins: Plugins,
    state: RunState,
    *,
    as_json: bool = False,
    resumed: bool = False,
    first: list[Event] | None = None,
    told: Iterable[int] = (),
) -> int:
    """Work on a run in this process; its exit code. `told` are the signals that came before."""
    with remembered(told) as noted:
        return _work(opened, plugins, state, noted, as_json=as_json, resumed=resumed, first=first)


def _work(
    opened: Opened,
    plugins: Plugins,
    state: RunState,
    told: list[int],
    *,
    as_json: bool,
    resumed: bool,
    first: list[Event] | None,
) -> int:
    show = _Show(opened, as_json)
    with working_on(opened.home, state.run, clean=resumed) as locks:
        leftovers.sweep(opened.home, opened.journal)
        if resumed:
            state = load_run(opened.journal, opened.home, state.run)  # now that nobody else writes
            new = [New("run.resumed", None, {"steps": list(state.running)}, time.time())]
            for event in opened.journal.append(state.run, new):
                state.apply(event)
                show(event, state)
        for event in first or ():
            show(event, state)
        slots = max(2, os.cpu_count() or 2)
        after = state.last_event - 1 if resumed else 0
        engine = local_engine(
            opened.root, opened.home, opened.journal, state, plugins, show, locks, slots, after, show
        )
        engine.told = told
        engine.watchers.start()
        try:
            left = leftovers.reap(
                opened.home, opened.journal, state, plugins, engine.executor, resumed=resumed
            )
            if left:
                warn([f"what was left outside its processes could not be removed: {sentence(left)}"])
            engine.work()
        except BaseException:
            show.hand_on(lambda: True)
            raise
        finally:
            show.close()
            engine.executor.close()
            engine.watchers.close()
        leftovers.sweep(opened.home, opened.journal)
    show.end(state, lambda: bool(told) or state.cancelled is not None)
    return _told(state, engine.unsealed)


def _sealed(opened: Opened, state: RunState) -> int:
    """Seal the journal after a run that was cut off between its end and that; its exit code."""
    try:
        plugins = plugins_of(opened, state)
    except ConfigError as error:
        return _told(state, str(error))
    with working_on(opened.home, state.run) as locks:
        engine = local_engine(
            opened.root, opened.home, opened.journal, state, plugins, lambda *_: None, locks, 1, 0
        )
        try:
            engine.seal()
        finally:
            engine.executor.close()
    return _told(state, engine.unsealed)


def _told(state: RunState, unsealed: str) -> int:
    """The exit code of a run that has ended, or waits; where the journal is not sealed, that is said."""
    code = exit_code(state)
    if unsealed:
        warn(
            [
                f"run {state.run} stands as it ended, but the journal could not be sealed: "
                f"{sentence(unsealed)} Once that is mended: penstock resume {state.run}"
            ]
        )
    return 4 if unsealed and code == 0 else code


def exit_code(state: RunState) -> int:
    """The exit code that a run's end leads to."""
    faults = any(step.fault and step.state == "failed" for step in state.steps.values())
    return 4 if state.state == "failed" and faults else EXIT[state.state]


class _Show:
    """Shows a run to whoever started it: events as JSON on standard output, lines beside them."""

    def __init__(self, opened: Opened, as_json: bool) -> None:
        self._opened = opened
        self._as_json = as_json
        self._stream = outlet(sys.stderr if as_json else sys.stdout)
        self._events = outlet(sys.stdout) if as_json else self._stream
        # Events that go to the same terminal would run into what is drawn there.
        self._terminal = Terminal(opened.home, self._stream, live=not (as_json and sys.stdout.isatty()))
        self.close = self._terminal.close

    def __call__(self, event: Event | Progress, state: RunState) -> None:
        with _for_whoever_reads():
            if self._as_json and isinstance(event, Event):
                click.echo(event_line(event), file=self._events)
            self._terminal(event, state)

    def due(self) -> float | None:
        """When it wants to be called though nothing happens."""
        due = self._terminal.due()
        if not (is_behind(self._events) or is_behind(self._stream)):
            return due
        return min(time.time() + _LOOK_AGAIN, due or math.inf)

    def tick(self, state: RunState) -> None:
        """Show what is new, and hand on what was not read yet."""
        with _for_whoever_reads():
            self._terminal.tick(state)
            self._events.flush()
            self._stream.flush()

    def end(self, state: RunState, told: Callable[[], bool]) -> None:
        """How it ended, and what can be done now. Who is `told` to end waits no longer for whoever reads."""
        newest = self._opened.journal.runs(1)[0].run == state.run
        lines = ending(state, "last" if newest else str(state.run), Look.of(self._stream))
        with _for_whoever_reads():
            click.echo("\n".join(lines), file=self._stream)
        self.hand_on(told)

    def hand_on(self, told: Callable[[], bool]) -> None:
        """Have read what was not read yet."""
        with _for_whoever_reads():
            for stream in (self._events, self._stream):
                finish(stream, told)


@contextlib.contextmanager
def _for_whoever_reads() -> Iterator[None]:
    try:
        yield
    except OSError:  # whoever read it is gone; what is deployed must not hang on that
        _silence()


def _silence() -> None:
    """Lead what is still said nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def known_environments(names: Iterable[str], plan: Plan, option: str) -> None:
    """Refuse a name on the command line that is no environment. Raises ConfigError."""
    for name in names:
        if name not in plan.environments:
            near = nearest(name, plan.environments, "environments")
            raise ConfigError(f'{option}: there is no environment "{name}"{near}')


def _check_labels(project: Project, plan: Plan, selected: list[str] | None, path: Path) -> None:
    """Refuse a run with a step that nothing here could do. One with a condition may yet be skipped."""
    offered = labels.local()
    for step in plan.steps:
        lacks = [label for label in step.keys.labels if label not in offered]
        if lacks and step.keys.when is None and (selected is None or step.name in selected):
            section = next(section for section in project.sections if section.name == step.name)
            error = ConfigError(labels.lacking(lacks, offered), section=section.place("labels"), key="labels")
            raise placed(error, path)


def _selected(plan: Plan, only: tuple[str, ...], to: str | None) -> list[str] | None:
    wanted: set[str] | None = None
    if only:
        for name in only:
            if not plan.named(name):
                raise ConfigError(f'--only: there is no step "{name}"{nearest(name, plan.by_name, "steps")}')
        wanted = plan.closure([step for name in only for step in plan.named(name)], plan.waits_for)
    if to is not None:
        known_environments([to], plan, "--to")
        inside = [step.name for step in plan.steps if step.environment == to]
        reached = plan.closure(inside, plan.waits_for)
        wanted = reached if wanted is None else wanted & reached
    return None if wanted is None else [step.name for step in plan.steps if step.name in wanted]


def _before_environments(plan: Plan, selected: list[str] | None) -> list[str]:
    """Of these steps, or of all, those that need nothing of any environment."""
    inside = [step.name for step in plan.steps if step.environment is not None]
    behind = plan.closure(inside, plan.dependents)
    names = [step.name for step in plan.steps] if selected is None else selected
    return [name for name in names if name not in behind]


def with_dirty(plan: Plan, plugins: Plugins) -> Plan:
    """The plan with its sources told to take files that are not committed."""
    steps: list[Any] = []
    for step in plan.steps:
        if step.phase == "source" and step.uses:
            if "dirty" not in plugins.settings_model(step.uses, "penstock_source").model_fields:
                raise ConfigError(f'--dirty: the plugin "{step.uses}" takes committed files only')
            step = step.model_copy(update={"settings": {**step.settings, "dirty": True}})
        steps.append(step)
    fields = {name: getattr(plan, name) for name in Plan.model_fields}
    return Plan(**{**fields, "steps": tuple(steps)})
