from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import flaky
from penstock.flaky import Attempt, Compared, compare
from penstock.home import Home
from penstock.journal import Journal, New
from penstock.keys import Keys
from penstock.model import Artifact, TestCase, TestReport
from penstock.plan import PlanStep
from penstock.tries import Tries, Try

from core.tests.lab import Lab

STEP = PlanStep(name="test.unit", phase="test", uses="pytest")
SNAPSHOT = "sha256:" + "a" * 64


def attempt(run: int, number: int = 1, **outcomes: str) -> Attempt:
    cases = [
        TestCase(
            name=name, outcome=outcome, message=f"> f()\nE {name} broke" if outcome == "failed" else None
        )  # type: ignore[arg-type]
        for name, outcome in outcomes.items()
    ]
    return Attempt(run, number, TestReport(tool="t 1", cases=tuple(cases)))


def marks(found: Compared) -> dict[str, str]:
    return {case.name: case.flaky for case in found.report.cases if case.flaky is not None}


def flakes(found: Compared) -> list[tuple[str, tuple[int, ...], str]]:
    return [(flake.name, flake.runs, flake.message) for flake in found.flakes]


# --- comparing ---


def test_a_test_that_passes_after_it_failed_is_flaky() -> None:
    found = compare(attempt(4, 2, a="passed", b="passed"), [attempt(4, 1, a="failed", b="passed")])

    assert marks(found) == {"a": "failed in attempt 1: a broke"}
    assert flakes(found) == [("a", (4,), "a broke")]


def test_a_test_that_fails_after_it_passed_is_flaky_and_still_failed() -> None:
    found = compare(attempt(5, a="failed"), [attempt(3, a="passed")])

    assert marks(found) == {"a": "passed in run 3"}
    assert flakes(found) == [("a", (5,), "a broke")]
    assert found.report.count("failed") == 1


@pytest.mark.parametrize(
    ("now", "before"),
    [("failed", "failed"), ("passed", "passed"), ("skipped", "failed"), ("passed", "skipped")],
)
def test_a_test_that_did_not_both_fail_and_pass_is_not_flaky(now: str, before: str) -> None:
    assert compare(attempt(5, a=now), [attempt(3, a=before)]) == Compared(attempt(5, a=now).report, ())


def test_a_test_that_its_tool_ran_again_is_flaky_by_itself() -> None:
    case = TestCase(name="a", outcome="passed", flaky="assert 1 == 2\nand more")

    found = compare(Attempt(7, 1, TestReport(tool="t 1", cases=(case,))), [])

    assert marks(found) == {"a": "failed at first: assert 1 == 2"}
    assert flakes(found) == [("a", (7,), "assert 1 == 2")]


def test_a_failure_that_is_known_is_marked_in_its_own_run_and_not_counted_again() -> None:
    history = [attempt(1, a="passed"), attempt(2, 1, a="failed")]

    here, elsewhere = compare(attempt(2, 2, a="passed"), history), compare(attempt(3, a="passed"), history)

    assert (marks(here), flakes(here)) == ({"a": "failed in attempt 1: a broke"}, [])
    assert (marks(elsewhere), flakes(elsewhere)) == ({}, [])


@given(st.lists(st.sampled_from(["passed", "failed", "skipped"]), max_size=8))
def test_each_failure_of_a_flaky_test_counts_once(outcomes: list[str]) -> None:
    attempts = [attempt(number, a=outcome) for number, outcome in enumerate(outcomes, 1)]

    counted = [
        run
        for at, each in enumerate(attempts)
        for flake in compare(each, attempts[:at]).flakes
        for run in flake.runs
    ]

    failed = [number for number, outcome in enumerate(outcomes, 1) if outcome == "failed"]
    assert sorted(counted) == (failed if "passed" in outcomes else [])


def built(kind: str, digit: str) -> Artifact:
    return Artifact(name="a", kind=kind, digest="sha256:" + digit * 64)


def key(
    step: PlanStep = STEP, plugin: str = "1", snapshot: str | None = SNAPSHOT, of: Iterable[Artifact] = ()
) -> str | None:
    return flaky.inputs(step, plugin, snapshot, of, {})


