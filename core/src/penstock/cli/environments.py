"""`status` and `rollback`: what runs where, and back to what ran before."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from penstock.cli.asking import ask_worker
from penstock.cli.common import Opened, load_plan, not_pruned, open_project, print_json, sound
from penstock.cli.lines import Look, names_width, row
from penstock.cli.run import begin
from penstock.cli.text import clean
from penstock.configfile import find
from penstock.errors import ConfigError, PluginError, nearest
from penstock.model import Release, short
from penstock.plan import Plan, PlanStep
from penstock.plugins import Plugins
from penstock.request import evidence_so_far, make_request
from penstock.runs import Statements
from penstock.state import LETS_ON, RunState


@dataclass(frozen=True)
class Deployed:
    """A release that was brought to an environment and was healthy there."""

    run: int
    release: Release


@click.command()
@click.argument("environment", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(environment: str | None, as_json: bool) -> int:
    """Show what runs in an environment, or in all of them, by asking its targets."""
    path = find(Path.cwd())
    _, plugins, plan = load_plan(path)
    opened = open_project(path)
    names = _environments(plan, environment)
    document = [_observe(opened, plan, plugins, name) for name in names]
    if as_json:
        print_json(document[0] if environment else document)
    else:
        for entry in document:
            _print(entry)
    targets = [target for entry in document for target in entry["targets"]]
    return 0 if all(t["health"] == "healthy" and t["drifted"] is False for t in targets) else 1


@click.command()
@click.argument("environment")
@click.option("--why", default="", help="Your reason, for the record.")
@click.option("--json", "as_json", is_flag=True, help="Events as JSON Lines on standard output.")
def rollback(environment: str, why: str, as_json: bool) -> int:
    """Bring back the last good release before the one that runs now."""
    path = find(Path.cwd())
    _, plugins, plan = load_plan(path)
    opened = open_project(path)
    _environments(plan, environment)
    sound(opened)
    _refuse_undecided(opened, environment)
    past = deployments(opened, environment)
    now = next(past, None)
    if now is None:
        raise ConfigError(f"nothing was ever deployed to {environment} from here")
    before = _before(opened, now, past, environment)
    if before is None:
        raise ConfigError(f"{environment} has no good release before {short(now.release.digest)}")
    original = opened.state(str(made_in(opened, before.release)))
    not_pruned(original, "and its release with it: there is nothing to go back to")
    steps = [s.name for s in plan.steps if s.environment == environment and s.phase in ("deploy", "verify")]
    click.echo(
        f"{environment}: back from {short(now.release.digest)} to {short(before.release.digest)} "
        f"of run {before.release.run}",
        err=True,
    )
    Statements(opened.journal, opened.home, original.run).restore()
    evidence = [ref.model_dump(mode="json") for ref in evidence_so_far(original.plan, original)]
    options = {
        "selected": steps,
        "release": before.release.model_dump(mode="json"),
        "evidence": evidence,
        "why": why,
    }
    return begin(opened, plugins, plan, options, as_json=as_json)


def _refuse_undecided(opened: Opened, environment: str) -> None:
    """Raises ConfigError where a rollout waits for a person: going back from there is another thing."""
    coming = _coming(opened, environment, ("waiting",))
    if coming is not None:
        raise ConfigError(
            f"run {coming.run} brings {short(coming.release.digest)} to {environment}, and waits for a "
            f"person to say whether it goes on. To put it back: penstock reject {coming.run} {environment}"
        )


def history(opened: Opened, environment: str) -> list[Deployed]:
    """What was deployed to an environment with success, the newest first, each change once."""
    return list(deployments(opened, environment))


def deployments(opened: Opened, environment: str, step: str | None = None) -> Iterator[Deployed]:
    """As `history`, or of one step; no more is read than is asked for: who wants the newest reads no past."""
    newest: str | None = None
    seen: set[tuple[int, str]] = set()
    # An environment is deployed to by one run at a time: whatever began last ended last, too.
    for event in opened.journal.find("rollout.began", holding=f'"environment":{json.dumps(environment)}'):
        try:
            release = Release.model_validate(event.data.get("release"))
        except ValueError:
            raise PluginError(f"the journal was changed: event {event.id} names no release") from None
        which = event.run, str(event.step)
        if release.environment != environment or which in seen or step not in (None, event.step):
            continue
        seen.add(which)
        if release.digest != newest and _passed(opened, *which):
            newest = release.digest
            yield Deployed(event.run, release)


def _passed(opened: Opened, run: int, step: str) -> bool:
    return any(
        event.type == "step.finished" and event.step == step and event.data.get("state") == "passed"
        for event in opened.journal.events(run)
    )


def _before(opened: Opened, now: Deployed, past: Iterator[Deployed], environment: str) -> Deployed | None:
    """The last good release before the one that runs now: deployed, and verified there.

    Rollbacks are left out: going back twice leads two releases back.
    """
    current, reached = now.release.digest, False
    for entry in itertools.chain([now], past):
        state = opened.state(str(entry.run))
        if state.given is not None:
            continue
        if entry.release.digest == current:
            reached = True
        elif reached and verified(state, environment):
            return entry
    return None


def verified(state: RunState, environment: str) -> bool:
    """Whether what verifies an environment passed in a run."""
    steps = [s for s in state.plan.steps if (s.phase, s.environment) == ("verify", environment)]
    left_out = [name for name, by_condition in state.left_out.items() if by_condition]
    return all(state.steps[step.name].state in LETS_ON or step.name in left_out for step in steps)


def made_in(opened: Opened, release: Release) -> int:
    """The run that built a release: a rollback only carries it on."""
    number = release.run
    while (given := opened.state(str(number)).given) is not None and given.run != number:
        number = given.run
    return number


def _environments(plan: Plan, environment: str | None) -> list[str]:
    deployed = [name for name in plan.environments if plan.deploys(name)]
    if environment is None:
        if not deployed:
            raise ConfigError("the pipeline deploys nothing. Add a section [deploy.NAME]")
        return deployed
    if environment not in deployed:
        near = nearest(environment, deployed, "environments")
        raise ConfigError(f'there is no environment "{environment}"{near}')
    return [environment]


def _observe(opened: Opened, plan: Plan, plugins: Plugins, environment: str) -> dict[str, Any]:
    last = next(deployments(opened, environment), None)
    coming = _coming(opened, environment)
    targets: list[dict[str, Any]] = []
    for step in plan.deploys(environment):
        state = RunState(plan, last.run if last else 0)
        response = ask_worker(opened, plugins, make_request(plan, state, step.name, "status"))
        found = response.data["status"] if response.outcome == "passed" else [_silent(step, response.reason)]
        own = next(deployments(opened, environment, step.name), last)
        for target in found:
            target["expected"] = own.release.digest if own else None
            target["drifted"] = _drifted(target, coming) if target.pop("seen") else None
        targets += found
    return {
        "environment": environment,
        "release": last.release.digest if last else None,
        "run": last.run if last else None,
        "coming": {"run": coming.run, "release": coming.release.digest} if coming else None,
        "drifted": any(target["drifted"] for target in targets),
        "artifacts": [
            a.model_dump(mode="json", include={"name", "kind", "digest"}) for a in last.release.artifacts
        ]
        if last
        else [],
        "targets": targets,
    }


def _silent(step: PlanStep, why: str) -> dict[str, Any]:
    """Of a step whose targets nobody can name."""
    return {
        "target": step.name,
        "release": None,
        "health": "unknown",
        "detail": why,
        "data": {},
        "seen": False,
    }


def _drifted(target: dict[str, Any], coming: Deployed | None) -> bool:
    """Whether a target runs what nobody has brought to it from here."""
    known = {target["expected"], *([coming.release.digest] if coming else ())}
    return target["expected"] is not None and target["release"] not in known


def _coming(
    opened: Opened, environment: str, states: tuple[str, ...] = ("running", "waiting")
) -> Deployed | None:
    """The release of a rollout that is not over."""
    for event in opened.journal.find("rollout.began", holding=f'"environment":{json.dumps(environment)}'):
        if event.data["release"].get("environment") != environment:
            continue
        ended = opened.journal.of_run(event.run, ("step.finished", "run.finished"))
        if any(each.step in (None, event.step) for each in ended):
            return None
        state = opened.state(str(event.run))
        if state.steps[str(event.step)].state not in states:
            return None
        return Deployed(event.run, Release.model_validate(event.data["release"]))
    return None


def _print(entry: dict[str, Any]) -> None:
    what = f"{short(entry['release'])} of run {entry['run']}" if entry["release"] else "nothing deployed yet"
    click.echo(f"{entry['environment']}  {what}")
    if coming := entry["coming"]:
        click.echo(f"    run {coming['run']} brings {short(coming['release'])}, and is not over")
    if len(entry["artifacts"]) > 1:
        for artifact in entry["artifacts"]:
            click.echo(clean(f"    {artifact['name']}  {short(artifact['digest'])}"))
    look = Look.of(sys.stdout).inside(2)
    names = names_width([target["target"] for target in entry["targets"]] or [""])
    for target in entry["targets"]:
        runs = short(target["release"]) if target["release"] else "nothing"
        drift = f"DRIFTED: {short(target['expected'])} was deployed last" if target["drifted"] else ""
        parts = [runs, target["health"], str(target["data"].get("url", "")), target["detail"], drift]
        good = target["health"] == "healthy" and target["drifted"] is False
        state = "passed" if good else "failed"
        words = "  ".join(part for part in parts if part)
        for line in row(look, state, target["target"], names, words):
            click.echo(f"  {line}")
