"""`runs`, `show` and `logs`: look back."""

from __future__ import annotations

import select
import sys
import time
from pathlib import Path
from typing import Any

import click

from penstock.cli.common import Opened, open_project, print_json
from penstock.cli.terminal import duration, sign, step_lines
from penstock.errors import ConfigError, nearest
from penstock.home import Lock
from penstock.state import RunState


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
    for number, row in zip((line.run for line in lines), rows, strict=True):
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["started"]))  # type: ignore[arg-type]  # a float
        revision = str(row["revision"] or "-")[:7]
        took = duration(float(row["seconds"]))  # type: ignore[arg-type]  # a float
        line = f"{row['run']:>4}  {sign(str(row['state']))} {row['state']:<10} {revision:<8} {when}  {took}"
        click.echo(line + _cut_off(opened, number, str(row["state"])))
    return 0


def _cut_off(opened: Opened, run: int, state: str) -> str:
    """What to say of a run that is under way, and that nobody works on."""
    lock = Lock(opened.home.run(run) / "engine.lock")
    if state != "running" or not lock.take():
        return ""
    lock.drop()
    return f"  cut off: penstock resume {run}"


@click.command()
@click.argument("run", default="last")
@click.argument("step", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(run: str, step: str | None, as_json: bool) -> int:
    """Show a run, or one step of it."""
    opened = open_project()
    state = opened.state(run)
    if step is not None and step not in state.steps:
        raise ConfigError(f'run {state.run} has no step "{step}"{nearest(step, state.steps, "steps")}')
    document = describe(state)
    if as_json:
        chosen = [entry for entry in document["steps"] if entry["name"] == step]
        print_json(chosen[0] if chosen else document)
        return 0
    revision = state.revision.short if state.revision else "unknown revision"
    cut_off = _cut_off(opened, state.run, state.state)
    click.echo(f"Run {state.run}  {document['state']}  {revision}  plan {state.plan.digest[7:19]}{cut_off}")
    if state.given:
        click.echo(f"A return to {state.given.digest} of run {state.given.run}")
    width = max(len(name) for name in state.steps) + 1
    for name, progress in state.steps.items():
        if step in (None, name):
            lines = step_lines(name, progress, width) if progress.state != "pending" else [f"  {name}"]
            click.echo("\n".join(lines))
    return 0


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
                for artifact in progress.artifacts
            ],
            "evidence": [entry["predicate_type"] for entry in progress.evidence],
        }
        if progress.tests is not None:
            entry["tests"] = progress.tests
        if progress.findings is not None:
            entry["findings"] = progress.findings
        if progress.rollout is not None:
            entry["release"] = progress.rollout.release.digest
        steps.append(entry)
    return {
        "run": state.run,
        "state": state.state,
        "revision": state.revision.model_dump(mode="json") if state.revision else None,
        "plan": state.plan.digest,
        "steps": steps,
    }


@click.command()
@click.argument("words", nargs=-1, metavar="[RUN] [STEP]")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run is over.")
def logs(words: tuple[str, ...], follow: bool) -> int:
    """Show what a step, or every step, printed."""
    opened = open_project()
    named = bool(words) and (words[0] == "last" or words[0].isdigit())
    number = opened.number(words[0] if named else "last")
    step = next(iter(words[1:] if named else words), None)
    state = opened.state(str(number))
    if step is not None and step not in state.steps:
        raise ConfigError(f'run {number} has no step "{step}"{nearest(step, state.steps, "steps")}')
    if step is not None and not state.steps[step].attempts and not follow:
        click.echo(f"{step} is {state.steps[step].state} in run {number}, and has printed nothing", err=True)
        return 0
    reader = _Reader(opened.home.run(number), step)
    reader.print_new()
    if follow:
        _follow(opened, number, reader)
    return 0


class _Reader:
    """Prints what is new in the logs of a run."""

    def __init__(self, directory: Path, step: str | None) -> None:
        self._directory = directory
        self._step = step
        self._read: dict[Path, int] = {}
        self._last: Path | None = None

    def print_new(self) -> None:
        for path in sorted(self._directory.glob("*.log"), key=lambda path: path.stat().st_mtime):
            name = path.name.removesuffix(".log").rpartition(".")[0]
            if self._step in (None, name):
                self._print(path, name)

    def _print(self, path: Path, name: str) -> None:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            data = file.read()
        if not data:
            return
        self._read[path] = self._read.get(path, 0) + len(data)
        if self._step is None and self._last != path:
            click.echo(f"--- {name}")
        self._last = path
        sys.stdout.write(data.decode(errors="replace"))
        sys.stdout.flush()


def _follow(opened: Opened, number: int, reader: _Reader) -> None:
    lock = Lock(opened.home.run(number) / "engine.lock")
    while not lock.take():
        reader.print_new()
        # Portable across file systems, and logs are for people: a look every so often is enough.
        select.select([], [], [], 0.2)
    lock.drop()
    reader.print_new()
