"""`runs`, `show` and `logs`: look back."""

from __future__ import annotations

import select
import sys
import time
from pathlib import Path
from typing import Any

import click

from penstock.cli.common import Opened, day, load_plan, not_pruned, open_project, print_json, run_and_rest
from penstock.cli.lines import Look, duration, names_width, plain_lines, row, step_lines
from penstock.cli.terminal import Terminal, ending, last_words
from penstock.cli.text import clean, coloured, cut, harmless
from penstock.configfile import find
from penstock.errors import ConfigError, did_you_mean, nearest
from penstock.home import Lock, served
from penstock.journal import RunLine
from penstock.parameters import as_text
from penstock.state import RunState

_NAMED = 5


@click.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="How many.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def runs(limit: int, as_json: bool) -> int:
    """List the runs, the newest first."""
    opened = open_project()
    lines = opened.journal.runs(limit)
    rows = [
        {
            "run": line.run,
            "state": line.state,
            "revision": line.revision,
            "started": line.started,
            "seconds": (line.finished or time.time()) - line.started,
        }
        for line in lines
    ]
    if as_json:
        print_json(rows)
        return 0
    if not rows:
        click.echo("No run yet. Start one: penstock run", err=True)
    look = Look.of(sys.stdout)
    for line in lines:
        click.echo(_run_line(line, look) + _what_next(opened, line.run, line.state))
    if older := lines[-1].run - 1 if lines else 0:  # numbers have no gaps
        before = "these" if len(lines) > 1 else "this"
        click.echo(f"{older} more before {before}: penstock runs --limit {older + len(lines)}", err=True)
    return 0


def _run_line(line: RunLine, look: Look) -> str:
    """A run in one line, short enough for the terminal."""
    started = time.localtime(line.started)
    revision = clean(line.revision or "-")[:7]
    took = duration((line.finished or time.time()) - line.started)
    narrow = look.columns is not None and look.columns < 56
    when = time.strftime("%m-%d %H:%M" if narrow else "%Y-%m-%d %H:%M", started)
    state = look.sign(line.state) if narrow else f"{look.sign(line.state)} {line.state:<10}"
    return f"{line.run:>4}  {state} {revision:<8} {when}  {took}"


def _what_next(opened: Opened, run: int, state: str) -> str:
    """What is to be done about a run that nobody works on and that is not over; of a superseded one why."""
    lock = Lock(opened.home.run(run) / "engine.lock")
    if state == "waiting":
        return f"  penstock approve {run}"
    if state == "cancelled":
        ends = opened.journal.of_run(run, ("run.finished",))
        by = ends[-1].data.get("superseded_by") if ends else None
        return f"  superseded by run {by}" if by else ""
    if state != "running" or not lock.take():
        return ""
    lock.drop()
    return f"  cut off: penstock resume {run}"


