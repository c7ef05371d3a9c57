"""`penstock watch` and `penstock run --rev`, as they are used."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.projects import Project
from tests.receiver import Receiver

CONFIG = """
[penstock]
plugins = ["git", "shell"]

[test.it]
uses = "shell"
run = "cat what; test ! -e bad"
"""
OWN = """
from penstock import Settings, Step, TestCase, TestReport, hookimpl


class Nothing(Settings):
    pass


@hookimpl
def penstock_test(settings: Nothing, step: Step) -> TestReport:
    return TestReport(tool="ours", cases=(TestCase(name="VERSION", outcome="passed"),))
"""


def begin(project: Project, config: str = CONFIG) -> str:
    return project.commit({"penstock.toml": config, "what": "one\n"}, "Begin")


def watched(project: Project, *arguments: str) -> list[dict[str, Any]]:
    done = project.run("watch", "--once", "--json", *arguments)
    assert done.err == "", done.err
    first, *rest = [json.loads(line) for line in done.out.splitlines()]
    assert first["type"] == "watch.began"
    return rest


def outline(happened: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (each["type"], each["ref"], each["commit"], each.get("by") or each.get("state") or each.get("run"))
        for each in happened
    ]


def test_a_branch_is_run_as_it_stands_and_then_whenever_it_has_moved(project: Project) -> None:
    first = begin(project)
    assert outline(watched(project)) == [
        ("change.started", "main", first, 1),
        ("change.finished", "main", first, "passed"),
    ]

    second = project.commit(message="Second")
    third = project.commit(message="Third")
    assert outline(watched(project)) == [
        ("change.started", "main", third, 2),
        ("change.superseded", "main", second, third),
        ("change.finished", "main", third, "passed"),
    ]
    assert f"Begun by watch for main, in place of {second[:7]}" in project.passes("show", "2").out
    assert project.json("show", "2")["superseded"] == [second]

    project.git("reset", "-q", "--hard", first)
    [back] = watched(project)
    assert (back["type"], back["commit"]) == ("change.seen", first)
    fourth = project.commit(message="Fourth")
    assert outline(watched(project))[0] == ("change.started", "main", fourth, 3)


def test_of_a_pattern_only_what_is_new_is_run_and_a_new_branch_is(project: Project) -> None:
    begin(project)
    project.git("branch", "release/1")
    project.git("branch", "release/deep/1")
    [passed_over] = watched(project, "--branch", "release/*")
    assert (passed_over["type"], passed_over["ref"]) == ("change.seen", "release/1")
    project.git("branch", "release/2")

    found = watched(project, "--branch", "release/*", "--branch", "release/deep/*")

    assert [(each["type"], each["ref"]) for each in found] == [
        ("change.seen", "release/deep/1"),
        ("change.started", "release/2"),
        ("change.finished", "release/2"),
    ]


def test_a_commit_that_can_t_be_run_is_on_record_with_the_reason(project: Project) -> None:
    begin(project)
    broken = project.commit({"penstock.toml": CONFIG + "run = 1\n"}, "Broken")
    project.write({"penstock.toml": CONFIG})  # what lies in the working tree has no part in it

    done = project.run("watch", "--once")

    assert done.code == 2
    assert f"main  {broken[:7]}  can't be run: penstock.toml:8" in done.out
    assert watched(project) == [], "it is not tried again"
    assert project.run("runs").err == "No run yet. Start one: penstock run\n"


def test_one_line_says_how_a_run_ended(project: Project) -> None:
    begin(project)
    project.commit({"bad": ""}, "Break it\x1b[31m")

    done = project.run("watch", "--once")

    lines = [line.split("  ", 1)[1] for line in done.out.splitlines()]
    commit = project.git("rev-parse", "HEAD")[:7]
    assert done.code == 1
    assert done.err == ""
    assert "\x1b" not in done.out
    assert lines[0] == "Watching main, every 30 s. Ctrl-C ends it."
    assert lines[1].startswith(f"main  {commit}  Break it")
    assert lines[1].endswith("(Ana): run 1")
    assert lines[2].startswith(f"main  {commit}  failed in ")
    assert lines[2].endswith("test.it, `cat what; test ! -e bad` ended with status 1. See: penstock show 1")


def test_what_can_t_be_watched_is_said_at_once(project: Project) -> None:
    begin(project)
    done = project.run("watch", "--every", "soon")
    message = '"soon" is not a duration. Durations are such as "30s", "5m" or "1h30m"'
    assert (done.code, done.err) == (2, f"penstock: --every: {message}\n")
    done = project.run("watch", "--branch", "a..b")
    message = "is no name of a branch. Names and patterns are such as main or release/*"
    assert (done.code, done.err) == (2, f'penstock: --branch: "a..b" {message}\n')
    done = project.run("watch", "--once", "--branch", "mian")
    assert (done.code, done.err) == (0, 'penstock: there is no branch "mian" yet\n')
    project.git("checkout", "-q", "--detach")
    done = project.run("watch")
    assert done.code == 2
    assert "no branch is checked out, and none is named. Name those to watch: --branch main" in done.err
    project.write({"ours.py": "from penstock import hookimpl\n@hookimpl\ndef penstock_source(): ..."})
    project.write({"penstock.toml": CONFIG.replace('"git"', '"./ours.py"')})
    done = project.run("run", "--rev", "main")
    assert done.code == 2
    assert 'the plugin "ours" takes the source as it lies there' in done.err


def lines_until(child: subprocess.Popen[str], words: str) -> list[str]:
    assert child.stdout is not None
    found: list[str] = []
    while not found or words not in found[-1]:
        found.append(child.stdout.readline())
        assert found[-1], found
    return found


HANGS = CONFIG.replace("cat what;", "test -e ROOT/go || { touch ROOT/there; sleep 600; };")


@pytest.mark.parametrize(
    ("number", "code", "state"),
    [(signal.SIGTERM, 0, "running"), (signal.SIGINT, 130, "cancelled")],
    ids=["SIGTERM", "Ctrl-C"],
)
def test_a_watch_that_ends_leaves_its_run_to_the_next_and_ctrl_c_cancels_it(
    project: Project, tmp_path: Path, number: signal.Signals, code: int, state: str
) -> None:
    begin(project, HANGS.replace("ROOT", str(tmp_path)))
    child = project.start("watch", "--every", "0.1s")
    lines_until(child, "run 1")
    assert project.run("watch").err.startswith(
        "penstock: another `penstock watch` is at work in this checkout"
    )

    child.send_signal(number)
    child.communicate(timeout=60)

    assert child.returncode == code
    (tmp_path / "go").touch()
    assert project.json("runs")[0]["state"] == state
    found = [each["type"] for each in watched(project)]
    assert found == (["change.resumed", "change.finished"] if state == "running" else [])
    assert len(project.json("runs")) == 1


def test_a_remote_is_watched_without_touching_the_user_s_branches(project: Project, tmp_path: Path) -> None:
    begin(project, CONFIG + '\n[source.it]\nuses = "git"\nremote = "origin"\n')
    project.git("clone", "-q", "--bare", ".", str(tmp_path / "upstream.git"))
    project.git("clone", "-q", str(tmp_path / "upstream.git"), str(tmp_path / "desk"))
    desk = Project(tmp_path / "desk", project.env)
    assert [each["type"] for each in watched(desk)] == ["change.started", "change.finished"]
    project.commit(message="Two")
    new = project.commit({"what": "three\n"}, "Three")
    project.git("push", "-q", str(tmp_path / "upstream.git"), "main")
    before = desk.git("for-each-ref", "refs/heads", "refs/remotes", "refs/tags")

    found = watched(desk)

    assert [each["type"] for each in found] == ["change.started", "change.superseded", "change.finished"]
    assert found[0]["commit"] == new
    assert "three" in desk.passes("logs", "last", "test.it").out
    assert desk.git("for-each-ref", "refs/heads", "refs/remotes", "refs/tags") == before
    assert not (desk.root / ".git" / "FETCH_HEAD").exists()
    (tmp_path / "upstream.git").rename(tmp_path / "away")
    done = desk.run("watch", "--once")
    assert done.code == 4
    assert 'could not look for changes: the remote "origin" can\'t be asked: ' in done.err


def test_a_run_of_a_commit_is_configured_by_that_commit(project: Project) -> None:
    config = CONFIG.replace('"shell"]', '"shell", "./ci/ours.py"]') + '\n[test.own]\nuses = "ours"\n'
    project.write({"ci/ours.py": OWN})
    first = begin(project, config)
    project.git("tag", "v1")
    second = project.commit({"what": "two\n", "ci/ours.py": OWN.replace("VERSION", "two")}, "Two")
    project.write(
        {
            "what": "not committed\n",
            "penstock.toml": config + "\n[test.more]\nuses = 'shell'\nrun = 'false'\n",
        }
    )
    status = project.git("status", "--porcelain")

    project.passes("run", "--rev", "v1")
    project.passes("run", "--rev", "HEAD")

    old, new = project.json("show", "1"), project.json("show", "2")
    assert (old["revision"]["commit"], old["revision"]["ref"]) == (first, "v1")
    assert (new["revision"]["commit"], new["revision"]["ref"]) == (second, "main")
    assert old["revision"]["left_out"] == new["revision"]["left_out"] == []
    assert [len(shown["steps"]) for shown in (old, new)] == [3, 3]
    assert "one" in project.passes("logs", "1", "test.it").out
    assert "two" in project.passes("logs", "2", "test.it").out
    assert project.git("status", "--porcelain") == status
    for arguments, said in (
        (("--rev", "v11"), '--rev: "v11" names no commit in this repository. Did you mean "v1"?'),
        (("--rev", "v1", "--dirty"), "--rev and --dirty exclude each other"),
    ):
        done = project.run("run", *arguments)
        assert done.code == 2
        assert said in done.err


def test_a_run_of_a_commit_goes_on_with_the_plugins_of_that_commit(project: Project, tmp_path: Path) -> None:
    config = HANGS.replace("ROOT", str(tmp_path)).replace('"shell"]', '"shell", "./ci/ours.py"]')
    project.write({"ci/ours.py": OWN})
    begin(project, config + '\n[test.own]\nuses = "ours"\nneeds = ["test.it"]\n')
    child = project.start("run", "--rev", "main", "--json")
    lines_until(child, '"step.started", "step": "test.it"')
    child.send_signal(signal.SIGKILL)
    child.communicate()
    (tmp_path / "go").touch()
    project.commit({"ci/ours.py": OWN.replace("VERSION", "two")})

    project.passes("resume")

    assert project.states() == {"source": "passed", "test.it": "passed", "test.own": "passed"}


def test_a_commit_without_a_configuration_says_so(project: Project) -> None:
    project.commit({"what": "one\n"}, "Nothing yet")
    project.write({"penstock.toml": CONFIG})

    done = project.run("run", "--rev", "HEAD")

    assert done.code == 2
    assert "holds no penstock.toml, and a run of a commit is configured by what is committed" in done.err


def test_what_could_not_be_told_is_told_by_the_next_watch(project: Project) -> None:
    gone = Receiver()
    gone.close()
    observe = f'\n[observe.board]\nuses = "notify"\nwebhook = "{gone.url}"\non = ["failure", "recovery"]\n'
    begin(project, CONFIG.replace('"shell"]', '"shell", "notify"]') + observe)
    project.commit({"bad": ""}, "Break it")
    done = project.run("watch", "--once")
    assert done.code == 1
    assert "run 1 failed at test.it\" is not told yet: the webhook can't be reached" in done.err
    receiver = Receiver(503, port=gone.port)
    try:
        child = project.start("watch", "--every", "0.1s")
        [message] = receiver.wait_for(1)
        (project.root / "bad").unlink()
        project.commit(message="Mend it")
        _, recovered = receiver.wait_for(2)
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
    finally:
        receiver.close()

    assert (message["kind"], message["run"], message["step"]) == ("failure", 1, "test.it")
    assert (recovered["kind"], recovered["run"], recovered["ref"]) == ("recovery", 2, "main")
    assert [headers["Idempotency-Key"] for headers in receiver.headers] == [message["id"], recovered["id"]]


IN_HOUSE = """
from pathlib import Path
from penstock import Revision, Settings, Step, hookimpl

