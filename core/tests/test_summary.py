from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from penstock import summary
from penstock.findings import Exempted, Finding, ScanReport, Severity
from penstock.model import Artifact, Check, Publication, Signature, TestCase, TestReport, Verification
from penstock.plan import PlanStep

A = "sha256:" + "4f2c1e9d" * 8


def artifact(name: str) -> Artifact:
    return Artifact(name=name, kind="file", digest=A)


def case(outcome: str, **more: Any) -> TestCase:
    return TestCase(**{"name": "tests/test_x.py::test_a", "outcome": outcome, **more})


def report(*cases: TestCase, **more: Any) -> TestReport:
    return TestReport(tool="pytest 9", cases=cases, **more)


def finding(severity: str, name: str = "CVE-1", **more: Any) -> Finding:
    fields = {"kind": "vulnerability", "location": "lib 1", **more}
    return Finding(id=name, severity=Severity(severity), **fields)


def scan(*findings: Finding, **more: Any) -> ScanReport:
    return ScanReport(scanner="trivy 1", findings=findings, **{"looked_for": ("vulnerability",), **more})


NONE = {"critical": 0, "high": 0, "medium": 0, "low": 0}

SAID: dict[str, tuple[str, object, dict[str, Any]]] = {
    "one artifact": (
        "build",
        [artifact("shop.whl")],
        {"summary": "shop.whl", "notes": ["sha256:4f2c…1e9d"]},
    ),
    "seven artifacts": (
        "build",
        [artifact(f"a{n}") for n in range(7)],
        {
            "summary": "7 artifacts",
            "notes": [*(f"a{n}  sha256:4f2c…1e9d" for n in range(5)), "and 2 more"],
        },
    ),
    "no artifact": ("build", [], {"summary": "0 artifacts", "notes": []}),
    "tests": (
        "test",
        report(case("passed"), case("passed"), case("skipped"), coverage=0.876),
        {
            "summary": "2 passed, 1 skipped, 88% covered",
            "notes": [],
            "tests": {"passed": 2, "failed": 0, "skipped": 1, "flaky": 0},
        },
    ),
    "a failed test": (
        "test",
        report(case("failed", file="tests/test_x.py", line=3, message="\n".join(f"l{n}" for n in range(10)))),
        {
            "summary": "1 failed",
            "notes": ["tests/test_x.py:3  test_a", *(f"  l{n}" for n in range(2, 10))],
            "tests": {"passed": 0, "failed": 1, "skipped": 0, "flaky": 0},
        },
    ),
    "failed tests with output, with a file, with nothing": (
        "test",
        report(case("failed", output="out\n\n"), case("failed", file="x.py"), case("failed", name="plain")),
        {
            "summary": "3 failed",
            "notes": ["test_a", "  out", "x.py  test_a", "plain"],
            "tests": {"passed": 0, "failed": 3, "skipped": 0, "flaky": 0},
        },
    ),
    "many failed tests": (
        "test",
        report(*(case("failed", name=f"t{n}") for n in range(8))),
        {
            "summary": "8 failed",
            "notes": ["t0", "t1", "t2", "t3", "t4", "and 3 more"],
            "tests": {"passed": 0, "failed": 8, "skipped": 0, "flaky": 0},
        },
    ),
    "a quarantined and a flaky test": (
        "test",
        report(
            case("passed", flaky="failed in run 3: no luck"),
            case("failed", quarantined="slow (until 2030-01-01)", message="> f()\nE no luck\nE again"),
        ),
        {
            "summary": "1 passed, 1 quarantined failed, 1 flaky",
            "notes": [
                "quarantined: tests/test_x.py::test_a failed, and does not count: slow (until 2030-01-01)",
                "  no luck",
                "flaky: tests/test_x.py::test_a passed now, and on the same inputs it failed in run 3: no luck",
            ],
            "tests": {"passed": 1, "failed": 0, "skipped": 0, "flaky": 1, "quarantined": 1},
        },
    ),
    "a flaky check": (
        "test",
        report(case("passed", flaky="failed in attempt 1: it ended with 1"), checks_only=True),
        {
            "summary": "pytest 9, flaky",
            "notes": ["flaky: it passed now, and on the same inputs it failed in attempt 1: it ended with 1"],
            "tests": {"passed": 1, "failed": 0, "skipped": 0, "flaky": 1},
        },
    ),
    "a check": (
        "test",
        report(case("passed"), checks_only=True),
        {
            "summary": "pytest 9",
            "notes": [],
            "tests": {"passed": 1, "failed": 0, "skipped": 0, "flaky": 0},
        },
    ),
    "nothing found": (
        "scan",
        scan(looked_for=("vulnerability", "secret", "misconfiguration", "license")),
        {
            "summary": "no vulnerabilities, no secrets, no misconfigurations, licences in order",
            "notes": [],
            "findings": NONE,
        },
    ),
    "nothing found of a kind that has no plural here": (
        "scan",
        scan(looked_for=("malware",)),
        {"summary": "no malware", "notes": [], "findings": NONE},
    ),
    "findings": (
        "scan",
        scan(
            finding("high", "CVE-2"),
            finding("critical", location=""),
            finding("low"),
            finding("unknown"),
            finding("critical", ignored="not used"),
            not_looked_for={"secret": "not asked"},
        ),
        {
            "summary": "1 critical, 1 high, 1 low (1 ignored)",
            "notes": ["critical  CVE-1", "high  CVE-2  lib 1", "! secrets: not asked"],
            "findings": {"critical": 1, "high": 1, "medium": 0, "low": 1},
        },
    ),
    "exemptions": (
        "scan",
        scan(
            finding("high", location="app/METADATA", package="lib", version="1", fixed_in="2"),
            database="2 days old, of 2026-01-01",
            exemptions=tuple(
                Exempted(id=f"CVE-{number}", reason="why", until=date(2026, 1, number), state=state)
                for number, state in enumerate(("applied", "ended", "unused"), 1)
            ),
        ),
        {
            "summary": "1 high",
            "notes": [
                "high  CVE-1  app/METADATA  lib 1, fixed in 2",
                "vulnerability database: 2 days old, of 2026-01-01",
                "! ignore: CVE-2 counts again, its exemption ended on 2026-01-02. Mend it, or set a later `until`",
                "! ignore: CVE-3 matches nothing any more. Remove it",
            ],
            "findings": {**NONE, "high": 1},
            "exempted": True,
        },
    ),
    "an exemption for ever": (
        "scan",
        scan(exemptions=(Exempted(id="CVE-1", reason="why", state="applied"),)),
        {"summary": "no vulnerabilities", "notes": [], "findings": NONE},
    ),
    "many findings": (
        "scan",
        scan(*(finding("high", f"CVE-{n}") for n in range(7))),
        {
            "summary": "7 high",
            "notes": [f"high  CVE-{n}  lib 1" for n in range(5)],
            "findings": {**NONE, "high": 7},
        },
    ),
    "a verification": (
        "verify",
        Verification(checks=(Check(name="GET /", passed=True, detail="200"), Check(name="b", passed=True))),
        {"summary": "GET /, 200, b"},
    ),
    "publications": (
        "publish",
        [Publication(artifact=A, location="https://x/y")],
        {
            "summary": "1 published",
            "notes": ["https://x/y"],
            "publications": [{"artifact": A, "location": "https://x/y", "already": False, "purl": None}],
        },
    ),
    "anything else": ("sign", None, {}),
}


