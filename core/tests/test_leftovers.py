"""What is nobody's is removed, and nothing that somebody holds."""

from __future__ import annotations

from pathlib import Path

from penstock import leftovers
from penstock.chain import New
from penstock.home import Lock

from core.tests.lab import Lab


def made(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")


FAKE = """
@hookimpl
def penstock_source(step):
    (step.workspace / "a.txt").write_text("source")
    return Revision()

@hookimpl
def penstock_test(step):
    return PASSED
"""


def workspace(lab: Lab, number: int) -> Path:
    place = lab.home.workspaces / str(number)
    made(*(place / name for name in ("lock", "note.new", "note.json", "tmp/a", "inbox/b", "files/c")))
    return place


def test_what_nobody_holds_is_removed(lab: Lab) -> None:
    home, journal = lab.home, lab.journal
    left, held = workspace(lab, 0), workspace(lab, 1)
    cut_off, worked_on, over = (journal.begin([New("run.started", None, {}, 1.0)])[0] for _ in range(3))
    journal.append(over, [New("run.finished", None, {"state": "passed"}, 2.0)])
    for run in (cut_off, worked_on, over):
        made(*(home.run(run) / name for name in ("wake", "observed.it.new", "engine.lock", "test.a.1.log")))
    made(home.root / "artifacts" / "incoming" / "half")
    locks = [Lock(held / "lock"), home.engine_lock(worked_on)]
    assert all(lock.take() for lock in locks)

    leftovers.sweep(home, journal)

    def names(place: Path) -> set[str]:
        return {entry.name for entry in place.iterdir()}

    assert names(left) == {"lock", "note.json", "files"}
    assert names(held) == {"lock", "note.json", "note.new", "files", "tmp", "inbox"}
    assert names(home.run(cut_off)) == {"engine.lock", "test.a.1.log"}
    assert names(home.run(over)) == {"engine.lock", "test.a.1.log"}
    assert names(home.run(worked_on)) == {"engine.lock", "test.a.1.log", "wake", "observed.it.new"}
    assert names(home.root / "artifacts" / "incoming") == set()
    for lock in locks:
        lock.release()
    assert Lock(left / "lock").take(), "it is given back"
    journal.close()


def test_a_run_that_was_killed_when_it_was_over_leaves_nothing_once_it_is_resumed(lab: Lab) -> None:
    lab.plugin("fake", FAKE)
    lab.toml('[source.it]\nuses = "fake"\n[test.it]\nuses = "fake"\n', ("fake",))
    for _ in range(3):  # the oldest is none that another command would look at
        assert lab.run("run")[0] == 0
    made(*(lab.home.run(1) / name for name in ("wake", "observed.it.new")))

    code, said = lab.run("resume", "1")

    assert (code, said) == (0, "Run 1 is over: passed. Another: penstock run\n")
    assert not {"wake", "observed.it.new"} & {entry.name for entry in lab.home.run(1).iterdir()}


def test_where_nothing_ever_ran_nothing_is_to_be_done(lab: Lab) -> None:
    journal = lab.journal

    leftovers.sweep(lab.home, journal)

    assert not lab.home.workspaces.exists()
    journal.close()
