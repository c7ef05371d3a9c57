"""What the commands share: the project, its journal, and a run by number."""

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from penstock import chain, config, inhouse, plan
from penstock.cli.text import ACTING
from penstock.config import Project
from penstock.configfile import find
from penstock.errors import ConfigError, PluginError
from penstock.home import Home
from penstock.journal import Events, Journal
from penstock.model import Duration, Event, short
from penstock.parameters import effective
from penstock.plan import Plan
from penstock.plugins import Plugins
from penstock.runs import load_run
from penstock.state import RunState


class Opened(NamedTuple):
    """A project that was found, with its home."""

    path: Path
    home: Home
    journal: Events

    @property
    def root(self) -> Path:
        """The directory of the configuration."""
        return self.path.parent

    def state(self, run: str) -> RunState:
        """A run by its number or `last`. Raises ConfigError where there is none."""
        return load_run(self.journal, self.home, self.number(run))

    def number(self, run: str) -> int:
        """The number of a run. Raises ConfigError where there is none of it."""
        if run == "last":
            runs = self.journal.runs(1)
            if not runs:
                raise ConfigError("there is no run yet. Start one: penstock run")
            return runs[0].run
        if not (run.isascii() and run.isdigit() and len(run) < 16):
            raise ConfigError(f'"{run}" is no run. A run is a number, or "last". The runs: penstock runs')
        return self.journal.run(int(run)).run


def open_project(path: Path | None = None) -> Opened:
    """A project by its configuration, or the one that the current directory is in.

    Raises ConfigError where there is none.
    """
    path = path or find(Path.cwd())
    home = Home.of(path.parent)
    journal = Journal(home.journal)
    command = click.get_current_context(silent=True)
    if command is not None:
        command.call_on_close(journal.close)
    return Opened(path, home, journal)


def run_and_rest(words: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The run that a command line begins with, `last` where it names none, and what comes after it."""
    named = bool(words) and (words[0] == "last" or (words[0].isascii() and words[0].isdigit()))
    return (words[0] if named else "last"), tuple(words[1:] if named else words)


def not_pruned(state: RunState, what: str) -> None:
    """Refuse what needs a run's artifacts, logs or evidence where `prune` took them. Raises ConfigError."""
    if state.pruned is not None:
        raise ConfigError(f"what run {state.run} left was removed by prune on {day(state.pruned)}, {what}")


def day(time_: float) -> str:
    """A date as people here read it."""
    return time.strftime("%Y-%m-%d", time.localtime(time_))


def sound(opened: Opened, run: int | None = None) -> None:
    """Refuse to act on a journal that was edited. Raises PluginError naming the event where it breaks.

    With the number of a run: from there on, for who acts on nothing that was before.
    """
    with opened.journal.at_once():
        broken = opened.journal.check()[2] if run is None else _broken_since(opened.journal, run)
    if broken is not None:
        raise PluginError(
            f"the journal {opened.home.journal} was changed: its chain breaks at event {broken}. What it "
            "says since then can't be believed. More: penstock audit. Put back a copy of it, or begin anew "
            "without .penstock"
        )


def _broken_since(journal: Events, run: int) -> int | None:
    line = journal.run(run)
    try:
        first = journal.events(run)[0].id
    except (PluginError, IndexError):  # there is none that could be read
        return journal.check()[2]
    before = next(journal.rows(first - 1)).hash if first > 1 else b""
    walked = chain.walk(journal.rows(first), before, first - 1)
    if walked.broken is not None:
        return walked.broken.event
    wrong = [each for each in chain.wrong_lines(walked, [line]) if each.run == run]
    return wrong[0].event if wrong else None


def seconds_of(option: str, text: str) -> float:
    """The duration that an option was given, in seconds. Raises ConfigError where it is none."""
    from pydantic import TypeAdapter, ValidationError  # for the few commands that have such an option

    try:
        return float(TypeAdapter(Duration).validate_python(text))
    except ValidationError as error:
        raise ConfigError(f"{option}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


def enabled_here() -> tuple[tuple[str, ...], Path]:
    """What the project that the current directory is in names as its plugins, and that project's root.

    None where there is no project. Raises ConfigError where it is wrong.
    """
    try:
        path = find(Path.cwd())
    except ConfigError:
        return (), Path.cwd()
    return config.enabled(path), path.parent


def warn(lines: Iterable[str]) -> None:
    """Say what does not stop a command, and should be known."""
    for line in lines:
        click.echo(f"penstock: {line}", err=True)


def load_plan(
    path: Path, words: Iterable[str] = (), *, root: Path | None = None
) -> tuple[Project, Plugins, Plan]:
    """The configuration, checked, and its plan; `words` are what its parameters are set to.

    `root` as `config.load` takes it.
    """
    project, plugins = config.load(path, root=root)
    values = effective(project.parameters, words)
    try:
        made = plan.make(project, plugins.versions, values)
    except ConfigError as error:
        raise config.placed(error, path) from None
    return project, plugins, made


def plugins_of(opened: Opened, state: RunState) -> Plugins:
    """The plugins that a run began with. Raises ConfigError where one of them is not the same any more."""
    plan = state.plan
    kept = state.options.get("configuration")
    root = opened.home.configuration(kept) if kept else opened.root
    try:
        read = {file.name: inhouse.read(root, file.path) for file in plan.files}
    except PluginError as error:
        raise ConfigError(f"run {state.run} began with a plugin that is not here now: {error}") from None
    for file in plan.files:  # nothing is executed that the run does not know
        found = read[file.name].file.digest
        if found != file.digest:
            raise ConfigError(
                f"{file.path} has changed since run {state.run} began: it was {short(file.digest)}, and is "
                f"{short(found)}. Put it back as it was, or start anew: penstock run"
            )
    plugins = Plugins.load([read.get(name, name) for name in plan.plugins], root=root)
    changed = [name for name, version in plan.plugins.items() if plugins.versions.get(name) != version]
    if changed:
        broken = [str(plugins.broken[name]) for name in changed if name in plugins.broken]
        raise ConfigError(
            "; ".join(broken)
            or f"the plugin {changed[0]} has another version than when run {state.run} began. "
            "Start anew: penstock run"
        )
    return plugins


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    click.echo(_as_json(value, indent=2))


def event_line(event: Event) -> str:
    """An event as a line of JSON."""
    return _as_json(event.model_dump(mode="json"))


def _as_json(value: object, indent: int | None = None) -> str:
    # A terminal would act on some characters that JSON may hold as they are.
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return text if text.isascii() else text.translate(ACTING)
