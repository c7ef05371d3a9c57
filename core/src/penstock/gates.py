"""The gates: what lets a result pass, a step start, an artifact go to an environment. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from penstock.findings import ScanReport
from penstock.model import Approval, Artifact, Evidence, Refusal, TestReport, Verification, short
from penstock.plan import DEFAULT_POLICY, PlanStep

PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
VULNERABILITIES = "https://in-toto.io/attestation/vulns/v0.2"
SBOM = "https://cyclonedx.org/bom"
SCAN = "https://penstock.dev/attestation/scan/v0.1"
APPROVAL = "https://penstock.dev/attestation/approval/v0.1"
DEPLOYMENT = "https://penstock.dev/attestation/deployment/v0.1"
VERIFICATION = "https://penstock.dev/attestation/verification/v0.1"
PUBLICATION = "https://penstock.dev/attestation/publication/v0.1"
JOURNAL = "https://penstock.dev/attestation/journal/v0.1"
RELEASE = "https://in-toto.io/attestation/release/v0.1"

NONE_SKIPPED: Mapping[str, str] = MappingProxyType({})
_NOT_SKIPPED = "Have it run, or give the deploy step the same condition."

_LETS_PASS = {TEST_RESULT: ("PASSED", "WARNED"), SCAN: ("PASSED",), VERIFICATION: ("PASSED",)}
"""What a result may be for a gate to open. Tests that failed in quarantine are a warning."""
Verdict = tuple[str, str]
"""How a step ends whose gate stays shut, failed or refused, and why."""


def judge(step: PlanStep, result: object) -> Verdict | None:
    """Whether a phase's result closes the gate; None if it passes."""
    if isinstance(result, TestReport):
        return _judge_tests(result)
    if isinstance(result, ScanReport):
        return _judge_scan(result)
    if isinstance(result, Verification):
        return _judge_verification(result)
    if step.phase in ("test", "scan", "verify"):
        return "refused", f"it returned no result of a {step.phase} step"
    if step.phase == "build" and not result:
        return "failed", 'it built nothing: say with `artifacts = ["dist/*"]` which files it leaves'
    if step.phase == "publish" and not result:
        return "failed", "it published nothing"
    return None


def _judge_tests(report: TestReport) -> Verdict | None:
    failed = [case for case in report.cases if case.counts]
    if failed and report.checks_only:
        return "failed", failed[0].message or "the check failed"
    if failed:
        return "failed", f"{len(failed)} of {len(report.cases)} failed"
    if not report.cases and not report.checks_only:
        return "refused", "no test was found: a test step without a test does not pass"
    if report.cases and report.count("skipped") == len(report.cases):
        return "refused", f"all {len(report.cases)} tests were skipped: nothing was tested"
    if report.quarantined and not report.count("passed"):
        return "refused", _all_in_quarantine(report)
    return None


def _all_in_quarantine(report: TestReport) -> str:
    count, skipped = len(report.quarantined), report.count("skipped")
    if count + skipped == 1:
        return "the only test failed, in quarantine: nothing was tested"
    if not skipped:
        return f"all {count} tests failed, in quarantine: nothing was tested"
    failed = f"{count} of {len(report.cases)} tests failed, in quarantine"
    return f"{failed}, the rest was skipped: nothing was tested"


def _judge_scan(report: ScanReport) -> Verdict | None:
    if not report.looked_for:
        return "refused", "nothing was looked for: a scan that looks for nothing does not pass"
    blocking = sorted(report.blocking, key=lambda finding: -finding.severity.rank)
    if not blocking:
        return None
    worst = blocking[0]
    more = f" and {len(blocking) - 1} more" if len(blocking) > 1 else ""
    about = f" ({worst.about})" if worst.about else ""
    where = f" in {worst.location}{about}" if worst.location else f" in {worst.about}" if about else ""
    return "refused", f"{worst.severity} {worst.kind} {worst.id}{where}{more}"


