from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock.chain import Row
from penstock.errors import ConfigError, PluginError
from penstock.journal import Journal, New

from core.tests.lab import database, until

APPENDER = """
import sys, time
from pathlib import Path
from penstock.journal import Journal, New
journal = Journal(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    pair = [New("tick", sys.argv[3], {"n": number, "part": part}, time.time()) for part in (1, 2)]
    events = journal.append(1, pair)
    print(events[0].id, events[1].id, flush=True)
"""


def started(plan: str = "sha256:plan", time: float = 1.5) -> New:
    return New("run.started", None, {"plan": plan, "options": {}}, time)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".penstock" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Journal:
    return Journal(path)


def change(path: Path, statement: str, *values: Any) -> None:
    with database(path) as connection:
        assert connection.execute(statement, values).rowcount == 1


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**53), 2**53),
        st.floats(allow_nan=False),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


# --- append and read ---


@given(
    batches=st.lists(
        st.lists(st.dictionaries(st.text(max_size=3), json_values, max_size=3), min_size=1, max_size=3),
        max_size=5,
    )
)
@settings(deadline=None, max_examples=30)
def test_what_is_appended_is_read_in_order(
    batches: list[list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    journal = Journal(path)
    run, made = journal.begin([started()])
    for batch in batches:
        made += journal.append(run, [New("note", "test.unit", data, 2.25) for data in batch])
    journal.close()

    read = Journal(path)

    assert read.events(run) == made
    assert read.events(run, made[0].id) == made[1:]
    assert [event.id for event in made] == list(range(1, len(made) + 1))
    assert read.check() == (len(made), read.check()[1], None)
    read.close()


def test_runs_are_numbered_and_listed_the_newest_first(journal: Journal) -> None:
    assert journal.runs() == []
    runs = [journal.begin([started(f"sha256:{number}", float(number))])[0] for number in range(3)]

    assert runs == [1, 2, 3]
    assert [(line.run, line.plan, line.started, line.state) for line in journal.runs(2)] == [
        (3, "sha256:2", 2.0, "running"),
        (2, "sha256:1", 1.0, "running"),
    ]


def test_a_rollback_s_line_says_what_it_returns_to(journal: Journal) -> None:
    data = {"plan": "sha256:plan", "release": {"revision": {"commit": "c0ffee"}}}
    run, _ = journal.begin([New("run.started", None, data, 1.0)])
    assert journal.run(run).revision == "c0ffee"
    assert journal.check()[2] is None


def test_a_run_s_line_says_how_it_stands(journal: Journal) -> None:
    run, _ = journal.begin([started()])

    def line() -> tuple[str, float | None, str | None]:
        found = journal.run(run)
        return found.state, found.finished, found.revision

    assert line() == ("running", None, None)
    journal.append(
        run, [New("step.finished", "source", {"state": "passed", "revision": {"commit": "c0ffee"}}, 2.0)]
    )
    assert line() == ("running", None, "c0ffee")
    journal.append(run, [New("run.waiting", None, {"state": "waiting"}, 3.0)])
    assert line() == ("waiting", 3.0, "c0ffee")
    journal.append(run, [New("run.resumed", None, {}, 4.0)])
    assert line() == ("running", None, "c0ffee")
    journal.append(run, [New("run.finished", None, {"state": "failed"}, 5.0)])
    assert line() == ("failed", 5.0, "c0ffee")
    assert journal.check()[2] is None


def test_events_of_a_kind_are_found_over_all_runs(journal: Journal) -> None:
    for run in (1, 2):
        journal.begin([started()])
        journal.append(run, [New("step.finished", "a", {"n": run}, 1.0), New("other", None, {}, 1.0)])

    assert [event.data for event in journal.find("step.finished")] == [{"n": 2}, {"n": 1}]


def test_who_has_found_enough_sees_and_writes_what_comes_after(path: Path, journal: Journal) -> None:
    run, _ = journal.begin([started()])
    ticks = [journal.append(run, [New("tick", None, {"n": n}, 2.0)])[0] for n in range(100)]
    found = journal.find("tick")
    assert next(found) == ticks[-1]
    other = Journal(path)
    [theirs] = other.append(run, [New("tock", None, {}, 3.0)])

    assert journal.events(run)[-1] == theirs
    [ours] = journal.append(run, [New("tick", None, {}, 4.0)])
    assert other.events(run)[-1] == ours
    other.close()
    assert list(found) == ticks[-2::-1], "all of those before, each once"


def test_there_is_no_run_of_that_number(journal: Journal) -> None:
    with pytest.raises(ConfigError, match=r"there is no run 7. The runs: penstock runs"):
        journal.run(7)


def test_nothing_of_a_batch_is_kept_where_a_part_can_t_be(journal: Journal) -> None:
    run, _ = journal.begin([started()])

    with pytest.raises(TypeError):
        journal.append(run, [New("good", None, {}, 1.0), New("bad", None, {"n": object()}, 1.0)])

    assert [event.type for event in journal.events(run)] == ["run.started"]
    journal.append(run, [New("good", None, {}, 1.0)])
    assert journal.check()[::2] == (2, None)


# --- the chain ---

COUNT = 1000


@pytest.fixture(scope="module")
def long_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "journal.db"
    journal = Journal(path)
    for run in range(1, 11):
        journal.begin([started()])
        journal.append(
            run, [New("step.finished", f"test.{n}", {"state": "passed", "n": n}, n + 0.5) for n in range(98)]
        )
        journal.append(run, [New("run.finished", None, {"state": "passed"}, 1000.0)])
    assert journal.check()[::2] == (COUNT, None)
    journal.close()
    return path


EDITS: dict[str, Any] = {
    "run": 99,
    "time": 77.25,
    "type": "step.started",
    "step": "test.other",
    "data": '{"state":"failed"}',
    "hash": b"\0" * 32,
}
ODD_EDITS: dict[str, Any] = {
    "data": b"\xff\xfe",
    "time": "noon",
    "step": b"\xff",
    "type": b"x",
    "hash": "text",
}


@given(
    number=st.integers(1, COUNT),
    edit=st.sampled_from([*EDITS.items(), *ODD_EDITS.items()]),
)
@settings(deadline=None, max_examples=60)
def test_an_edit_of_any_event_is_found_where_it_is(
    number: int, edit: tuple[str, Any], long_journal: Path
) -> None:
    field, value = edit
    with database(long_journal) as past:
        [(before,)] = past.execute(f"SELECT {field} FROM events WHERE id = ?", (number,))
        past.execute(f"UPDATE events SET {field} = ? WHERE id = ?", (value, number))
        try:
            journal = Journal(long_journal)
            assert journal.check()[2] == number
            journal.close()
        finally:
            past.execute(f"UPDATE events SET {field} = ? WHERE id = ?", (before, number))


def test_text_that_is_no_text_is_found_too(path: Path, journal: Journal) -> None:
    run, _ = journal.begin([started()])
    journal.append(run, [New("note", None, {}, 1.0)] * 3)
    change(path, "UPDATE events SET data = CAST(x'fffe' AS TEXT) WHERE id = 3")

    assert journal.check()[2] == 3
    with pytest.raises(PluginError, match=r"can't be read"):
        journal.events(run)


def test_an_event_with_a_hash_made_anew_is_found_by_the_next_one(path: Path, journal: Journal) -> None:
    run, _ = journal.begin([started()])
    journal.append(run, [New("note", None, {"n": n}, 1.0) for n in range(3)])
    other = Journal(path.with_name("other.db"))
    other.begin([started()])
    made = other.append(run, [New("note", None, {"n": 99}, 1.0)])
    with database(path.with_name("other.db")) as past:
        [(digest,)] = past.execute("SELECT hash FROM events WHERE id = ?", (made[0].id,))
    change(path, "UPDATE events SET data = ?, hash = ? WHERE id = 2", '{"n":99}', digest)

    assert journal.check()[2] == 3


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_event_that_is_taken_out_is_found(number: int, path: Path, journal: Journal) -> None:
    run, _ = journal.begin([started()])
    journal.append(run, [New("note", None, {}, 1.0)] * 3)
    change(path, "DELETE FROM events WHERE id = ?", number)

    assert journal.check()[2] == number


def test_events_that_change_places_are_found(path: Path, journal: Journal) -> None:
    run, _ = journal.begin([started()])
    journal.append(run, [New("note", None, {"n": n}, 1.0) for n in range(3)])
    for one, other in ((2, 99), (3, 2), (99, 3)):
        change(path, "UPDATE events SET id = ? WHERE id = ?", other, one)

    assert journal.check()[2] == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("state", "passed"),
        ("plan", "sha256:other"),
        ("started", 9.0),
        ("revision", "c0ffee"),
        ("finished", 1.0),
    ],
)
def test_a_run_s_line_that_says_otherwise_is_found(
    field: str, value: Any, path: Path, journal: Journal
) -> None:
    for _ in range(2):
        journal.begin([started()])
    journal.append(1, [New("run.finished", None, {"state": "failed"}, 2.0)])
    assert journal.check()[::2] == (3, None)
    change(path, f"UPDATE runs SET {field} = ? WHERE run = 1", value)

    assert journal.check()[2] == 3


