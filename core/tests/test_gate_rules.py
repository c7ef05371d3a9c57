from __future__ import annotations

from typing import Any

import pytest
from penstock import gates
from penstock.findings import Finding, ScanReport, Severity
from penstock.model import (
    Approval,
    Artifact,
    Check,
    Evidence,
    Publication,
    Refusal,
    TestCase,
    TestReport,
    Verification,
    short,
)
from penstock.plan import DEFAULT_POLICY, PlanStep

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
PLAN, OTHER_PLAN = "sha256:" + "1" * 64, "sha256:" + "2" * 64
NOW = 1000.0


def step(phase: str = "test", **more: Any) -> PlanStep:
    return PlanStep(name=f"{phase}.x", phase=phase, uses="shell", **more)


def case(outcome: str = "passed", message: str | None = None) -> TestCase:
    return TestCase(name="t", outcome=outcome, message=message)  # type: ignore[arg-type]


def report(*outcomes: str, **more: Any) -> TestReport:
    return TestReport(tool="pytest 9", cases=tuple(case(outcome) for outcome in outcomes), **more)


def finding(severity: str, **more: Any) -> Finding:
    fields = {"id": "CVE-1", "kind": "vulnerability", "location": "lib 1.0", **more}
    return Finding(severity=Severity(severity), **fields)


def scan(*findings: Finding, **more: Any) -> ScanReport:
    return ScanReport(scanner="trivy 1", findings=findings, **{"looked_for": ("vulnerability",), **more})


def checks(*passed: bool) -> Verification:
    return Verification(
        checks=tuple(Check(name=f"c{n}", passed=good, detail="seen") for n, good in enumerate(passed))
    )


def lint(*cases: TestCase) -> TestReport:
    return TestReport(tool="ruff", cases=cases, checks_only=True)


IGNORED = finding("critical", ignored="we do not use it")

JUDGED = {
    "tests passed": ("test", report("passed", "passed"), None),
    "one skipped": ("test", report("passed", "skipped"), None),
    "one failed": ("test", report("passed", "failed", "skipped"), ("failed", "1 of 3 failed")),
    "no test": (
        "test",
        report(),
        ("refused", "no test was found: a test step without a test does not pass"),
    ),
    "all skipped": (
        "test",
        report("skipped", "skipped"),
        ("refused", "all 2 tests were skipped: nothing was tested"),
    ),
    "check passed": ("test", lint(case()), None),
    "check without a case": ("test", lint(), None),
    "check failed": ("test", lint(case(), case("failed", "E501 twice")), ("failed", "E501 twice")),
    "check failed and says nothing": ("test", lint(case("failed")), ("failed", "the check failed")),
    "no report": ("test", None, ("refused", "it returned no result of a test step")),
    "no scan report": ("scan", [], ("refused", "it returned no result of a scan step")),
    "no verification": ("verify", True, ("refused", "it returned no result of a verify step")),
    "nothing found": ("scan", scan(), None),
    "below the limit": ("scan", scan(finding("medium")), None),
    "of unknown severity": ("scan", scan(finding("unknown")), None),
    "unknown severity blocks where it should": (
        "scan",
        scan(finding("unknown"), block=Severity.unknown),
        ("refused", "unknown vulnerability CVE-1 in lib 1.0"),
    ),
    "at the limit": ("scan", scan(finding("high")), ("refused", "high vulnerability CVE-1 in lib 1.0")),
    "the worst is named": (
        "scan",
        scan(finding("high"), finding("critical", id="CVE-2"), finding("low")),
        ("refused", "critical vulnerability CVE-2 in lib 1.0 and 1 more"),
    ),
    "by its package": (
        "scan",
        scan(finding("high", location="", package="lib")),
        ("refused", "high vulnerability CVE-1 in lib"),
    ),
    "by its package and what mends it": (
        "scan",
        scan(finding("high", package="lib", version="1.0", fixed_in="1.1", location="app/METADATA")),
        ("refused", "high vulnerability CVE-1 in app/METADATA (lib 1.0, fixed in 1.1)"),
    ),
    "without a place": (
        "scan",
        scan(finding("high", location="", kind="secret")),
        ("refused", "high secret CVE-1"),
    ),
    "ignored with a reason": ("scan", scan(IGNORED), None),
    "nothing blocks": ("scan", scan(finding("critical"), block=None), None),
    "nothing was looked for": (
        "scan",
        scan(looked_for=()),
        ("refused", "nothing was looked for: a scan that looks for nothing does not pass"),
    ),
    "verified": ("verify", checks(True, True), None),
    "one check failed": ("verify", checks(True, False, False), ("failed", "c1: seen")),
    "nothing checked": (
        "verify",
        checks(),
        ("refused", "nothing was checked: a verification without a check does not pass"),
    ),
    "built": ("build", [Artifact(name="x", kind="file", digest=A)], None),
    "nothing built": (
        "build",
        [],
        ("failed", 'it built nothing: say with `artifacts = ["dist/*"]` which files it leaves'),
    ),
    "published": ("publish", [Publication(artifact=A, location="there")], None),
    "nothing published": ("publish", [], ("failed", "it published nothing")),
}


