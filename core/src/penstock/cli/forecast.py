"""What a run would do with each step that has a cache: take its result over, or run it, and why."""

import itertools
import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from penstock import cachekey
from penstock.cache import Cache, Known
from penstock.cachekey import Files
from penstock.cli.asking import ask_worker
from penstock.cli.common import Opened
from penstock.errors import StepRefused
from penstock.home import Home
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
    return look_ahead(opened, plugins, plan)[0]


def look_ahead(opened: Opened, plugins: Plugins, plan: Plan) -> tuple[dict[str, Forecast], RunState]:
    """As `forecasts`, and the run as far as it is known: with the results that would be taken over."""
    state = RunState(plan, 0)
    state.apply(_event("run.started", None, {"plan": plan.digest}))
    wanted = [step for step in plan.steps if step.keys.cached is not None]
    for step in plan.steps:
        if step.phase == "source":
            response = ask_worker(opened, plugins, make_request(plan, state, step.name, "hook"))
            if response.outcome != "passed":
                why = f"{step.name}: {response.reason}"
                return {each.name: Forecast(None, False, why) for each in wanted}, state
            state.apply(_event("step.finished", step.name, {**response.data, "state": "passed"}))
    cache = Cache(opened.home, opened.journal, plugins, plan)
    if question := cache.question(state):
        cache.learn(ask_worker(opened, plugins, question))
    found: dict[str, Forecast] = {}
    unknown = Unknown(state)
    for step in wanted:
        found[step.name], data = _forecast(opened, cache, state, step, unknown.behind(step))
        if data is not None:
            state.apply(_event("step.finished", step.name, data))
    return found, state


def _forecast(
    opened: Opened, cache: Cache, state: RunState, step: PlanStep, first: str | None
) -> tuple[Forecast, dict[str, Any] | None]:
    """With the first of the builds behind it that are not known."""
    looked = cache.look(state, step.name, time.time(), take=first is None, keep=True)
    if looked.data is not None:
        return Forecast(looked.data["origin"]["run"], True, looked.data["origin"]["why"]), looked.data
    if looked.known is None or looked.notes:
        return Forecast(None, False, looked.notes[0].removeprefix("! ")), None
    last = opened.journal.last_result(step.name)
    why, files = _why(opened.home, last, looked.known, artifacts=first is None)
    if first is not None and last is not None:
        why = why or f"{first} would run, and what it builds is not known yet"
    return Forecast(last.run if last else None, False, why, tuple(files)), None


class Unknown:
    """The builds whose artifacts nobody can tell before they have run.

    Steps are asked about in the plan's order: what becomes of those before one is settled by then.
    """

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._order = {step.name: number for number, step in enumerate(state.plan.steps)}
        self._passed = iter(self._order)
        self._first: dict[str, float] = {}
        """The number of the first one at or behind a step, or a barrier."""

    def behind(self, step: PlanStep) -> str | None:
        """The first of them behind a step, if there is one."""
        for name in itertools.takewhile(lambda name: name != step.name, self._passed):
            self._at(name)  # one after another, since a plan may be deeper than Python's stack
        number = self._least(step.name)
        return None if number == math.inf else self._state.plan.steps[int(number)].name

    def _at(self, node: str) -> float:
        if node not in self._first:
            self._first[node] = min(self._own(node), self._least(node))
        return self._first[node]

    def _least(self, node: str) -> float:
        return min((self._at(need) for need in self._state.plan.waits_for[node]), default=math.inf)

    def _own(self, node: str) -> float:
        step = self._state.plan.by_name.get(node)
        known = step is None or step.phase != "build" or self._state.steps[node].state in LETS_ON
        return math.inf if known else self._order[node]


def _event(kind: str, step: str | None, data: dict[str, Any]) -> Event:
    return Event(id=0, run=0, time=time.time(), type=kind, step=step, data=data)


def _why(
    home: Home, before: Event | None, known: Known, *, artifacts: bool = True
) -> tuple[str, Sequence[str]]:
    """What is not as it was when a step's newest result was made, in words; and which files are not.

    With `artifacts=False` those that it would be handed are not known.
    """
    if before is None:
        return "no result of it is kept yet", ()
    was: Mapping[str, str] = before.data["cache"]["parts"]
    bound = any(name.startswith("revision.") for name in was)
    parts = cachekey.with_revision(known.parts, known.revision) if bound else known.parts
    now = cachekey.recorded(parts)
    files = _files_changed(home, was.get("source.files", ""), known.files)
    said = [cachekey.in_words(files)] if files else []
    said += cachekey.differences(was, now, artifacts=artifacts)
    return "; ".join(said), files


def _files_changed(home: Home, before: str, now: Files) -> list[str]:
    if before == now.digest:
        return []
    try:
        listing = now.listing if now.listing is not None else home.store.read(now.digest)
        return cachekey.files_changed(_listed(home.store.read(before)), _listed(listing))
    except (StepRefused, ValueError, LookupError, TypeError):
        return ["files"]


def _listed(text: bytes) -> list[list[str]]:
    found = json.loads(text)
    return cachekey.listed(found["entries"]) if isinstance(found, dict) else found