@pytest.mark.parametrize(("phase", "result", "said"), SAID.values(), ids=SAID.keys())
def test_what_is_said_about_a_result(phase: str, result: object, said: dict[str, Any]) -> None:
    assert summary.of(PlanStep(name=f"{phase}.x", phase=phase, uses="shell"), result) == said


def test_of_many_publications_a_few_are_named() -> None:
    published = [Publication(artifact=A, location=f"https://x/{n}", already=n > 0) for n in range(7)]
    found = summary.of(PlanStep(name="publish.x", phase="publish", uses="x"), published)
    assert found["summary"] == "1 published, 6 there already, same bytes"
    assert found["notes"] == [*(f"https://x/{n}" for n in range(5)), "and 2 more"]
    assert len(found["publications"]) == 7


def test_many_checks_are_counted() -> None:
    checks = tuple(Check(name=str(n), passed=n > 0) for n in range(4))
    said = summary.of(PlanStep(name="verify.x", phase="verify", uses="shell"), Verification(checks=checks))
    assert said == {"summary": "3 of 4 checks passed"}


def test_signers_are_named_by_the_short_form_of_their_key() -> None:
    made = [
        Signature(bundle="", statement="sha256:" + "0" * 64, signer=who)
        for who in ("key:" + "ab" * 32, "ana")
    ]
    assert summary.signed(made) == "2 statements, ana, key:abab…abab"
    assert summary.signed([]) == "0 statements, nobody"
