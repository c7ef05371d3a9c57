"""The journal's seals: what they show that a chain alone does not, and what becomes of a run without one."""

from __future__ import annotations

import json
import shutil
import sqlite3
from typing import Any

import pytest
from penstock.chain import link

from tests.broken.place import PENSTOCK, Place, Said, Warm

STAMP = """
import hashlib, hmac
from penstock import Signature, Signer, StepRefused

def stamp(step_or_none, statement):
    key = Path(os.environ["STAMP"]).read_bytes()
    return hmac.new(key, statement, hashlib.sha256).hexdigest()

@hookimpl
def penstock_sign(step, statements):
    if any(b"attestation/journal" in each for each in statements):
        trouble = Path(os.environ["STAMP"]).with_name("trouble")
        if trouble.exists():
            exec(trouble.read_text())
    return [
        Signature(bundle=stamp(step, each), statement="sha256:" + hashlib.sha256(each).hexdigest(), signer="key:it")
        for each in statements
    ]

@hookimpl
def penstock_check_signature(signature, statement):
    if signature.bundle != stamp(None, statement):
        raise StepRefused("the signature was not made by the key over this statement")
    return Signer(identity="key:it")
"""
PIPELINE = """
[build.box]
uses = "plain"
[test.a]
uses = "plain"
[sign.it]
uses = "stamp"
"""
KILLS = "os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)"
GONE = "from penstock import StepFailed; raise StepFailed('the key is gone')"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Place:
    """A project with two runs, each with its seal."""
    place = Place.make(tmp_path_factory.mktemp("seals"), warm)
    place.env["STAMP"] = str(place.base / "key")
    (place.base / "key").write_text("secret")
    place.plugin("stamp", STAMP)
    place.toml(PIPELINE, ("plain", "stamp"))
    for _ in range(2):
        assert place.run("run").code == 0
    change(place, "PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copytree(place.root / ".penstock", place.base / "kept")
    return place


@pytest.fixture
def place(sealed: Place) -> Place:
    """The same, as it was."""
    shutil.rmtree(sealed.root / ".penstock")
    shutil.copytree(sealed.base / "kept", sealed.root / ".penstock")
    (sealed.base / "trouble").unlink(missing_ok=True)
    sealed.toml(PIPELINE, ("plain", "stamp"))
    return sealed


def change(place: Place, *statements: str) -> None:
    journal = sqlite3.connect(place.root / ".penstock" / "journal.db", isolation_level=None)
    for statement in statements:
        journal.execute(statement).fetchall()
    journal.close()


def rows(place: Place, what: str, where: str = "") -> list[Any]:
    journal = sqlite3.connect(place.root / ".penstock" / "journal.db")
    found = journal.execute(f"SELECT {what} FROM events {where} ORDER BY id").fetchall()
    journal.close()
    return [row[0] for row in found]


def forged(place: Place, *statements: str) -> None:
    """Change the past and make anew all that does not take the key: numbers, hashes, heads, the list of runs."""
    change(place, *statements)
    journal = sqlite3.connect(place.root / ".penstock" / "journal.db")
    previous, hashes = b"", [""]
    columns = "id, run, time, type, step, data"
    everything = journal.execute(f"SELECT {columns} FROM events ORDER BY id").fetchall()
    journal.execute("DELETE FROM events")
    for number, (_, run, time, kind, step, data) in enumerate(everything, 1):
        if kind == "journal.sealed":
            read = json.loads(data)
            read["head"] = hashes[min(read.get("events", 0), number - 1)]
            data = json.dumps(read, sort_keys=True, separators=(",", ":"))
        previous = link(previous, number, run, time, kind, step, data)
        hashes.append(previous.hex())
        journal.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", (number, run, time, kind, step, data, previous)
        )
    journal.commit()
    journal.close()


def audited(place: Place, *words: str) -> tuple[int, list[str]]:
    done = place.run("audit", *words)
    assert done.err == ""
    return done.code, [line.strip() for line in done.out.splitlines()]


# --- as it should be ---


def test_each_run_is_sealed_once_and_the_last_seal_vouches_for_all(place: Place) -> None:
    code, said = audited(place)

    assert code == 0
    assert said[0] == "22 events of 2 runs"
    assert said[2:] == [
        "✓ chain     no event was changed, taken out, put in or moved",
        "✓ seals     2, by key:it; the last vouches for all up to event 21",
    ]
    document = place.json("audit")
    assert (document["verdict"], document["sealed_to"], document["unsealed"]) == ("passed", 21, [])
    assert document["head"] == said[1].removeprefix("head ")
    log = place.root / ".penstock" / "runs" / "1" / "journal.1.log"
    assert log.exists(), "it is no part of the sign step's log"


