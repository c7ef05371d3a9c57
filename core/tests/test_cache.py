"""Results that are taken over, through the command line: what is, what is not, and what is said of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock import chain
from penstock.model import Event

from core.tests.lab import Lab, until

FAKE = """
import json, shutil

class Do(Settings):
    do: str = ""
    tool: str = ""

def did(step):
    with open(step.project / "did", "a") as file:
        file.write(step.name + "\\n")
    exec((step.project / "do").read_text() if (step.project / "do").exists() else "")

@hookimpl
def penstock_source(settings: Do, step):
    shutil.copytree(step.project / "files", step.workspace, symlinks=True, dirs_exist_ok=True)
    number = (step.project / "commit").read_text().strip()
    return Revision(commit=number * 40, ref="main", tag="v1", distance=int(number), time=1)

@hookimpl
def penstock_build(settings: Do, step):
    did(step)
    exec(settings.do)
    out = step.workspace / "out"
    out.write_text("built of " + (step.workspace / "src" / "a").read_text())
    return [step.keep(out, "file")]

@hookimpl
def penstock_test(settings: Do, step):
    did(step)
    exec(settings.do)
    return PASSED

@hookimpl
def penstock_scan(settings: Do, step):
    did(step)
    until = Path(step.project, "until")
    entries = json.loads(until.read_text()) if until.exists() else []
    return ScanReport(scanner="fake 1", looked_for=("secret",), exemptions=entries)

@hookimpl
def penstock_tools(settings: Do):
    if not settings.tool:
        return []
    import hashlib
    data = Path(settings.tool).read_bytes()
    return [Tool(name="tool", version="1", path=settings.tool, sha256=hashlib.sha256(data).hexdigest())]
"""
TOML = """
[source.it]
uses = "fake"
[build.it]
uses = "fake"
cache = { inputs = ["src/**"] }
[test.it]
uses = "fake"
tool = "TOOL"
env = { OWN = "1" }
cache = { inputs = ["src/**", "!src/skipped", "link"], env = ["SEEN"] }
[scan.it]
uses = "fake"
cache = true
"""
CACHED = {"build.it": "cached", "test.it": "cached", "scan.it": "cached"}


def make(place: Path) -> Lab:
    lab = Lab.make(place)
    lab.plugin("fake", FAKE)
    files = {"src/a": "1", "src/b": "1", "src/skipped": "1", "README": "1", "far/away": "1"}
    for name, text in files.items():
        path = lab.root / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (lab.root / "files" / "link").symlink_to("far")
    (lab.root / "commit").write_text("1")
    (lab.root / "tool").write_text("1")
    lab.toml(TOML.replace("TOOL", str(lab.root / "tool")), ("fake",))
    return lab


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose pipeline has run once."""
    place = tmp_path_factory.mktemp("once")
    code, said = make(place).run("run", SEEN="1")
    assert code == 0, said
    return place


@pytest.fixture
def warm(once: Path, tmp_path: Path) -> Iterator[Lab]:
    """A copy of it; its tool stays where it was."""
    shutil.copytree(once, tmp_path, symlinks=True, dirs_exist_ok=True)
    lab = Lab(tmp_path / "project", tmp_path / "site")
    (lab.root / "did").unlink()
    yield lab
    lab.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Lab]:
    """The same project, before its first run."""
    lab = make(tmp_path)
    yield lab
    lab.close()


def run(lab: Lab, *arguments: str, **env: str) -> str:
    code, said = lab.run("run", *arguments, **{"SEEN": "1", **env})
    assert code == 0, said
    return said


def did(lab: Lab) -> list[str]:
    """The steps that have really run since the last look."""
    path = lab.root / "did"
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def states(lab: Lab, number: int = 2) -> dict[str, str]:
    return {name: state for name, state in lab.states(number).items() if name != "source.it"}


def finished(lab: Lab, step: str, number: int) -> Event:
    return next(event for event in lab.events(number) if event.type == "step.finished" and event.step == step)