@pytest.mark.parametrize(
    "other",
    [
        {"step": STEP.model_copy(update={"settings": {"args": ["-x"]}})},
        {"step": STEP.model_copy(update={"keys": Keys(env={"A": "b"})})},
        {"step": STEP.model_copy(update={"name": "test.other"})},
        {"plugin": "2"},
        {"snapshot": "sha256:" + "b" * 64},
        {"of": [built("sdist", "c")]},
        {"of": [built("wheel", "c")]},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_inputs_have_another_key(other: dict[str, Any]) -> None:
    assert key(**other) != key()


def test_how_often_and_how_long_to_try_are_no_inputs() -> None:
    assert key(STEP.model_copy(update={"keys": Keys(retries=3, timeout=5)})) == key()
    assert key(snapshot=None) is None


def test_a_source_distribution_beside_a_wheel_is_no_input() -> None:
    wheel = built("wheel", "c")

    assert key(of=[wheel, built("sdist", "d")]) == key(of=[wheel, built("sdist", "e")]) == key(of=[wheel])
    assert key(of=[built("sdist", "d")]) != key(of=[built("sdist", "e")])


# --- the list of attempts ---


def test_a_line_that_was_cut_off_hides_no_other(tmp_path: Path) -> None:
    tries = Tries(Home(tmp_path), "test.unit[py=3.12]")
    made = [Try(inputs="k", run=run, attempt=1, failed=False, report=SNAPSHOT) for run in range(3)]
    tries.note(made[0])
    (path,) = (tmp_path / "tries").iterdir()
    with path.open("ab") as file:
        file.write(b'\n{"inputs":"k","run":9')
    tries.note(made[1])
    tries.note(Try(inputs="other", run=1, attempt=1, failed=True))

    assert tries.on("k") == made[:2]
    assert Tries(Home(tmp_path), "test.never").on("k") == []


def test_a_list_of_attempts_does_not_grow_for_ever(tmp_path: Path) -> None:
    tries = Tries(Home(tmp_path), "test.unit")
    case = TestCase(name="n" * 1000, outcome="passed")
    for run in range(600):
        tries.note(Try(inputs="k", run=run, attempt=1, failed=False, only=case))

    (path,) = (tmp_path / "tries").iterdir()
    found = [each.run for each in tries.on("k")]
    assert path.stat().st_size < 300_000
    assert found == list(range(found[0], 600))
    assert len(found) > 100


# --- whole runs ---

FAKE = """
class Told(Settings):
    fails: dict[str, tuple[int, ...]] = {}
    checks: bool = False

@hookimpl
def penstock_source(settings: Settings, step):
    (step.workspace / "a.txt").write_text((step.project / "source").read_text())
    return Revision()

@hookimpl
def penstock_test(settings: Told, step):
    times = step.project / f"{step.name}.times"
    now = int(times.read_text()) + 1 if times.exists() else 1
    times.write_text(str(now))
    cases = [
        TestCase(name=name, outcome="failed" if now in when else "passed", message=f"E {name} at {now}")
        for name, when in settings.fails.items()
    ]
    return TestReport(tool="told 1", cases=tuple(cases), checks_only=settings.checks)
"""


@pytest.fixture
def told(lab: Lab) -> Lab:
    lab.plugin("fake", FAKE)
    (lab.root / "source").write_text("one")
    return lab


def configure(lab: Lab, *sections: str) -> None:
    lab.toml("\n".join(sections), ("fake",))


def section(name: str, fails: dict[str, tuple[int, ...]], more: str = "") -> str:
    table = ", ".join(f'"{test}" = {list(when)}' for test, when in fails.items())
    return f'[test.{name}]\nuses = "fake"\nfails = {{ {table} }}\n{more}\n'


def listed(lab: Lab, *more: str) -> list[dict[str, Any]]:
    code, said = lab.run("flaky", "--json", *more)
    assert code == 0, said
    rows: list[dict[str, Any]] = json.loads(said)
    return rows


def test_a_retried_attempt_s_report_is_kept_and_its_flaky_test_is_named(told: Lab) -> None:
    configure(told, section("unit", {"t::a": (1,), "t::b": ()}, "retries = 1"))

    code, said = told.run("run")

    assert code == 0, said
    assert "2 passed, 1 flaky" in said
    assert "flaky: t::a passed now, and on the same inputs it failed in attempt 1: t::a at 1" in said
    retried = next(event for event in told.events() if event.type == "step.retried")
    kept = TestReport.model_validate_json(told.home.store.read(retried.data["report"]))
    assert [(case.name, case.outcome) for case in kept.cases] == [("t::a", "failed"), ("t::b", "passed")]
    assert retried.data["tests"] == {"passed": 1, "failed": 1, "skipped": 0, "flaky": 0}
    step = json.loads(told.run("show", "--json")[1])["steps"][1]
    assert (step["tests"]["flaky"], step["flaky"]) == (1, ["t::a"])
    assert [(each["attempt"], each["tests"]["failed"]) for each in step["retried"]] == [(1, 1)]


def test_runs_on_the_same_inputs_are_compared_and_listed_most_frequent_first(told: Lab) -> None:
    configure(
        told,
        section("unit", {"rare": (3,), "often": (2, 4), "good": (), "broken": (1, 2, 3, 4)}),
        section("check", {"lint": (2,)}, "checks = true"),
    )
    for _ in range(4):
        told.run("run")

    rows = listed(told)

    assert [(row["step"], row["test"], row["flaked"], row["runs"]) for row in rows] == [
        ("test.unit", "often", 2, 4),
        ("test.check", "lint", 1, 4),
        ("test.unit", "rare", 1, 4),
    ]
    assert rows[0]["last_run"] == 4
    assert rows[0]["message"] == "often at 4"
    assert rows[0]["rate"] == 0.5
    assert listed(told, "test.check") == rows[1:2]
    said = told.run("flaky", "test.unit")[1]
    assert "test.unit  often\n    2 of 4 runs (50%), last in run 4 on 2" in said
    assert "lint" not in said
    assert told.run("flaky", "test.unti") == (
        2,
        'penstock: there is no step "test.unti". Did you mean "test.unit"?\n',
    )


def test_another_source_is_another_input(told: Lab) -> None:
    configure(told, section("unit", {"a": (1,), "b": ()}))
    told.run("run")
    (told.root / "source").write_text("two")
    told.run("run")

    assert listed(told) == []
    assert told.run("flaky") == (0, "No flaky test in the last 30 days.\n")
    assert told.run("flaky", "--since", "2h") == (0, "No flaky test in the last 2h.\n")


def test_without_a_run_and_with_a_wrong_time_the_list_says_so(told: Lab) -> None:
    configure(told, section("unit", {"a": ()}))

    assert told.run("flaky") == (0, "No run in the last 30 days. Start one: penstock run\n")
    code, said = told.run("flaky", "--since", "yesterday")
    assert code == 2
    assert '--since: "yesterday" is not a duration. Durations are such as "30s", "5m" or "1h30m"' in said


def test_without_the_list_of_attempts_or_a_report_there_is_less_to_compare_and_nothing_else(
    told: Lab,
) -> None:
    configure(told, section("unit", {"a": (1,), "b": ()}))
    told.run("run")
    report = next(e.data["report"] for e in told.events() if e.data.get("report"))
    blob = next(path for path in told.home.root.rglob(f"*{report[9:]}*"))
    blob.unlink()

    assert told.run("run")[0] == 0
    assert listed(told) == []


def test_listing_reads_events_and_no_report(tmp_path: Path, told: Lab) -> None:
    """With 3,000 past runs, of which every hundredth flaked: none has a report in the store."""
    configure(told, section("unit", {"a": ()}))
    journal = Journal(told.home.journal)
    now = time.time()
    for run in range(1, 3001):
        at = now - (3001 - run) * 60
        events = [New("run.started", None, {"plan": SNAPSHOT}, at)]
        events += [New("step.started", "test.unit", {"attempt": 1}, at)] if run else []
        if run % 100 == 0:
            tests = [{"name": "a", "runs": [run], "message": "m"}]
            events.append(New("tests.flaky", "test.unit", {"tests": tests}, at))
        events.append(New("run.finished", None, {"state": "passed"}, at))
        with journal._writing():
            journal._append(run, events)
    journal.commit()
    journal.close()

    began = time.monotonic()
    (row,) = listed(told, "--since", "2d")
    assert time.monotonic() - began < 10
    assert (row["flaked"], row["runs"], row["last_run"]) == (29, 2879, 3000)


def test_an_old_journal_without_such_events_lists_nothing(told: Lab) -> None:
    configure(told, section("unit", {"a": (1,), "b": ()}, "retries = 1"))
    told.run("run")
    with sqlite3.connect(told.home.journal) as db:
        db.execute("DELETE FROM events WHERE type = 'tests.flaky'")

    assert listed(told) == []
    assert "2 passed, 1 flaky" in told.run("show")[1]
