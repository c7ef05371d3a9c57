"""Tests that both failed and passed on the same inputs: found by comparing attempts. Pure.

A test is flaky by its failures on inputs on which it passed as well. Each such failure counts once: when it
comes after a pass, or else when the first pass comes after it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from penstock.model import Artifact, Model, TestCase, TestReport
from penstock.plan import PlanStep

MOST = 100
"""Names in one event: a machine that failed is no reason to fill the journal with those of all its tests."""
_LONGEST = 200  # characters of what a failure said


class Attempt(NamedTuple):
    """One attempt at a test step that came to a report."""

    run: int
    attempt: int
    report: TestReport


class Flake(Model):
    """What became known of a flaky test."""

    name: str
    runs: tuple[int, ...]
    """In which it failed, those that are in no earlier event."""
    message: str = ""
    """The first line of what the failure said."""


class Compared(NamedTuple):
    """A report with its flaky cases marked, and what is new about them."""

    report: TestReport
    flakes: tuple[Flake, ...]


def inputs(
    step: PlanStep,
    plugin: str,
    snapshot: str | None,
    artifacts: Iterable[Artifact],
    parameters: Mapping[str, object],
) -> str | None:
    """What an attempt was made on, as a digest; None where the source is not known by one.

    `plugin` is the plugin's version. What only says how often or how long to try is left out, and so is a
    source distribution beside a wheel: tests are run on the wheel, and few backends write the same archive
    of sources twice.
    """
    if snapshot is None:
        return None
    handed = list(artifacts)
    wheels = any(artifact.kind == "wheel" for artifact in handed)
    parts = {
        "step": step.name,
        "uses": step.uses,
        "plugin": plugin,
        "settings": step.settings,
        "environment": step.environment,
        "env": step.keys.env,
        "secrets": step.keys.secrets,
        "parameters": dict(parameters),
        "snapshot": snapshot,
        "artifacts": sorted(each.digest for each in handed if not (wheels and each.kind == "sdist")),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def compare(now: Attempt, earlier: Sequence[Attempt]) -> Compared:
    """Mark the cases of an attempt that went otherwise in earlier ones, or earlier in itself."""
    before = [(attempt, {case.name: case for case in attempt.report.cases}) for attempt in earlier]
    cases, flakes = [], []
    for case in now.report.cases:
        others = [(attempt, found[case.name]) for attempt, found in before if case.name in found]
        mark, flake = _compared(now, case, others)
        cases.append(case if mark == case.flaky else case.model_copy(update={"flaky": mark}))
        if flake:
            flakes.append(flake)
    return Compared(now.report.model_copy(update={"cases": tuple(cases)}), tuple(flakes))


def _compared(
    now: Attempt, case: TestCase, others: list[tuple[Attempt, TestCase]]
) -> tuple[str | None, Flake | None]:
    failed = [(attempt, other) for attempt, other in others if other.outcome == "failed"]
    passed = [attempt for attempt, other in others if other.outcome == "passed"]
    if case.outcome == "failed" and passed:
        said = first_line(case)
        return f"passed in {_where(passed[-1], now)}", Flake(name=case.name, runs=(now.run,), message=said)
    if case.outcome != "passed":
        return None, None
    runs = {attempt.run for attempt, _ in failed} if failed and not passed else set()
    if case.flaky is not None:
        runs.add(now.run)
        line = _cut(case.flaky)
        return f"failed at first: {line}", Flake(name=case.name, runs=tuple(sorted(runs)), message=line)
    again = [(attempt, other) for attempt, other in failed if runs or attempt.run == now.run]
    if not again:
        return None, None
    attempt, other = again[-1]
    line = first_line(other)
    mark = ": ".join(filter(None, (f"failed in {_where(attempt, now)}", line)))
    return mark, Flake(name=case.name, runs=tuple(sorted(runs)), message=line) if runs else None


def _where(other: Attempt, now: Attempt) -> str:
    return f"attempt {other.attempt}" if other.run == now.run else f"run {other.run}"


def first_line(case: TestCase) -> str:
    """What a failure said, without the line of the source that pytest shows before it."""
    lines = [line for line in (case.message or case.output or "").splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith("E ")), lines[0] if lines else "")
    return _cut(said.removeprefix("E "))


def _cut(text: str) -> str:
    line = text.strip().partition("\n")[0].strip()
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
