from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import Finding, ScanReport, Severity, TestCase, TestReport, reports
from penstock.reports import Part


def suites(*parts: Part) -> list[ET.Element]:
    return list(ET.fromstring(reports.junit(parts)))


def part_of(*cases: TestCase, **more: object) -> Part:
    return Part(
        name="test.unit",
        phase="test",
        state="passed",
        seconds=1.5,
        report=TestReport(tool="pytest 9", cases=cases),
        **more,
    )


def test_junit_has_the_shape_of_pytests_own() -> None:
    part = part_of(
        TestCase(name="tests/test_a.py::test_good", outcome="passed", seconds=0.25),
        TestCase(
            name="tests/test_a.py::TestB::test_bad[1::2]", outcome="failed", message="E assert 1\nE more"
        ),
        TestCase(name="tests/test_a.py::test_left", outcome="skipped", message="not today"),
        TestCase(name="alone", outcome="passed", output="it printed this"),
    )
    assert reports.junit([part]).decode() == (
        "<?xml version='1.0' encoding='utf-8'?>\n"
        '<testsuites name="penstock">\n'
        '  <testsuite name="test.unit" errors="0" failures="1" skipped="1" tests="4" time="1.500">\n'
        '    <testcase classname="tests.test_a" name="test_good" time="0.250" />\n'
        '    <testcase classname="tests.test_a.TestB" name="test_bad[1::2]" time="0.000">\n'
        '      <failure message="E assert 1">E assert 1\nE more</failure>\n'
        "    </testcase>\n"
        '    <testcase classname="tests.test_a" name="test_left" time="0.000">\n'
        '      <skipped message="not today" />\n'
        "    </testcase>\n"
        '    <testcase classname="test.unit" name="alone" time="0.000">\n'
        "      <system-out>it printed this</system-out>\n"
        "    </testcase>\n"
        "  </testsuite>\n"
        "</testsuites>\n"
    )


@pytest.mark.parametrize(
    ("state", "summary", "tag"),
    [
        ("passed", "ruff check .", None),
        ("failed", "ruff check .", "failure"),
        ("failed", "", "error"),
        ("skipped", "", "skipped"),
        ("cancelled", "", "skipped"),
    ],
)
def test_a_step_without_a_report_is_one_case(state: str, summary: str, tag: str | None) -> None:
    [suite] = suites(Part(name="test.style", phase="test", state=state, summary=summary, reason="because"))
    [case] = suite
    assert case.get("name") == (summary or "test.style")
    assert [child.tag for child in case] == ([tag] if tag else [])
    assert all(child.get("message") == "because" for child in case)


def test_steps_that_have_not_been_reached_and_scans_are_no_suites() -> None:
    assert not suites(
        Part(name="test.a", phase="test", state="pending"), Part(name="scan.a", phase="scan", state="passed")
    )


@given(st.text(), st.text(), st.text(), st.sampled_from(["passed", "failed", "skipped"]))
def test_every_text_becomes_well_formed_xml(name: str, message: str, output: str, outcome: str) -> None:
    case = TestCase.model_construct(name=name, outcome=outcome, message=message, output=output, seconds=0.0)
    report = TestReport.model_construct(tool="x", cases=(case,), checks_only=False)
    part = Part.model_construct(
        name="test.unit", phase="test", state="passed", reason="", summary="", seconds=0.0, report=report
    )
    [suite] = suites(part)
    assert len(suite) == 1


SCAN = ScanReport(
    scanner="trivy 0.76.0",
    looked_for=("vulnerability", "secret"),
    findings=(
        Finding(
            id="CVE-2099-0001",
            kind="vulnerability",
            severity=Severity.critical,
            title="It breaks",
            location="requirements.txt",
            package="shop",
            version="1.0",
            fixed_in="1.1",
        ),
        Finding(id="key", kind="secret", severity=Severity.low, location="a b/ä.py:7", ignored="a test's"),
        Finding(id="key", kind="secret", severity=Severity.unknown),
    ),
)


def test_sarif_says_rule_level_place_and_why_something_does_not_count() -> None:
    log = reports.sarif([Part(name="scan.all", phase="scan", state="refused", report=SCAN)])
    assert log["version"] == "2.1.0"
    [run] = log["runs"]
    assert run["tool"]["driver"]["name"] == "trivy"
    assert run["tool"]["driver"]["version"] == "0.76.0"
    assert run["automationDetails"] == {"id": "scan.all/"}
    assert run["invocations"] == [{"executionSuccessful": True}]
    assert [
        (rule["id"], rule["properties"].get("security-severity")) for rule in run["tool"]["driver"]["rules"]
    ] == [("CVE-2099-0001", "9.5"), ("key", "2.0")]
    worst, exempted, unplaced = run["results"]
    assert (worst["ruleId"], worst["level"]) == ("CVE-2099-0001", "error")
    assert worst["message"] == {"text": "It breaks. shop 1.0. fixed in 1.1"}
    assert worst["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": "requirements.txt"}}}]
    assert exempted["locations"] == [
        {"physicalLocation": {"artifactLocation": {"uri": "a%20b/%C3%A4.py"}, "region": {"startLine": 7}}}
    ]
    assert exempted["suppressions"] == [{"kind": "external", "justification": "a test's"}]
    assert (unplaced["level"], "locations" in unplaced) == ("warning", False)
    assert len({result["partialFingerprints"]["penstock/v1"] for result in run["results"]}) == 3


def test_a_scan_that_came_to_no_report_is_not_clean() -> None:
    log = reports.sarif([Part(name="scan.all", phase="scan", state="failed", reason="there is no database")])
    [run] = log["runs"]
    [invocation] = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert invocation["toolExecutionNotifications"][0]["message"] == {"text": "there is no database"}
