"""What a run would do to the environments: which target would go from which release to which."""

from __future__ import annotations

from typing import Any

from penstock.cli.asking import ask_worker
from penstock.cli.common import Opened
from penstock.cli.forecast import Unknown
from penstock.cli.text import clean
from penstock.model import short
from penstock.plan import Plan, PlanStep
from penstock.plugins import Plugins
from penstock.request import make_request, release_digest
from penstock.state import RunState
from penstock.waves import waves, why_not


def effects(opened: Opened, plugins: Plugins, plan: Plan, state: RunState) -> list[dict[str, Any]]:
    """For each deploy step what it would change, by asking its targets what runs there.

    `state` has the results that are known already: those that would come out of the cache.
    """
    unknown = Unknown(state)
    return [
        _of(opened, plugins, state, step, unknown.behind(step))
        for step in plan.steps
        if step.phase == "deploy"
    ]


def _of(
    opened: Opened, plugins: Plugins, state: RunState, step: PlanStep, built_by: str | None
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "step": step.name,
        "environment": step.environment,
        "strategy": step.keys.rollout.strategy,
        "release": _release(state, step) if built_by is None else None,
        "built_by": built_by,
        "secrets": sorted(step.keys.secrets),
        "jobs": {},
        "targets": [],
        "fault": "",
    }
    response = ask_worker(opened, plugins, make_request(state.plan, state, step.name, "status", op="observe"))
    if response.outcome != "passed":
        return {**found, "fault": response.reason}
    names = [target["target"] for target in response.data["status"]]
    fault = why_not(step.keys.rollout, names, response.data["shifting"])
    wave_of = {
        name: number
        for number, wave in enumerate(waves(step.keys.rollout, names), start=1)
        for name in wave.names
    }
    targets = [
        {
            "target": target["target"],
            "wave": wave_of[target["target"]],
            "from": target["release"],
            "to": found["release"],
            "seen": target["seen"],
            "detail": target["detail"],
        }
        for target in response.data["status"]
    ]
    return {**found, "fault": fault, "jobs": response.data["jobs"], "targets": targets}


def _release(state: RunState, step: PlanStep) -> str | None:
    """What would be deployed."""
    artifacts = state.artifacts_for(step.name)
    return release_digest([artifact.digest for artifact in artifacts]) if artifacts else None


def lines(effect: dict[str, Any]) -> list[str]:
    """An effect, for people."""
    secrets = f"  secrets: {', '.join(effect['secrets'])}" if effect["secrets"] else ""
    said = [f"{effect['environment']}  by {effect['step']}, {effect['strategy']}{secrets}"]
    jobs = effect["jobs"]
    said += [f"  job {name}, before anything is changed" for name in jobs if jobs[name] == "before"]
    width = max((len(target["target"]) for target in effect["targets"]), default=0)
    several = len({target["wave"] for target in effect["targets"]}) > 1
    for target in effect["targets"]:
        wave = f"wave {target['wave']}  " if several else ""
        said.append(f"  {wave}{target['target']:<{width}}  {_change(target, effect)}")
    said += [f"  job {name}, when all are healthy" for name in jobs if jobs[name] == "after"]
    if effect["fault"]:
        said.append(f"  ! {effect['fault']}")
    return [clean(line) for line in said]


def _change(target: dict[str, Any], effect: dict[str, Any]) -> str:
    now = short(target["from"]) if target["from"] else "nothing"
    if not target["seen"]:
        now = f"what nobody can tell ({target['detail']})"
    if target["to"] is None:
        return f"{now} → what {effect['built_by'] or 'the run'} builds"
    if target["to"] == target["from"]:
        return f"{now}, as it is"
    return f"{now} → {short(target['to'])}"
