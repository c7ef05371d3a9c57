"""Results → what a person reads about them: one line, and notes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.model import (
    Artifact,
    Publication,
    ScanReport,
    Severity,
    Signature,
    TestReport,
    Verification,
    short,
)
from penstock.plan import PlanStep

_SHOWN = 5
_LINES = 8
_CHECKS = 3
_NOTHING = {
    "vulnerability": "no vulnerabilities",
    "secret": "no secrets",
    "misconfiguration": "no misconfigurations",
    "license": "licences in order",
}
_PLURAL = {
    "vulnerability": "vulnerabilities",
    "secret": "secrets",
    "misconfiguration": "misconfigurations",
    "license": "licences",
}


def of(step: PlanStep, result: object) -> dict[str, Any]:
    """The part of a step's event that is for people: `summary`, `notes`, and counts."""
    if isinstance(result, TestReport):
        return _tests(result, step.environment)
    if isinstance(result, ScanReport):
        return _scan(result)
    if isinstance(result, Verification):
        return {"summary": _checks(result)}
    items: Sequence[Any] = result if isinstance(result, list | tuple) else ()
    if step.phase == "build":
        return _build([item for item in items if isinstance(item, Artifact)])
    if step.phase == "publish":
        return _publications([item for item in items if isinstance(item, Publication)])
    return {}


def signed(signatures: Sequence[Signature]) -> str:
    """What a sign step did."""
    signers = sorted({person(signature.signer) for signature in signatures})
    return f"{len(signatures)} statements, {', '.join(signers) or 'nobody'}"


def approved(approval: Mapping[str, Any]) -> str:
    """Whose word an approve step passed by, for what, and whether it was given before the run."""
    digests = ", ".join(short(digest) for digest in approval["artifacts"])
    how = " (--approve)" if approval.get("why") == "--approve" else ""
    return f"by {approval['by']}" + (f", for {digests}" if digests else "") + how


def person(identity: str) -> str:
    """An identity as people read it: a key by the short form of its id."""
    kind, _, name = identity.partition(":")
    return f"key:{short(name)}" if kind == "key" and name else identity


def _checks(result: Verification) -> str:
    if len(result.checks) > _CHECKS:
        return f"{sum(check.passed for check in result.checks)} of {len(result.checks)} checks passed"
    return ", ".join(
        f"{check.name}, {check.detail}" if check.detail else check.name for check in result.checks
    )


def _build(artifacts: list[Artifact]) -> dict[str, Any]:
    if len(artifacts) == 1:
        return {"summary": artifacts[0].name, "notes": [f"sha256:{short(artifacts[0].digest)}"]}
    notes = [f"{artifact.name}  sha256:{short(artifact.digest)}" for artifact in artifacts[:_SHOWN]]
    if len(artifacts) > _SHOWN:
        notes.append(f"and {len(artifacts) - _SHOWN} more")
    return {"summary": f"{len(artifacts)} artifacts", "notes": notes}


def _publications(published: list[Publication]) -> dict[str, Any]:
    there = sum(each.already for each in published)
    new = len(published) - there
    words = [f"{new} published"] if new or not there else []
    words += [f"{there} there already, same bytes"] if there else []
    notes = [each.location for each in published[:_SHOWN]]
    if len(published) > _SHOWN:
        notes.append(f"and {len(published) - _SHOWN} more")
    return {
        "summary": ", ".join(words),
        "notes": notes,
        "publications": [each.model_dump(mode="json") for each in published],
    }


def _tests(report: TestReport, environment: str | None) -> dict[str, Any]:
    counts = {outcome: report.count(outcome) for outcome in ("passed", "failed", "skipped")}
    words = [f"{count} {outcome}" for outcome, count in counts.items() if count]
    if report.coverage is not None:
        words.append(f"{report.coverage:.0%} covered")
    notes: list[str] = []
    # Of a command alone there is no more to say than what it printed.
    failed = [] if report.checks_only else [case for case in report.cases if case.outcome == "failed"]
    for case in failed[:_SHOWN]:
        where = f"{case.file}:{case.line}" if case.file and case.line else case.file or ""
        notes.append(f"{where}  {case.name.rpartition('::')[2] or case.name}".strip())
        notes.extend(f"  {line}" for line in _end_of(case.message or case.output or ""))
    if len(failed) > _SHOWN:
        notes.append(f"and {len(failed) - _SHOWN} more")
    if failed and report.advice:
        notes.append(f"! {report.advice}")
    summary = report.tool if report.checks_only else ", ".join(words)
    if environment:
        summary += f" against {environment}"
    return {"summary": summary, "notes": notes, "tests": {**counts, "flaky": 0}}


def _end_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()][-_LINES:]


def _scan(report: ScanReport) -> dict[str, Any]:
    counted = [finding for finding in report.findings if finding.ignored is None]
    levels = [level for level in reversed(Severity) if level is not Severity.unknown]
    counts = {level.value: sum(f.severity is level for f in counted) for level in levels}
    found = [f"{count} {level}" for level, count in counts.items() if count]
    summary = ", ".join(found or [_NOTHING.get(kind, f"no {kind}") for kind in report.looked_for])
    if ignored := len(report.findings) - len(counted):
        summary += f" ({ignored} ignored)"
    notes = [
        f"{finding.severity}  {finding.id}  {finding.location}".rstrip()
        for finding in sorted(report.blocking, key=lambda finding: -finding.severity.rank)[:_SHOWN]
    ]
    for why in dict.fromkeys(report.not_looked_for.values()):
        kinds = [_PLURAL.get(kind, kind) for kind, said in report.not_looked_for.items() if said == why]
        notes.append(f"! {', '.join(kinds)}: {why}")
    return {"summary": summary, "notes": notes, "findings": counts}
