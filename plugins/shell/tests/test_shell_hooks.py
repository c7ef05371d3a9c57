from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from penstock import Check, Severity, StepFailed, TestCase
from penstock.errors import PluginError
from penstock.testing import StepMaker
from penstock_shell import penstock_build, penstock_scan, penstock_test, penstock_verify
from penstock_shell.settings import Build, Scan, Test, Verify

GOOD = '<testsuite name="s"><testcase classname="c" name="a" time="0.5"/></testsuite>'
BAD = (
    '<testsuite name="s"><testcase classname="c" name="a"><failure message="1 != 2"/></testcase></testsuite>'
)
SARIF = '{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "lint"}}, "results": []}]}'


def writes(text: str, path: str = "r.xml", *, status: int = 0) -> str:
    return f"printf %s {shlex.quote(text)} > {path}; exit {status}"


# --- the command ---


def test_script_stops_at_the_first_error(make_step: StepMaker) -> None:
    step = make_step("build.x")
    with pytest.raises(StepFailed) as failed:
        penstock_build(Build(run="false\necho later > later"), step)
    assert str(failed.value) == "`false …` ended with status 1"
    assert not (step.workspace / "later").exists()


def test_script_with_an_unset_variable_fails(make_step: StepMaker) -> None:
    with pytest.raises(StepFailed, match="ended with status"):
        penstock_build(Build(run='rm -rf "$NOBODY_SET_THIS/x"'), make_step("build.x"))


def test_list_is_run_as_it_stands(make_step: StepMaker) -> None:
    step = make_step("build.x")
    assert penstock_build(Build(run=("touch", "a b", "$HOME")), step) == []
    assert sorted(os.listdir(step.workspace)) == ["$HOME", "a b"]


def test_log_shows_the_whole_command_and_its_output(make_step: StepMaker) -> None:
    step = make_step("build.x")
    penstock_build(Build(run="echo one\necho two >&2\n"), step)
    assert make_step.log_of(step) == "$ echo one\n  echo two >&2\none\ntwo\n"


def test_command_sees_the_environment_that_it_verifies(make_step: StepMaker) -> None:
    step = make_step("verify.staging", environment="staging")
    script = '[ "$PENSTOCK_ENVIRONMENT" = staging ]'
    assert penstock_verify(Verify(run=script), step).passed


def test_missing_program_is_named(make_step: StepMaker) -> None:
    with pytest.raises(StepFailed, match="no-such-program"):
        penstock_test(Test(run=("no-such-program",)), make_step())


def test_missing_program_in_a_script_is_hinted_at(make_step: StepMaker) -> None:
    report = penstock_test(Test(run="no-such-program --x"), make_step())
    assert report.cases[0].message == (
        "`no-such-program --x` ended with status 127 (a program in it was not found)"
    )


def test_signal_is_named(make_step: StepMaker) -> None:
    report = penstock_test(Test(run="kill -9 $$"), make_step())
    assert "was ended by SIGKILL" in (report.cases[0].message or "")


def test_cwd_is_where_it_runs(make_step: StepMaker) -> None:
    step = make_step(files={"sub/x": ""})
    penstock_test(Test(run="touch here", cwd="sub"), step)
    assert (step.workspace / "sub/here").exists()


@pytest.mark.parametrize("cwd", ["missing", "file"])
def test_cwd_that_is_no_directory_is_refused(make_step: StepMaker, cwd: str) -> None:
    with pytest.raises(StepFailed, match=f'"{cwd}" is no directory of the workspace'):
        penstock_test(Test(run="true", cwd=cwd), make_step(files={"file": ""}))


def test_cwd_through_a_link_out_of_the_workspace_is_refused(make_step: StepMaker, tmp_path: Path) -> None:
    step = make_step()
    (step.workspace / "out").symlink_to(tmp_path)
    with pytest.raises(StepFailed, match="leads out of the workspace"):
        penstock_test(Test(run="true", cwd="out"), step)


