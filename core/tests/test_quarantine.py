from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from penstock import gates, quarantine
from penstock.configfile import ConfigFile
from penstock.model import TestCase, TestReport
from penstock.plan import PlanStep
from penstock.quarantine import Quarantine

from core.tests.lab import ONE_FILE, Lab

TODAY = date(2026, 11, 25)
STEP = PlanStep(name="test.unit", phase="test", uses="fake")


def entry(test: str = "a", until: str = "2026-11-25", **more: Any) -> Quarantine:
    return Quarantine(test=test, why="slow clock", until=until, **more)  # type: ignore[arg-type]  # as TOML has it


def report(more: dict[str, Any] | None = None, **outcomes: str) -> TestReport:
    cases = tuple(TestCase(name=name, outcome=outcome) for name, outcome in outcomes.items())  # type: ignore[arg-type]
    return TestReport(tool="t 1", cases=cases, **(more or {}))


def verdict(entries: list[Quarantine], found: TestReport) -> object:
    return gates.judge(STEP, quarantine.apply(entries, found, TODAY).report)


# --- what counts ---


@pytest.mark.parametrize(
    ("entries", "found", "wanted"),
    [
        ([entry()], report(a="failed", b="passed"), None),
        ([entry()], report(a="failed", b="failed"), ("failed", "1 of 2 failed")),
        ([entry("b")], report(a="failed", b="passed"), ("failed", "1 of 2 failed")),
        ([entry(until="2026-11-24")], report(a="failed", b="passed"), ("failed", "1 of 2 failed")),
        ([entry()], report(a="passed", b="passed"), None),
        (
            [entry()],
            report(a="failed"),
            ("refused", "the only test failed, in quarantine: nothing was tested"),
        ),
        (
            [entry(), entry("b")],
            report(a="failed", b="failed"),
            ("refused", "all 2 tests failed, in quarantine: nothing was tested"),
        ),
        (
            [entry()],
            report(a="failed", b="skipped"),
            ("refused", "1 of 2 tests failed, in quarantine, the rest was skipped: nothing was tested"),
        ),
        (
            [entry()],
            report({"cut_short": "the process ended"}, a="failed", b="passed"),
            ("failed", "1 of 2 failed"),
        ),
    ],
    ids=[
        *("quarantined", "another failed", "another quarantined", "ended", "passed"),
        *("the only one", "all", "rest skipped", "cut short"),
    ],
)
def test_what_a_quarantine_lets_pass(entries: list[Quarantine], found: TestReport, wanted: object) -> None:
    assert verdict(entries, found) == wanted


def test_only_the_configuration_takes_a_failure_out_of_the_count() -> None:
    case = TestCase(name="a", outcome="failed", quarantined="says the plugin")
    found = TestReport(tool="t 1", cases=(case, TestCase(name="b", outcome="passed")))

    for entries in ([], [entry("b")], [entry(until="2020-01-01")]):
        assert verdict(entries, found) == ("failed", "1 of 2 failed")


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        ("t.py::test_a", ["t.py::test_a"], ["t.py::test_ab", "xt.py::test_a", "tXpy::test_a"]),
        ("t.py::test_a[*]", ["t.py::test_a[1-2]", "t.py::test_a[]"], ["t.py::test_a", "t.py::test_a1"]),
        ("t.py::test_a[1]", ["t.py::test_a[1]"], ["t.py::test_a1"]),
        ("t.py::*", ["t.py::test_a", "t.py::A::b\nc"], ["u.py::test_a"]),
        ("t?.py", ["t1.py"], ["t.py", "t12.py"]),
    ],
)
def test_which_tests_an_entry_names(pattern: str, names: list[str], others: list[str]) -> None:
    assert [name for name in [*names, *others] if entry(pattern).names(name)] == names


def test_what_is_said_of_entries_that_ended_or_name_nothing() -> None:
    entries = [entry("a", "2026-11-24"), entry("gone"), entry("b", owner="ana", issue="#7")]

    applied = quarantine.apply(entries, report(a="failed", b="failed", c="passed"), TODAY)

    assert applied.notes == (
        "! a: its quarantine ended on 2026-11-24. Mend the test, or set a later `until`",
    )
    assert applied.unmatched == ("gone",)
    assert [case.quarantined for case in applied.report.cases] == [
        None,
        "slow clock (until 2026-11-25, ana, #7)",
        None,
    ]


# --- the configuration ---

