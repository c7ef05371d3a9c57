"""A journal of each version that was released becomes one of today's, and nothing in it changes."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from penstock import migrations
from penstock.chain import New
from penstock.errors import PluginError
from penstock.journal import Journal

from core.tests.lab import database, until

VERSION_1 = """
CREATE TABLE events (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, time REAL NOT NULL, type TEXT NOT NULL, step TEXT,
    data TEXT NOT NULL, hash BLOB NOT NULL
);
CREATE INDEX events_of_run ON events (run, id);
CREATE TABLE runs (run INTEGER PRIMARY KEY, plan TEXT NOT NULL, started REAL NOT NULL,
    state TEXT NOT NULL, finished REAL, revision TEXT);
INSERT INTO events VALUES(1,1,1.5,'run.started',NULL,'{"plan":"sha256:plan","selected":null}',
    X'834668B05885A9AB9D2E5D2613FDF5B2989BEDAA9D2AA41D4C6E40FCD30302BE');
INSERT INTO events VALUES(2,1,1.6,'step.started','source','{"attempt":1}',
    X'91B92301B0A324C29E0BC78D474D2AA0E7318638E522E9ECC170AB8C86259228');
INSERT INTO events VALUES(3,1,1.75,'step.finished','source',
    '{"revision":{"commit":"c0ffee"},"state":"passed"}',
    X'DBB59AF502674FE6D409E8519D81C3001AD3CA1D26EB154C83F4BB382C279520');
INSERT INTO events VALUES(4,2,2.5,'run.started',NULL,'{"plan":"sha256:plan","selected":null}',
    X'BE46A50942784081D7279E1F784D034CDD05967BBF279DBA4237D37BFCED9FC2');
INSERT INTO events VALUES(5,2,2.6,'step.started','source','{"attempt":1}',
    X'1C15809E6D284200E853B19613595930A7DDC7686D5C8916834E329DD9FBF359');
INSERT INTO events VALUES(6,2,2.75,'step.finished','source',
    '{"revision":{"commit":"c0ffee"},"state":"passed"}',
    X'9EDD6C33D832DC8DEDFE8454DDF3AB18792747CDA13FD2727B9B5E4D86C2B876');
INSERT INTO events VALUES(7,1,9.0,'run.finished',NULL,'{"state":"passed"}',
    X'3CC9D3BD91C00376325574B4AC29531E3877AE99EE58441436C01D8134094F75');
INSERT INTO runs VALUES(1,'sha256:plan',1.5,'passed',9.0,'c0ffee');
INSERT INTO runs VALUES(2,'sha256:plan',2.5,'running',NULL,'c0ffee');
PRAGMA user_version=1;
"""
"""Written by 0.1.0 before its journal had a second version."""
HEAD = "3cc9d3bd91c00376325574b4ac29531e3877ae99ee58441436c01d8134094f75"
MANY = """
WITH RECURSIVE n(i) AS (SELECT 8 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
INSERT INTO events SELECT i, 2, 1.0, 'note', NULL, '{}', X'00' FROM n
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.db"
    with database(path) as old:
        old.executescript(VERSION_1)
    return path


def version(path: Path) -> int:
    with database(path) as connection:
        return migrations.version_of(connection)


def layout(path: Path) -> list[str]:
    """The tables and indexes, white space aside."""
    with database(path) as connection:
        rows = connection.execute("SELECT sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY name")
        return [" ".join(sql.split()).replace("( ", "(").replace(" )", ")") for (sql,) in rows]


def test_a_journal_of_version_1_is_taken_over(path: Path, tmp_path: Path) -> None:
    journal = Journal(path)

    assert journal.check() == (7, HEAD, None)
    assert [line.state for line in journal.runs()] == ["running", "passed"]
    assert [event.run for event in journal.find("step.finished")] == [2, 1]
    journal.append(2, [New("run.finished", None, {"state": "failed"}, 10.0)])
    assert journal.check()[::2] == (8, None)
    journal.close()
    assert version(path) == migrations.NEWEST
    Journal(tmp_path / "new.db").close()
    assert layout(path) == layout(tmp_path / "new.db")


def test_all_that_a_journal_lacks_is_made_in_one_commit(tmp_path: Path) -> None:
    statements: list[str] = []
    with database(tmp_path / "new.db") as connection:
        connection.set_trace_callback(statements.append)
        migrations.migrate(connection)
        migrations.migrate(connection)

    assert [text for text in statements if text in ("BEGIN IMMEDIATE", "COMMIT")] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]
    assert version(tmp_path / "new.db") == migrations.NEWEST


