"""`flaky`: tests that failed and passed on the same inputs, and how often. Reads events, and no report."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import click

from penstock.cli.common import Opened, open_project, print_json, seconds_of
from penstock.cli.lines import Look, plain_lines
from penstock.cli.text import clean
from penstock.errors import ConfigError, nearest
from penstock.matrix import base_of
from penstock.model import Event

_EVENT = "tests.flaky"
_DAY = 86400.0
_WAY_OUT = "To let one fail for a while without closing the gate: [[quarantine]] in penstock.toml"


@dataclass
class Row:
    """What the journal knows of one flaky test."""

    step: str
    test: str
    runs: int
    """In how many runs its step was begun."""
    last_run: int
    """The newest run in which that became known."""
    last_seen: float
    message: str
    flaked: set[int] = field(default_factory=set)
    """The runs in which it failed although it passes."""

    @property
    def rate(self) -> float:
        """In which share of the runs it flaked."""
        return len(self.flaked) / max(self.runs, len(self.flaked))


@click.command()
@click.argument("step", required=False)
@click.option("--since", default="30d", show_default=True, metavar="TIME", help="How far to look back.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def flaky(step: str | None, since: str, as_json: bool) -> int:
    """List tests that failed and passed on the same inputs, those that do it most often first."""
    seconds = seconds_of("--since", since)
    opened = open_project()
    first = opened.journal.first_since(time.time() - seconds)
    runs = opened.journal.runs_of_steps(first)
    if step is not None:
        _check(opened, step, runs)
        runs = {name: count for name, count in runs.items() if step in (name, base_of(name))}
    rows = rows_of(opened.journal.find(_EVENT, first=first), runs, first)
    if as_json:
        print_json([_document(row) for row in rows])
        return 0
    _print(rows, sum(runs.values()) > 0, step, _period(seconds, since))
    return 0


def rows_of(events: Iterable[Event], runs: dict[str, int], first: int) -> list[Row]:
    """The flaky tests out of these events, the newest of which comes first; the most frequent test first."""
    found: dict[tuple[str, str], Row] = {}
    for event in events:
        step = str(event.step)
        if step not in runs:
            continue
        for test in event.data["tests"]:
            name = str(test["name"])
            row = found.get((step, name))
            if row is None:
                row = Row(step, name, runs[step], event.run, event.time, str(test.get("message", "")))
                found[step, name] = row
            # One that failed before the period, and has passed within it, is counted where that was seen.
            row.flaked |= {run for run in test["runs"] if run >= first} or {event.run}
    return sorted(found.values(), key=lambda row: (-len(row.flaked), -row.rate, row.step, row.test))


def _check(opened: Opened, step: str, runs: dict[str, int]) -> None:
    """Raises ConfigError for a step that was not begun and is not in the newest run's plan either."""
    known = {*runs, *(base_of(name) for name in runs)}
    newest = opened.journal.runs(1)
    if step in known or not newest:
        return
    plan = opened.state(str(newest[0].run)).plan
    if not plan.named(step):
        raise ConfigError(f'there is no step "{step}"{nearest(step, [*known, *plan.by_name], "steps")}')


def _document(row: Row) -> dict[str, object]:
    return {
        "step": row.step,
        "test": row.test,
        "flaked": len(row.flaked),
        "runs": row.runs,
        "rate": round(row.rate, 4),
        "last_run": row.last_run,
        "last_seen": row.last_seen,
        "message": row.message,
    }


def _print(rows: list[Row], any_run: bool, step: str | None, period: str) -> None:
    what = f" of {step}" if step else ""
    if not any_run:
        click.echo(f"No run{what} in {period}. Start one: penstock run", err=True)
        return
    if not rows:
        click.echo(f"No flaky test{what} in {period}.")
        return
    look = Look.of(sys.stdout)
    click.echo(f"Failed and passed on the same inputs{what}, in {period}:")
    for row in rows:
        day = time.strftime("%Y-%m-%d", time.localtime(row.last_seen))
        often = f"{len(row.flaked)} of {row.runs} run{'' if row.runs == 1 else 's'}"
        lines = [
            *plain_lines(f"{row.step}  {row.test}", look),
            *plain_lines(f"    {often} ({row.rate:.0%}), last in run {row.last_run} on {day}", look),
            *(plain_lines(f"    {row.message}", look) if row.message else ()),
        ]
        click.echo("\n".join(clean(line) for line in lines))
    click.echo(
        "One that may fail for a while without closing the gate: [[quarantine]] in penstock.toml", err=True
    )


def _period(seconds: float, since: str) -> str:
    days = int(seconds // _DAY)
    if seconds != days * _DAY or not days:
        return f"the last {since.strip()}"
    return "the last day" if days == 1 else f"the last {days} days"