@pytest.mark.parametrize(("phase", "result", "verdict"), JUDGED.values(), ids=JUDGED.keys())
def test_how_a_result_is_judged(phase: str, result: object, verdict: gates.Verdict | None) -> None:
    assert gates.judge(step(phase), result) == verdict


def test_two_artifacts_of_one_name_are_not_deployed() -> None:
    def made(name: str, digest: str, kind: str = "wheel") -> Artifact:
        return Artifact(name=name, kind=kind, digest=digest)

    good = [made("a.whl", A), made("a.whl", A), made("b.whl", B), made("b.whl", A, "image")]
    assert gates.ambiguous(good) == []
    [refusal] = gates.ambiguous([*good, made("a.whl", B)])
    assert str(refusal) == (
        f"a.whl was built twice, as {short(A)} and as {short(B)} (one artifact of a name). "
        "Have the builds name their files differently, or build it once."
    )


def test_what_can_not_be_asked_refuses() -> None:
    assert gates.unasked(()) == []
    [refusal] = gates.unasked(["freeze"])
    assert (
        refusal.reason
        == "the plugin \"freeze\" is enabled and can't be used, so it can't say whether to deploy"
    )


@pytest.mark.parametrize("limit", list(Severity))
@pytest.mark.parametrize("severity", list(Severity))
def test_a_finding_blocks_at_the_limit_and_above(severity: Severity, limit: Severity) -> None:
    order = ["unknown", "low", "medium", "high", "critical"]

    closed = gates.judge(step("scan"), scan(finding(severity), block=limit)) is not None

    assert closed is (order.index(severity) >= order.index(limit))


# --- admission ---


def evidence(predicate_type: str, about: tuple[str, ...] = (A,), **more: Any) -> Evidence:
    about_step = more.get("step", "test.unit")
    predicate = more.pop("predicate", {"result": "PASSED"})
    if not isinstance(predicate, dict):
        pass  # what somebody made up stays as it is
    elif predicate_type == gates.TEST_RESULT:
        predicate = {"configuration": [{"name": about_step}], **predicate}
    elif predicate_type in (gates.SCAN, gates.VERIFICATION):
        predicate = {"step": about_step, **predicate}
    return Evidence(
        **{
            "step": "test.unit",
            "predicate_type": predicate_type,
            "digest": "sha256:" + "e" * 64,
            "signers": ("key:1",),
            "statement": {
                "subject": [{"name": "x", "digest": {"sha256": digest[7:]}} for digest in about],
                "predicate": predicate,
            },
            **more,
        }
    )


