"""What a step's condition asks for, gathered: of the revision, parameters, environment, results, changes.

What has changed is told against the newest earlier run in which the step passed. A run in which it was
skipped does not count: a change that was never tried stays a change. What can't be compared has changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock.errors import PenstockError
from penstock.home import Home
from penstock.journal import Events
from penstock.plan import PlanStep
from penstock.state import LETS_ON, RunState

if TYPE_CHECKING:
    from penstock.terms import Asked, Value

_SAME = ("uses", "settings", "keys", "variant")
"""What makes a step the same one in two plans, beside the files."""
_Files = Mapping[str, tuple[object, ...]]
_Steps = Mapping[str, list[Any]]


class Judged(NamedTuple):
    """Whether a step's condition holds."""

    holds: bool
    reason: str
    data: dict[str, Any]
    """For the record: the condition, and the run that changes are told against."""


class _Since(NamedTuple):
    """What has changed for a step: since which run, and which files; None: it can't be told."""

    run: int | None
    paths: frozenset[str] | None


class Facts:
    """The facts of one run."""

    def __init__(self, journal: Events, home: Home, state: RunState) -> None:
        self._journal = journal
        self._home = home
        self._state = state
        self._past: dict[int, tuple[_Files | None, _Steps]] = {}

    def judge(self, name: str) -> Judged:
        """Decide the condition of a step that could start."""
        from penstock import conditions, terms

        plan = self._state.plan
        step, condition = plan.by_name[name], plan.conditions[name]
        wanted = set(terms.asked(condition))
        since = self._since(step) if any(isinstance(entry, terms.Changed) for entry in wanted) else None
        values = {entry: self._value(entry, step, since) for entry in wanted}
        holds = conditions.evaluate(condition, values)
        data: dict[str, Any] = {"when": step.keys.when, "holds": holds}
        if since is not None:
            data["base"] = since.run
        if holds:
            return Judged(holds, "", data)
        reason = f"when: {terms.why_false(condition, values)}"
        part = terms.blamed(condition, values)
        if since and since.run and any(isinstance(entry, terms.Changed) for entry in terms.asked(part)):
            reason += f", since run {since.run}"
        return Judged(holds, reason, data)

    def _value(self, entry: Asked, step: PlanStep, since: _Since | None) -> Value:
        from penstock import conditions, terms

        if isinstance(entry, terms.Changed):
            return terms.changed(entry, since.paths if since else None)
        if isinstance(entry, terms.Result):
            state = self._state.steps[entry.step].state
            return "passed" if state in LETS_ON else state
        if isinstance(entry, terms.Env):
            return step.keys.env.get(entry.name, os.environ.get(entry.name, ""))
        known = conditions.known(self._state.plan.parameters, step.variant)
        return {**known, **terms.facts(self._state.revision)}[entry.name]

    # --- what has changed ---

    def _since(self, step: PlanStep) -> _Since:
        run = self._last_passed(step.name)
        if run is None:
            return _Since(None, None)
        before, steps = self._look_back(run)
        now = self._files
        if before is None or now is None or steps.get(step.name) != self._steps[step.name]:
            return _Since(run, None)
        return _Since(
            run, frozenset(path for path in before.keys() | now if before.get(path) != now.get(path))
        )

    def _last_passed(self, name: str) -> int | None:
        events = self._journal.find("step.finished", step=name)
        return next(
            (e.run for e in events if e.run < self._state.run and e.data.get("state") in LETS_ON), None
        )

    def _look_back(self, run: int) -> tuple[_Files | None, _Steps]:
        """The files of an earlier run, if they can be had, and its steps."""
        if run not in self._past:
            first, *rest = self._journal.events(run)
            given = first.data.get("release") or {}  # a rollback has its revision from the start
            found = [e.data["revision"] for e in rest if e.type == "step.finished" and e.data.get("revision")]
            revision = next(iter(found), given.get("revision") or {})
            self._past[run] = self._read(revision.get("snapshot")), self._steps_of(first.data.get("plan"))
        return self._past[run]

    @cached_property
    def _files(self) -> _Files | None:
        revision = self._state.revision
        return self._read(revision.snapshot if revision else None)

    def _read(self, snapshot: str | None) -> _Files | None:
        try:
            entries = self._home.store.tree(snapshot) if snapshot else None
        except PenstockError:  # it is gone, or not as it was kept
            return None
        if entries is None:
            return None
        keys = ("sha256", "exec", "link", "dir")
        return {str(entry["path"]): tuple(entry.get(key) for key in keys) for entry in entries}

    @cached_property
    def _steps(self) -> _Steps:
        return _as_done(json.loads(self._state.plan.canonical))

    def _steps_of(self, plan: object) -> _Steps:
        try:
            return _as_done(json.loads(self._home.store.read(str(plan))))
        except (PenstockError, ValueError, LookupError, TypeError, AttributeError):  # as with files
            return {}


def _as_done(plan: dict[str, Any]) -> _Steps:
    """How each step of a plan is done: what makes it the same as another plan's, beside the files."""
    return {
        entry["name"]: [*(entry.get(key) for key in _SAME), plan["plugins"].get(entry["uses"])]
        for entry in plan["steps"]
    }
