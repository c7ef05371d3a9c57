"""What a run would do with each step that has a cache: take its result over, or run it, and why."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from penstock.cache import Cache, why_it_would_run
from penstock.cli.common import Opened, ask_worker
from penstock.model import Event
from penstock.plan import Plan, PlanStep
from penstock.plugins import Plugins
from penstock.request import make_request
from penstock.state import LETS_ON, RunState


class Forecast(NamedTuple):
    """What would become of one step."""

    run: int | None
    """The run whose result would be taken over, or else the newest that has one to compare with."""
    cached: bool
    why: str
    files: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """For people."""
        if self.cached:
            return f"cached: from run {self.run}"
        return f"would run: {self.why}"

    def document(self) -> dict[str, Any]:
        """As `plan --json` gives it."""
        would = "cached" if self.cached else "run"
        return {"would": would, "run": self.run, "why": self.why, "changed": list(self.files)}


def forecasts(opened: Opened, plugins: Plugins, plan: Plan) -> dict[str, Forecast]:
    """By the name of each step that has a cache. The source is fetched, and no other step is run."""
    state = RunState(plan, 0)
    state.apply(_event("run.started", None, {"plan": plan.digest}))
    wanted = [step for step in plan.steps if step.keys.cached is not None]
    for step in plan.steps:
        if step.phase == "source":
            response = ask_worker(opened, plugins, make_request(plan, state, step.name, "hook"))
            if response.outcome != "passed":
                return {
                    each.name: Forecast(None, False, f"{step.name}: {response.reason}") for each in wanted
                }
            state.apply(_event("step.finished", step.name, {**response.data, "state": "passed"}))
    cache = Cache(opened.home, opened.journal, plugins, plan)
    if question := cache.question(state):
        cache.learn(ask_worker(opened, plugins, question))
    found: dict[str, Forecast] = {}
    for step in wanted:
        found[step.name], data = _forecast(opened, cache, state, step)
        if data is not None:
            state.apply(_event("step.finished", step.name, data))
    return found


def _forecast(
    opened: Opened, cache: Cache, state: RunState, step: PlanStep
) -> tuple[Forecast, dict[str, Any] | None]:
    first = _not_known(state, step)
    looked = cache.look(state, step.name, time.time(), take=first is None, keep=True)
    if looked.data is not None:
        return Forecast(looked.data["origin"]["run"], True, looked.data["origin"]["why"]), looked.data
    if looked.known is None or looked.notes:
        return Forecast(None, False, looked.notes[0].removeprefix("! ")), None
    last = opened.journal.last_result(step.name)
    why, files = why_it_would_run(opened.home, last, looked.known, artifacts=first is None)
    if first is not None and last is not None:
        why = why or f"{first} would run, and what it builds is not known yet"
    return Forecast(last.run if last else None, False, why, tuple(files)), None


def _not_known(state: RunState, step: PlanStep) -> str | None:
    """A build step behind this one whose artifacts nobody can tell before it has run."""
    behind = state.plan.closure([step.name], state.plan.waits_for) - {step.name}
    return next(
        (
            other.name
            for other in state.plan.steps
            if other.phase == "build"
            and other.name in behind
            and state.steps[other.name].state not in LETS_ON
        ),
        None,
    )


def _event(kind: str, step: str | None, data: dict[str, Any]) -> Event:
    return Event(id=0, run=0, time=time.time(), type=kind, step=step, data=data)