def _judge_verification(result: Verification) -> Verdict | None:
    if not result.checks:
        return "refused", "nothing was checked: a verification without a check does not pass"
    bad = next((check for check in result.checks if not check.passed), None)
    return ("failed", f"{bad.name}: {bad.detail}") if bad else None


def demanded(step: PlanStep, left_out: Collection[str]) -> tuple[str, ...]:
    """What a deploy step's policy asks for, where these steps were left out by conditions of their own.

    What the policy names itself is asked for whatever was left out. "tests" and "scan" are not about steps
    that the configuration left out; but a policy that was written down and asks for tests is not content
    where no test at all was run.
    """
    spared: set[str] = set()
    for members in step.groups.values():
        absent = set(members).intersection(left_out)
        if step.policy == DEFAULT_POLICY or len(absent) < len(members):
            spared |= absent.difference(step.named)
    return tuple(entry for entry in step.requires if entry not in spared)


def admit(
    step: PlanStep,
    digests: Iterable[str],
    evidence: Sequence[Evidence],
    plan: str,
    now: float,
    skipped: Mapping[str, str] = NONE_SKIPPED,
) -> list[Refusal]:
    """Why these artifacts may not go to the step's environment; empty: they may.

    `skipped` says why steps were skipped, for those that a refusal is about.
    """
    wanted = list(dict.fromkeys(digests))
    if not wanted:
        return [
            Refusal(
                rule="a release has artifacts",
                reason="there is nothing to deploy: no build step comes before it",
                way_out="Add a build step.",
            )
        ]
    refusals = [
        Refusal(
            rule="evidence must verify",
            reason=f"the {_kind(entry)} of {entry.step} does not hold: {entry.invalid}",
            way_out=f"Find out who changed it (penstock show last {entry.step}), then: penstock run",
        )
        for entry in evidence
        if entry.invalid
    ]
    good = [entry for entry in evidence if not entry.invalid]
    for requirement in step.requires:
        missing = _missing(requirement, step, wanted, good, plan, now)
        if missing and requirement in skipped:
            reason = f"{missing}: it was skipped, {skipped[requirement]}"
            refusals.append(Refusal(rule=step.policy, reason=reason, way_out=_NOT_SKIPPED))
        elif missing:
            refusals.append(
                Refusal(rule=step.policy, reason=missing, way_out="Run the pipeline again: penstock run")
            )
    return refusals


def ambiguous(artifacts: Iterable[Artifact]) -> list[Refusal]:
    """Artifacts of a release that go by one name: which of them would be deployed, nobody has said."""
    seen: dict[tuple[str, str], Artifact] = {}
    refusals = []
    for artifact in artifacts:
        other = seen.setdefault((artifact.kind, artifact.name), artifact)
        if other.digest != artifact.digest:
            refusals.append(
                Refusal(
                    rule="one artifact of a name",
                    reason=f"{artifact.name} was built twice, as {short(other.digest)} and as "
                    f"{short(artifact.digest)}",
                    way_out="Have the builds name their files differently, or build it once.",
                )
            )
    return refusals


def unasked(plugins: Iterable[str]) -> list[Refusal]:
    """Plugins that can't be asked whether something may be deployed: any of them might have refused it."""
    return [
        Refusal(
            rule="every enabled plugin is asked",
            reason=f"the plugin \"{name}\" is enabled and can't be used, so it can't say whether to deploy",
            way_out="See why: penstock plugins list. Repair it or take it out of plugins, then: penstock run",
        )
        for name in plugins
    ]


def _missing(
    requirement: str,
    step: PlanStep,
    digests: list[str],
    evidence: Sequence[Evidence],
    plan: str,
    now: float,
) -> str | None:
    if requirement == "signature":
        unsigned = next((entry for entry in evidence if not entry.signers), None)
        if unsigned:
            return f"the {_kind(unsigned)} of {unsigned.step} is not signed"
        spoken = {digest for entry in evidence for digest in entry.subjects}
        silent = next((digest for digest in digests if digest not in spoken), None)
        return f"no signed evidence of {short(silent)} is on record" if silent else None
    for digest in digests:
        entries = [entry for entry in evidence if digest in entry.subjects]
        if not any(_speaks(requirement, step, entry, plan, now) for entry in entries):
            return f"no {_word(requirement)} of {short(digest)} is on record"
    return None