HEAD = '[penstock]\nplugins = ["fake"]\n'
GOOD = 'test = "t.py::a"\nwhy = "w"\nuntil = 2027-01-31\n'
PHASES = {"source": "source", "build.x": "build", "test.unit[py=3]": "test", "test.unit[py=4]": "test"}


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., tuple[list[str], list[str]]]:
    """The faults and the warnings of a configuration's entries."""

    def read(text: str, name: str = "penstock.toml", phases: dict[str, str] = PHASES) -> Any:
        path = tmp_path / name
        path.write_text(text)
        source = ConfigFile(path, {"plugins"})
        errors: list[str] = []
        found, warnings = quarantine.read(source.read(), phases, source, errors, TODAY)
        return found, errors, warnings

    return read


def test_good_entries_are_read(read: Callable[..., Any]) -> None:
    text = f'{HEAD}[[quarantine]]\n{GOOD}step = "test.unit"\n\n[[quarantine]]\n{GOOD}owner = "ana"\n'

    found, errors, warnings = read(text)

    assert (errors, warnings) == ([], [])
    assert [(each.test, each.step, each.until, each.owner) for each in found] == [
        ("t.py::a", "test.unit", date(2027, 1, 31), None),
        ("t.py::a", None, date(2027, 1, 31), "ana"),
    ]
    assert [len(quarantine.of_step(found, name)) for name in ("test.unit[py=3]", "test.other")] == [2, 1]


def test_entries_in_pyproject_are_read(read: Callable[..., Any]) -> None:
    text = f'[tool.penstock]\nplugins = []\n[[tool.penstock.quarantine]]\n{GOOD}[[tool.penstock.quarantine]]\ntest = "b"\n'

    _, errors, _ = read(text, "pyproject.toml")

    assert errors == [
        "pyproject.toml:7: [[tool.penstock.quarantine]] why: is missing. Why its failure does not count; shown "
        "wherever that is used",
        "pyproject.toml:7: [[tool.penstock.quarantine]] until: is missing. The last day (UTC) on which it does "
        "not count, such as 2027-01-31",
    ]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('test = "*"', 'test: "*" would name every test. Name those that are meant, such as'),
        ('test = "**::*"', 'test: "**::*" would name every test.'),
        ('test = ""', 'test: "" would name every test.'),
        ('test = "a\\u001b[2J"', 'test: "a\\x1b[2J" is no name of a test.'),
        ("test = 7", "test: must be a string, and not 7"),
        ('why = " "', "why: says nothing"),
        ("until = 20270131", "until: this is no day. One is written as 2027-01-31"),
        ('until = "31.1.2027"', 'until: "31.1.2027" is no day.'),
        ("until = 2027-01-31T10:00:00Z", "until: this is no day."),
        ("until = true", "until: this is no day."),
        ('step = "test.unti"', 'step: "test.unti" is no test step. Did you mean "test.unit"?'),
        ('step = "build.x"', 'step: "build.x" is no test step'),
        ("step = 3", "step: must be a string, and not 3"),
        ('because = "x"', "because: there is no such key. The keys are issue, owner, step, test, until, why"),
        ('tests = ["a"]', 'tests: there is no such key. Did you mean "test"?'),
    ],
)
def test_a_wrong_entry_is_named_with_its_line(read: Callable[..., Any], lines: str, says: str) -> None:
    key = lines.partition(" ")[0]
    rest = "".join(line + "\n" for line in GOOD.splitlines() if not line.startswith(f"{key} "))

    found, errors, _ = read(f"{HEAD}[[quarantine]]\n{GOOD}[[quarantine]]\n{rest}{lines}\n")

    assert len(found) == 1
    assert len(errors) == 1
    assert errors[0].startswith(f"penstock.toml:{8 + len(rest.splitlines())}: [[quarantine]] {says}"), errors


@pytest.mark.parametrize(
    "text",
    ["[quarantine]\ntest = 'a'\n", "[quarantine.a]\nwhy = 'x'\n", "quarantine = ['a']\n", "quarantine = 3\n"],
)
def test_what_is_no_list_of_entries_is_refused(read: Callable[..., Any], text: str) -> None:
    _, errors, _ = read(text)

    (message,) = errors
    assert "[quarantine] must be a list of tables. Each begins with [[quarantine]]" in message


def test_an_entry_that_stands_there_twice_is_refused_and_one_that_ended_is_warned_of(
    read: Callable[..., Any],
) -> None:
    old = GOOD.replace("2027", "2025")

    _, errors, _ = read(f"{HEAD}[[quarantine]]\n{GOOD}[[quarantine]]\n{GOOD}")
    _, none, warnings = read(f"{HEAD}[[quarantine]]\n{old}")

    assert errors == ['penstock.toml:8: [[quarantine]] test: "t.py::a" is named twice. Leave one out']
    assert none == []
    assert warnings == [
        'penstock.toml:6: [[quarantine]] until: its quarantine ended on 2025-01-31: "t.py::a" counts again. '
        "Mend the test, or set a later `until`"
    ]


