"""`approve`, `reject` and `cancel`: a person's word, appended to the journal."""

from __future__ import annotations

import contextlib
import time

import click

from penstock import gates
from penstock.cli.asking import ask_worker, must_pass
from penstock.cli.common import Opened, open_project, plugins_of
from penstock.cli.run import resume_run
from penstock.errors import ConfigError, StepRefused
from penstock.journal import New
from penstock.model import short
from penstock.process import user
from penstock.request import approval_of, make_request
from penstock.runs import WorkedOn
from penstock.scheduler import who_may
from penstock.signals import wake
from penstock.state import RunState
from penstock.summary import person


@click.command()
@click.argument("words", nargs=-1, metavar="[RUN] [ENV]")
@click.option("--digest", metavar="DIGEST", help="Approve only if this is what waits.")
@click.option("--why", default="", help="Your reason, for the record.")
@click.option("--no-resume", is_flag=True, help="Only record it; do not go on with the run.")
def approve(words: tuple[str, ...], digest: str | None, why: str, no_resume: bool) -> int:
    """Approve what a run waits with, and go on with the run."""
    opened = open_project()
    state, name = _waiting(opened, words)
    artifacts = state.artifacts_for(name)
    if digest is not None and digest not in {artifact.digest for artifact in artifacts}:
        ours = ", ".join(artifact.digest for artifact in artifacts)
        raise StepRefused(f"{name} waits with {ours}, not with {digest}. Nothing was approved")
    plugins = plugins_of(opened, state)
    request = make_request(
        state.plan, state, name, "approve", approval=approval_of(state, name, user(), why, time.time())
    )
    data = must_pass(ask_worker(opened, plugins, request), f"{name} was not approved")
    by = who_may(state.plan, state.plan.by_name[name])
    if not gates.may_approve(by, state.plan.roles, data["identities"]):
        raise StepRefused(f"{' / '.join(data['identities'])} may not approve {name}: {', '.join(by)} may")
    _say(opened, state.run, New("approval.given", name, data, time.time()))
    proof = (
        f"signed by {person(data['identities'][1])}"
        if data["approval"]["proved"]
        else "not proved by a signature"
    )
    click.echo(f"Approved {name} of run {state.run} for {_shorts(state, name)}, {proof}.", err=True)
    return _go_on(opened, state.run, no_resume)


@click.command()
@click.argument("words", nargs=-1, metavar="[RUN] [ENV]")
@click.option("--why", default="", help="Your reason, for the record.")
@click.option("--no-resume", is_flag=True, help="Only record it; do not go on with the run.")
def reject(words: tuple[str, ...], why: str, no_resume: bool) -> int:
    """Refuse what a run waits with; the run ends there, and a rollout that has begun goes back."""
    opened = open_project()
    state, name = _waiting(opened, words)
    _say(opened, state.run, New("approval.rejected", name, {"by": user(), "why": why}, time.time()))
    click.echo(f"Rejected {name} of run {state.run}.", err=True)
    return _go_on(opened, state.run, no_resume)


@click.command()
@click.argument("run", default="last")
@click.option("--why", default="", help="Your reason, for the record.")
def cancel(run: str, why: str) -> int:
    """Stop a run. What is being deployed is put back."""
    opened = open_project()
    number = opened.number(run)
    state = opened.state(str(number))
    if state.state not in ("running", "waiting"):
        raise ConfigError(f"run {number} is over: {state.state}")
    by = user()
    reason = f"cancelled by {by}" + (f": {why}" if why else "")
    opened.journal.append(number, [New("run.cancelled", None, {"by": by, "reason": reason}, time.time())])
    if _heard(opened, number) is None:
        click.echo(f"Run {number} is told to stop.", err=True)
    return 0


def _waiting(opened: Opened, words: tuple[str, ...]) -> tuple[RunState, str]:
    """The run and the approve step that are meant."""
    runs = [word for word in words if word == "last" or word.isdigit()]
    names = [word.removeprefix("approve.") for word in words if word not in runs]
    if len(runs) > 1 or len(names) > 1:
        raise ConfigError("name one run and one environment at most, such as: penstock approve 12 production")
    state = opened.state(runs[0]) if runs else _last_waiting(opened)
    asked = [
        name
        for name in state.asked
        if not names or names[0] in (state.plan.by_name[name].environment, name.partition(".")[2])
    ]
    if not asked:
        _refuse_superseded(state, names)
        what = f" for {names[0]}" if names else ""
        others = ", ".join(str(state.plan.by_name[name].environment) for name in state.asked)
        rest = f". It waits for {others}" if others else f". {_way_out(opened, state)}"
        raise ConfigError(f"run {state.run} ({state.state}) does not wait for an approval{what}{rest}")
    if len(asked) > 1:
        choices = ", ".join(str(state.plan.by_name[name].environment) for name in asked)
        raise ConfigError(f"run {state.run} waits for several: {choices}. Name one of them")
    return state, asked[0]


def _refuse_superseded(state: RunState, names: list[str]) -> None:
    """Say of a run that waits no more which newer one came to the environment. Raises ConfigError."""
    for name, step in state.steps.items():
        environment = state.plan.by_name[name].environment
        if step.superseded_by is not None and (not names or environment == names[0]):
            raise ConfigError(
                f"run {state.run} was superseded by run {step.superseded_by} at {environment}: it is not "
                "deployed any more, and nothing was approved. What waits: penstock runs"
            )


def _last_waiting(opened: Opened) -> RunState:
    newest = None
    for line in opened.journal.runs(unfinished=True):
        state = opened.state(str(line.run))
        if state.asked:
            return state
        newest = newest or state
    raise ConfigError(f"no run waits for an approval. {_way_out(opened, newest)}")


def _way_out(opened: Opened, state: RunState | None) -> str:
    """What to do with a run that does not wait: perhaps whoever gave the answer was cut off after that."""
    if state is None or state.state != "running" or opened.home.engine_lock(state.run).is_held():
        return "The runs: penstock runs"
    return f"Run {state.run} was cut off, and goes on with: penstock resume {state.run}"


def _shorts(state: RunState, name: str) -> str:
    return ", ".join(short(artifact.digest) for artifact in state.artifacts_for(name))


def _say(opened: Opened, run: int, event: New) -> None:
    opened.journal.append(run, [event])


def _go_on(opened: Opened, run: int, no_resume: bool) -> int:
    if no_resume:
        wake(opened.home, run)
        return 0
    return _heard(opened, run) or 0


def _heard(opened: Opened, run: int) -> int | None:
    """Have a word heard: by the engine that works on the run (None), or by one of this process's own."""
    while not wake(opened.home, run):
        with contextlib.suppress(WorkedOn):  # somebody who had another word to say was faster
            return resume_run(opened, run)
    return None
