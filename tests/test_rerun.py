"""`penstock rerun`: what is kept of an earlier run, what runs again, and why it says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.projects import Project

PIPELINE = """\
[penstock]
plugins = ["git", "shell", "local", "./ours.py"]

[build.app]
uses = "shell"
run = "sed s,$,!, source.txt > app.txt; echo built >> {place}/built"
artifacts = ["app.txt"]

[test.unit]
uses = "shell"
run = "test -e {place}/good"

[test.ours]
uses = "ours"

[scan.words]
uses = "shell"
run = "echo scanned >> {place}/scanned; cp words.sarif out.sarif"
reports = ["out.sarif"]

[deploy.staging]
uses = "local"
directory = "{place}/staging"

[verify.staging]
uses = "shell"
run = "true"

[approve.production]

[deploy.production]
uses = "local"
directory = "{place}/production"
"""
OURS = """\
from penstock import Settings, Step, TestCase, TestReport, hookimpl


@hookimpl
def penstock_test(settings: Settings, step: Step) -> TestReport:
    return TestReport(tool="ours 1", cases=(TestCase(name="one", outcome="passed"),))
"""
SARIF = json.dumps({"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "words"}}, "results": []}]})
UNCHANGED = "and neither it nor what it waits for has changed"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def project(project: Project, place: Path) -> Project:
    project.commit(
        {
            "penstock.toml": PIPELINE.format(place=place),
            "source.txt": "one",
            "words.sarif": SARIF,
            "ours.py": OURS,
        }
    )
    return project


def said(err: str) -> dict[str, str]:
    """What is said of each step before the run, by its name."""
    lines = [line.split(None, 2) for line in err.splitlines() if line.startswith("  ") and ": " in line]
    return {name: why for _, name, why in lines}


def test_what_passed_is_kept_and_what_failed_runs_again_until_it_waits_for_a_person(
    project: Project, place: Path
) -> None:
    assert project.run("run", "--approve", "production").code == 1
    project.commit({"source.txt": "two"})  # another revision: the run that is repeated does not see it
    (place / "good").touch()

    done = project.run("rerun")

    assert done.code == 3  # the approval that was given to run 1 is not this one's
    assert said(done.err) == {
        "source": "kept: the same files as in run 1",
        "build.app": f"kept: passed in run 1, {UNCHANGED}",
        "test.unit": "runs: failed in run 1",
        "test.ours": f"kept: passed in run 1, {UNCHANGED}",
        "scan.words": f"kept: passed in run 1, {UNCHANGED}",
        "deploy.staging": "runs: waits for test.unit, which runs again",
        "verify.staging": "runs: waits for deploy.staging, which runs again",
        "approve.production": "runs: waits for verify.staging, which runs again",
        "deploy.production": "runs: waits for approve.production, which runs again",
    }
    states = project.states()
    assert [name for name, state in states.items() if state == "cached"] == [
        *("source", "build.app", "test.ours", "scan.words")
    ]
    assert states["approve.production"] == "waiting"
    assert (place / "built").read_text() == "built\n"
    assert (place / "scanned").read_text() == "scanned\n"
    assert project.json("show", "1")["revision"] == project.json("show")["revision"]
    [artifact] = project.step("build.app")["artifacts"]
    assert project.stored(artifact["digest"]).read_text() == "one!"
    project.passes("approve")
    assert "passed" in project.passes("verify", artifact["digest"]).out
    # What is done in an environment is never taken over; what was kept is kept on, and says since when.
    done = project.run("rerun", "--from", "deploy.production", "--approve", "production", "--json")
    assert done.code == 0
    events = [json.loads(line) for line in done.out.splitlines()]
    kept = {e["step"]: e["data"]["origin"] for e in events if e["data"].get("state") == "cached"}
    assert kept["build.app"] == {"run": 1, "why": f"passed in run 1, kept in run 2, {UNCHANGED}"}
    assert kept["test.unit"] == {"run": 2, "why": f"passed in run 2, {UNCHANGED}"}
    assert said(done.err)["deploy.staging"] == "runs: what runs in staging may have changed since run 2"
    assert said(done.err)["verify.staging"] == "runs: says how staging is now, not how it was in run 2"
    assert said(done.err)["approve.production"] == "runs: an approval is good for one run"
    assert project.states()["deploy.staging"] == "passed"
    # Of a run that passed nothing is to be done again, unless somebody says what.
    done = project.run("rerun")
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("To run a step of it, name it: penstock rerun 3 --from STEP\n")


def edit(project: Project, old: str, new: str) -> None:
    path = project.root / "penstock.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def damage(path: Path) -> None:
    path.chmod(0o600)
    path.write_text("two!")


def test_what_the_store_or_the_plugins_have_differently_is_not_kept(project: Project, tmp_path: Path) -> None:
    assert project.run("run").code == 1
    [artifact] = [each["digest"] for each in project.step("build.app")["artifacts"]]
    backup = tmp_path / "backup"
    project.root.rename(backup)

    def rerun(change: Callable[[], object]) -> dict[str, str]:
        shutil.rmtree(project.root, ignore_errors=True)
        shutil.copytree(backup, project.root, symlinks=True)
        change()
        return said(project.run("rerun").err)

    found = rerun(lambda: project.write({"ours.py": OURS.replace("ours 1", "ours 2")}))
    assert found["test.ours"] == "runs: the plugin ours has another version than in run 1"
    assert found["scan.words"] == f"kept: passed in run 1, {UNCHANGED}"
    found = rerun(lambda: edit(project, "cp words", "cp -f words"))
    assert found["scan.words"] == "runs: its section changed since run 1: run"
    found = rerun(project.stored(artifact).unlink)
    assert found["build.app"] == "runs: app.txt is not in the store any more"
    found = rerun(lambda: damage(project.stored(artifact)))
    assert found["build.app"].startswith("runs: the bytes in the store are not those of")
    assert found["scan.words"] == "runs: waits for build.app, which runs again"
    assert project.stored(artifact).read_text() == "one!"


def test_a_run_keeps_to_what_was_asked_for(
    project: Project, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "good").touch()
    project.passes("run", "--no-deploy")
    done = project.passes("rerun", "--from", "test.unit")
    assert "deploy.staging" not in said(done.err)
    assert project.states()["deploy.staging"] == "skipped"
    assert not (place / "staging").exists()
    done = project.run_here(capsys, "rerun", "1", "--from", "staging")
    assert (done.code, done.err) == (
        2,
        'penstock: --from: there is no step "staging". Did you mean "deploy.staging"?\n',
    )
    done = project.run_here(capsys, "rerun", "1", "--from", "deploy.staging")
    assert (done.code, done.err) == (
        2,
        "penstock: --from: deploy.staging was not asked for in run 1. Run it: penstock run --only "
        "deploy.staging\n",
    )


def test_what_can_not_be_repeated_says_why_and_leaves_nothing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: str) -> str:
        done = project.run_here(capsys, "rerun", *arguments)
        assert (done.code, done.out) == (2, ""), done.said
        return done.err

    assert refused() == "penstock: there is no run yet. Start one: penstock run\n"
    assert project.run("run").code == 1
    assert refused("7") == "penstock: there is no run 7. The runs: penstock runs\n"
    assert refused("x") == 'penstock: "x" is no run. A run is a number, or "last". The runs: penstock runs\n'
    assert "says which files there are" in refused("--from", "source")
    assert refused("--approve", "prod") == (
        'penstock: --approve: there is no environment "prod". Did you mean "production"?\n'
    )
    snapshot = project.json("show")["revision"]["snapshot"]
    project.stored(snapshot).unlink()
    assert refused() == (
        "penstock: files of the snapshot of run 1 are not in the store any more. Start anew: penstock run\n"
    )
    assert [path.name for path in (project.root / ".penstock" / "runs").iterdir()] == ["1"]