def edit(lab: Lab, old: str, new: str) -> None:
    path = lab.root / "penstock.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_result_is_taken_over_with_all_that_belongs_to_it(warm: Lab) -> None:
    said = run(warm)

    assert did(warm) == []
    assert states(warm) == CACHED
    first, second = finished(warm, "test.it", 1).data, finished(warm, "test.it", 2).data
    origin = second.pop("origin")
    assert second.pop("state") == "cached"
    assert first.pop("state") == "passed"
    assert second == first
    assert (origin["run"], origin["event"]) == (1, finished(warm, "test.it", 1).id)
    assert (origin["project"], origin["ref"], origin["commit"]) == ("project", "main", "1" * 40)
    assert "= test.it    1 passed, from run 1\n" in said
    assert "= build.it   out, from run 1\n" in said
    # Nothing was begun, and all of it was one commit.
    assert "step.started" not in {event.type for event in warm.events(2) if event.step != "source.it"}
    shown = json.loads(warm.run("show", "--json")[1])
    assert {step["name"]: step["state"] for step in shown["steps"][1:]} == CACHED
    assert shown["steps"][2]["origin"] == origin
    assert "What it printed then: penstock logs 1 test.it" in warm.run("logs", "2", "test.it")[1]


def a_file(name: str, text: str = "2") -> Callable[[Lab], None]:
    return lambda lab: (lab.root / "files" / name).write_text(text) and None


def moved(lab: Lab) -> None:
    (lab.root / "files/src/b").rename(lab.root / "files/src/c")


def other_plugin(lab: Lab) -> None:
    path = next(lab.site.glob("*.dist-info")) / "METADATA"
    path.write_text(path.read_text().replace("Version: 1.0", "Version: 1.1"))


def other_code(lab: Lab) -> None:
    path = next(lab.site.glob("penstock_fake_*.py"))
    path.write_text(path.read_text() + "# changed\n")


def linked(lab: Lab) -> None:
    (lab.root / "files/src/b").unlink()
    (lab.root / "files/src/b").symlink_to("a")


