from __future__ import annotations

import contextlib
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import TestCase
from penstock_shell import judge, junit
from penstock_shell.found import BadReportError, Report
from penstock_shell.judge import Ended

ENDED = Ended(name="it", how="ended with status 0", returncode=0)


def parse(text: str) -> list[TestCase]:
    return junit.parse("r.xml", text.encode())


PYTEST = """<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests">
<testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4" time="0.03">
<testcase classname="tests.test_x" name="test_a" time="0.001" file="tests/test_x.py" line="3" />
<testcase classname="tests.test_x" name="test_b" time="0.002"><failure message="assert 1 == 2">def test_b():
&gt;   assert 1 == 2
E   assert 1 == 2</failure><system-out>printed</system-out></testcase>
<testcase classname="tests.test_x" name="test_c" time="0.000">
<skipped type="pytest.skip" message="later">x</skipped></testcase>
<testcase classname="tests.test_x" name="test_d" time="0.000">
<error message="failed on setup">E   boom</error></testcase>
</testsuite></testsuites>"""


def test_a_report_by_pytest() -> None:
    assert parse(PYTEST) == [
        TestCase(
            name="tests.test_x::test_a", outcome="passed", seconds=0.001, file="tests/test_x.py", line=3
        ),
        TestCase(
            name="tests.test_x::test_b",
            outcome="failed",
            seconds=0.002,
            message="assert 1 == 2",
            output="def test_b():\n>   assert 1 == 2\nE   assert 1 == 2\nprinted",
        ),
        TestCase(name="tests.test_x::test_c", outcome="skipped", message="later"),
        TestCase(name="tests.test_x::test_d", outcome="failed", message="failed on setup", output="E   boom"),
    ]


def test_suites_nest_to_any_depth() -> None:
    found = parse(
        '<testsuites><testsuite name="A"><testcase name="1"/><testsuite name="B"><testcase name="2"/>'
        '</testsuite><testcase name="3"/></testsuite><testcase name="4"/></testsuites>'
    )
    assert [case.name for case in found] == ["A::1", "B::2", "A::3", "4"]


def test_deep_nesting_is_no_trouble() -> None:
    depth = 5000
    assert len(parse("<testsuite>" * depth + "<testcase name='x'/>" + "</testsuite>" * depth)) == 1


@pytest.mark.parametrize(
    ("case", "outcome", "message"),
    [
        pytest.param("<testcase name='x'/>", "passed", None, id="nothing said"),
        pytest.param("<testcase name='x' status='run' result='completed'/>", "passed", None, id="googletest"),
        pytest.param("<testcase name='x' status='notrun'/>", "skipped", None, id="googletest, disabled"),
        pytest.param("<testcase name='x' status='FAILED'/>", "failed", None, id="status only"),
        pytest.param("<testcase name='x'><skipped/></testcase>", "skipped", None, id="skipped"),
        pytest.param("<testcase name='x'><failure/></testcase>", "failed", None, id="bare failure"),
        pytest.param("<testcase name='x'><failure type='T'/></testcase>", "failed", "T", id="type only"),
        pytest.param("<testcase name='x'><error>a\n\nb</error></testcase>", "failed", "a\nb", id="text only"),
        pytest.param(
            "<testcase name='x'><skipped/><failure/></testcase>", "failed", None, id="skipped and failed"
        ),
        pytest.param(
            "<testcase name='x'><flakyFailure message='m'/></testcase>", "passed", None, id="passed at last"
        ),
        pytest.param(
            "<testcase name='x'><rerunFailure/><failure message='m'/></testcase>",
            "failed",
            "m",
            id="failed again",
        ),
    ],
)
def test_outcome_of_a_case(case: str, outcome: str, message: str | None) -> None:
    (found,) = parse(f"<testsuite>{case}</testsuite>")
    assert (found.outcome, found.message) == (outcome, message)


@pytest.mark.parametrize(
    ("case", "flaky"),
    [
        ("<flakyFailure message='m'/>", "m"),
        ("<rerunFailure/>", "failed when it was run first"),
        ("<flakyError/><failure/>", None),
        ("", None),
    ],
)
def test_a_case_that_passed_when_it_was_run_again_is_flaky(case: str, flaky: str | None) -> None:
    (found,) = parse(f"<testsuite><testcase name='x'>{case}</testcase></testsuite>")
    assert found.flaky == flaky


def test_namespaces_comments_and_properties_are_no_trouble() -> None:
    text = (
        '<t:testsuite xmlns:t="urn:x"><!-- c --><?p i?><t:properties/><t:testcase name="x">'
        "<!-- c --><t:failure/></t:testcase></t:testsuite>"
    )
    assert [case.outcome for case in parse(text)] == ["failed"]


def test_suite_that_failed_as_a_whole_is_a_failed_case() -> None:
    text = '<testsuite name="db"><error message="no connection"/><testcase name="x"/></testsuite>'
    assert [(case.name, case.outcome, case.message) for case in parse(text)] == [
        ("db (the suite itself)", "failed", "no connection"),
        ("db::x", "passed", None),
    ]


