"""Results → what a person reads about them: one line, and notes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock.findings import ScanReport, Severity
from penstock.flaky import first_line
from penstock.model import Artifact, Publication, Signature, TestCase, TestReport, Verification, short
from penstock.plan import PlanStep

if TYPE_CHECKING:
    from penstock.progress import RolloutState

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


def way_of(rollout: RolloutState) -> list[str]:
    """How a rollout went that went well, in a note where there is something to say."""
    said: list[str] = []
    if rollout.settings.strategy in ("canary", "blue-green") and len(rollout.waves) > 1:
        said.append(f"{rollout.settings.strategy} in {len(rollout.waves)} waves")
    if rollout.settings.judge and len(rollout.waves) > 1:
        said.append(f"judged by {', '.join(rollout.settings.judge)}")
    if rollout.let_on:
        said.append(f"let on by {', '.join(rollout.let_on)}")
    return [", ".join(said)] if said else []


def of(step: PlanStep, result: object, remarks: Iterable[str] = ()) -> dict[str, Any]:
    """The part of a step's event that is for people: `summary`, `notes` with `remarks`, and counts."""
    if isinstance(result, TestReport):
        return _tests(result, step.environment, remarks)
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


def _tests(report: TestReport, environment: str | None, remarks: Iterable[str]) -> dict[str, Any]:
    quarantined = report.quarantined
    counts = {outcome: report.count(outcome) for outcome in ("passed", "failed", "skipped")}
    counts["failed"] -= len(quarantined)
    words = [f"{count} {outcome}" for outcome, count in counts.items() if count]
    flaky = [case for case in report.cases if case.flaky is not None]
    if quarantined:
        words.append(f"{len(quarantined)} quarantined failed")
    if flaky:
        words.append(f"{len(flaky)} flaky")
    if report.coverage is not None:
        words.append(f"{report.coverage:.0%} covered")
    # Of a command alone there is no more to say than what it printed.
    failed = [] if report.checks_only else [case for case in report.cases if case.counts]
    notes = _shown(failed, _failed)
    if failed and report.advice:
        notes.append(f"! {report.advice}")
    if report.checks_only:
        notes += [f"flaky: it {_how_flaky(case)}" for case in flaky]
    notes += [*_shown(quarantined, _quarantined), *_shown([] if report.checks_only else flaky, _flaky)]
    notes += remarks
    summary = report.tool if report.checks_only else ", ".join(words)
    if report.checks_only and flaky:
        summary += ", flaky"
    if environment:
        summary += f" against {environment}"
    numbers = {**counts, "flaky": len(flaky)}
    if quarantined:
        numbers["quarantined"] = len(quarantined)
    return {"summary": summary, "notes": notes, "tests": numbers}


def _shown(cases: Sequence[TestCase], lines_of: Callable[[TestCase], Iterable[str]]) -> list[str]:
    """What there is to say of the first few cases, and how many more there are."""
    lines = [line for case in cases[:_SHOWN] for line in lines_of(case)]
    return [*lines, f"and {len(cases) - _SHOWN} more"] if len(cases) > _SHOWN else lines


def _failed(case: TestCase) -> Iterator[str]:
    where = f"{case.file}:{case.line}" if case.file and case.line else case.file or ""
    yield f"{where}  {case.name.rpartition('::')[2] or case.name}".strip()
    yield from (f"  {line}" for line in _end_of(case.message or case.output or ""))


def _quarantined(case: TestCase) -> Iterator[str]:
    yield f"quarantined: {case.name} failed, and does not count: {case.quarantined}"
    if line := first_line(case):
        yield f"  {line}"


def _flaky(case: TestCase) -> Iterator[str]:
    yield f"flaky: {case.name} {_how_flaky(case)}"


def _how_flaky(case: TestCase) -> str:
    return f"{case.outcome} now, and on the same inputs it {case.flaky}"


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
        "  ".join(filter(None, (finding.severity, finding.id, finding.location, finding.about)))
        for finding in sorted(report.blocking, key=lambda finding: -finding.severity.rank)[:_SHOWN]
    ]
    for why in dict.fromkeys(report.not_looked_for.values()):
        kinds = [_PLURAL.get(kind, kind) for kind, said in report.not_looked_for.items() if said == why]
        notes.append(f"! {', '.join(kinds)}: {why}")
    if report.database:
        notes.append(f"vulnerability database: {report.database}")
    notes += [f"! {entry.remark}" for entry in report.exemptions if entry.remark]
    numbers: dict[str, Any] = {"summary": summary, "notes": notes, "findings": counts}
    if any(entry.state == "applied" and entry.until for entry in report.exemptions):
        numbers["exempted"] = True
    return numbers