PROVENANCE = evidence(gates.PROVENANCE, step="build.a")
TESTS = evidence(gates.TEST_RESULT)
SCAN = evidence(gates.SCAN, step="scan.x")


def word(**changes: Any) -> Evidence:
    predicate = {"environment": "live", "plan": PLAN, "expires": NOW + 1, **changes}
    return evidence(gates.APPROVAL, step="approve.live", predicate=predicate)


PASSED = {"predicate": {"result": "PASSED"}}
FAILED = {"predicate": {"result": "FAILED"}}

ADMITTED = {
    "all is there": (
        ("provenance", "test.unit", "scan.x", "signature", "approval"),
        (A,),
        (PROVENANCE, TESTS, SCAN, word()),
        [],
    ),
    "nothing is required": ((), (A,), (), []),
    "nothing to deploy": (
        (),
        (),
        (PROVENANCE,),
        ["there is nothing to deploy: no build step comes before it"],
    ),
    "no provenance": (("provenance",), (A,), (TESTS,), ["no provenance of aaaa…aaaa is on record"]),
    "provenance of another artifact": (
        ("provenance",),
        (B,),
        (PROVENANCE,),
        ["no provenance of bbbb…bbbb is on record"],
    ),
    "provenance of one of two": (
        ("provenance",),
        (A, B),
        (PROVENANCE,),
        ["no provenance of bbbb…bbbb is on record"],
    ),
    "provenance of two in one statement": (
        ("provenance",),
        (A, B),
        (evidence(gates.PROVENANCE, (A, B)),),
        [],
    ),
    "tests of another artifact": (
        ("test.unit",),
        (A,),
        (evidence(gates.TEST_RESULT, (B,)),),
        ["no passed result of test.unit of aaaa…aaaa is on record"],
    ),
    "tests of nothing": (
        ("test.unit",),
        (A,),
        (evidence(gates.TEST_RESULT, ()),),
        ["no passed result of test.unit of aaaa…aaaa is on record"],
    ),
    "tests that failed": (
        ("test.unit",),
        (A,),
        (evidence(gates.TEST_RESULT, **FAILED),),
        ["no passed result of test.unit of aaaa…aaaa is on record"],
    ),
    "tests that failed and then passed": (
        ("test.unit",),
        (A,),
        (evidence(gates.TEST_RESULT, **FAILED), TESTS),
        [],
    ),
    "tests of another step": (
        ("test.unit",),
        (A,),
        (evidence(gates.TEST_RESULT, step="test.e2e"),),
        ["no passed result of test.unit of aaaa…aaaa is on record"],
    ),
    "a scan that failed": (
        ("scan.x",),
        (A,),
        (evidence(gates.SCAN, step="scan.x", **FAILED),),
        ["no passed result of scan.x of aaaa…aaaa is on record"],
    ),
    "a report without a verdict is no scan": (
        ("scan.x",),
        (A,),
        (
            evidence(gates.VULNERABILITIES, step="scan.x"),
            evidence(gates.SBOM, step="scan.x"),
        ),
        ["no passed result of scan.x of aaaa…aaaa is on record"],
    ),
    "a verification": (
        ("verify.staging",),
        (A,),
        (evidence(gates.VERIFICATION, step="verify.staging"),),
        [],
    ),
    "a verification that failed": (
        ("verify.staging",),
        (A,),
        (evidence(gates.VERIFICATION, step="verify.staging", **FAILED),),
        ["no passed result of verify.staging of aaaa…aaaa is on record"],
    ),
    "one that is not signed": (
        ("signature",),
        (A,),
        (PROVENANCE, evidence(gates.TEST_RESULT, signers=())),
        ["the test result of test.unit is not signed"],
    ),
    "nothing that could be signed": (
        ("signature",),
        (A,),
        (),
        ["no signed evidence of aaaa…aaaa is on record"],
    ),
    "signed evidence of another artifact": (
        ("signature",),
        (B,),
        (PROVENANCE,),
        ["no signed evidence of bbbb…bbbb is on record"],
    ),
    "a requirement that nobody knows": (
        ("blessing",),
        (A,),
        (PROVENANCE, TESTS),
        ["no passed result of blessing of aaaa…aaaa is on record"],
    ),
    "an approval that has expired": (
        ("approval",),
        (A,),
        (word(expires=NOW),),
        ["no valid approval of aaaa…aaaa is on record"],
    ),
    "an approval that never expires": (
        ("approval",),
        (A,),
        (word(expires=None),),
        ["no valid approval of aaaa…aaaa is on record"],
    ),
    "an approval that expires in words": (
        ("approval",),
        (A,),
        (word(expires="never"),),
        ["no valid approval of aaaa…aaaa is on record"],
    ),
    "an approval of another plan": (
        ("approval",),
        (A,),
        (word(plan=OTHER_PLAN),),
        ["no valid approval of aaaa…aaaa is on record"],
    ),
    "an approval for another environment": (
        ("approval",),
        (A,),
        (word(environment="staging"),),
        ["no valid approval of aaaa…aaaa is on record"],
    ),
    "an approval of another artifact": (
        ("approval",),
        (B,),
        (word(),),
        ["no valid approval of bbbb…bbbb is on record"],
    ),
    "a predicate that is no table": (
        ("approval", "test.unit"),
        (A,),
        (
            evidence(gates.APPROVAL, predicate=["live"]),
            evidence(gates.TEST_RESULT, predicate=None),
        ),
        [
            "no valid approval of aaaa…aaaa is on record",
            "no passed result of test.unit of aaaa…aaaa is on record",
        ],
    ),
    "several are missing": (
        ("provenance", "test.unit"),
        (A,),
        (),
        [
            "no provenance of aaaa…aaaa is on record",
            "no passed result of test.unit of aaaa…aaaa is on record",
        ],
    ),
}