@click.command()
@click.argument("words", nargs=-1, metavar="[RUN] [STEP]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(words: tuple[str, ...], as_json: bool) -> int:
    """Show a run as it looked, or one step of it."""
    opened = open_project()
    run, step = _run_and_step(words)
    state = opened.state(run)
    names = _meant(state, step)
    if as_json:
        document = describe(state)
        chosen = [entry for entry in document["steps"] if entry["name"] in names]
        print_json(document if step is None else chosen[0] if names == (step,) else chosen)
        return 0
    look = Look.of(sys.stdout)
    if step is not None:
        for name in names:
            click.echo("\n".join(one_line(name, state, opened, look)))
        return 0
    revision = state.revision.short if state.revision else "unknown revision"
    cut_off = _what_next(opened, state.run, state.state)
    head = f"Run {state.run}  {state.state}  {revision}  plan {state.plan.digest[7:19]}{cut_off}"
    click.echo("\n".join(plain_lines(head, look)))
    if state.revision and state.revision.subject:
        click.echo(cut(clean(state.revision.subject), look.edge))
    if state.plan.parameters:
        said = ", ".join(f"{name} = {as_text(value)}" for name, value in state.plan.parameters.items())
        click.echo("\n".join(plain_lines(f"Parameters: {said}", look)))
    if state.pruned is not None:
        click.echo(
            f"What it left was removed by prune on {day(state.pruned)}: artifacts, evidence, reports, logs"
        )
    if state.given:
        click.echo(f"A return to {state.given.digest} of run {state.given.run}")
    if trigger := state.options.get("trigger"):
        click.echo("\n".join(plain_lines(_begun_by(trigger, state.superseded), look)))
    _replay(opened, state)
    return 0


def _run_and_step(words: tuple[str, ...]) -> tuple[str, str | None]:
    """What `[RUN] [STEP]` names. Raises ConfigError where it is more than that."""
    run, rest = run_and_rest(words)
    if len(rest) > 1:
        if len(words) == len(rest):  # what stands first can be nothing but a run
            raise ConfigError(
                f'"{words[0]}" is no run. A run is a number, or "last". The runs: penstock runs'
            )
        raise ConfigError(f'name one run and one step at most: "{rest[1]}" is too much')
    return run, next(iter(rest), None)


def _begun_by(trigger: dict[str, Any], superseded: list[str]) -> str:
    """What a run was begun for, when it was not by hand."""
    named = [commit[:7] for commit in superseded[-_NAMED:]]
    more = f" and {len(superseded) - _NAMED} more" if len(superseded) > _NAMED else ""
    place = f", in place of {', '.join(named)}{more}" if named else ""
    return f"Begun by {trigger['by']} for {trigger['ref']}{place}"


def _meant(state: RunState, step: str | None) -> tuple[str, ...]:
    """The steps that a name on the command line means. Raises ConfigError where there is none of it."""
    names = state.plan.named(step) if step is not None else tuple(state.steps)
    if not names:
        raise ConfigError(f'run {state.run} has no step "{step}"{nearest(step or "", state.steps, "steps")}')
    return names


def one_line(name: str, state: RunState, opened: Opened, look: Look) -> list[str]:
    """A step, as the run showed it."""
    step = state.steps[name]
    if step.state in ("pending", "running"):
        return row(look, step.state, name, names_width([name]), step.state)
    return step_lines(name, step, names_width([name]), look, last_words(opened.home, state.run, name, step))


def _replay(opened: Opened, state: RunState) -> None:
    """The lines that the run printed, or will have printed: its events are shown once more."""
    seen = RunState(state.plan, state.run)
    terminal = Terminal(opened.home, sys.stdout, live=False, past=state.state != "running")
    for event in opened.journal.events(state.run):
        seen.apply(event)
        terminal(event, seen)
    if seen.state == "running":
        look, names = Look.of(sys.stdout), names_width(seen.steps)
        for name, step in seen.steps.items():
            if step.state in ("pending", "running"):
                click.echo("\n".join(row(look, step.state, name, names, step.state)))
        return
    newest = opened.journal.runs(1)[0].run == state.run
    click.echo("\n".join(ending(seen, "last" if newest else str(state.run), Look.of(sys.stdout))))


def describe(state: RunState) -> dict[str, Any]:
    """A run as `show --json` gives it."""
    steps = []
    for name, progress in state.steps.items():
        entry: dict[str, Any] = {
            "name": name,
            "state": progress.state,
            "attempts": progress.attempts,
            "started": progress.started,
            "seconds": round(progress.seconds, 3),
            "reason": progress.reason,
            "summary": progress.summary,
            "artifacts": [
                {"name": artifact.name, "kind": artifact.kind, "digest": artifact.digest}
                | ({"digests": artifact.digests} if artifact.digests else {})
                for artifact in progress.artifacts
            ],
            "evidence": [entry["predicate_type"] for entry in progress.evidence],
        }
        if progress.tests is not None:
            entry["tests"] = progress.tests
        if progress.flaky:
            entry["flaky"] = sorted({flake["name"] for flake in progress.flaky})
        if progress.retried:
            entry["retried"] = list(progress.retried)
        if progress.findings is not None:
            entry["findings"] = progress.findings
        if progress.superseded_by is not None:
            entry["superseded_by"] = progress.superseded_by
        if progress.origin is not None:
            entry["origin"] = progress.origin
        if progress.publications:
            entry["publications"] = list(progress.publications)
        if progress.rollout is not None:
            entry["release"] = progress.rollout.release.digest
        steps.append(entry)
    return {
        "run": state.run,
        "state": state.state,
        "revision": state.revision.model_dump(mode="json") if state.revision else None,
        "plan": state.plan.digest,
        "parameters": state.plan.parameters,
        "pruned": state.pruned,
        "trigger": state.options.get("trigger"),
        "superseded": state.superseded,
        "steps": steps,
    }


def _is_deployed_to(name: str) -> bool:
    """Whether a word on the command line is an environment, and no step or run."""
    if "." in name or name == "last" or name.isdigit():
        return False
    try:
        plan = load_plan(find(Path.cwd()))[2]
    except ConfigError:  # what the runs have left can be looked at without
        return False
    return name in plan.environments and any(plan.deploys(name)) and name not in plan.by_name


@click.command()
@click.argument("words", nargs=-1, metavar="[RUN] [STEP] | ENV")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run is over; with ENV until Ctrl-C.")
@click.option("--service", metavar="NAME", help="What this service printed that ran beside it.")
@click.option("--since", metavar="TIME", help="With ENV: no older lines, such as 10m.")
@click.option("--tail", type=click.IntRange(min=0), help="With ENV: so many lines of each target.")
def logs(
    words: tuple[str, ...], follow: bool, service: str | None, since: str | None, tail: int | None
) -> int:
    """Show what a step, or every step, printed; with ENV, what the service that is deployed there writes."""
    if len(words) == 1 and _is_deployed_to(words[0]):
        from penstock.cli import written  # a worker asks there

        return written.show(words[0], follow=follow, since=since, tail=tail)
    if since is not None or tail is not None:
        raise ConfigError("--since and --tail are for what a service writes: penstock logs ENV")
    opened = open_project()
    run, step = _run_and_step(words)
    number = opened.number(run)
    state = opened.state(str(number))
    names = _meant(state, step)
    not_pruned(state, "its logs with it")
    if step is not None and not follow and not any(state.steps[name].attempts for name in names):
        origin = state.steps[names[0]].origin
        where = f". What it printed then: penstock logs {origin['run']} {step}" if origin else ""
        click.echo(
            f"{step} is {state.steps[names[0]].state} in run {number}, and has printed nothing{where}",
            err=True,
        )
        return 0
    if service is not None:
        names = _served(state, names, service)
    reader = _Reader(opened.home.run(number), names)
    if follow:
        _follow(opened, number, reader)
    reader.print_new()
    return 0


def _served(state: RunState, names: tuple[str, ...], service: str) -> tuple[str, ...]:
    """The names of a service's logs. Raises ConfigError where none of the steps has it."""
    there = {each.name: None for name in names for each in state.plan.by_name[name].services}
    if service not in there:
        steps = "these steps have" if len(names) > 1 else f"{names[0]} has"
        ways = f"There are {', '.join(there)}" if there else "There is none"
        raise ConfigError(f'{steps} no service "{service}"{did_you_mean(service, there, otherwise=ways)}')
    return tuple(served(name, service) for name in names)


class _Reader:
    """Prints what is new in the logs of a run."""

    def __init__(self, directory: Path, steps: tuple[str, ...]) -> None:
        self._directory = directory
        self._steps = steps
        self._read: dict[Path, int] = {}
        self._last: Path | None = None

    def print_new(self, *, lines_only: bool = False) -> None:
        """Print what was written since the last time; with `lines_only`, no line that is not whole yet."""
        for path in sorted(self._directory.glob("*.log"), key=lambda path: path.stat().st_mtime):
            name = path.name.removesuffix(".log").rpartition(".")[0]
            if name in self._steps:
                self._print(path, name, lines_only)

    def _print(self, path: Path, name: str, lines_only: bool) -> None:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            data = file.read()
        if lines_only:  # the rest may be half a character, or half of what colours it
            data = data[: data.rfind(b"\n") + 1]
        if not data:
            return
        self._read[path] = self._read.get(path, 0) + len(data)
        if len(self._steps) > 1 and self._last != path:
            click.echo(f"--- {name}")
        self._last = path
        text = data.decode(errors="replace")
        # A terminal would obey what a program printed; a file gets it as it is.
        if sys.stdout.isatty():
            text = coloured(text) if Look.of(sys.stdout).colour else harmless(text)
        sys.stdout.write(text)
        sys.stdout.flush()


def _follow(opened: Opened, number: int, reader: _Reader) -> None:
    lock = Lock(opened.home.run(number) / "engine.lock")
    while not lock.take():
        reader.print_new(lines_only=True)
        # Portable across file systems, and logs are for people: a look every so often is enough.
        select.select([], [], [], 0.2)
    lock.drop()
