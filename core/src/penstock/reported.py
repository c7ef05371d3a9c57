"""A test or scan step's report on its way onto record: kept, what is flaky in it, and what does not count."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from penstock import flaky, quarantine
from penstock.errors import PenstockError
from penstock.findings import ScanReport
from penstock.flaky import Attempt
from penstock.home import Home
from penstock.model import TestReport
from penstock.request import Request
from penstock.secrets import masked
from penstock.step import Step
from penstock.tries import Tries, Try

_COMPARED = 10
"""Attempts on the same inputs that one is compared with."""
_Looked = tuple[Any, dict[str, Any]]
_R = TypeVar("_R", bound=TestReport | ScanReport)


def looked_at(result: object, request: Request, home: Home, step: Step, now: float) -> _Looked:
    """A result as it is judged, and what there is to say about it beside that.

    Of that, `remarks` are for people, `flaky` is an event of its own, and the rest belongs to the step's.
    """
    if isinstance(result, TestReport):
        return _tests(result, request, home, step, now)
    return result, _kept(_clean(result, step), home) if isinstance(result, ScanReport) else {}


def _tests(report: TestReport, request: Request, home: Home, step: Step, now: float) -> _Looked:
    applied = quarantine.apply(request.step.quarantine, report, datetime.fromtimestamp(now, UTC).date())
    attempt = Attempt(step.number, request.info.attempt, _clean(applied.report, step))
    inputs = flaky.inputs(
        request.step,
        _version(request),
        step.stamp.snapshot,
        step.artifacts,
        request.info.parameters,
    )
    tries = Tries(home, step.name)
    earlier = tries.on(inputs) if inputs else []
    compared = flaky.compare(attempt, _reports(earlier, attempt.report, home))
    data: dict[str, Any] = _kept(compared.report, home)
    if inputs:
        tries.note(_try(inputs, attempt, data.get("report")))
    if compared.flakes:
        named = [flake.model_dump(mode="json") for flake in compared.flakes[: flaky.MOST]]
        more = len(compared.flakes) - len(named)
        data["flaky"] = {"attempt": attempt.attempt, "inputs": inputs, "tests": named, "more": more}
    if applied.unmatched:
        data["unmatched"] = list(applied.unmatched)
    return compared.report, {**data, "remarks": list(applied.notes)}


def _kept(report: TestReport | ScanReport, home: Home) -> dict[str, str]:
    """All cases or findings go into the store: what the journal has of them is their number."""
    if isinstance(report, TestReport) and report.checks_only:
        return {}
    found = report.model_dump(mode="json", exclude_defaults=True)
    return {"report": home.store.add_bytes(json.dumps(found).encode())}


def _clean(report: _R, step: Step) -> _R:
    """The report without the step's secrets."""
    if not step.has_secrets:
        return report
    clean = type(report).model_validate(masked(report.model_dump(mode="json"), step.mask))
    return cast(_R, clean)


def _version(request: Request) -> str:
    """The plugin as it is now: by its version, or where it is a file of the project by its digest."""
    name = request.step.uses or ""
    file = next((file.digest for file in request.files if file.name == name), None)
    return file or request.plugins.get(name, "")


def _reports(earlier: list[Try], report: TestReport, home: Home) -> list[Attempt]:
    """The newest of these attempts with their reports. Where none failed, now or then, nothing is read."""
    newest = earlier[-_COMPARED:]
    if not report.count("failed") and not any(each.failed for each in newest):
        return []
    found = []
    for each in newest:
        if each.only is not None:
            found.append(Attempt(each.run, each.attempt, TestReport(tool="", cases=(each.only,))))
        elif each.report is not None:
            with contextlib.suppress(PenstockError, ValueError, OSError):  # it was pruned
                read = TestReport.model_validate_json(home.store.read(each.report))
                found.append(Attempt(each.run, each.attempt, read))
    return found


def _try(inputs: str, attempt: Attempt, digest: str | None) -> Try:
    report = attempt.report
    return Try(
        inputs=inputs,
        run=attempt.run,
        attempt=attempt.attempt,
        failed=report.count("failed") > 0,
        report=digest,
        only=report.cases[0] if report.checks_only and report.cases else None,
    )