def test_a_head_that_was_seen_before_has_to_be_there(place: Place) -> None:
    head = place.json("audit")["head"]
    assert place.run("run").code == 0

    assert audited(place, "--expect", head)[0] == 0
    assert audited(place, "--expect", f"sha256:{head[:20]}")[0] == 0
    forged(place, "DELETE FROM events WHERE run > 1", "DELETE FROM runs WHERE run > 1")
    code, said = audited(place, "--expect", head)

    assert code == 1
    assert f"no event has the hash {head} that you expect" in " ".join(said)
    assert place.run("audit", "--expect", "nothing").code == 2


def test_a_run_that_waits_is_sealed(place: Place) -> None:
    live = f'[approve.live]\n[deploy.live]\nuses = "plain"\nplace = "{place.base}/live"\n'
    place.toml(PIPELINE + live, ("plain", "stamp"))

    assert place.run("run").code == 3

    assert rows(place, "type")[-2:] == ["run.waiting", "journal.sealed"]
    assert audited(place)[0] == 0


def test_a_run_without_its_sign_step_asks_for_nothing_and_the_next_seal_covers_it(place: Place) -> None:
    assert place.run("run", "--only", "test.a").code == 0

    code, said = audited(place)
    assert code == 0
    assert "– unsealed  run 3, event 30: it had no sign step" in said
    assert place.run("run").code == 0
    assert "✓ seals     3, by key:it; the last vouches for all up to event 40" in audited(place)[1]


def test_a_pipeline_that_signs_nothing_has_no_seal_and_audit_says_so(place: Place) -> None:
    shutil.rmtree(place.root / ".penstock")
    place.toml(PIPELINE.partition("[sign")[0])
    assert place.run("run").code == 0

    code, said = audited(place)

    assert code == 0
    assert "journal.sealed" not in rows(place, "type")
    assert any("none, since the pipeline has no sign step" in line for line in said)


# --- forged ---


FORGERIES: dict[str, tuple[list[str], str]] = {
    "an event": (
        ["UPDATE events SET data = replace(data, 'passed', 'failed') WHERE id = 5"],
        "✗ chain     made anew: event 1, run 1: one of the events 1 to 11 was changed, and all hashes",
    ),
    "a later event": (
        ["UPDATE events SET time = time - 60 WHERE id = 15"],
        "✗ chain     made anew: event 11, run 2: one of the events 11 to 22 was changed, and all hashes",
    ),
    "one less": (
        ["DELETE FROM events WHERE id = 3"],
        "✗ chain     made anew: event 1, run 1: one of the events 1 to 10 was changed, and all hashes",
    ),
    "no seals": (
        [
            "UPDATE events SET time = time - 60 WHERE id = 5",
            "DELETE FROM events WHERE type = 'journal.sealed'",
        ],
        "✗ unsealed  run 1, event 10: its pipeline signs, and there is no seal that holds. Once that is mended:",
    ),
    "no last seal": (
        ["UPDATE events SET time = time - 60 WHERE id = 15", "DELETE FROM events WHERE id = 22"],
        "✗ unsealed  run 2, event 21: its pipeline signs, and there is no seal that holds. Once that is mended:",
    ),
    "a seal of another event": (
        ["UPDATE events SET data = (SELECT data FROM events WHERE id = 11) WHERE id = 22"],
        "✗ unsealed  run 2, event 21: its pipeline signs, and there is no seal that holds. Once that is mended:",
    ),
    "a seal of nothing": (
        ["UPDATE events SET data = '{}' WHERE id = 22"],
        "✗ seal      event 22 of run 2: it can't be read",
    ),
}


@pytest.mark.parametrize(("statements", "line"), FORGERIES.values(), ids=list(FORGERIES))
def test_a_past_that_was_made_anew_without_the_key_is_found(
    place: Place, statements: list[str], line: str
) -> None:
    forged(place, *statements)

    code, said = audited(place)

    assert code == 1
    assert any(each.startswith(line) for each in said), said


def test_runs_that_were_cut_off_the_end_have_left_their_logs(place: Place) -> None:
    forged(place, "DELETE FROM events WHERE run = 2", "DELETE FROM runs WHERE run = 2")

    code, said = audited(place)

    assert code == 1
    assert any(
        "truncated: event 11, run 2: there are logs of run 2, of which there is no event" in line
        for line in said
    )


