"""What was there before costs nothing: each question to the journal is answered from an index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from penstock.journal import Journal, New

RUNS = 2000


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of many runs, one of which is not over and one of which was deployed."""
    path = tmp_path_factory.mktemp("old") / "journal.db"
    journal = Journal(path)
    journal._db.execute("PRAGMA synchronous=OFF")
    for number in range(1, RUNS + 1):
        run, _ = journal.begin([New("run.started", None, {"plan": "sha256:plan"}, 1.0)])
        kind = "rollout.began" if number == RUNS - 5 else "step.started"
        journal.append(run, [New(kind, "deploy.live", {}, 2.0), New("step.finished", "a", {"n": run}, 3.0)])
        if number != 7:
            journal.append(run, [New("run.finished", None, {"state": "passed"}, 4.0)])
    journal.close()
    return path


def asked(path: Path, ask: Callable[[Journal], Any]) -> tuple[Any, list[str]]:
    """What a question to the journal is answered with, and how SQLite looks for it."""
    journal = Journal(path)
    statements: list[str] = []
    journal._db.set_trace_callback(statements.append)
    answer = ask(journal)
    journal._db.set_trace_callback(None)
    plans = [
        str(row[3])
        for statement in statements
        if statement.startswith("SELECT")
        for row in journal._db.execute(f"EXPLAIN QUERY PLAN {statement}")
    ]
    journal.close()
    return answer, plans


QUESTIONS: dict[str, Callable[[Journal], Any]] = {
    "the newest runs": lambda journal: [line.run for line in journal.runs(2)],
    "a run": lambda journal: journal.run(RUNS).state,
    "its events": lambda journal: len(journal.events(RUNS)),
    "the tip": lambda journal: journal.tip()[0],
    "the events from one on": lambda journal: len(list(journal.rows(journal.tip()[0] - 2))),
    "what is not over": lambda journal: [line.run for line in journal.runs(unfinished=True)],
    "the newest of a kind": lambda journal: next(journal.find("step.finished")).run,
    "all of a kind that is rare": lambda journal: [event.run for event in journal.find("rollout.began")],
    "a beginning": lambda journal: journal.begin([New("run.started", None, {}, 1.0)])[0],
}
ANSWERS = [[RUNS, RUNS - 1], "passed", 4, 4 * RUNS - 1, 3, [7], RUNS, [RUNS - 5], RUNS + 1]


@pytest.mark.parametrize(
    ("question", "answer"), list(zip(QUESTIONS, ANSWERS, strict=True)), ids=list(QUESTIONS)
)
def test_no_question_reads_all_that_there_is(question: str, answer: Any, old: Path) -> None:
    found, plans = asked(old, QUESTIONS[question])

    assert found == answer
    assert plans
    for plan in plans:
        # A scan in the order of the key stops at its limit.
        ordered = question in ("the newest runs", "the tip", "the events from one on", "a beginning")
        assert plan.startswith("SEARCH") or " USING " in plan or ordered, plan
        assert "TEMP B-TREE" not in plan, f"sorted anew: {plan}"


def steps_of(path: Path, ask: Callable[[Journal], Any]) -> int:
    """How many thousand instructions of SQLite a question takes."""
    journal = Journal(path)
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    journal._db.set_progress_handler(tick, 100)
    ask(journal)
    journal.close()
    return count


@pytest.mark.parametrize("question", [name for name in QUESTIONS if name != "a beginning"])
def test_an_answer_takes_as_long_after_ten_runs_as_after_thousands(
    question: str, old: Path, tmp_path: Path
) -> None:
    few = Journal(tmp_path / "journal.db")
    for _ in range(10):
        run, _ = few.begin([New("run.started", None, {"plan": "sha256:plan"}, 1.0)])
        few.append(run, [New("step.finished", "a", {}, 3.0), New("rollout.began", "deploy.live", {}, 2.0)])
        few.append(run, [New("run.finished", None, {"state": "passed"}, 4.0)])
    few.close()

    assert steps_of(old, QUESTIONS[question]) <= steps_of(tmp_path / "journal.db", _small(question)) + 3


def _small(question: str) -> Callable[[Journal], Any]:
    """The same question about ten runs."""
    number = 10
    return {
        "a run": lambda journal: journal.run(number),
        "its events": lambda journal: journal.events(number),
    }.get(question, QUESTIONS[question])