# --- whole runs ---

FAKE = (
    ONE_FILE
    + """
class Told(Settings):
    failed: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()

@hookimpl
def penstock_test(settings: Told, step):
    cases = [TestCase(name=name, outcome="failed", message="E no luck") for name in settings.failed]
    return TestReport(
        tool="told 1", cases=(*cases, *(TestCase(name=name, outcome="passed") for name in settings.passed))
    )

class Place(Target):
    def observe(self, step): return TargetState()
    def apply(self, release, step): pass
    def probe(self, step): return Health(status="healthy")
    def restore(self, state, step): pass

@hookimpl
def penstock_targets(settings: Settings, step):
    return [Place(id="here")]
"""
)
PIPELINE = """
[build.file]
uses = "fake"
[test.unit]
uses = "fake"
failed = ["t.py::bad"]
passed = ["t.py::good"]
[deploy.live]
uses = "fake"
"""
BAD = '[[quarantine]]\ntest = "t.py::bad"\nwhy = "see #7"\nuntil = 2999-12-31\n'


@pytest.fixture
def told(lab: Lab) -> Lab:
    lab.plugin("fake", FAKE)
    return lab


def test_a_quarantined_failure_is_deployed_and_said_everywhere(told: Lab) -> None:
    told.toml(PIPELINE + BAD, ("fake",))

    code, said = told.run("run")

    assert code == 0, said
    assert "✓ test.unit    1 passed, 1 quarantined failed" in said
    assert "quarantined: t.py::bad failed, and does not count: see #7 (until 2999-12-31)" in said
    step = json.loads(told.run("show", "--json", "last", "test.unit")[1])
    assert step["state"] == "passed"
    assert step["tests"] == {"passed": 1, "failed": 0, "skipped": 0, "flaky": 0, "quarantined": 1}
    finished = next(e for e in told.events() if e.type == "step.finished" and e.step == "test.unit")
    (reference,) = finished.data["evidence"]
    predicate = json.loads(finished.data["statements"][reference["statement"]])["predicate"]
    assert predicate["result"] == "WARNED"
    assert predicate["passedTests"] == ["t.py::good"]
    assert predicate["warnedTests"] == ["t.py::bad"]
    assert predicate["failedTests"] == []
    junit = told.run("report", "--junit", "-")[1]
    assert '<testsuite name="test.unit" errors="0" failures="0" skipped="1" tests="2"' in junit
    assert "failed, and does not count: see #7" in junit


def test_without_the_entry_or_after_its_end_the_same_test_closes_the_gate(told: Lab) -> None:
    for entries, also in (
        ("", ""),
        (BAD.replace("2999", "2020"), "its quarantine ended on 2020-12-31. Mend the test"),
        (BAD.replace("bad", "other"), "[[quarantine]] names no test of this run: t.py::other. Take it out."),
    ):
        told.toml(PIPELINE + entries, ("fake",))
        code, said = told.run("run")
        assert code == 1, said
        assert "✗ test.unit    1 of 2 failed" in said
        assert also in said


def test_an_entry_is_needless_only_where_no_step_needs_it(told: Lab) -> None:
    second = '[test.second]\nuses = "fake"\npassed = ["u.py::good"]\n'
    bound = BAD.replace("why", 'step = "test.second"\nwhy')

    told.toml(PIPELINE + second + BAD, ("fake",))
    assert "names no test" not in told.run("run")[1]
    told.toml(PIPELINE + second + bound, ("fake",))
    code, said = told.run("run")
    assert code == 1
    assert "names no test of this run: t.py::bad" in said
    told.toml(PIPELINE + second + BAD.replace("bad", "none"), ("fake",))
    assert "names no test" not in told.run("run", "--only", "test.second")[1], "the other step was not run"


def test_another_quarantine_is_another_plan_and_needs_another_approval(told: Lab) -> None:
    told.toml(PIPELINE, ("fake",))
    without = json.loads(told.run("plan", "--json")[1])
    told.toml(PIPELINE + BAD, ("fake",))
    quarantined = json.loads(told.run("plan", "--json")[1])

    assert without["digest"] != quarantined["digest"]


def test_an_entry_is_in_the_schema(told: Lab) -> None:
    told.toml(PIPELINE, ("fake",))

    schema = json.loads(told.run("schema")[1])

    items = schema["properties"]["quarantine"]["items"]
    assert set(items["required"]) == {"test", "why", "until"}
    assert items["properties"]["until"]["pattern"] == r"^\d{4}-\d\d-\d\d$"