@pytest.mark.parametrize(("requires", "digests", "found", "reasons"), ADMITTED.values(), ids=ADMITTED.keys())
def test_what_is_admitted(
    requires: tuple[str, ...], digests: tuple[str, ...], found: tuple[Evidence, ...], reasons: list[str]
) -> None:
    deploy = step("deploy", environment="live", requires=requires, policy="policy.live")

    refusals = gates.admit(deploy, digests, found, PLAN, NOW)

    assert [refusal.reason for refusal in refusals] == reasons
    if digests:
        assert {refusal.rule for refusal in refusals} <= {"policy.live"}


@pytest.mark.parametrize(
    ("predicate_type", "word"),
    [
        (gates.PROVENANCE, "provenance"),
        (gates.TEST_RESULT, "test result"),
        (gates.SCAN, "scan result"),
        (gates.VULNERABILITIES, "vulnerability report"),
        (gates.SBOM, "bill of materials"),
        (gates.APPROVAL, "approval"),
        (gates.DEPLOYMENT, "deployment record"),
        (gates.VERIFICATION, "verification"),
        ("https://example.com/x", "evidence"),
    ],
)
def test_evidence_that_does_not_hold_closes_the_gate_even_where_nothing_requires_it(
    predicate_type: str, word: str
) -> None:
    bad = evidence(predicate_type, invalid="its signature is by nobody", signers=())

    (refusal,) = gates.admit(step("deploy"), (A,), (PROVENANCE, bad), PLAN, NOW)

    assert str(refusal) == (
        f"the {word} of test.unit does not hold: its signature is by nobody (evidence must verify). "
        "Find out who changed it (penstock show last test.unit), then: penstock run"
    )


def test_evidence_that_does_not_hold_proves_nothing() -> None:
    deploy = step("deploy", requires=("provenance", "test.unit"), policy="policy.live")
    bad = [PROVENANCE, TESTS]
    bad = [entry.model_copy(update={"invalid": "odd"}) for entry in bad]

    reasons = [refusal.rule for refusal in gates.admit(deploy, (A,), bad, PLAN, NOW)]

    assert reasons == ["evidence must verify", "evidence must verify", "policy.live", "policy.live"]