def _speaks(requirement: str, step: PlanStep, entry: Evidence, plan: str, now: float) -> bool:
    predicate: Any = entry.statement.get("predicate")
    predicate = predicate if isinstance(predicate, dict) else {}
    if requirement == "provenance":
        return entry.predicate_type == PROVENANCE
    if requirement == "deployment":
        return entry.predicate_type == DEPLOYMENT and predicate.get("environment") == step.environment
    if requirement == "approval":
        return (
            entry.predicate_type == APPROVAL
            and predicate.get("environment") == step.environment
            and predicate.get("plan") == plan
            and isinstance(predicate.get("expires"), int | float)
            and predicate["expires"] > now
        )
    return bool(
        entry.predicate_type in (TEST_RESULT, SCAN, VERIFICATION)
        and _step_of(predicate) == requirement
        and predicate.get("result") in _LETS_PASS[entry.predicate_type]
    )


def about(entry: Evidence) -> str | None:
    """The step whose result a statement says it is; None where it is no result of a step."""
    predicate = entry.statement.get("predicate")
    if entry.predicate_type not in (TEST_RESULT, SCAN, VERIFICATION) or not isinstance(predicate, dict):
        return None
    return str(_step_of(predicate))


def _step_of(predicate: dict[str, Any]) -> object:
    """The step that a statement itself says it is about: what is on record beside it, nobody signed."""
    configuration = predicate.get("configuration")
    if not isinstance(configuration, list):
        return predicate.get("step")
    # What it ran inside of, or beside, says so; one more entry that does not would be another step.
    steps = [entry for entry in configuration if not (isinstance(entry, dict) and _is_around(entry))]
    return steps[0].get("name") if len(steps) == 1 and isinstance(steps[0], dict) else None


def _is_around(entry: dict[str, Any]) -> bool:
    annotations = entry.get("annotations")
    return isinstance(annotations, dict) and annotations.get("role") in ("inside", "beside")


def _word(requirement: str) -> str:
    words = {
        "provenance": "provenance",
        "approval": "valid approval",
        "deployment": "earlier deployment to this environment",
    }
    return words.get(requirement, f"passed result of {requirement}")


def _kind(evidence: Evidence) -> str:
    return {
        PROVENANCE: "provenance",
        TEST_RESULT: "test result",
        SCAN: "scan result",
        VULNERABILITIES: "vulnerability report",
        SBOM: "bill of materials",
        APPROVAL: "approval",
        DEPLOYMENT: "deployment record",
        VERIFICATION: "verification",
        PUBLICATION: "publication record",
        RELEASE: "release record",
    }.get(evidence.predicate_type, "evidence")


def approved(
    approval: Approval, environment: str | None, digests: Iterable[str], plan: str, now: float
) -> str | None:
    """Why an approval is not good for this; None if it is."""
    wanted = set(digests)
    if approval.environment != environment:
        return f"the approval is for {approval.environment}, not for {environment}"
    if set(approval.artifacts) != wanted:
        theirs = ", ".join(short(digest) for digest in sorted(approval.artifacts)) or "nothing"
        ours = ", ".join(short(digest) for digest in sorted(wanted))
        return f"the approval is for {theirs}, and what would be deployed is {ours}"
    if approval.plan != plan:
        return "the approval is for another plan: the configuration has changed since"
    if approval.expires <= now:
        return "the approval has expired"
    return None


def may_approve(by: Sequence[str], roles: dict[str, tuple[str, ...]], identities: Iterable[str]) -> bool:
    """Whether one of these identities is among those that a step's `by` names, itself or by role."""
    if not by:
        return True
    allowed = {member for entry in by for member in roles.get(entry, (entry,))}
    return not allowed.isdisjoint(identities)
