"""What is removed from a home, and what never is: also while others write to it, and after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock import pruning
from penstock.home import Home
from penstock.journal import Journal, New

LONG_AGO = time.time() - 7 * 86400


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.of(tmp_path)


def begin(home: Home, journal: Journal, **data: object) -> int:
    """A run that refers to something, and has a log."""
    plan = home.store.add_bytes(b'{"plan": "of all runs"}')
    run, _ = journal.begin([New("run.started", None, {"plan": plan}, time.time())])
    journal.append(run, [New("step.finished", "build.a", {"state": "passed", **data}, time.time())])
    home.run(run).mkdir(parents=True)
    home.log(run, "build.a", 1).write_text("a log")
    return run


def age(home: Home) -> None:
    for path in home.store.root.glob("??/*"):
        os.utime(path, (LONG_AGO, LONG_AGO))


def kept(home: Home) -> set[str]:
    return {digest for digest, _ in home.store.digests()}


def prune(home: Home, journal: Journal, *runs: int) -> int:
    pruning.record(journal, runs, "ana")
    gone = pruning.pruned(journal)
    needed = pruning.needed(journal, home, gone)
    freed = pruning.sweep(home.store, needed, pruning.young(journal, home))
    return freed + pruning.remove_logs(home, gone)


def test_what_a_run_alone_refers_to_goes_and_what_another_refers_to_stays(home: Home, tmp_path: Path) -> None:
    store, journal = home.store, Journal(home.journal)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "shared").write_text("shared")
    (tree / "new").write_text("new")
    directory, _ = store.add_tree(tree)
    (tree / "new").write_text("old")
    before, _ = store.add_tree(tree)
    sbom, alone = store.add_bytes(b"a bill of materials"), store.add_bytes(b"alone")
    report = store.add_bytes(json.dumps({"sbom": {"digest": sbom}}).encode())
    statement = store.add_bytes(json.dumps({"subject": [{"digest": {"sha256": alone[7:]}}]}).encode())
    old = begin(home, journal, artifacts=[{"digest": before}], other={"any key": [alone]})
    begin(home, journal, artifacts=[{"digest": directory}], report=report)
    everything = kept(home)
    age(home)

    freed = prune(home, journal, old)

    gone = everything - kept(home)
    assert gone == {before, alone, statement, store_digest("old")}
    assert store.read(sbom) == b"a bill of materials"
    assert freed > 0
    assert not home.run(old).exists()
    assert home.run(old + 1).exists()
    assert prune(home, journal) == 0
    assert journal.check()[2] is None


def store_digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_what_was_just_kept_or_found_stays_though_no_event_names_it_yet(home: Home) -> None:
    store, journal = home.store, Journal(home.journal)
    found, held, alone = (store.add_bytes(text) for text in (b"found", b"held", b"alone"))
    old = begin(home, journal, artifacts=[found, held, alone])
    age(home)
    new = store.add_bytes(b"new")
    store.add_bytes(b"found")  # it is there already, and whoever adds it relies on that
    assert store.hold(held)
    assert not store.hold("sha256:" + "0" * 64)

    prune(home, journal, old)

    assert {new, found, held} <= kept(home)
    assert alone not in kept(home)


def test_what_a_run_at_work_keeps_for_longer_than_an_hour_stays(home: Home) -> None:
    store, journal = home.store, Journal(home.journal)
    begun = time.time() - 5 * 3600
    plan = store.add_bytes(b"{}")
    run, _ = journal.begin([New("run.started", None, {"plan": plan}, begun)])
    of_now, of_before = store.add_bytes(b"of now"), store.add_bytes(b"of before")
    os.utime(store.path(of_now), (begun + 60, begun + 60))
    os.utime(store.path(of_before), (LONG_AGO, LONG_AGO))
    lock = home.workers_lock(run)
    assert lock.take()

    prune(home, journal)

    assert kept(home) == {plan, of_now}
    lock.release()
    prune(home, journal)
    assert kept(home) == {plan}


def test_a_prune_that_was_killed_is_done_by_the_next(home: Home) -> None:
    store, journal = home.store, Journal(home.journal)
    alone = store.add_bytes(b"alone")
    old = begin(home, journal, artifacts=[alone])
    begin(home, journal)
    age(home)
    pruning.record(journal, [old], "ana")  # and then it was killed

    prune(home, journal)

    assert alone not in kept(home)
    assert not home.run(old).exists()


def test_a_run_that_is_worked_on_keeps_its_directory(home: Home) -> None:
    journal = Journal(home.journal)
    old = begin(home, journal)
    lock = home.engine_lock(old)
    assert lock.take()

    prune(home, journal, old)

    assert home.log(old, "build.a", 1).read_text() == "a log"


def test_nothing_is_lost_that_is_added_while_others_are_removed(home: Home) -> None:
    """What writers are told is there, is there, though nothing but their word says that it is needed."""
    store = home.store
    texts = [f"text {number}".encode() for number in range(40)]
    for _ in range(40):
        for text in texts:
            store.add_bytes(text)
        for digest in kept(home):
            os.utime(store.path(digest), (LONG_AGO, LONG_AGO))
        added = set[str]()
        writer = threading.Thread(target=lambda: added.update(map(store.add_bytes, texts[::2])))  # noqa: B023 - it ends in its round

        writer.start()
        pruning.sweep(store, (), time.time() - 3600)
        writer.join()

        assert {store.read(digest) for digest in added} == set(texts[::2])


@given(st.lists(st.sets(st.integers(0, 7)), min_size=1, max_size=6), st.sets(st.integers(1, 6)))
@settings(max_examples=25, deadline=None)
def test_after_any_prune_the_store_has_what_the_runs_left_refer_to_and_no_more(
    tmp_path_factory: pytest.TempPathFactory, references: list[set[int]], gone: set[int]
) -> None:
    home = Home.of(tmp_path_factory.mktemp("home"))
    journal = Journal(home.journal)
    digests = [home.store.add_bytes(f"text {number}".encode()) for number in range(8)]
    for wanted in references:
        begin(home, journal, artifacts=[digests[number] for number in sorted(wanted)])
    age(home)

    prune(home, journal, *(run for run in gone if run <= len(references)))

    left = {number for run, wanted in enumerate(references, 1) if run not in gone for number in wanted}
    assert kept(home) == {digests[number] for number in left} | {
        home.store.add_bytes(b'{"plan": "of all runs"}')
    }
    journal.close()
