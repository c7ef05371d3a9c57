"""A journal, a store or a `.penstock` that is damaged, changed, or something else; and two at once."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from penstock.chain import link

from tests.broken.place import PENSTOCK, Place, Said, Warm

PIPELINE = """
[build.box]
uses = "plain"

[approve.live]

[deploy.live]
uses = "plain"
place = "{here}/live"
"""
JOURNAL = "penstock: the journal /project/.penstock/journal.db"
ANEW = "Put back a copy of it, or move .penstock away and begin anew"
BROKEN = (
    "What it says since then can't be believed. More: penstock audit. Put back a copy of it, or begin anew "
    "without .penstock"
)


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Place:
    """A project with a run that waits, and no process at it."""
    place = Place.make(tmp_path_factory.mktemp("records"), warm)
    place.toml(PIPELINE)
    assert place.run("run").code == 3
    journal = sqlite3.connect(place.root / ".penstock" / "journal.db")
    journal.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    journal.close()
    shutil.copytree(place.root / ".penstock", place.base / "kept")
    return place


@pytest.fixture
def place(waiting: Place) -> Place:
    """The same, as it was."""
    shutil.rmtree(waiting.root / ".penstock")
    shutil.copytree(waiting.base / "kept", waiting.root / ".penstock")
    return waiting


def change(path: Path, statement: str) -> None:
    journal = sqlite3.connect(path)
    journal.execute(statement)
    journal.commit()
    journal.close()


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage" * 1000)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:6000])


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def newer(path: Path) -> None:
    change(path, "PRAGMA user_version=99")


def emptied(path: Path) -> None:
    change(path, "DROP TABLE runs")


JOURNALS: list[tuple[Callable[[Path], None], str]] = [
    (garbage, f"{JOURNAL} can't be opened: it is no database. {ANEW}"),
    (truncated, f"{JOURNAL} can't be opened: it is damaged. {ANEW}"),
    (
        directory,
        f"{JOURNAL} can't be opened: it is no file that can be opened. See what stands there, and move it away",
    ),
    (
        newer,
        "penstock: /project/.penstock/journal.db was written by a newer Penstock (journal version 99, this one "
        "reads 3). Try: pip install --upgrade penstock",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), JOURNALS)
def test_a_journal_that_can_not_be_used(place: Place, spoil: Callable[[Path], None], message: str) -> None:
    path = place.root / ".penstock" / "journal.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""

    for words in (["show"], ["run"], ["runs"], ["resume"], ["approve"], ["verify", "0" * 8], ["status"]):
        done = place.run(*words)
        assert (done.code, done.out, done.err) == (4, "", f"{message}\n"), words
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_journal_without_its_tables(place: Place) -> None:
    emptied(place.root / ".penstock" / "journal.db")

    done = place.run("runs")

    assert (done.code, done.out) == (4, "")
    assert done.err == f"{JOURNAL} can't be read: it is not as it was made (no such table: runs). {ANEW}\n"


def test_a_journal_that_was_emptied_begins_anew(place: Place) -> None:
    (place.root / ".penstock" / "journal.db").write_bytes(b"")

    assert place.run("show").err == "penstock: there is no run yet. Start one: penstock run\n"


@pytest.mark.parametrize("data", ["{}", "{x", "[]"])
def test_an_event_that_was_changed(place: Place, data: str) -> None:
    change(place.root / ".penstock" / "journal.db", f"UPDATE events SET data='{data}' WHERE id=3")

    for words in (["resume"], ["verify", "26f8f4ae"]):
        done = place.run(*words)
        assert (done.code, done.out) == (4, "")
        assert done.err == f"{JOURNAL} was changed: its chain breaks at event 3. {BROKEN}\n"
    done = place.run("show")
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith(
        ("penstock: the journal was changed: ", "penstock: event 3 in the journal can't be")
    )
    assert place.run("approve").code == 4


def chain_anew(path: Path) -> None:
    """Give each event the hash that it would have had."""
    journal = sqlite3.connect(path)
    previous = b""
    for row in journal.execute("SELECT id, run, time, type, step, data FROM events ORDER BY id").fetchall():
        previous = link(previous, *row)
        journal.execute("UPDATE events SET hash = ? WHERE id = ?", (previous, row[0]))
    journal.commit()
    journal.close()


def test_a_journal_whose_newest_event_was_changed_is_not_added_to(place: Place) -> None:
    """A pipeline without a sign step has no seal: the newest event is what can be looked at in no time."""
    path = place.root / ".penstock" / "journal.db"
    change(path, "UPDATE events SET data = '{}' WHERE id = (SELECT max(id) FROM events)")
    before = path.read_bytes()

    done = place.run("run")

    assert (done.code, done.out) == (4, "")
    assert done.err == (
        f"{JOURNAL} was changed: its newest event, 8, is not what was written. Nothing is added to it. "
        "What is wrong: penstock audit. Put back a copy of it, or move .penstock away and begin anew\n"
    )
    assert path.read_bytes() == before


def test_a_clock_that_went_back_changes_nothing(place: Place) -> None:
    """Events of the future: the next are written after them, and a run begins and ends."""
    path = place.root / ".penstock" / "journal.db"
    change(path, "UPDATE events SET time = time + 1e9")
    change(path, "UPDATE runs SET started = started + 1e9, finished = finished + 1e9")
    chain_anew(path)

    done = place.run("run", "--only", "build.box")

    assert (done.code, done.err) == (0, "")
    assert "Passed in N s. Run 2." in done.out


def stored(place: Place, digest: str) -> Path:
    digits = digest.removeprefix("sha256:")
    return place.root / ".penstock" / "artifacts" / digits[:2] / digits[2:]


def test_a_plan_that_is_not_in_the_store(place: Place) -> None:
    plan: str = place.json("show")["plan"]
    stored(place, plan).unlink()

    for words in (["show"], ["approve", "1"], ["resume"], ["logs"]):
        done = place.run(*words)
        assert (done.code, done.out) == (4, "")
        assert done.err == (
            f"penstock: the plan of run 1 can't be had: {plan} can't be read from the store: No such file or "
            "directory. Without it the run can't be shown or gone on with; another can begin: penstock run\n"
        )
    assert [row["state"] for row in place.json("runs")] == ["waiting"]
    assert place.run("run", "--only", "source").code == 0


def test_an_artifact_that_was_changed(place: Place) -> None:
    [built] = place.step("build.box")["artifacts"]
    path = stored(place, built["digest"])
    path.chmod(0o644)
    path.write_bytes(b"evil")
    fault = (
        f"the bytes in the store are not those of {built['digest']}: they were changed after they were kept. "
        f"The file: {place.same(str(path))}"
    )

    verified, approved = place.run("verify", built["digest"]), place.run("approve")

    assert (verified.code, verified.err) == (1, "")
    assert f"  ✗ {fault}\nNOT PROVED.\n" in verified.out
    assert approved.code == 1
    assert place.reason("deploy.live") == f"{fault} (same bytes). Build it again: penstock run"
    assert not (place.base / "live").exists()


def test_a_store_that_is_a_file(place: Place) -> None:
    store = place.root / ".penstock" / "artifacts"
    shutil.rmtree(store)
    store.write_text("x")

    done = place.run("run")

    assert (done.code, done.out) == (4, "")
    assert (
        done.err
        == "penstock: the artifact store /project/.penstock/artifacts can't be written: Not a directory\n"
    )
    store.unlink()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_home_that_is_no_directory(place: Place, kind: str) -> None:
    home = place.root / ".penstock"
    shutil.rmtree(home)
    home.write_text("x") if kind == "file" else home.symlink_to("nowhere")

    for command in ("run", "show", "runs"):
        done = place.run(command)
        assert (done.code, done.out) == (4, "")
        assert done.err == (
            "penstock: /project/.penstock is no directory, and Penstock keeps its journal in one of that name. "
            "Move it away\n"
        )
    assert place.run("validate").code == 0
    home.unlink()
    home.mkdir()


def test_two_at_one_run(tmp_path: Path, warm: Warm) -> None:
    """While a process works on a run, no other may: the second says how to watch the first."""
    place = Place.make(tmp_path, warm)
    place.plugin(
        "slow",
        f"""
        @hookimpl
        def penstock_test(step):
            Path({str(tmp_path / "begun")!r}).touch()
            while not Path({str(tmp_path / "go")!r}).exists(): time.sleep(0.01)
            return PASSED
        """,
    )
    place.toml('[test.a]\nuses = "slow"\n', ("plain", "slow"))
    script = (
        f'"{PENSTOCK}" run >/dev/null & while ! [ -e {tmp_path}/begun ]; do sleep 0.05; done; '
        f'"{PENSTOCK}" resume; echo "$?" >{tmp_path}/code; touch {tmp_path}/go; wait'
    )

    done: Said = place.run(argv=["sh", "-c", script])

    assert (tmp_path / "code").read_text() == "2\n"
    assert done.err == "penstock: run 1 is being worked on by another process. Watch it: penstock logs -f 1\n"
    assert place.json("show")["state"] == "passed"


def test_two_runs_at_once_both_pass(tmp_path: Path, warm: Warm) -> None:
    place = Place.make(tmp_path, warm)
    place.toml(PIPELINE.replace("[approve.live]\n", "[policy.live]\nsupersede = false\n"))

    done = place.run(argv=["sh", "-c", f'"{PENSTOCK}" run & "{PENSTOCK}" run & wait'])

    assert (done.code, done.err) == (0, "")
    assert sorted((row["run"], row["state"]) for row in place.json("runs")) == [(1, "passed"), (2, "passed")]
