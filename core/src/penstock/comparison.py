"""Two runs → what differs between them. Pure: what is kept outside the events is handed in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.again import changed_keys
from penstock.findings import ScanReport
from penstock.model import TestReport
from penstock.parameters import as_text
from penstock.plan import Plan, PlanStep
from penstock.state import LETS_ON, RunState


@dataclass(frozen=True)
class Side:
    """One of the runs, with what the store has of it."""

    state: RunState
    files: Mapping[str, str] | None = None
    """What is in its snapshot, each file with what would tell that it is another."""
    reports: Mapping[str, TestReport | ScanReport] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)


def compare(before: Side, after: Side) -> dict[str, Any]:
    """What differs, by subject. A subject in which nothing does is empty."""
    old, new = before.state, after.state
    return {
        "runs": [old.run, new.run],
        "states": [old.state, new.state],
        "seconds": [_took(old), _took(new)],
        "steps": _steps(old, new),
        "tests": _tests(before, after),
        "findings": _findings(before, after),
        "revision": _revision(before, after),
        "parameters": _pairs(_said(old.plan), _said(new.plan)),
        "configuration": _configuration(old.plan, new.plan),
        "plugins": _pairs(old.plan.plugins, new.plan.plugins),
        "tools": _pairs(before.tools, after.tools),
        "artifacts": _artifacts(old, new),
    }


def differs(document: Mapping[str, Any]) -> bool:
    """Whether anything but durations differs."""
    states = document["states"][0] != document["states"][1]
    steps = any(not same(entry["states"]) for entry in document["steps"])
    subjects = ("revision", "parameters", "configuration", "plugins", "tools", "artifacts", "findings")
    tests = any(document["tests"].get(key) for key in ("failing", "passing", "new", "gone"))
    return states or steps or tests or any(document[name] for name in subjects)


def _took(state: RunState) -> float | None:
    return round(state.finished - state.started, 3) if state.finished else None


def _steps(old: RunState, new: RunState) -> list[dict[str, Any]]:
    """The steps of both plans; those whose state differs come first."""
    names = dict.fromkeys([*new.steps, *old.steps])
    rows = []
    for name in names:
        pair = [old.steps.get(name), new.steps.get(name)]
        rows.append(
            {
                "name": name,
                "states": [step.state if step else None for step in pair],
                "seconds": [round(step.seconds, 3) if step else None for step in pair],
            }
        )
    return sorted(rows, key=lambda row: _rank(row["states"]))


def _rank(states: list[str | None]) -> int:
    """How telling a change of state is: what failed first, then what could not begin for it."""
    if same(states):
        return 3
    if set(states) & {"failed", "refused"}:
        return 0
    return 2 if "skipped" in states else 1


def same(states: list[str | None]) -> bool:
    """Whether two states come to the same: a result that was taken over is as good as one that was made."""
    old, new = states
    return old == new or bool(LETS_ON.issuperset(states))


def _tests(before: Side, after: Side) -> dict[str, Any]:
    unknown = _unknown(before) | _unknown(after)
    old, new = _cases(before, unknown), _cases(after, unknown)
    bad = [{name for name, outcome in side.items() if outcome == "failed"} for side in (old, new)]
    counts = [_count(before.state), _count(after.state)]
    if not any(counts):
        return {}
    return {
        "failing": sorted(name for name in bad[1] if name not in bad[0]),
        "passing": sorted(name for name in bad[0] if new.get(name) == "passed"),
        "new": sorted(new.keys() - old.keys()),
        "gone": sorted(old.keys() - new.keys()),
        "counts": counts,
    }


def _unknown(side: Side) -> set[str]:
    """Steps whose report the store does not have any more."""
    return {name for name, step in side.state.steps.items() if step.report and name not in side.reports}


def _cases(side: Side, unknown: set[str]) -> dict[str, str]:
    return {
        f"{step}: {case.name}": case.outcome
        for step, report in side.reports.items()
        if isinstance(report, TestReport) and step not in unknown
        for case in report.cases
    }


def _count(state: RunState) -> dict[str, int]:
    total: dict[str, int] = {}
    for step in state.steps.values():
        for outcome, count in (step.tests or {}).items():
            total[outcome] = total.get(outcome, 0) + count
    return total


def _findings(before: Side, after: Side) -> dict[str, Any]:
    unknown = _unknown(before) | _unknown(after)
    old, new = _found(before, unknown), _found(after, unknown)
    found = {
        "new": [new[key] for key in sorted(new.keys() - old.keys())],
        "gone": [old[key] for key in sorted(old.keys() - new.keys())],
    }
    return found if any(found.values()) else {}


def _found(side: Side, unknown: set[str]) -> dict[str, dict[str, str]]:
    found = {}
    for step, report in side.reports.items():
        for finding in report.findings if isinstance(report, ScanReport) else ():
            if finding.ignored is None and step not in unknown:
                entry = {
                    "step": step,
                    "id": finding.id,
                    "severity": finding.severity.value,
                    "location": finding.location or finding.package or "",
                }
                found[json.dumps(entry)] = entry
    return found


def _revision(before: Side, after: Side) -> dict[str, Any]:
    old, new = before.state.revision, after.state.revision
    if old == new or (
        old and new and old.snapshot and old.snapshot == new.snapshot and old.commit == new.commit
    ):
        return {}
    found: dict[str, Any] = {
        "commits": [revision.commit if revision else None for revision in (old, new)],
        "short": [revision.short if revision else None for revision in (old, new)],
    }
    if before.files is not None and after.files is not None:
        left, right = before.files, after.files
        found["files"] = {
            "changed": sorted(path for path in left.keys() & right.keys() if left[path] != right[path]),
            "added": sorted(right.keys() - left.keys()),
            "removed": sorted(left.keys() - right.keys()),
        }
    return found


def _configuration(old: Plan, new: Plan) -> dict[str, Any]:
    names = [step.name for step in new.steps if step.name in old.by_name]
    changed = {name: keys for name in names if (keys := _changed(old.by_name[name], new.by_name[name]))}
    roles = _pairs(
        {role: ", ".join(members) for role, members in old.roles.items()},
        {role: ", ".join(members) for role, members in new.roles.items()},
    )
    found = {
        "added": [step.name for step in new.steps if step.name not in old.by_name],
        "removed": [step.name for step in old.steps if step.name not in new.by_name],
        "changed": changed,
        "roles": roles,
    }
    return found if any(found.values()) else {}


def _changed(old: PlanStep, new: PlanStep) -> dict[str, list[Any]]:
    """The keys of a section that differ, with both values; `policy` is what a deploy step requires."""
    values = [
        {
            "phase": step.phase,
            **step.keys.model_dump(mode="json"),
            **step.settings,
            "uses": step.uses,
        }
        for step in (old, new)
    ]
    found = {key: [side.get(key) for side in values] for key in changed_keys(old, new)}
    if old.requires != new.requires:
        found["policy"] = [list(old.requires), list(new.requires)]
    return found


def _pairs(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, list[str | None]]:
    names = dict.fromkeys([*new, *old])
    return {name: [old.get(name), new.get(name)] for name in names if old.get(name) != new.get(name)}


def _said(plan: Plan) -> dict[str, str]:
    return {name: as_text(value) for name, value in plan.parameters.items()}


def _artifacts(old: RunState, new: RunState) -> list[dict[str, Any]]:
    sides = [_built(old), _built(new)]
    names = dict.fromkeys([*sides[1], *sides[0]])
    rows = [{"name": name, "digests": [side.get(name, []) for side in sides]} for name in names]
    return [row for row in rows if row["digests"][0] != row["digests"][1]]


def _built(state: RunState) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for step in state.steps.values():
        for artifact in step.artifacts:
            digests = found.setdefault(artifact.name, [])
            if artifact.digest not in digests:
                digests.append(artifact.digest)
    return {name: sorted(digests) for name, digests in found.items()}


def names_in(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The tools that a statement of provenance names, with their versions."""
    found = {}
    for entry in entries:
        notes = entry.get("annotations")
        if isinstance(notes, Mapping) and "version" in notes:
            found[str(entry.get("name"))] = str(notes["version"])
    return found