def test_secret_in_the_script_is_refused(make_step: StepMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cr3t-value")
    step = make_step(secrets={"TOKEN": "env:TOKEN"})
    with pytest.raises(PluginError, match="a secret stands on the command line"):
        penstock_test(Test(run="echo s3cr3t-value"), step)
    assert "s3cr3t-value" not in make_step.log_of(step)


# --- test ---


def test_without_reports_the_status_decides(make_step: StepMaker) -> None:
    good = penstock_test(Test(run="echo fine"), make_step())
    assert (good.checks_only, good.tool, good.count("passed"), good.count("failed")) == (
        True,
        "echo fine",
        1,
        0,
    )
    bad = penstock_test(Test(run="exit 3"), make_step())
    assert bad.checks_only
    assert bad.cases[0].outcome == "failed"
    assert bad.cases[0].message == "`exit 3` ended with status 3"


def test_cases_come_out_of_all_reports(make_step: StepMaker) -> None:
    run = writes(GOOD).removesuffix("exit 0") + writes(SARIF, "r.sarif")
    report = penstock_test(Test(run=run, reports=("*.xml", "*.sarif", "r.*")), make_step())
    assert not report.checks_only
    assert report.cases == (
        TestCase(name="lint (r.sarif)", outcome="passed"),
        TestCase(name="c::a", outcome="passed", seconds=0.5),
    )


@pytest.mark.parametrize(
    ("text", "status", "failed"),
    [
        pytest.param(GOOD, 0, [], id="both good"),
        pytest.param(BAD, 1, ["c::a"], id="both bad"),
        pytest.param(BAD, 0, ["c::a"], id="status hides a failure"),
        pytest.param(GOOD, 1, ["the command"], id="reports hide a failure"),
        pytest.param("<testsuites/>", 1, ["the command"], id="crash with an empty report"),
    ],
)
def test_status_and_reports_must_agree(
    make_step: StepMaker, text: str, status: int, failed: list[str]
) -> None:
    settings = Test(run="# the command\n" + writes(text, status=status), reports=("*.xml",))
    report = penstock_test(settings, make_step())
    names = [case.name for case in report.cases if case.outcome == "failed"]
    assert len(names) == len(failed)
    assert [name for name in failed if name != "the command"] == [name for name in names if name == "c::a"]
    if failed == ["the command"]:
        assert "ended with status 1, but its reports show no failure" in (report.cases[-1].message or "")


def test_report_without_any_case_closes_the_gate(make_step: StepMaker) -> None:
    report = penstock_test(Test(run=writes("<testsuites/>"), reports=("*.xml",)), make_step())
    assert report.cases == ()
    assert not report.checks_only


@pytest.mark.parametrize(
    ("run", "message"),
    [
        pytest.param("true", 'nothing matches "r.xml" after the command', id="missing"),
        pytest.param("mkdir r.xml", 'nothing matches "r.xml" after the command', id="directory"),
        pytest.param("> r.xml", "r.xml is empty", id="empty"),
        pytest.param("echo > r.xml", "r.xml is empty", id="blank"),
        pytest.param(writes("<testsuite>"), "r.xml is not well-formed XML", id="cut off"),
        pytest.param(writes("<coverage/>"), "its root element is <coverage>", id="another XML"),
        pytest.param(writes("PASS"), "neither JUnit XML nor SARIF", id="text"),
        pytest.param(writes("{"), "r.xml is not JSON", id="cut off JSON"),
        pytest.param(writes("{}"), "not SARIF: it has no runs", id="another JSON"),
        pytest.param(writes("[" * 100_000), "neither JUnit XML nor SARIF", id="a list"),
        pytest.param(f"echo '{BAD}' > x; ln -s x r.xml", "r.xml is a symbolic link", id="link"),
        pytest.param("ln -s nowhere r.xml", 'nothing matches "r.xml"', id="dangling link"),
        pytest.param("ln -s r.xml r.xml", 'nothing matches "r.xml"', id="link to itself"),
        pytest.param("mkfifo r.xml", "r.xml is not a regular file", id="pipe"),
    ],
)
def test_report_that_cant_be_judged_fails_the_step(make_step: StepMaker, run: str, message: str) -> None:
    with pytest.raises(StepFailed) as failed:
        penstock_test(Test(run=run, reports=("r.xml",)), make_step())
    assert message in str(failed.value)
    assert str(failed.value).startswith("reports: ")
    assert str(failed.value).endswith(" ended with status 0")


def test_missing_report_of_a_failed_command_names_both(make_step: StepMaker) -> None:
    with pytest.raises(StepFailed) as failed:
        penstock_test(Test(run="exit 7", reports=("r.xml",)), make_step())
    assert str(failed.value) == (
        'reports: nothing matches "r.xml" after the command. The command `exit 7` ended with status 7'
    )


def test_old_report_does_not_count(make_step: StepMaker) -> None:
    with pytest.raises(StepFailed, match=r"r\.xml was there before the command ran"):
        penstock_test(Test(run="true", reports=("*.xml",)), make_step(files={"r.xml": GOOD}))


def test_old_report_beside_a_new_one_is_ignored_and_said_so(make_step: StepMaker) -> None:
    step = make_step(files={"old.xml": BAD})
    report = penstock_test(Test(run=writes(GOOD), reports=("*.xml",)), step)
    assert [case.outcome for case in report.cases] == ["passed"]
    assert (
        "old.xml was there before the command ran and was not written by it: ignored\n"
        in make_step.log_of(step)
    )


def test_old_report_that_is_written_anew_counts(make_step: StepMaker) -> None:
    step = make_step(files={"r.xml": GOOD.replace("a", "b", 1)})
    assert len(penstock_test(Test(run=writes(GOOD), reports=("r.xml",)), step).cases) == 1


def test_report_in_a_linked_directory_outside_is_refused(make_step: StepMaker, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    run = f"ln -s {tmp_path}/outside reports; " + writes(GOOD, "reports/r.xml")
    with pytest.raises(StepFailed, match=r"reports/r\.xml leads out of the workspace"):
        penstock_test(Test(run=run, reports=("reports/*.xml",)), make_step())


def test_every_glob_must_match(make_step: StepMaker) -> None:
    with pytest.raises(StepFailed, match=r'nothing matches "e2e/\*\.xml"'):
        penstock_test(Test(run=writes(GOOD), reports=("*.xml", "e2e/*.xml")), make_step())


def test_secrets_are_masked_in_cases_and_errors(
    make_step: StepMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "s3cr3t-value")
    failure = """<failure message="got '$TOKEN'">at $TOKEN</failure>"""
    leaks = f'<testsuite><testcase name="n">{failure}</testcase></testsuite>'
    step = make_step(secrets={"TOKEN": "env:TOKEN"})
    report = penstock_test(Test(run=f"cat > r.xml <<END\n{leaks}\nEND", reports=("r.xml",)), step)
    assert (report.cases[0].message, report.cases[0].output) == ("got '***'", "at ***")
    with pytest.raises(StepFailed) as failed:
        penstock_test(Test(run='echo "<$TOKEN/>" > r.xml', reports=("r.xml",)), step)
    assert "root element is <***>" in str(failed.value)


def test_long_texts_are_cut(make_step: StepMaker) -> None:
    failure = f'<failure message="{"m" * 5000}">{"o" * 20_000}end</failure>'
    text = f'<testsuite><testcase name="{"n" * 5000}">{failure}</testcase></testsuite>'
    step = make_step(files={"in.txt": text})
    (case,) = penstock_test(Test(run="cp in.txt r.xml", reports=("r.xml",)), step).cases
    assert (len(case.name), len(case.message or ""), len(case.output or "")) == (2001, 2001, 10_001)
    assert (case.output or "").endswith("end")


# --- scan ---


def sarif(*results: str) -> str:
    return SARIF.replace("[]", "[" + ", ".join(results) + "]")


LOW = '{"ruleId": "L1", "level": "note", "message": {"text": "hm"}}'
HIGH = '{"ruleId": "H1", "level": "error", "message": {"text": "no"}}'


@pytest.mark.parametrize(
    ("block", "blocking"),
    [("high", ["H1"]), ("low", ["L1", "H1"]), ("critical", []), ("none", [])],
)
def test_block_says_what_closes_the_gate(make_step: StepMaker, block: str, blocking: list[str]) -> None:
    settings = Scan.model_validate(
        {"run": writes(sarif(LOW, HIGH), status=1), "reports": ["*"], "block": block}
    )
    report = penstock_scan(settings, make_step("scan.code"))
    assert [finding.id for finding in report.blocking] == blocking
    assert (report.scanner, report.looked_for) == ("lint", ("vulnerability",))


def test_clean_scan_passes(make_step: StepMaker) -> None:
    report = penstock_scan(Scan(run=writes(SARIF), reports=("*",), kind="secret"), make_step("scan.code"))
    assert (report.findings, report.looked_for, report.block) == ((), ("secret",), Severity.high)


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        pytest.param(SARIF, 1, "hold 0 findings, but a scanner ends with 0", id="failed without a finding"),
        pytest.param(sarif(LOW), 2, "hold 1 finding, but", id="crashed with a finding"),
        pytest.param(GOOD, 0, "is XML, and a scan reads SARIF", id="JUnit"),
        pytest.param('{"version": "2.1.0", "runs": []}', 0, "holds no run", id="no run"),
        pytest.param(SARIF.replace("2.1.0", "2.0.0"), 0, "is SARIF 2.0.0", id="other version"),
        pytest.param(SARIF.replace(', "results": []', ""), 0, "it did not look", id="no results"),
        pytest.param(
            SARIF.replace("[]", '[], "invocations": [{"executionSuccessful": false}]'),
            0,
            "did not finish",
            id="failed",
        ),
        pytest.param(sarif(LOW.replace("note", "terrible")), 1, "level is 'terrible'", id="unknown level"),
    ],
)
def test_scan_that_cant_be_judged_fails(make_step: StepMaker, text: str, status: int, message: str) -> None:
    with pytest.raises(StepFailed) as failed:
        penstock_scan(Scan(run=writes(text, status=status), reports=("*",)), make_step("scan.code"))
    assert message in str(failed.value)