def test_a_new_journal_is_whole_from_its_first_moment(tmp_path: Path) -> None:
    """Whoever is killed then, or sees it, has one that can be used."""
    path = tmp_path / "journal.db"

    migrations.make(path)

    assert [entry.name for entry in tmp_path.iterdir()] == ["journal.db"]
    assert version(path) == migrations.NEWEST
    with database(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    before = path.read_bytes()
    migrations.make(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("left", ["half of one", "a directory"])
def test_a_new_journal_is_made_whatever_stands_where_it_is_prepared(left: str, tmp_path: Path) -> None:
    in_the_way = tmp_path / "journal.db.new"
    if left == "a directory":
        in_the_way.mkdir()
    else:
        in_the_way.write_bytes(b"SQLite format 3")

    journal = Journal(tmp_path / "journal.db")
    journal.begin([New("run.started", None, {"plan": "sha256:plan"}, 1.0)])

    assert journal.check()[::2] == (1, None)
    journal.close()
    assert version(tmp_path / "journal.db") == migrations.NEWEST
    assert in_the_way.exists() == (left == "a directory")


def test_who_comes_late_leaves_no_file_behind(tmp_path: Path) -> None:
    path, new = tmp_path / "journal.db", tmp_path / "journal.db.new"
    with new.open("ab") as file, ThreadPoolExecutor(1) as pool:
        fcntl.flock(file, fcntl.LOCK_EX)
        late = pool.submit(migrations.make, path)  # it saw no journal, and has to wait here
        until(lambda: waits_for_a_lock(new))
        path.write_bytes(b"of another process")
        fcntl.flock(file, fcntl.LOCK_UN)
        late.result()

    assert [each.name for each in tmp_path.iterdir()] == ["journal.db"]
    assert path.read_bytes() == b"of another process"


def waits_for_a_lock(path: Path) -> bool:
    inode = f":{path.stat().st_ino} "
    return any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines())


BEGINS = """
import sys
from pathlib import Path
from penstock.chain import New
from penstock.journal import Journal
sys.stdin.read()
journal = Journal(Path(sys.argv[1]))
run, _ = journal.begin([New("run.started", None, {"plan": "sha256:plan"}, 1.0)])
journal.close()
print(run)
"""


def test_several_that_make_one_at_once_have_the_same(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    command = [sys.executable, "-c", BEGINS, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}

    with ExitStack() as open_:
        processes = [open_.enter_context(subprocess.Popen(command, text=True, **pipes)) for _ in range(6)]
        for process in processes:
            process.stdin.close()  # now
        runs = [int(process.stdout.read()) for process in processes]
    ended = [process.returncode for process in processes]

    assert ended == [0] * 6
    assert sorted(runs) == list(range(1, 7))
    assert [entry.name for entry in tmp_path.iterdir()] == ["journal.db"]
    assert Journal(path).check()[::2] == (6, None)


def test_several_that_open_it_at_once_take_it_over_once(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for journal in pool.map(lambda _: Journal(path).check(), range(8)):
            assert journal == (7, HEAD, None)

    assert version(path) == migrations.NEWEST


def test_one_who_has_it_open_meanwhile_goes_on(path: Path) -> None:
    with database(path) as old:
        assert old.execute("SELECT count(*) FROM events").fetchone() == (7,)
        journal = Journal(path)
        old.execute("INSERT INTO events VALUES (8, 2, 1.0, 'note', NULL, '{}', X'00')")

        assert [event.id for event in journal.find("note")] == [8]


def test_an_old_journal_on_a_disk_that_can_t_be_written_is_read_as_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda place, mode: False)  # whoever is root may write everywhere

    journal = Journal(path)

    assert journal.check() == (7, HEAD, None)
    assert [event.run for event in journal.find("step.finished")] == [2, 1]
    monkeypatch.undo()
    assert version(path) == 1


def test_a_newer_journal_is_left_alone(path: Path) -> None:
    with database(path) as newer:
        newer.execute(f"PRAGMA user_version={migrations.NEWEST + 1}")
    before = path.read_bytes()

    with pytest.raises(PluginError, match=r"newer Penstock \(journal version 4, this one reads 3\)"):
        Journal(path)

    assert path.read_bytes() == before


def test_a_newer_version_that_came_meanwhile_is_not_set_back(path: Path) -> None:
    with database(path) as connection:
        connection.execute(f"PRAGMA user_version={migrations.NEWEST + 1}")
        migrations.migrate(connection)

    assert version(path) == migrations.NEWEST + 1


KILLED = """
import os, signal, sqlite3, sys
from penstock import migrations
database = sqlite3.connect(sys.argv[1], isolation_level=None)
left = int(sys.argv[2])
def tick():
    global left
    left -= 1
    if left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return 0
database.set_progress_handler(tick, 50)
migrations.migrate(database)
"""


@pytest.mark.parametrize("ticks", [1, 3, 40, 150, 400, 100_000])
def test_killed_in_the_middle_it_is_of_a_version_that_exists(ticks: int, path: Path) -> None:
    with database(path) as connection:
        connection.execute(MANY)

    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(ticks)], check=False)

    assert done.returncode == (0 if ticks == 100_000 else -signal.SIGKILL)
    assert version(path) == (migrations.NEWEST if ticks == 100_000 else 1)
    journal = Journal(path)
    assert journal.check()[2] == 8  # the events that the test has made up
    assert len(list(journal.find("note"))) == 2993
    journal.close()
    assert version(path) == migrations.NEWEST