ALL, NONE = ["build.it", "scan.it", "test.it"], list[str]()
CHANGES: dict[str, tuple[Callable[[Lab], Any], list[str], str]] = {
    # what changes, which steps run then, and what `plan` says of the test
    "an input": (a_file("src/b"), ALL, "changed: src/b"),
    "an input that is skipped": (a_file("src/skipped"), ["build.it", "scan.it"], ""),
    "another file": (a_file("README"), ["scan.it"], "cached: from run 1"),
    "a new input": (a_file("src/new"), ALL, ""),
    "an empty input": (a_file("src/empty", ""), ALL, ""),
    "what a link leads to": (a_file("far/away"), ["scan.it", "test.it"], "changed: far/away"),
    "a name": (moved, ALL, "changed: src/b (+1 more)"),
    "a file that becomes a link": (linked, ALL, ""),
    "a mode": (lambda lab: (lab.root / "files/src/b").chmod(0o755), ALL, ""),
    "a time": (lambda lab: os.utime(lab.root / "files/src/b", (1, 1)), NONE, ""),
    "an input that is gone": (lambda lab: (lab.root / "files/src/b").unlink(), ALL, ""),
    "the commit alone": (lambda lab: (lab.root / "commit").write_text("2"), NONE, ""),
    "a setting": (
        lambda lab: edit(lab, 'tool = "', 'do = "1"\ntool = "'),
        ["test.it"],
        "would run: settings: do",
    ),
    "the section's environment": (
        lambda lab: edit(lab, 'OWN = "1"', 'OWN = "2"'),
        ["test.it"],
        "would run: env: OWN",
    ),
    "a name of the step": (
        lambda lab: edit(lab, "[test.it]", "[test.other]"),
        ["test.other"],
        "would run: no result of it is kept yet",
    ),
    "files that are kept": (
        lambda lab: edit(lab, "env = {", 'artifacts = ["README"]\nenv = {'),
        ["test.it"],
        "would run: step: artifacts",
    ),
    "the plugin's version": (other_plugin, ALL, "fake 1.0 → 1.1"),
    "the plugin's code": (other_code, ALL, "would run: the plugin's code"),
    "the layout of the configuration": (lambda lab: edit(lab, "[test.it]", "# more\n[test.it]"), NONE, ""),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_step_runs_again_exactly_where_what_it_depends_on_has_changed(warm: Lab, case: str) -> None:
    change, runs, said = CHANGES[case]
    change(warm)

    if said:
        assert said in warm.run("plan", SEEN="1")[1]
        assert did(warm) == []  # nothing but the source was run for that
    run(warm)

    assert sorted(did(warm)) == sorted(runs)
    taken = {name for name, state in states(warm).items() if state == "cached"}
    assert len(taken) == 3 - len(runs)


def test_a_variable_counts(warm: Lab) -> None:
    assert "would run: env: SEEN" in warm.run("plan", SEEN="2")[1]

    run(warm, SEEN="2")

    assert did(warm) == ["test.it"]


def test_a_tool_counts(once: Path, warm: Lab) -> None:
    here = warm.root / "tool"
    edit(warm, str(once / "project" / "tool"), str(here))
    run(warm)
    assert did(warm) == ["test.it"]

    here.write_text("2")

    assert "would run: tool tool: other bytes of the same version" in warm.run("plan", SEEN="1")[1]
    run(warm)
    assert did(warm) == ["test.it"]


def test_a_change_that_is_taken_back_leads_to_the_old_result(warm: Lab) -> None:
    a_file("src/b")(warm)
    run(warm)
    did(warm)
    a_file("src/b", "1")(warm)

    said = run(warm)

    assert did(warm) == []
    assert "= test.it    1 passed, from run 1\n" in said


def test_no_cache_runs_every_step_and_what_comes_of_it_is_the_newest_result(warm: Lab) -> None:
    run(warm, "--no-cache")
    assert sorted(did(warm)) == ALL

    assert "= test.it    1 passed, from run 2\n" in run(warm)


def test_plan_tells_everything_as_json(warm: Lab) -> None:
    a_file("src/b")(warm)

    found = json.loads(warm.run("plan", "--json", SEEN="1")[1])["cache"]

    assert found == {
        "build.it": {"would": "run", "run": 1, "why": "changed: src/b", "changed": ["src/b"]},
        "test.it": {"would": "run", "run": 1, "why": "changed: src/b", "changed": ["src/b"]},
        "scan.it": {"would": "run", "run": 1, "why": "changed: src/b", "changed": ["src/b"]},
    }


# --- what must not be believed ---


def stored(lab: Lab, digest: str) -> Path:
    return lab.home.store.path(digest)


def spoil(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"something else")


@pytest.mark.parametrize("how", [spoil, Path.unlink], ids=["changed", "gone"])
@pytest.mark.parametrize("what", ["artifact", "report"])
def test_what_is_not_whole_in_the_store_is_made_anew(
    warm: Lab, what: str, how: Callable[[Path], Any]
) -> None:
    step = "test.it" if what == "report" else "build.it"
    data = finished(warm, step, 1).data
    digest = data["artifacts"][0]["digest"] if what == "artifact" else data["report"]
    how(stored(warm, digest))

    said = run(warm)

    assert did(warm) == [step]
    assert "! not taken from the cache: the result of run 1 can't be used: " in said
    assert digest in said
    warm.home.store.verify(digest)
    again = run(warm)
    assert again.count(f"= {step}") == 1
    assert "can't be used" not in again
    assert did(warm) == []


@pytest.mark.parametrize("how", [spoil, Path.unlink], ids=["changed", "gone"])
def test_a_statement_that_is_too_long_for_its_event_has_to_be_whole_in_the_store(
    fresh: Lab, how: Callable[[Path], Any]
) -> None:
    edit(fresh, '[build.it]\nuses = "fake"', '[build.it]\nuses = "fake"\nartifacts = ["many-*"]')
    (fresh.root / "do").write_text(
        "if step.name == 'build.it':\n  for n in range(99): (step.workspace / f'many-{n}').touch()"
    )
    run(fresh)
    data = finished(fresh, "build.it", 1).data
    assert "statements" not in data
    assert did(fresh)
    digest = data["evidence"][0]["statement"]
    how(stored(fresh, digest))

    said = run(fresh)

    assert "build.it" in did(fresh)
    assert "! not taken from the cache: the result of run 1 can't be used: " in said
    assert digest in said


def test_what_an_event_holds_of_the_evidence_is_not_needed_in_the_store(warm: Lab) -> None:
    data = finished(warm, "build.it", 1).data
    (digest,) = data["statements"]

    assert data["evidence"][0]["statement"] == digest
    assert not stored(warm, digest).exists()


def change_event(lab: Lab, change: Callable[[dict[str, Any]], None], *, hash_too: bool = False) -> None:
    event = finished(lab, "build.it", 1)
    data = json.loads(json.dumps(event.data))
    change(data)
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    db = sqlite3.connect(lab.home.journal)
    db.execute("UPDATE events SET data = ? WHERE id = ?", (text, event.id))
    if hash_too:
        row = db.execute("SELECT * FROM events WHERE id = ?", (event.id,)).fetchone()
        [before] = db.execute("SELECT hash FROM events WHERE id = ?", (event.id - 1,)).fetchone()
        db.execute("UPDATE events SET hash = ? WHERE id = ?", (chain.link(before, *row[:-1]), event.id))
    db.commit()
    db.close()


@pytest.mark.parametrize("hash_too", [False, True])
def test_an_edited_record_is_not_believed(warm: Lab, hash_too: bool) -> None:
    forged = warm.home.store.add_bytes(b"forged")
    change_event(warm, lambda data: data["artifacts"][0].update(digest=forged), hash_too=hash_too)

    said = run(warm)

    assert "build.it" in did(warm)
    assert (
        "! not taken from the cache: the result can't be used: its record in the journal was changed" in said
    )


def test_an_entry_that_points_elsewhere_is_not_believed(warm: Lab) -> None:
    """The table of results is a projection: it may lead to a wrong event, and no further."""
    wrong = finished(warm, "scan.it", 1).id
    db = sqlite3.connect(warm.home.journal)
    [key] = db.execute("SELECT key FROM results WHERE step = 'test.it'").fetchone()
    db.execute("DELETE FROM results WHERE step = 'scan.it'")
    db.execute("UPDATE results SET event = ? WHERE key = ?", (wrong, key))
    db.commit()
    db.close()

    said = run(warm)

    assert sorted(did(warm)) == ["scan.it", "test.it"]
    assert "can't be used: it is no result of this step" in said


# --- what is no entry ---


def test_a_step_that_failed_passed_late_or_was_cut_off_is_not_taken_over(fresh: Lab) -> None:
    lab = fresh
    edit(lab, "[test.it]", "[test.it]\nretries = 1")
    do = lab.root / "do"

    do.write_text("if step.name == 'test.it': raise StepFailed('no')")
    assert lab.run("run", SEEN="1")[0] == 1
    assert sorted(did(lab)) == ["build.it", "scan.it", "test.it", "test.it"]

    do.write_text("""if step.name == 'test.it' and not Path(step.project, 'late').exists():
    Path(step.project, 'late').touch()
    raise StepFailed('not yet')""")
    said = run(lab)
    assert "not kept for the cache: it did not pass at once" in said
    assert did(lab) == ["test.it", "test.it"]

    do.write_text(
        "if step.name == 'test.it': Path(step.project, 'hangs').touch(); step.run(['sleep', '600'])"
    )
    child = lab.start("run", SEEN="1")
    until(lambda: (lab.root / "hangs").exists(), 20)
    child.send_signal(signal.SIGKILL)
    child.wait()
    did(lab)

    do.unlink()
    assert lab.states(3) == {"source.it": "passed", "build.it": "cached", "scan.it": "cached"}
    said = run(lab)
    assert did(lab) == ["test.it"]
    assert run(lab).count(", from run ") == 3

    # The run that was cut off goes on, and takes over what was found out meanwhile.
    code, said = lab.run("resume", "3", SEEN="1")
    assert code == 0, said
    assert "= test.it    1 passed, from run 4\n" in said
    assert did(lab) == []


def test_a_scan_that_passes_until_a_day_is_not_taken_over(fresh: Lab) -> None:
    lab = fresh
    entry = {"id": "key", "reason": "why", "state": "applied", "until": "2099-01-01"}
    (lab.root / "until").write_text(json.dumps([entry]))

    said = run(lab)

    assert "not kept for the cache: a finding passes until a day only" in said
    assert lab.journal.last_result("scan.it") is None
    (lab.root / "until").write_text(json.dumps([{**entry, "until": None}]))
    run(lab)
    assert lab.journal.last_result("scan.it") is not None


def test_a_step_that_asks_for_its_revision_is_taken_over_for_that_one_only(fresh: Lab) -> None:
    lab = fresh
    (lab.root / "do").write_text(
        "if step.name == 'test.it': step.log(step.revision.short)\nstep.log(step.stamp.short)"
    )
    run(lab)
    did(lab)
    assert run(lab).count(", from run 1\n") == 3

    (lab.root / "commit").write_text("2")
    assert "would run: revision 1111111 → 2222222; distance of the revision" in lab.run("plan", SEEN="1")[1]
    run(lab)
    assert did(lab) == ["test.it"]

    (lab.root / "commit").write_text("1")
    assert "= test.it    1 passed, from run 1\n" in run(lab)


def test_a_tool_that_is_replaced_while_a_step_runs_leaves_no_entry(fresh: Lab) -> None:
    lab = fresh
    (lab.root / "do").write_text("if step.name == 'test.it': Path(step.project, 'tool').write_text('2')")

    said = run(lab)

    assert "! not kept for the cache: a tool was replaced while the step ran" in said
    assert lab.journal.last_result("test.it") is None


def test_what_can_not_be_compared_is_not_cached_and_says_why(fresh: Lab) -> None:
    lab = fresh
    edit(lab, '"src/**"]', '"srcc/**"]')
    edit(lab, '"link"], env', '"link"], env')
    (lab.root / "tool").unlink()

    assert 'would run: not cached: inputs: "srcc/**" matches no file of the source' in lab.run("plan")[1]
    code, said = lab.run("run", SEEN="1")

    assert '! not cached: inputs: "srcc/**" matches no file of the source' in said
    # A plugin that can't tell its tools fails the step itself.
    assert code == 4
    assert "No such file or directory" in said
    assert lab.journal.last_result("build.it") is None


def test_a_result_expires(warm: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(warm, 'uses = "fake"\ncache = true', 'uses = "fake"\ncache = { expires = 0 }')

    said = run(warm)

    assert did(warm) == ["scan.it"]
    assert "not taken from the cache: the result of run 1 is older than 0 s" in said


def never_says_its_tools(lab: Lab) -> None:
    path = next(lab.site.glob("penstock_fake_*.py"))
    code = path.read_text()
    wait = "    if not os.path.exists('said'):\n        open('said', 'w')\n        time.sleep(3600)\n"
    path.write_text(code.replace("    if not settings.tool:\n", f"{wait}    if not settings.tool:\n"))


def test_a_plugin_that_never_says_its_tools_is_waited_for_no_longer_than_it_may(fresh: Lab) -> None:
    never_says_its_tools(fresh)
    program = "from penstock import cli, engine; engine._PATIENCE_FOR_TOOLS = 0.5; cli.main(['run'])"
    env = {**os.environ, "PYTHONPATH": str(fresh.site), "SEEN": "1"}

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=fresh.root, env=env, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "! not cached: its tools can't be told: that took longer than 0.5 s" in done.stdout
    assert sorted(did(fresh)) == ALL
    assert fresh.leftovers() == []


def test_a_run_can_be_stopped_while_a_plugin_looks_for_its_tools(fresh: Lab) -> None:
    never_says_its_tools(fresh)
    child = fresh.start("run", SEEN="1")
    until(lambda: fresh.home.journal.exists() and fresh.states(), 20)

    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=30)

    assert child.returncode == 130, said
    assert did(fresh) == []
    assert fresh.leftovers() == []