def test_a_refusal_names_rule_reason_and_way_out() -> None:
    assert str(Refusal(rule="freeze", reason="it is Friday")) == "it is Friday (freeze)."
    assert str(Refusal(rule="freeze", reason="no", way_out="Wait.")) == "no (freeze). Wait."


# --- approvals ---


def given(**changes: Any) -> Approval:
    return Approval(
        **{
            "by": "ana",
            "environment": "live",
            "artifacts": (A, B),
            "plan": PLAN,
            "given": NOW - 10,
            "expires": NOW + 10,
            **changes,
        }
    )


APPROVED = {
    "good": (given(), None),
    "in another order": (given(artifacts=(B, A)), None),
    "another environment": (given(environment="staging"), "the approval is for staging, not for live"),
    "another artifact": (
        given(artifacts=(A,)),
        "the approval is for aaaa…aaaa, and what would be deployed is aaaa…aaaa, bbbb…bbbb",
    ),
    "more than there is": (
        given(artifacts=(A, B, PLAN)),
        "the approval is for 1111…1111, aaaa…aaaa, bbbb…bbbb, and what would be deployed is "
        "aaaa…aaaa, bbbb…bbbb",
    ),
    "no artifact": (
        given(artifacts=()),
        "the approval is for nothing, and what would be deployed is aaaa…aaaa, bbbb…bbbb",
    ),
    "another plan": (
        given(plan=OTHER_PLAN),
        "the approval is for another plan: the configuration has changed since",
    ),
    "expired": (given(expires=NOW), "the approval has expired"),
}


@pytest.mark.parametrize(("approval", "fault"), APPROVED.values(), ids=APPROVED.keys())
def test_what_an_approval_is_good_for(approval: Approval, fault: str | None) -> None:
    assert gates.approved(approval, "live", [A, B], PLAN, NOW) == fault


ROLES = {"managers": ("ana", "key:1"), "nobody": ()}


@pytest.mark.parametrize(
    ("by", "identities", "may"),
    [
        ((), ("anybody",), True),
        ((), (), True),
        (("ana",), ("ana",), True),
        (("ana",), ("bo",), False),
        (("ana",), (), False),
        (("managers",), ("ana",), True),
        (("managers",), ("bo", "key:1"), True),
        (("managers",), ("managers",), False),
        (("nobody",), ("nobody",), False),
        (("bo", "managers"), ("bo",), True),
        (("no-such-role",), ("no-such-role",), True),
    ],
)
def test_who_may_approve(by: tuple[str, ...], identities: tuple[str, ...], may: bool) -> None:
    assert gates.may_approve(by, ROLES, identities) is may


@pytest.mark.parametrize(
    "predicate",
    [
        {"result": "PASSED", "configuration": [{"name": "test.other"}]},
        {"result": "PASSED", "configuration": [{"name": "test.unit"}, {"name": "test.other"}]},
        {"result": "PASSED", "configuration": [{"name": "test.unit", "annotations": {"role": "inside"}}]},
        {"result": "PASSED", "configuration": []},
        {"result": "PASSED", "configuration": ["test.unit"]},
        {"result": "PASSED", "configuration": {"name": "test.unit"}},
    ],
    ids=["another step", "two", "only around", "none", "no table", "no list"],
)
def test_what_a_statement_itself_says_of_its_step_counts(predicate: dict[str, Any]) -> None:
    """The record beside it, which nobody signed, may say what it likes."""
    deploy = step("deploy", environment="live", requires=("test.unit",), policy="policy.live")
    entry = evidence(gates.TEST_RESULT, step="test.unit", predicate=predicate)

    refusals = gates.admit(deploy, [A], [entry], PLAN, NOW)

    assert [refusal.reason for refusal in refusals] == [
        "no passed result of test.unit of aaaa…aaaa is on record"
    ]