def test_a_seal_by_another_key_counts_for_nothing(place: Place) -> None:
    (place.base / "key").write_text("another")
    try:
        code, said = audited(place)
    finally:
        (place.base / "key").write_text("secret")

    assert code == 1
    assert any("the signature was not made by the key" in line for line in said)
    assert said[-1] == "NOT AS IT WAS WRITTEN."


def test_nothing_is_sealed_that_was_changed_since_the_last_seal(place: Place) -> None:
    """A forger would have the next run vouch for it."""
    assert place.run("run", "--only", "test.a").code == 0
    change(place, "UPDATE events SET time = time - 60 WHERE id = 25")

    done = place.run("run")

    assert done.code == 4
    assert (
        "the journal could not be sealed: the journal was changed, at event 25. More: penstock audit"
        in done.err
    )
    assert rows(place, "type")[-1] == "journal.unsealed"


def test_nothing_is_sealed_where_the_last_seal_was_for_another_past(place: Place) -> None:
    forged(place, "UPDATE events SET time = time - 60 WHERE id = 15")
    change(place, 'UPDATE events SET data = replace(data, \'"head":"\', \'"head":"0\') WHERE id = 22')
    forged_hash_of_the_last(place)

    assert "the journal was changed, at event 21" in place.run("run").err


def forged_hash_of_the_last(place: Place) -> None:
    journal = sqlite3.connect(place.root / ".penstock" / "journal.db")
    (before,), row = (
        journal.execute("SELECT hash FROM events WHERE id = 21").fetchone(),
        journal.execute("SELECT id, run, time, type, step, data FROM events WHERE id = 22").fetchone(),
    )
    journal.execute("UPDATE events SET hash = ? WHERE id = 22", (link(before, *row),))
    journal.commit()
    journal.close()


# --- what goes wrong with sealing ---


def stop_sealing(place: Place, how: str) -> Said:
    (place.base / "trouble").write_text(how)
    done = place.run("run")
    (place.base / "trouble").unlink()
    return done


def test_a_seal_that_can_t_be_made_leaves_the_run_as_it_is_and_is_told(place: Place) -> None:
    done = stop_sealing(place, GONE)

    assert done.code == 4
    assert done.out.endswith("Passed in N s. Run 3.\n")
    assert done.err == (
        "penstock: run 3 stands as it ended, but the journal could not be sealed: the key is gone. "
        "Once that is mended: penstock resume 3\n"
    )
    assert place.json("show")["state"] == "passed"
    code, said = audited(place)
    assert code == 1
    assert "✗ unsealed  run 3, event 32: it could not be sealed: the key is gone." in " ".join(said)
    assert said[-1] == "NOT SEALED."

    again = place.run("resume")

    assert (again.code, again.err) == (0, "Run 3 is over: passed. Another: penstock run\n")
    assert audited(place)[0] == 0
    assert place.run("resume").code == 0
    assert len(rows(place, "id", "WHERE type = 'journal.sealed'")) == 3, "once is enough"


def test_a_run_that_failed_keeps_its_exit_code(place: Place) -> None:
    place.plugin("bad", "@hookimpl\ndef penstock_test(step):\n    raise StepFailed('no')\n")
    place.toml(
        PIPELINE.replace('[test.a]\nuses = "plain"', '[test.a]\nuses = "bad"'), ("plain", "bad", "stamp")
    )

    done = stop_sealing(place, GONE)

    assert done.code == 1
    assert "the journal could not be sealed: the key is gone" in done.err


@pytest.mark.parametrize("then", ["run", "resume"])
def test_killed_between_its_end_and_its_seal_a_run_is_sealed_by_what_comes_next(
    place: Place, then: str
) -> None:
    (place.base / "trouble").write_text(KILLS)
    assert place.run(argv=["sh", "-c", f"{PENSTOCK} run; exit 0"]).code == 0
    (place.base / "trouble").unlink()
    assert rows(place, "type")[-1] == "run.finished"
    assert audited(place)[0] == 1

    assert place.run(then).code == 0

    assert rows(place, "type")[-1] == "journal.sealed"
    assert audited(place)[0] == 0


def test_a_plugin_that_takes_for_ever_to_sign_can_be_stopped(place: Place) -> None:
    (place.base / "trouble").write_text(
        "Path(os.environ['STAMP']).with_name('signs').touch(); time.sleep(600)"
    )
    signs = place.base / "signs"
    script = f"{PENSTOCK} run & until test -e {signs}; do sleep 0.05; done; kill -INT $!; wait $!"

    done = place.run(argv=["bash", "-c", f"set -m; {script}"])

    assert done.code == 4
    assert "the journal could not be sealed: it was told to stop" in done.err
    assert place.json("show")["state"] == "passed"
