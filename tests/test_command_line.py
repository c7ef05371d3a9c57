"""The command line as a user meets it, in a project whose one plugin is quick."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.projects import Done, Project

pytestmark = pytest.mark.real  # acme is installed by pip, with what the core needs

PIPELINE = """\
[penstock]
plugins = ["acme"]

[build.box]
uses = "acme"

[test.look]
uses = "acme"

[deploy.staging]
uses = "acme"
places = ["{root}/staging"]

[approve.production]
by = {by}

[deploy.production]
uses = "acme"
places = ["{root}/production"]

[roles]
managers = ["somebody-else"]
"""


@pytest.fixture
def project(acme_project: Project, tmp_path: Path) -> Project:
    write(acme_project, tmp_path)
    return acme_project


def write(project: Project, place: Path, *, by: str = "[]", source: str = "good") -> None:
    project.write({"source.txt": source, "penstock.toml": PIPELINE.format(root=place, by=by)})


def test_a_run_waits_for_approval_and_goes_on_from_there(project: Project) -> None:
    done = project.run("run")
    assert done.code == 3
    assert "… approve.production" in done.out
    assert "penstock approve 1 production     or: penstock reject 1 production" in done.out
    assert project.json("show")["state"] == "waiting"
    done = project.passes("approve", "--why", "it is Monday")
    assert "not proved by a signature" in done.err
    assert project.states()["deploy.production"] == "passed"
    finished = [
        step["attempts"] for step in project.json("show")["steps"] if step["name"] != "approve.production"
    ]
    assert finished == [1] * len(finished)


def test_reject_ends_the_run(project: Project) -> None:
    assert project.run("run").code == 3
    assert project.run("reject", "1", "production", "--why", "no").code == 1
    assert project.json("show")["state"] == "refused"
    assert project.states()["deploy.production"] == "skipped"
    done = project.run("approve")
    assert (done.code, done.err) == (2, "penstock: no run waits for an approval. The runs: penstock runs\n")


def test_verify_does_not_prove_what_a_gate_refused(project: Project) -> None:
    assert project.run("run").code == 3
    [artifact] = project.step("build.box")["artifacts"]
    assert project.run("verify", artifact["digest"]).code == 0
    assert project.run("reject", "1", "production", "--why", "no").code == 1
    done = project.run("verify", artifact["digest"])
    assert done.code == 1
    assert "approve.production refused in run 1: rejected by " in done.out
    assert done.out.endswith("NOT PROVED.\n")


def test_only_those_whom_the_role_names_may_approve(project: Project, tmp_path: Path) -> None:
    write(project, tmp_path, by='["managers"]')
    assert project.run("run").code == 3
    done = project.run("approve")
    assert done.code == 1
    assert done.err.endswith("may not approve approve.production: managers may\n")
    assert project.states()["approve.production"] == "waiting"
    assert project.run("run", "--approve", "production").code == 1
    assert "may not approve: managers may" in project.step("approve.production")["reason"]


def test_who_approves_is_not_what_the_environment_says(project: Project, tmp_path: Path) -> None:
    write(project, tmp_path, by='["managers"]')
    assert project.run("run").code == 3
    assert project.run("approve", env={"LOGNAME": "somebody-else", "USER": "somebody-else"}).code == 1
    assert project.states()["approve.production"] == "waiting"


def test_rollback_goes_to_the_last_release_that_was_verified_and_twice_goes_further(
    project: Project, tmp_path: Path
) -> None:
    verify = '[verify.staging]\nuses = "acme"\nword = "good"\n'
    for number, word in enumerate(("good 1", "good 2", "good but bad", "good 4")):
        write(project, tmp_path, source=word)
        toml = (project.root / "penstock.toml").read_text() + verify
        bad = "passes = false\n" if "bad" in word else ""
        project.write({"penstock.toml": toml + bad})
        assert project.run("run", "--to", "staging").code == (1 if bad else 0), number
    box = tmp_path / "staging" / "current" / "box.txt"
    for wanted in ("plain: good 2", "plain: good 1"):
        project.passes("rollback", "staging")
        assert box.read_text() == wanted
    assert "has no good release before" in project.run("rollback", "staging").err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], 'there is no command "rum". Did you mean "run"? See: penstock --help'),
        (
            ["run", "--to", "prod"],
            '--to: there is no environment "prod". Did you mean "production"?',
        ),
        (["run", "--only", "test.x"], '--only: there is no step "test.x". Did you mean "test.look"?'),
        (["run", "--approve", "x"], '--approve: there is no environment "x". The environments are '),
        (["run", "--dirty"], '--dirty: the plugin "acme" takes committed files only'),
        (["show"], "there is no run yet. Start one: penstock run"),
        (["show", "7"], "there is no run 7. The runs: penstock runs"),
        (["rerun", "seven"], '"seven" is no run. A run is a number, or "last"'),
        (["resume"], "there is no run yet. Start one: penstock run"),
        (["approve"], "no run waits for an approval. The runs: penstock runs"),
        (["rollback", "staging"], "nothing was ever deployed to staging from here"),
        (["rollback", "moon"], 'there is no environment "moon". The environments are staging, production'),
        (["verify", "xyz"], '"xyz" is no digest: at least eight of its hexadecimal digits are needed'),
        (["verify", "0" * 64], "no run here has built 0000"),
        (["plugins", "info", "acne"], 'the plugin "acne" is not installed. Did you mean "acme"?'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_on_the_command_line_is_one_clear_message(
    project: Project, arguments: list[str], message: str
) -> None:
    done = project.run(*arguments)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) <= 4
    assert done.out == ""


def test_without_a_project_every_command_says_how_to_begin(acme_project: Project) -> None:
    for command in ("run", "plan", "validate", "status", "runs", "show", "logs", "resume"):
        done = acme_project.run(command)
        assert (done.code, done.out) == (2, "")
        assert done.err.strip().endswith("or above. Make one: penstock init")


def test_only_runs_a_step_and_what_it_needs(project: Project) -> None:
    project.passes("run", "--only", "test.look")
    assert [name for name, state in project.states().items() if state == "passed"] == [
        *("source", "build.box", "test.look")
    ]


def test_to_stops_after_an_environment(project: Project, tmp_path: Path) -> None:
    project.passes("run", "--to", "staging")
    assert (tmp_path / "staging" / "current").exists()
    assert not (tmp_path / "production").exists()


def test_json_is_events_alone_on_standard_output(project: Project) -> None:
    done = project.run("run", "--json")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [event["type"] for event in events][:2] == ["run.started", "step.started"]
    assert events[-1]["type"] == "run.waiting"
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert "✓ build.box" in done.err


def test_show_json_has_what_is_promised(project: Project) -> None:
    project.run("run")
    shown = project.json("show")
    assert {"run", "state", "revision", "plan", "steps"} <= shown.keys()
    for step in shown["steps"]:
        assert {"name", "state", "attempts", "started", "seconds", "reason", "artifacts"} <= step.keys()
    by_name = {step["name"]: step for step in shown["steps"]}
    assert by_name["test.look"]["tests"] == {"passed": 1, "failed": 0, "skipped": 0, "flaky": 0}
    assert by_name["build.box"]["artifacts"][0].keys() == {"name", "kind", "digest"}


def test_a_failed_step_shows_why_and_stops_what_waits_for_it(project: Project, tmp_path: Path) -> None:
    write(project, tmp_path, source="evil")
    done = project.run("run")
    assert done.code == 1
    assert "✗ test.look           1 of 1 failed" in done.out
    assert "no good" in done.out
    assert "– deploy.staging      not started: test.look failed" in done.out
    assert "Failed in" in done.out
    assert "Nothing was deployed." in done.out


def test_runs_lists_the_newest_first(project: Project) -> None:
    assert project.run("runs").err == "No run yet. Start one: penstock run\n"
    project.run("run", "--only", "source")
    project.run("run")
    rows = project.json("runs")
    assert [(row["run"], row["state"]) for row in rows] == [(2, "waiting"), (1, "passed")]
    assert len(project.run("runs", "--limit", "1").out.splitlines()) == 1


def test_logs_follows_a_run_to_its_end(project: Project, tmp_path: Path) -> None:
    toml = (project.root / "penstock.toml").read_text()
    project.write({"penstock.toml": toml.replace("[test.look]\n", '[test.look]\npause = "1s"\n')})
    running = project.start("run")
    deadline = time.monotonic() + 20
    while not project.run("runs").out and time.monotonic() < deadline:
        time.sleep(0.02)
    followed = project.run("logs", "-f", "last", "build.box", timeout=30)
    assert followed.code == 0
    assert project.json("show")["state"] == "waiting"
    running.communicate(timeout=10)


def test_ctrl_c_cancels_and_leaves_nothing(project: Project) -> None:
    toml = (project.root / "penstock.toml").read_text()
    project.write({"penstock.toml": toml.replace("[test.look]\n", '[test.look]\npause = "1m"\n')})
    running = project.start("run", "--json")
    assert running.stdout is not None
    for line in running.stdout:
        event = json.loads(line)
        if (event["type"], event["step"]) == ("step.started", "test.look"):
            break
    started = time.monotonic()
    os.kill(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=20)
    assert time.monotonic() - started < 5
    assert running.returncode == 130
    assert "Cancelled in" in err
    assert set(project.states().values()) == {"passed", "cancelled", "skipped"}
    assert project.states()["test.look"] == "cancelled"


def test_cancel_stops_a_run_from_another_process(project: Project) -> None:
    assert project.run("run").code == 3
    project.run("cancel", "--why", "wrong branch")
    shown = project.json("show")
    assert shown["state"] == "cancelled"
    assert project.run("resume").code == 130


def test_status_tells_what_drifted(project: Project, tmp_path: Path) -> None:
    project.passes("run", "--to", "staging")
    assert project.json("status", "staging")["targets"][0]["drifted"] is False
    (tmp_path / "staging" / "current").unlink()
    done = project.run("status", "staging")
    assert "DRIFTED" in done.out
    assert project.json("status", "staging")["targets"][0]["release"] is None


def test_help_shows_the_everyday_commands_first(project: Project) -> None:
    out = project.passes("--help").out
    everyday, _, more = out.partition("More:")
    for command in ("init", "run", "show", "logs", "approve", "status", "rollback", "resume"):
        assert f"\n  {command} " in everyday
    assert "\n  doctor " in more
    for command in ("run", "approve", "verify", "plugins"):
        assert project.passes(command, "--help").out.startswith(f"Usage: penstock {command}")


def test_schema_completes_what_the_plugin_declares(project: Project) -> None:
    schema = json.loads(project.passes("schema").out)
    [build] = schema["properties"]["build"]["additionalProperties"]["oneOf"]
    assert build["properties"]["uses"] == {"const": "acme"}
    assert build["properties"]["level"]["enum"] == ["plain", "fancy"]
    assert "timeout" in build["properties"]


def test_doctor_finds_a_project_that_is_right(project: Project) -> None:
    done = project.passes("doctor")
    assert "✓ 1 plugins installed: acme" in done.out or "✓ 1 plugin installed: acme" in done.out
    assert "is right: 6 steps" in done.out


def test_init_never_overwrites(project: Project) -> None:
    before = (project.root / "penstock.toml").read_bytes()
    done = project.run("init")
    assert done.code == 2
    assert "penstock.toml is there already; it is left as it is" in done.err
    assert (project.root / "penstock.toml").read_bytes() == before


def test_another_directory_with_spaces(project: Project, tmp_path: Path) -> None:
    place = tmp_path / "a place with späces"
    project.root.rename(place)
    done = subprocess.run(
        [project.penstock, "-C", place, "run", "--to", "staging"],
        env=project.env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_verify_exports_the_artifact_and_takes_a_file(project: Project, tmp_path: Path) -> None:
    project.passes("run", "--to", "staging")
    evidence = tmp_path / "evidence"
    project.passes("verify", project.digest("file"), "--export", str(evidence))
    box = evidence / "box.txt"
    assert box.read_text() == "plain: good"
    assert "build.box: built by" in project.passes("verify", str(box)).out
    box.write_text("somebody's own")
    done = project.run("verify", project.digest("file"), "--export", str(evidence))
    assert (done.code, box.read_text()) == (2, "somebody's own")
    assert "box.txt is there already, and is left as it is" in done.err
    assert "no run here has built" in project.run("verify", str(box)).err


def test_the_journal_ignores_itself_in_git(project: Project) -> None:
    project.run("run")
    assert ".penstock" not in project.git("status", "--porcelain", "--untracked-files=all")


def test_a_closed_pipe_is_no_error(project: Project) -> None:
    project.run("run")
    command = f"'{project.penstock}' show | head -n 1"
    done = subprocess.run(
        ["bash", "-c", command], cwd=project.root, env=project.env, capture_output=True, text=True
    )
    assert done.stderr == ""


def test_python_runs_it_as_a_module_too(project: Project) -> None:
    command = [sys.executable, "-m", "penstock", "--version"]

    done = subprocess.run(command, cwd=project.root, env=project.env, capture_output=True, text=True)

    assert Done(done.returncode, done.stdout, done.stderr) == project.run("--version")


def test_what_was_to_be_done_at_the_end_is_done() -> None:
    code = (
        "import atexit; from penstock.cli import main; atexit.register(print, 'goodbye'); main(['--version'])"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "goodbye"
    assert ended.stdout.startswith("penstock, version ")