@pytest.mark.parametrize("role", ["inside", "beside"])
def test_what_a_step_ran_inside_of_and_what_ran_beside_it_are_no_other_steps(role: str) -> None:
    around = {"name": "shop", "digest": {"sha256": "f" * 64}, "annotations": {"role": role}}
    predicate = {"result": "PASSED", "configuration": [{"name": "test.unit"}, around]}
    deploy = step("deploy", environment="live", requires=("test.unit",), policy="policy.live")

    assert gates.admit(deploy, [A], [evidence(gates.TEST_RESULT, predicate=predicate)], PLAN, NOW) == []


@pytest.mark.parametrize(
    ("environment", "reasons"),
    [("live", []), ("staging", ["no earlier deployment to this environment of aaaa…aaaa is on record"])],
)
def test_a_release_returns_only_where_it_was_deployed_before(environment: str, reasons: list[str]) -> None:
    deploy = step("deploy", environment="live", requires=("deployment",), policy="policy.live")
    earlier = evidence(gates.DEPLOYMENT, step="deploy.x", predicate={"environment": environment})

    refusals = gates.admit(deploy, [A], [earlier], PLAN, NOW)

    assert [refusal.reason for refusal in refusals] == reasons


# --- what conditions leave out ---

TESTS_AND_MORE: dict[str, Any] = {
    "requires": ("provenance", "test.a", "test.b", "scan.c", "signature", "approval"),
    "groups": {"tests": ("test.a", "test.b"), "scan": ("scan.c",)},
}
LEFT_OUT: dict[str, tuple[dict[str, Any], set[str], tuple[str, ...]]] = {
    "nothing": (
        {"policy": "policy.live"},
        set(),
        ("provenance", "test.a", "test.b", "scan.c", "signature", "approval"),
    ),
    "one of two": (
        {"policy": "policy.live"},
        {"test.a"},
        ("provenance", "test.b", "scan.c", "signature", "approval"),
    ),
    "one that the policy names": (
        {"policy": "policy.live", "named": ("test.a",)},
        {"test.a"},
        ("provenance", "test.a", "test.b", "scan.c", "signature", "approval"),
    ),
    "all tests, by the default policy": (
        {"policy": DEFAULT_POLICY},
        {"test.a", "test.b", "scan.c"},
        ("provenance", "signature", "approval"),
    ),
    "all tests, by a policy that asks for tests": (
        {"policy": "policy.live"},
        {"test.a", "test.b"},
        ("provenance", "test.a", "test.b", "scan.c", "signature", "approval"),
    ),
    "all scans, by a policy that asks for a scan": (
        {"policy": "policy.live"},
        {"test.a", "scan.c"},
        ("provenance", "test.b", "scan.c", "signature", "approval"),
    ),
    "what makes the rest": (
        {"policy": DEFAULT_POLICY},
        {"build.x", "sign.it", "approve.live", "source"},
        ("provenance", "test.a", "test.b", "scan.c", "signature", "approval"),
    ),
}


@pytest.mark.parametrize(("keys", "left_out", "asked"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_is_asked_for_where_conditions_left_something_out(
    keys: dict[str, Any], left_out: set[str], asked: tuple[str, ...]
) -> None:
    assert gates.demanded(step("deploy", **TESTS_AND_MORE, **keys), left_out) == asked


def test_what_is_missing_because_it_was_skipped_says_so() -> None:
    asked = step("deploy", environment="x", requires=("test.unit",), policy="policy.x")

    refusals = gates.admit(asked, [A], [], PLAN, NOW, {"test.unit": "when: dirty is false"})

    assert [str(refusal) for refusal in refusals] == [
        "no passed result of test.unit of aaaa…aaaa is on record: it was skipped, when: dirty is false (policy.x). "
        "Have it run, or give the deploy step the same condition."
    ]
