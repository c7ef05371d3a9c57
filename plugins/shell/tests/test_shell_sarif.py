from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import Finding, Severity, TestCase
from penstock_shell import judge, sarif
from penstock_shell.found import BadReportError, Report
from penstock_shell.judge import Ended

ENDED = Ended(name="it", how="ended with status 0", returncode=0)


def log(*results: object, **run: Any) -> dict[str, Any]:
    driver = {"name": "lint", "semanticVersion": "1.2.3", "rules": run.pop("rules", [])}
    tool = {"driver": driver, "extensions": run.pop("extensions", [])}
    return {"version": "2.1.0", "runs": [{"tool": tool, "results": list(results), **run}]}


def parse(document: object) -> list[sarif.Result]:
    (run,) = sarif.parse("r.sarif", json.dumps(document).encode())
    assert run.tool == "lint 1.2.3"
    return list(run.results)


def severity(
    result: dict[str, Any], rule: dict[str, Any] | None = None, kind: Any = "vulnerability"
) -> Severity:
    rules = [{"id": "R", **rule}] if rule else []
    (found,) = parse(log({"ruleId": "R", "message": {"text": "m"}, **result}, rules=rules))
    return sarif.finding(found, kind).severity


@pytest.mark.parametrize(
    ("result", "rule", "wanted"),
    [
        pytest.param({}, None, "medium", id="nothing said"),
        pytest.param({"level": "error"}, None, "high", id="error"),
        pytest.param({"level": "warning"}, None, "medium", id="warning"),
        pytest.param({"level": "note"}, None, "low", id="note"),
        pytest.param({"level": "none"}, None, "low", id="none"),
        pytest.param({}, {"defaultConfiguration": {"level": "error"}}, "high", id="the rule's level"),
        pytest.param(
            {"level": "note"}, {"defaultConfiguration": {"level": "error"}}, "low", id="own level first"
        ),
        pytest.param({}, {"properties": {"security-severity": "9.8"}}, "critical", id="9.8"),
        pytest.param({}, {"properties": {"security-severity": "9.0"}}, "critical", id="9.0"),
        pytest.param({}, {"properties": {"security-severity": "8.9"}}, "high", id="8.9"),
        pytest.param({}, {"properties": {"security-severity": 4}}, "medium", id="a number"),
        pytest.param({}, {"properties": {"security-severity": "0.1"}}, "low", id="0.1"),
        pytest.param({}, {"properties": {"security-severity": "11"}}, "medium", id="no score above 10"),
        pytest.param({}, {"properties": {"security-severity": "NaN"}}, "medium", id="no number"),
        pytest.param({}, {"properties": {"security-severity": "bad"}}, "medium", id="no score"),
        pytest.param({}, {"properties": {"security-severity": 10**400}}, "medium", id="a huge number"),
        pytest.param(
            {"properties": {"security-severity": "2"}},
            {"properties": {"security-severity": "9"}},
            "low",
            id="own score",
        ),
        pytest.param({"kind": "open"}, None, "medium", id="nobody could decide"),
        pytest.param({"kind": "review", "level": "none"}, None, "medium", id="somebody must look"),
    ],
)
def test_severity(result: dict[str, Any], rule: dict[str, Any] | None, wanted: str) -> None:
    assert severity(result, rule) == wanted


def test_secret_of_no_said_level_is_high() -> None:
    assert severity({}, kind="secret") == "high"
    assert severity({"level": "note"}, kind="secret") == "low"


@pytest.mark.parametrize("kind", ["pass", "notApplicable", "informational"])
def test_good_results_are_no_findings(kind: str) -> None:
    assert parse(log({"ruleId": "R", "kind": kind})) == []


def test_result_that_is_gone_is_no_finding() -> None:
    assert parse(log({"ruleId": "R", "baselineState": "absent"})) == []


@pytest.mark.parametrize(
    ("suppressions", "why"),
    [
        pytest.param([], None, id="none"),
        pytest.param([{"kind": "inSource"}], "suppressed in the source", id="in the source"),
        pytest.param([{"kind": "external", "justification": "a test key"}], "a test key", id="justified"),
        pytest.param(
            [{"kind": "external", "status": "accepted"}], "suppressed outside the source", id="accepted"
        ),
        pytest.param([{"kind": "external", "status": "underReview"}], None, id="under review"),
        pytest.param([{"kind": "inSource"}, {"kind": "external", "status": "rejected"}], None, id="rejected"),
    ],
)
def test_suppressed_results_do_not_count(suppressions: list[object], why: str | None) -> None:
    (result,) = parse(log({"ruleId": "R", "level": "error", "suppressions": suppressions}))
    assert sarif.finding(result, "vulnerability").ignored == why
    data = json.dumps(log({"ruleId": "R", "level": "error", "suppressions": suppressions})).encode()
    assert [case.outcome for case in sarif.cases("r", data)] == ["passed" if why else "failed"]


@pytest.mark.parametrize(
    ("result", "rule"),
    [
        pytest.param({"ruleId": "B"}, "B", id="by id"),
        pytest.param({"ruleId": "B/1"}, "B", id="by a finer id"),
        pytest.param({"ruleIndex": 1}, "B", id="by index"),
        pytest.param({"rule": {"index": 1}}, "B", id="by reference"),
        pytest.param({"rule": {"id": "B"}}, "B", id="by the reference's id"),
        pytest.param({"rule": {"index": 0, "toolComponent": {"index": 0}}}, "X", id="of an extension"),
        pytest.param({"ruleId": "X"}, "X", id="of an extension, by id"),
    ],
)
def test_rule_is_found(result: dict[str, Any], rule: str) -> None:
    rules = [{"id": "A"}, {"id": "B", "properties": {"tags": ["of B"]}}]
    extensions = [{"name": "e", "rules": [{"id": "X", "properties": {"tags": ["of X"]}}]}]
    (found,) = parse(log(result, rules=rules, extensions=extensions))
    assert found.tags == (f"of {rule}".lower(),)