# --- verify ---


def test_verify_is_one_check(make_step: StepMaker) -> None:
    (check,) = penstock_verify(Verify(run="true"), make_step("verify.staging")).checks
    assert (check.name, check.passed, check.detail) == ("true", True, "ended with status 0")
    (check,) = penstock_verify(Verify(run="exit 4"), make_step("verify.staging")).checks
    assert (check.name, check.passed, check.detail) == ("exit 4", False, "ended with status 4")


def test_verify_with_reports_is_a_check_a_case(make_step: StepMaker) -> None:
    text = GOOD.replace(
        "</", '<testcase name="b"><skipped/></testcase><testcase name="d"><error/></testcase></', 1
    )
    found = penstock_verify(Verify(run=writes(text, status=1), reports=("*",)), make_step("verify.staging"))
    assert found.checks == (
        Check(name="c::a", passed=True, detail="passed", seconds=0.5),
        Check(name="s::d", passed=False, detail="failed"),
    )


def test_verify_whose_cases_were_all_skipped_checked_nothing(make_step: StepMaker) -> None:
    text = "<testsuite><testcase name='b'><skipped/></testcase></testsuite>"
    found = penstock_verify(Verify(run=writes(text), reports=("*",)), make_step("verify.staging"))
    assert not found.passed


def test_verify_command_that_fails_beside_good_reports_fails(make_step: StepMaker) -> None:
    settings = Verify(run=writes(GOOD, status=1), reports=("*",))
    assert not penstock_verify(settings, make_step("verify.staging")).passed
