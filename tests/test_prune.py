"""`penstock prune`: what goes, what stays, and what is said about what is gone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from core.tests.lab import until
from tests.projects import Project

PIPELINE = """\
[penstock]
plugins = ["git", "shell", "local"]
retention = {{ keep = 1, releases = 1 }}

[build.app]
uses = "shell"
run = "cp source.txt app.txt"
artifacts = ["app.txt"]

[test.slow]
uses = "shell"
run = "echo begun; until test -e {place}/go-on; do sleep 0.05; done"

[deploy.staging]
uses = "local"
directory = "{place}/staging"

[verify.staging]
uses = "shell"
run = "true"
"""


def age(project: Project) -> None:
    """Make all that is in the store older than an hour."""
    for path in (project.root / ".penstock" / "artifacts").glob("??/*"):
        os.utime(path, (time.time() - 7200,) * 2)


def release(place: Path) -> str:
    return (place / "staging" / "current" / "app.txt").read_text()


def test_old_runs_go_and_an_environment_keeps_what_it_runs_and_may_go_back_to(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "go-on").touch()
    digests = []
    for word in ("one", "two", "three", "four"):
        project.commit({"penstock.toml": PIPELINE.format(place=tmp_path), "source.txt": word})
        project.passes("run")
        digests.append(project.digest("file"))
    age(project)
    # While a run is at work: what it has just found in the store is nobody's to remove.
    (tmp_path / "go-on").unlink()
    project.commit({"source.txt": "two"})
    running = project.start("run", "--no-deploy")
    log = project.root / ".penstock" / "runs" / "5" / "test.slow.1.log"
    until(lambda: log.exists() and "begun" in log.read_text(), within=120)

    dry = project.run_here(capsys, "prune", "--dry-run")
    assert dry.out.startswith("Would remove what 2 runs left (1 to 2), and free ")
    assert project.stored(digests[0]).exists()
    done = project.passes("prune")

    assert done.out.startswith("Removed what 2 runs left (1 to 2), and freed ")
    assert done.out.endswith("3 runs left; what happened in all of them is still on record.\n")
    assert done.err == (
        "Kept, though old: 4 (staging runs its release)\nKept, though old: 3 (staging may go back to it)\n"
    )
    assert [project.stored(digest).exists() for digest in digests] == [False, True, True, True]
    (tmp_path / "go-on").touch()
    assert running.wait(timeout=120) == 0
    running.communicate()
    assert project.passes("get", "last", "app.txt", "-o", "-").out == "two"
    # What stays is whole: it can be proved, and gone back to; and what is gone says so.
    assert project.passes("verify", digests[3]).out.count("✓") > 3
    project.passes("rollback", "staging")
    assert release(tmp_path) == "three"
    today = time.strftime("%Y-%m-%d")
    gone = f"penstock: what run 1 left was removed by prune on {today}, "
    for command, rest in {
        "logs 1": "its logs with it",
        "report 1 --junit -": "its reports with it",
        "get 1 app.txt": "app.txt with it",
        "shell 1 build.app": "and a shell needs its files",
        "rerun 1": "so it can't be repeated. Start anew: penstock run",
        f"verify {digests[0]}": "and with it the evidence for app.txt",
    }.items():
        done = project.run_here(capsys, *command.split())
        assert (done.code, done.out, done.err) == (2, "", gone + rest + "\n")
    done = project.run_here(capsys, "get", digests[0])
    assert (done.code, done.err) == (2, f"penstock: app.txt of run 1 was removed by prune on {today}\n")
    done = project.run_here(capsys, "rollback", "staging")
    assert done.err == (
        f"penstock: what run 2 left was removed by prune on {today}, and its release with it: there is "
        "nothing to go back to\n"
    )
    shown = project.run_here(capsys, "show", "1").out
    assert f"What it left was removed by prune on {today}: artifacts, evidence, reports, logs\n" in shown
    assert "✓ deploy.staging" in shown
    assert project.json("show", "1")["pruned"] > 1e9
    assert project.json("show")["pruned"] is None
    done = project.run_here(capsys, "diff", "1", "3")
    assert "What run 1 left was removed by prune: its files and tests are not compared" in done.out
    assert len(project.json("runs")) == 6
    # Done once more it finds nothing but what has become old since.
    done = project.run_here(capsys, "prune", "--keep", "9")
    assert done.out == "Nothing to remove: 4 runs, all of them to be kept.\n"


def test_prune_is_told_wrongly(project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*arguments: str) -> str:
        done = project.run_here(capsys, "prune", *arguments)
        assert (done.code, done.out) == (2, "")
        return done.err

    project.commit({"penstock.toml": PIPELINE.format(place=tmp_path)})
    assert refused("--older-than", "soon") == (
        'penstock: --older-than: "soon" is not a duration. Durations are such as "30s", "5m" or "1h30m"\n'
    )
    assert refused("--keep", "0").startswith(
        "penstock prune: invalid value for '--keep': 0 is not in the range"
    )
    assert project.run_here(capsys, "prune").out == "Nothing to remove: 0 runs, all of them to be kept.\n"
    text = PIPELINE.format(place=tmp_path)
    project.write({"penstock.toml": text.replace("keep = 1", "kepe = 1")})
    assert refused() == (
        'penstock: penstock.toml:3: [penstock] retention.kepe: there is no such key. Did you mean "keep"? '
        "The keys are keep, older_than, releases\n"
    )
    project.write({"penstock.toml": text.replace("keep = 1", 'older_than = "-1d"')})
    assert "is not a duration" in refused()
