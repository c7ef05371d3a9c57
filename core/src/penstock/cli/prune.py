"""`prune`: remove what old runs left, and never what is still needed."""

from __future__ import annotations

import time
from pathlib import Path

import click

from penstock import config, pruning, retention
from penstock.cli.common import Opened, open_project, seconds_of, sound
from penstock.cli.environments import history, made_in, verified
from penstock.configfile import find
from penstock.errors import ConfigError
from penstock.home import Lock
from penstock.process import user
from penstock.retention import Line, Retention

_SHOWN = 8


@click.command()
@click.option("--keep", metavar="N", type=click.IntRange(min=1), help="Keep the newest N runs.")
@click.option("--older-than", metavar="AGE", help="Only what is older, such as 30d or 12h.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def prune(keep: int | None, older_than: str | None, dry_run: bool) -> int:
    """Remove logs, artifacts, reports and evidence of old runs.

    What an environment runs or may go back to stays, and so do runs that are not over. Without options,
    `retention` in the configuration says what is old; without that, runs that are neither among the newest
    50 nor younger than 30 days.
    """
    path = find(Path.cwd())
    rule = _rule(config.retention(path), keep, older_than)
    opened = open_project(path)
    sound(opened)
    lock = Lock(opened.home.root / "prune.lock")
    if not dry_run and not lock.take():
        raise ConfigError("another penstock prune is at work here. Wait for it to end")
    try:
        _prune(opened, rule, dry_run=dry_run)
    finally:
        lock.release()
    return 0


def _rule(configured: Retention | None, keep: int | None, older_than: str | None) -> Retention:
    """What holds: what stands on the command line, in place of what is configured."""
    rule = configured or retention.USUAL
    if keep is None and older_than is None:
        return rule
    age = None if older_than is None else seconds_of("--older-than", older_than)
    return rule.model_copy(update={"keep": keep, "older_than": age})


def _prune(opened: Opened, rule: Retention, *, dry_run: bool) -> None:
    journal, home = opened.journal, opened.home
    gone = pruning.pruned(journal)
    lines = [line for line in journal.runs() if line.run not in gone]
    reasons = _needed(opened, rule.releases, gone)
    reasons |= {line.run: "not over" for line in lines if line.state in ("running", "waiting")}
    ages = [Line(line.run, line.finished or line.started) for line in lines]
    old = retention.old(ages, rule, reasons, time.time())
    beyond = retention.old(ages, rule, (), time.time())
    if not dry_run:
        pruning.record(journal, old, user())
    kept = pruning.needed(journal, home, {*gone, *old})
    since = pruning.young(journal, home)
    directories = [run for run in (*gone, *old) if home.run(run).is_dir()]
    if dry_run:
        freed = sum(size for _, size in pruning.sweepable(home.store, kept, since))
        freed += sum(pruning.size_of(home.run(run)) for run in directories)
    else:
        freed = pruning.sweep(home.store, kept, since)
        freed += pruning.remove_logs(home, directories)
    _tell(old, len(lines) - len(old), freed, dry_run=dry_run)
    stay: dict[str, list[int]] = {}
    for run in beyond:
        if run in reasons:
            stay.setdefault(reasons[run], []).append(run)
    for why, runs in stay.items():
        click.echo(f"Kept, though old: {_ranges(runs)} ({why})", err=True)


def _needed(opened: Opened, releases: int, gone: dict[int, float]) -> dict[int, str]:
    """The runs without which an environment could not be verified, or not go back; and why each is one."""
    found: dict[int, str] = {}
    environments: dict[str, int] = {}  # and the last run that began to deploy there, whatever came of it
    for event in opened.journal.find("rollout.began"):
        environments.setdefault(str(event.data["release"]["environment"]), event.run)
    for environment in environments:
        past = [entry for entry in history(opened, environment) if entry.run not in gone]
        reached, left = False, releases
        for entry in past:
            if reached and not left:
                break
            current = entry.release.digest == past[0].release.digest
            why = f"{environment} runs its release" if current else f"{environment} may go back to it"
            for run in (entry.run, made_in(opened, entry.release)):
                found.setdefault(run, why)
            state = opened.state(str(entry.run))
            if current and state.given is None:
                reached = True
            elif reached and state.given is None and verified(state, environment):
                left -= 1
    for environment, last in environments.items():
        found.setdefault(last, f"the last to deploy to {environment}")
    return found


def _tell(old: list[int], left: int, freed: int, *, dry_run: bool) -> None:
    size = _size(freed)
    runs = f"{len(old)} run{'' if len(old) == 1 else 's'}"
    if dry_run:
        which = f" ({_ranges(old)})" if old else ""
        click.echo(f"Would remove what {runs} left{which}, and free {size}. Nothing was removed.")
        return
    if not old and not freed:
        click.echo(f"Nothing to remove: {left} run{'' if left == 1 else 's'}, all of them to be kept.")
        return
    what = f"what {runs} left ({_ranges(old)})" if old else "what no run needs any more"
    kept = f"{left} run{'' if left == 1 else 's'} left"
    click.echo(f"Removed {what}, and freed {size}. {kept}; what happened in all of them is still on record.")


def _ranges(runs: list[int]) -> str:
    """Numbers as people list them: 1 to 4, 7."""
    parts: list[list[int]] = []
    for run in sorted(runs):
        if parts and parts[-1][-1] == run - 1:
            parts[-1][1:] = [run]
        else:
            parts.append([run])
    shown = [" to ".join(str(number) for number in part) for part in parts[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else "")


def _size(count: int) -> str:
    """Bytes as people read them."""
    number, units = count / 1024, ["KiB", "MiB", "GiB"]
    while number >= 999.5 and len(units) > 1:
        number /= 1024
        units.pop(0)
    return f"{number:.1f} {units[0]}" if number < 9.95 else f"{number:.0f} {units[0]}"