def test_a_run_s_line_that_is_missing_is_found(path: Path, journal: Journal) -> None:
    journal.begin([started()])
    change(path, "DELETE FROM runs")

    assert journal.check()[2] == 1


def test_an_event_that_is_no_json_any_more_is_named(path: Path, journal: Journal) -> None:
    run, _ = journal.begin([started()])
    change(path, "UPDATE events SET data = '{' WHERE id = 1")

    with pytest.raises(PluginError, match=r"event 1 in the journal can't be read, it was changed"):
        journal.events(run)


# --- several processes ---


def append_in_a_process(path: Path, count: int, name: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", APPENDER, str(path), str(count), name]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_open_a_new_journal_at_once_all_write_to_it(path: Path) -> None:
    children = [append_in_a_process(path, 25, f"p{number}") for number in range(5)]
    said = [child.communicate(timeout=60) for child in children]

    assert [err for _, err in said] == [""] * 5
    journal = Journal(path)
    assert journal.check()[::2] == (250, None)
    for number in range(5):
        own = [event for event in journal.events(1) if event.step == f"p{number}"]
        assert [(event.data["n"], event.data["part"]) for event in own] == [
            (n, part) for n in range(25) for part in (1, 2)
        ]
        assert all(second.id == first.id + 1 for first, second in zip(own[::2], own[1::2], strict=True)), (
            "one commit"
        )


@pytest.mark.parametrize("lines", [1, 7, 40])
def test_killed_at_any_moment_all_that_was_reported_is_there(lines: int, path: Path) -> None:
    child = append_in_a_process(path, 10_000, "p")
    assert child.stdout
    reported = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    rest, _ = child.communicate()
    reported += [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]

    journal = Journal(path)
    count, _, wrong = journal.check()

    assert wrong is None
    assert count >= 2 * len(reported)
    assert count % 2 == 0, "a batch is there as a whole or not at all"
    assert [event.id for event in journal.events(1)] == list(range(1, count + 1))
    journal.append(1, [New("after", None, {}, 1.0)])
    assert journal.check()[::2] == (count + 1, None)


def test_whoever_opens_a_journal_waits_for_another_that_makes_it(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with database(path) as other:
        other.execute("CREATE TABLE something (id INTEGER)")
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as pool:
            opening = pool.submit(Journal, path)
            assert not wait([opening], 0.1).done
            other.execute("ROLLBACK")
            opening.result(10)


def test_each_commit_reaches_the_disk(journal: Journal) -> None:
    settings = {
        name: journal._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")
    }

    assert settings == {"synchronous": 2, "journal_mode": "wal"}


def test_a_reader_sees_what_another_has_written(path: Path, journal: Journal) -> None:
    child = append_in_a_process(path, 3, "p")
    until(lambda: len(journal.events(1)) == 6)
    child.communicate()


# --- what is not a journal, or can't be written ---


def test_a_journal_of_a_newer_penstock_is_left_alone(path: Path, journal: Journal) -> None:
    journal.close()
    with database(path) as connection:
        connection.execute("PRAGMA user_version=99")

    with pytest.raises(
        PluginError, match=r"was written by a newer Penstock \(journal version 99, .*upgrade penstock"
    ):
        Journal(path)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is not a database at all, and long enough to be seen" * 20)

    with pytest.raises(
        PluginError, match=r"the journal .*journal\.db can't be opened: it is no database\. Put back"
    ):
        Journal(path)


def test_a_damaged_database_is_an_error_and_no_traceback(path: Path, journal: Journal) -> None:
    run, _ = journal.begin([started()])
    for _ in range(200):
        journal.append(run, [New("note", None, {"text": "x" * 200}, 1.0)])
    journal.close()
    data = bytearray(path.read_bytes())
    data[8192 : len(data) - 4096] = b"\xaa" * (len(data) - 4096 - 8192)
    path.write_bytes(data)

    with pytest.raises(PluginError, match=r"the journal .* can't be"):
        Journal(path).events(run)


def test_a_full_disk_loses_nothing_and_the_message_says_what_to_do(path: Path, journal: Journal) -> None:
    run, _ = journal.begin([started()])
    [(pages,)] = journal._db.execute("PRAGMA page_count").fetchall()
    journal._db.execute(f"PRAGMA max_page_count={pages + 2}")
    big = New("note", None, {"text": "x" * 100_000}, 1.0)

    with pytest.raises(
        PluginError, match=r"the journal .*journal\.db can't be written: the disk is full\. Make room\."
    ):
        journal.append(run, [New("small", None, {}, 1.0), big])

    assert [event.type for event in journal.events(run)] == ["run.started"]
    journal._db.execute("PRAGMA max_page_count=100000")
    journal.append(run, [big])
    assert journal.check()[::2] == (2, None)


def test_a_copy_of_a_journal_is_a_journal(path: Path, journal: Journal, tmp_path: Path) -> None:
    run, _ = journal.begin([started()])
    journal.close()
    shutil.copy(path, tmp_path / "copy.db")

    assert json.dumps([event.data for event in Journal(tmp_path / "copy.db").events(run)])


class Busy(Journal):
    """A journal to which another process adds between one look at it and the next."""

    def rows(self, first: int = 1) -> Iterator[Row]:
        yield from super().rows(first)
        other = Journal(self._path)
        other.append(1, [New("run.finished", None, {"state": "passed"}, 2.0)])
        other.close()


def test_what_others_write_meanwhile_is_no_break_of_the_chain(tmp_path: Path) -> None:
    journal = Busy(tmp_path / "journal.db")
    journal.begin([New("run.started", None, {"plan": "sha256:" + "0" * 64}, 1.0)])

    assert journal.check()[2] is None
    assert journal.run(1).state == "passed"
    journal.close()