class Versions(Settings):
    pass

@hookimpl
def penstock_source(settings: Versions, step: Step) -> Revision:
    commit = step.revision.commit
    (step.workspace / "what").write_text((step.project / "versions" / commit / "what").read_text())
    return Revision(commit=commit, ref=step.revision.ref)

@hookimpl
def penstock_find_revision(settings: Versions, root: Path, name: str) -> Revision:
    return Revision(commit=name, ref="stable")

@hookimpl
def penstock_read_file(settings: Versions, root: Path, revision: Revision, path: str) -> bytes | None:
    found = root / "versions" / revision.commit / path
    return found.read_bytes() if found.exists() else (root / path).read_bytes() if path[0] == "o" else None

@hookimpl
def penstock_changes(settings: Versions, root: Path, branches, since) -> list[Revision]:
    there = sorted(path.name for path in (root / "versions").iterdir())
    return [Revision(commit=name, ref="stable") for name in there if name > since.get("stable", "")]
"""


def test_what_is_new_may_come_from_a_plugin_of_the_project_s_own(project: Project) -> None:
    config = CONFIG.replace('"git"', '"./ours.py"')
    project.write({"penstock.toml": config, "ours.py": IN_HOUSE})
    for name in ("1", "2"):
        project.write({f"versions/{name}/what": f"version {name}", f"versions/{name}/penstock.toml": config})

    assert outline(watched(project)) == [
        ("change.started", "stable", "2", 1),
        ("change.superseded", "stable", "1", "2"),
        ("change.finished", "stable", "2", "passed"),
    ]
    assert "version 2" in project.passes("logs", "1", "test.it").out
    project.write({"ours.py": IN_HOUSE.replace("commit = step.revision.commit", 'commit = "1"')})
    done = project.run("run", "--rev", "2")
    assert done.code == 4
    assert 'the run is about commit 2, and the plugin "ours" took 1' in done.said


def test_it_goes_on_and_ends_when_it_is_told_to_though_nobody_reads_what_it_says(project: Project) -> None:
    begin(project)
    branches = [f"{'b' * 200}/{number}" for number in range(12)]
    for branch in branches:
        project.git("branch", branch)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ: it is full after a few lines
    child = subprocess.Popen(
        [project.penstock, "watch", "--json", "--every=0.1s", *(f"--branch={name}" for name in branches)],
        cwd=project.root,
        env=project.env,
        stdin=subprocess.DEVNULL,
        stdout=writer,
        start_new_session=True,
    )
    os.close(writer)
    try:
        deadline = time.monotonic() + 120
        while [run["state"] for run in project.json("runs")] != ["passed"] * 12:
            assert time.monotonic() < deadline
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(timeout=0.3)

        child.send_signal(signal.SIGTERM)

        assert child.wait(timeout=30) == 0
    finally:
        child.kill()
        child.wait()
        os.close(reader)