@pytest.mark.parametrize(
    "text",
    [
        '<testsuite name="s" failures="1"><testcase name="x"/></testsuite>',
        '<testsuites errors="1"><testsuite name="s"><testcase name="x"/></testsuite></testsuites>',
        '<testsuites><testsuite name="s" errors="1"><testcase name="x"/></testsuite></testsuites>',
        '<testsuite name="s" failures="2"><testcase name="x"><failure/></testcase></testsuite>',
    ],
)
def test_failures_that_only_a_count_tells_of_are_not_lost(text: str) -> None:
    assert "failed, but its cases show" in (parse(text)[-1].message or "")


@pytest.mark.parametrize(
    "text",
    [
        '<testsuite failures="1"><testcase name="x"><flakyFailure/></testcase></testsuite>',
        '<testsuite failures="1" errors="1"><testcase name="x"><failure/><error/></testcase></testsuite>',
        '<testsuite failures="1"><testcase name="x" status="failed"/></testsuite>',
        '<testsuite failures="" errors="many"><testcase name="x"/></testsuite>',
    ],
)
def test_counts_that_the_cases_explain_add_nothing(text: str) -> None:
    assert len(parse(text)) == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1.5", 1.5),
        ("1,234.5", 1234.5),
        ("", 0),
        ("-1", 0),
        ("nan", 0),
        ("inf", 0),
        ("1e999", 0),
        ("PT1S", 0),
    ],
)
def test_times_are_read_leniently(value: str, seconds: float) -> None:
    assert parse(f'<testsuite><testcase name="x" time="{value}"/></testsuite>')[0].seconds == seconds


@pytest.mark.parametrize("line", ["0", "-1", "x", "", "9" * 5000, "٣"])
def test_lines_that_are_none_are_left_out(line: str) -> None:
    assert parse(f'<testsuite><testcase name="x" line="{line}"/></testsuite>')[0].line is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"<testsuite>", "is not well-formed XML: no element found", id="cut off"),
        pytest.param(b"<testsuite>\x1b</testsuite>", "not well-formed (invalid token): line 1", id="control"),
        pytest.param(b'<?xml version="1.0" encoding="klingon"?><a/>', "not well-formed", id="encoding"),
        pytest.param(b"<!DOCTYPE x><testsuite/>", "holds a DTD", id="DTD"),
        pytest.param(b'<!DOCTYPE x [<!ENTITY a "b">]><testsuite>&a;</testsuite>', "holds a DTD", id="entity"),
        pytest.param(b"<html/>", "its root element is <html>", id="HTML"),
    ],
)
def test_what_is_not_junit_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BadReportError) as refused:
        junit.parse("r.xml", data)
    assert message in str(refused.value)
    assert str(refused.value).startswith("r.xml ")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_encodings(encoding: str) -> None:
    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    text = f'<?xml version="1.0" encoding="{declared}"?><testsuite><testcase name="ä"/></testsuite>'
    report = judge.test(ENDED, [Report("r.xml", text.encode(encoding))], str)
    assert [case.name for case in report.cases] == ["ä"]


def test_names_become_unique_and_no_failure_is_lost() -> None:
    once = '<testcase name="x"/>'
    text = (
        f'<testsuite>{once}<testcase name="x (2)"/>{once}<testcase name="x"><failure/></testcase></testsuite>'
    )
    report = judge.test(ENDED, [Report("a", text.encode()), Report("b", text.encode())], str)
    names = [case.name for case in report.cases]
    assert len(set(names)) == len(names) == 8
    assert names[:4] == ["x", "x (2)", "x (3)", "x (4)"]
    assert report.count("failed") == 2


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), max_size=8)
OUTCOMES = {"passed": "", "failed": "<failure/>", "error": "<error>x</error>", "skipped": "<skipped/>"}
CASES = st.tuples(TEXT, TEXT, st.sampled_from(sorted(OUTCOMES)))
TREES = st.recursive(
    st.lists(CASES, max_size=3), lambda inner: st.lists(st.one_of(inner, CASES), max_size=4), max_leaves=10
)


def write(tree: object) -> str:
    if isinstance(tree, tuple):
        classname, name, outcome = tree
        attributes = f"classname={quoteattr(classname)} name={quoteattr(name)}"
        return f"<testcase {attributes}>{OUTCOMES[outcome]}</testcase>"
    assert isinstance(tree, list)
    return f"<testsuite>{''.join(map(write, tree))}</testsuite>"


def leaves(tree: object) -> list[str]:
    if isinstance(tree, tuple):
        return [tree[2]]
    assert isinstance(tree, list)
    return [outcome for part in tree for outcome in leaves(part)]


@given(TREES)
def test_every_case_of_every_tree_is_found_with_its_outcome(tree: list[object]) -> None:
    report = judge.test(ENDED, [Report("r.xml", write(tree).encode())], str)
    wanted = ["failed" if outcome == "error" else outcome for outcome in leaves(tree)]
    assert [case.outcome for case in report.cases] == wanted
    assert len({case.name for case in report.cases}) == len(wanted)
    assert type(report).model_validate_json(report.model_dump_json()) == report


@given(st.binary(max_size=60), st.integers(0, len(PYTEST)), st.integers(0, 40))
def test_a_damaged_report_is_read_or_refused_and_nothing_else(junk: bytes, start: int, length: int) -> None:
    raw = PYTEST.encode()
    for data in (junk, raw[:start] + junk + raw[start + length :]):
        with contextlib.suppress(BadReportError):
            judge.test(ENDED, [Report("r.xml", data)], str)