@pytest.mark.parametrize(
    "result",
    [
        {"rule": {"toolComponent": {"index": 9}, "index": 0}},
        {"rule": {"toolComponent": {"index": -9}}},
        {"ruleIndex": 9},
    ],
)
def test_rule_that_is_not_there_changes_nothing(result: dict[str, Any]) -> None:
    (found,) = parse(log(result, rules=[{"id": "A", "properties": {"tags": ["t"]}}]))
    assert (found.rule, found.level, found.tags) == ("unnamed rule", "warning", ())


def test_whole_finding() -> None:
    place = {"artifactLocation": {"uri": "src/a%20b.py"}, "region": {"startLine": 7}}
    rule = {
        "id": "R",
        "messageStrings": {"default": {"text": "{0} is {1}"}},
        "properties": {"tags": ["secret"]},
    }
    result = {
        "ruleId": "R",
        "level": "error",
        "message": {"id": "default", "arguments": ["this", "bad"]},
        "locations": [{}, {"physicalLocation": place}],
    }
    (found,) = parse(log(result, rules=[rule]))
    assert sarif.finding(found, "vulnerability") == Finding(
        id="R", kind="secret", severity=Severity.high, title="this is bad", location="src/a b.py:7"
    )
    assert sarif.cases("r", json.dumps(log(result, rules=[rule])).encode()) == [
        TestCase(name="src/a b.py:7::R", outcome="failed", file="src/a b.py", line=7, message="this is bad")
    ]


@pytest.mark.parametrize(
    ("text", "arguments", "title"),
    [
        pytest.param("{0}", [f"{{{n}}}{{{n}}}" for n in range(1, 60)], "{1}{1}", id="each names the next"),
        pytest.param("{0}" * 10_000, ["x" * 10_000] * 2, "x" * 1333 * 4000 + "{", id="many of a long one"),
        pytest.param("{0} {1} {9} {x} {10000000000}", [1], "1 {1} {9} {x} {10000000000}", id="not there"),
    ],
)
def test_a_message_grows_by_its_arguments_once(text: str, arguments: list[object], title: str) -> None:
    """One that names others and is filled in again and again would be larger than any memory."""
    rule = {"id": "R", "messageStrings": {"default": {"text": text}}}
    result = {"ruleId": "R", "message": {"id": "default", "arguments": arguments}}
    (found,) = parse(log(result, rules=[rule]))

    assert found.text == title


def test_notes_do_not_fail_a_test() -> None:
    data = json.dumps(log({"ruleId": "R", "level": "note"})).encode()
    assert sarif.cases("r.sarif", data) == [TestCase(name="lint 1.2.3 (r.sarif)", outcome="passed")]


def test_half_a_character_is_replaced() -> None:
    report = judge.test(
        ENDED,
        [
            Report(
                "r",
                rb'{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"l"}},"results":['
                rb'{"ruleId":"\ud800","message":{"text":"\udfff"}}]}]}',
            )
        ],
        str,
    )
    assert (report.cases[0].name, report.cases[0].message) == ("?", "?")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "is not JSON"),
        ('{"runs": []}', "is SARIF None; only 2.1.0 is read"),
        ('{"version": "2.1.0", "runs": {}}', "holds no run"),
        ('{"version": "2.1.0", "runs": [{}]}', "'tool' is missing"),
        ('{"version": "2.1.0", "runs": [1]}', "is not SARIF as the standard has it"),
        ('{"runs": ' + "[" * 100_000, "nested too deeply"),
        ('{"a": ' + "1" * 5000 + "}", "is not JSON"),
    ],
    ids=range(7),
)
def test_what_is_not_sarif_is_refused(document: str, message: str) -> None:
    with pytest.raises(BadReportError) as refused:
        sarif.parse("r.sarif", document.encode())
    assert message in str(refused.value)
    assert str(refused.value).startswith("r.sarif")


@pytest.mark.parametrize("change", [{"results": None}, {"invocations": [{"executionSuccessful": False}]}])
def test_tool_that_did_not_look_or_finish_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadReportError, match="did not"):
        sarif.parse("r.sarif", json.dumps(log(**change)).encode())


KEYS = st.sampled_from(
    [
        *("ruleId", "ruleIndex", "rule", "index", "level", "kind", "message", "text", "id", "arguments"),
        *("locations", "physicalLocation", "artifactLocation", "uri", "region", "startLine", "toolComponent"),
        *("suppressions", "status", "properties", "tags", "security-severity", "baselineState"),
    ]
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, JSON, max_size=5), st.dictionaries(KEYS, JSON, max_size=4), st.booleans())
def test_any_result_is_read_or_refused_and_nothing_else(
    result: dict[str, Any], rule: dict[str, Any], described: bool
) -> None:
    document = log(result, rules=[{"id": "R", **rule}] if described else [])
    report = Report("r.sarif", json.dumps(document).encode())
    try:
        found = judge.scan(ENDED, [report], "vulnerability", Severity.high, str)
    except BadReportError:
        return
    assert type(found).model_validate_json(found.model_dump_json()) == found


@given(st.lists(st.sampled_from(["error", "warning", "note", "none"]), max_size=6))
def test_every_error_and_warning_is_a_failed_case(levels: list[str]) -> None:
    data = json.dumps(log(*({"ruleId": "R", "level": level} for level in levels))).encode()
    report = judge.test(ENDED, [Report("r", data)], str)
    bad = sum(level in ("error", "warning") for level in levels)
    assert (report.count("failed"), report.count("passed")) == (bad, 0 if bad else 1)
