"""Which results of an earlier run a new run of the same revision may take over, and why. Pure.

A result is kept only where nothing that it rests on has changed. What is said about the world outside, such
as what runs in an environment and who approved that, is never taken over from another run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from penstock.plan import Plan, PlanStep
from penstock.state import LETS_ON, RunState

_OUTSIDE = ("approve", "deploy", "verify")
_NAMED = 4
_WORD = {"failed": "failed", "pending": "had not begun", "running": "was cut off"}

Fate = Literal["kept", "again", "left out"]


@dataclass(frozen=True)
class Choice:
    """What becomes of one step in the new run, and why."""

    fate: Fate
    why: str


def choose(
    plan: Plan, before: RunState, start: Collection[str], lacking: Callable[[str], str]
) -> dict[str, Choice]:
    """For each step of `plan` whether its result in the run `before` is kept, in the plan's order.

    The steps in `start` and all that wait for them run again. `lacking` says what of a step's result the
    store does not have any more; nothing where it is whole.
    """
    chooser = _Chooser(plan, before, start, lacking)
    asked = asked_for(plan, before)
    for step in plan.steps:
        if step.name in asked:
            chooser.decide(step)
    chooser.leave_out()
    return {step.name: chooser.choices.get(step.name) or not_asked(before) for step in plan.steps}


def asked_for(plan: Plan, before: RunState) -> set[str]:
    """The steps that were asked for in a run, and what they need by now."""
    selected = before.options.get("selected")
    if selected is None:
        return set(plan.by_name)
    behind = plan.closure((name for name in selected if name in plan.by_name), plan.waits_for)
    return behind & plan.by_name.keys()


class _Chooser:
    """Decides on one step after another: each comes after those that it waits for."""

    def __init__(
        self, plan: Plan, before: RunState, start: Collection[str], lacking: Callable[[str], str]
    ) -> None:
        self.choices: dict[str, Choice] = {}
        self._plan = plan
        self._before = before
        self._start = start
        self._lacking = lacking
        self._again: dict[str, str] = {}  # for each node a step that runs again, there or before it
        self._outside: dict[str, str] = {}  # the same for what is about the world outside
        self._moved_groups: dict[str, bool] = {}

    def decide(self, step: PlanStep) -> None:
        name = step.name
        if why := self._hard_reason(step):
            self.choices[name], self._again[name] = Choice("again", why), name
        elif why := self._outside_reason(step):
            self.choices[name], self._outside[name] = Choice("again", why), name
        elif why := self._soft_reason(step):
            self.choices[name], self._again[name] = Choice("again", why), name
        else:
            self.choices[name] = Choice("kept", self._why_kept(step))

    def leave_out(self) -> None:
        """What is done in an environment is done again only where something before or behind it is."""
        plan = self._plan
        again = [name for name in self.choices if name in self._again]
        related = plan.closure(again, plan.waits_for) | plan.closure(again, plan.dependents)
        for name in self._outside:
            if name in self.choices and name not in related:
                self.choices[name] = Choice("left out", "nothing that it belongs to runs again")

    def _hard_reason(self, step: PlanStep) -> str:
        if step.name in self._start:
            return "asked for"
        if cause := self._cause(step.name, self._again):
            return f"waits for {cause}, which runs again"
        earlier = self._before.steps.get(step.name)
        if earlier is None:
            return f"new since {self._run}"
        if earlier.state not in LETS_ON:
            return f"{_WORD.get(earlier.state, f'was {earlier.state}')} in {self._run}"
        return ""

    def _outside_reason(self, step: PlanStep) -> str:
        if step.phase == "approve":
            return "an approval is good for one run"
        if step.phase == "deploy":
            return f"what runs in {step.environment} may have changed since {self._run}"
        if step.phase == "verify" or step.environment is not None:
            return f"says how {step.environment} is now, not how it was in {self._run}"
        if cause := self._cause(step.name, self._outside):
            return f"waits for {cause}, which is not kept"
        return ""

    def _soft_reason(self, step: PlanStep) -> str:
        if step.phase == "source":
            return ""
        plan, before = self._plan, self._before.plan
        if changed := changed_keys(before.by_name[step.name], step):
            more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
            return f"its section changed since {self._run}: {', '.join(changed[:_NAMED])}{more}"
        if step.uses and before.plugins.get(step.uses) != plan.plugins.get(step.uses):
            return f"the plugin {step.uses} has another version than in {self._run}"
        if (self._before.steps[step.name].tests or {}).get("quarantined"):
            return "a test failed, in quarantine"
        if self._before.steps[step.name].exempted:
            return "a finding passed until a day only"
        if before.parameters != plan.parameters:
            return f"the parameters are not those of {self._run}"
        if self._moved(step.name):
            return f"waits for other steps than in {self._run}"
        return self._lacking(step.name)

    def _why_kept(self, step: PlanStep) -> str:
        if step.phase == "source":
            return f"the same files as in {self._run}"
        origin = self._before.steps[step.name].origin
        came = f"passed in {self._run}"
        if origin and origin.get("run") not in (None, self._before.run):
            came = f"passed in run {origin['run']}, kept in {self._run}"
        return f"{came}, and neither it nor what it waits for has changed"

    @property
    def _run(self) -> str:
        return f"run {self._before.run}"

    def _cause(self, node: str, known: dict[str, str]) -> str:
        """The first step that is in `known` and that a node waits for, through groups of steps."""
        for need in self._plan.waits_for[node]:
            if need not in known and need not in self._plan.by_name:
                known[need] = self._cause(need, known)  # a group: all of its steps were decided on
            if known.get(need):
                return known[need]
        return ""

    def _moved(self, node: str) -> bool:
        """Whether a step, or a group, waits for others than it did in the earlier run."""
        needs = self._plan.waits_for[node]
        if self._before.plan.waits_for.get(node) != needs:
            return True
        for group in needs:
            if group not in self._plan.by_name and group not in self._moved_groups:
                self._moved_groups[group] = self._moved(group)
        return any(self._moved_groups.get(need) for need in needs)


def changed_keys(before: PlanStep, now: PlanStep) -> list[str]:
    """The keys of a step's section that say something else now, core's and plugin's."""
    found = [] if before.phase == now.phase else ["phase"]
    found += [] if before.uses == now.uses else ["uses"]
    old = {**before.keys.model_dump(mode="json"), **before.settings}
    new = {**now.keys.model_dump(mode="json"), **now.settings}
    named = dict.fromkeys([*old, *new])
    return [*found, *(key for key in named if key not in found and old.get(key) != new.get(key))]


def not_asked(before: RunState) -> Choice:
    """What becomes of a step that the earlier run was not asked for."""
    return Choice("left out", f"not asked for in run {before.run}")
