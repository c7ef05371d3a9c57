"""What is left without a purpose, where conditions left out what it is about. Pure.

A step that its condition leaves out lets on what waits for it. But nothing is deployed, or approved, or
published where nothing was built; nothing is published whose signing was left out, and nothing deployed whose
approval was; and what was not deployed is not looked at: it would be the release before that is tested, as if
it were this one.
"""

from __future__ import annotations

from penstock.plan import PlanStep
from penstock.state import RunState

_LOOKS = ("test", "scan", "verify")
_BRINGS = ("publish", "approve", "deploy")


def why_pointless(state: RunState, step: PlanStep) -> str:
    """Why a step that could start has nothing to do; empty if it has."""
    if not state.left_out or state.given or step.phase not in (*_LOOKS, *_BRINGS):
        return ""
    if step.phase in _LOOKS and step.environment is None:  # of no deployment but those that it names
        return _reason(_named(state, step))
    plan = state.plan
    reached = plan.closure([step.name], plan.waits_for)
    behind = [other for other in plan.steps if other.name in reached and other.name != step.name]
    here = [
        other for other in behind if other.environment is not None and other.environment == step.environment
    ]
    if step.phase in _LOOKS:
        gone = _all_left_out(state, [other.name for other in here if other.phase == "deploy"])
        return _reason(gone or _named(state, step))
    asked_for = {
        "deploy": [other.name for other in here if other.phase == "approve"],
        "publish": [other.name for other in behind if other.phase == "sign"],
    }
    for name in asked_for.get(step.phase, ()):
        if name in state.left_out:
            return _reason(name)
    gone = _all_left_out(state, [other.name for other in behind if other.phase == "build"])
    return f"nothing was built: {_reason(gone)}" if gone else ""


def _reason(name: str) -> str:
    return f"{name} was skipped" if name else ""


def _all_left_out(state: RunState, names: list[str]) -> str:
    """The first of these steps, where there are some and none of them did its work."""
    return names[0] if names and all(name in state.left_out for name in names) else ""


def _named(state: RunState, step: PlanStep) -> str:
    """Of what the step itself names as its needs, a deployment, or a look at one, that was left out."""
    for need in step.keys.needs or ():
        for name in state.plan.named(need):
            by_condition = state.left_out.get(name)
            phase = state.plan.by_name[name].phase
            if by_condition is not None and (phase == "deploy" or (phase in _LOOKS and not by_condition)):
                return name
    return ""
