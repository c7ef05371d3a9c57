"""`penstock init --ci`, and what the files that it writes call: run as a CI server runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from penstock_shell import junit, sarif

from tests.projects import ROOT, Project

CASES = (
    '<testsuite name="s" tests="2" failures="{bad}"><testcase classname="tests.test_a" name="test_good" '
    'time="0.5"/><testcase classname="tests.test_a" name="test_other" time="0.25">{failure}</testcase></testsuite>'
)
FINDINGS = {
    "version": "2.1.0",
    "runs": [
        {
            "tool": {"driver": {"name": "look", "version": "1.0", "rules": []}},
            "results": [
                {
                    "ruleId": "L1",
                    "level": "warning",
                    "message": {"text": "Not nice"},
                    "locations": [
                        {
                            "physicalLocation": {
                                "artifactLocation": {"uri": "src/a%20b.py"},
                                "region": {"startLine": 3},
                            }
                        }
                    ],
                }
            ],
        }
    ],
}
CONFIG = """\
[penstock]
plugins = ["git", "shell", "local"]

[build.box]
uses = "shell"
run = "cp box.txt out.txt"
artifacts = ["out.txt"]

[test.unit]
uses = "shell"
run = "cp cases.txt cases.xml; exit {status}"
reports = ["cases.xml"]

[test.style]
uses = "shell"
run = "true"

[scan.code]
uses = "shell"
run = "cp findings.txt findings.sarif"
reports = ["findings.sarif"]

[deploy.production]
uses = "local"
directory = "../releases"

[approve.production]
"""
PLATFORMS = {
    "github": ".github/workflows/penstock.yml",
    "gitlab": ".gitlab-ci.yml",
    "gitea": ".gitea/workflows/penstock.yml",
}


def files(*, good: bool = True) -> dict[str, str]:
    failure = "" if good else '<failure message="assert 1 == 2">E assert 1 == 2</failure>'
    return {
        "penstock.toml": CONFIG.format(status=0 if good else 1),
        "box.txt": "box",
        "cases.txt": CASES.format(bad=0 if good else 1, failure=failure),
        "findings.txt": json.dumps(FINDINGS),
    }


def written(project: Project, platform: str) -> dict[str, Any]:
    project.passes("init", "--ci", platform)
    found: dict[str, Any] = yaml.safe_load((project.root / PLATFORMS[platform]).read_text())
    return found


def script(project: Project, platform: str) -> str:
    """The commands by which a platform runs the pipeline."""
    found = written(project, platform)
    if platform == "gitlab":
        return "\n".join(found["penstock"]["script"])
    [text] = [
        step["run"] for step in found["jobs"]["penstock"]["steps"] if step.get("name") == "Run the pipeline"
    ]
    return str(text)


def do(
    project: Project, platform: str, branch: str = "main", text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the script as the platform does: with a shell that stops at the first error."""
    env = {
        **project.env,
        "PATH": f"{project.penstock.parent}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(project.root.parent / "summary.md"),
        "BRANCH": f"refs/heads/{branch}",
        "DEPLOYS": "refs/heads/main",
        "CI_COMMIT_BRANCH": branch,
        "CI_DEFAULT_BRANCH": "main",
    }
    shell = ["bash", "-e", "-c"] if platform != "gitlab" else ["bash", "-eo", "pipefail", "-c"]
    command = [*shell, text or script(project, platform)]
    return subprocess.run(command, cwd=project.root, env=env, capture_output=True, text=True, check=False)


def steps_of(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        step["uses"].partition("@")[0]: step for step in found["jobs"]["penstock"]["steps"] if "uses" in step
    }


@pytest.mark.parametrize("platform", ["github", "gitea"])
def test_actions_take_all_history_keep_the_journal_and_show_reports(project: Project, platform: str) -> None:
    project.commit(files())
    found = written(project, platform)
    steps = steps_of(found)
    assert steps["actions/checkout"]["with"]["fetch-depth"] == 0
    restore, save = steps["actions/cache/restore"], steps["actions/cache/save"]
    assert restore["with"]["path"] == save["with"]["path"] == ".penstock\n!.penstock/workspaces\n"
    assert restore["with"]["key"] == save["with"]["key"]
    assert save["if"] == "${{ !cancelled() }}"
    assert steps["actions/upload-artifact"]["with"]["path"] == "reports/"
    [install] = [
        s["run"] for s in found["jobs"]["penstock"]["steps"] if s.get("name", "").startswith("Install")
    ]
    assert install == "python -m pip install 'penstock[python]>=0.1'"
    assert ("github/codeql-action/upload-sarif" in steps) == (platform == "github")
    assert found["permissions"] == (
        {"contents": "read", "security-events": "write"} if platform == "github" else {"contents": "read"}
    )


def test_gitlab_takes_all_history_keeps_the_journal_and_lets_3_pass_as_a_warning(project: Project) -> None:
    project.commit(files())
    job = written(project, "gitlab")["penstock"]
    assert job["variables"] == {"GIT_DEPTH": "0"}
    assert job["allow_failure"] == {"exit_codes": 3}
    assert (job["cache"]["paths"], job["cache"]["when"]) == ([".penstock/"], "always")
    assert job["artifacts"]["reports"] == {"junit": "reports/junit.xml"}
    assert job["artifacts"]["when"] == "always"
    assert job["before_script"] == ["python -m pip install 'penstock[python]>=0.1'"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_file_that_is_there_is_left_alone(project: Project, platform: str) -> None:
    project.commit({**files(), PLATFORMS[platform]: "# mine\n"})
    done = project.run("init", "--ci", platform)
    assert done.code == 2
    assert done.err.startswith(f"penstock: {PLATFORMS[platform]} is there already; it is left as it is.")
    assert (project.root / PLATFORMS[platform]).read_text() == "# mine\n"


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_project_in_a_directory_of_its_repository(project: Project, platform: str) -> None:
    project.commit({f"apps/shop/{name}": text for name, text in files().items()})
    project.passes("-C", "apps/shop", "init", "--ci", platform)
    text = (project.root / PLATFORMS[platform]).read_text()
    found = yaml.safe_load(text)
    if platform == "gitlab":
        assert found["penstock"]["before_script"][-1] == "cd apps/shop/"
        assert found["penstock"]["cache"]["paths"] == ["apps/shop/.penstock/"]
        assert found["penstock"]["artifacts"]["reports"]["junit"] == "apps/shop/reports/junit.xml"
        return
    assert found["jobs"]["penstock"]["defaults"] == {"run": {"working-directory": "apps/shop/"}}
    steps = steps_of(found)
    assert (
        steps["actions/cache/save"]["with"]["path"]
        == "apps/shop/.penstock\n!apps/shop/.penstock/workspaces\n"
    )
    assert steps["actions/upload-artifact"]["with"]["path"] == "apps/shop/reports/"


def test_a_plugin_that_no_extra_brings_is_installed_by_its_name(project: Project) -> None:
    project.commit({"penstock.toml": '[penstock]\nplugins = ["git", "somebody-elses", "./ci/ours.py"]\n'})
    [install] = written(project, "gitlab")["penstock"]["before_script"]
    assert install == "python -m pip install 'penstock[python]>=0.1' somebody-elses"


def test_without_a_configuration_there_is_nothing_to_run(project: Project) -> None:
    done = project.run("init", "--ci", "github")
    assert done.code == 2
    assert "Make one: penstock init" in done.err


# --- the commands in them ---


def test_a_run_that_waits_is_shown_as_waiting_and_not_as_failed(project: Project) -> None:
    project.commit(files())
    done = do(project, "github")
    assert done.returncode == 0, done.stderr
    assert "::notice title=Penstock waits::" in done.stdout
    assert project.json("show")["state"] == "waiting"
    assert "Run 1  waiting" in (project.root.parent / "summary.md").read_text()


def test_on_gitlab_a_run_that_waits_ends_with_the_code_that_is_allowed(project: Project) -> None:
    project.commit(files())
    assert do(project, "gitlab").returncode == 3


@pytest.mark.parametrize("platform", PLATFORMS)
def test_another_branch_is_tested_and_not_deployed(project: Project, platform: str) -> None:
    project.commit(files())
    done = do(project, platform, branch="feature")
    assert done.returncode == 0, done.stderr
    states = project.states()
    assert (states["test.unit"], states["scan.code"]) == ("passed", "passed")
    assert (states["approve.production"], states["deploy.production"]) == ("skipped", "skipped")
    assert not (project.root.parent / "releases").exists()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_failed_run_fails_the_job_and_its_reports_say_what_failed(project: Project, platform: str) -> None:
    project.commit(files(good=False))
    assert do(project, platform).returncode == 1
    root = ET.parse(project.root / "reports" / "junit.xml").getroot()
    assert [(s.get("name"), s.get("tests"), s.get("failures")) for s in root] == [
        ("test.unit", "2", "1"),
        ("test.style", "1", "0"),
    ]
    [failure] = root.findall(".//failure")
    assert failure.get("message") == "assert 1 == 2"


def test_a_configuration_that_is_wrong_fails_the_job_and_shows_no_old_report(project: Project) -> None:
    project.commit(files())
    text = script(project, "gitea")
    assert do(project, "gitea", text=text).returncode == 0
    for file in (project.root / "reports").iterdir():
        file.unlink()
    project.write({"penstock.toml": "[penstock]\nplugins = 1\n"})
    assert do(project, "gitea", text=text).returncode == 2
    assert not list((project.root / "reports").iterdir())


# --- what the how-to says of keys and approvals ---


def commands_below(heading: str) -> str:
    """The `sh` block below a heading of the how-to."""
    text = (ROOT / "docs" / "how-to" / "ci.md").read_text().partition(f"\n## {heading}\n")[2]
    [block] = re.findall(r"(?s)```sh\n(.*?)```", text.partition("\n## ")[0])
    return str(block)


def signed_by(project: Project, data: Path, key: str) -> Project:
    """The project in a new job: nothing of the user is there but the key, as a secret."""
    env = {**project.env, "XDG_DATA_HOME": str(data), "PENSTOCK_KEY": key, "GITHUB_ACTOR": "ana"}
    env["PATH"] = f"{project.penstock.parent}{os.pathsep}{os.environ['PATH']}"
    job = Project(project.root, env)
    sh(job, commands_below("The key that signs"))
    return job


def sh(project: Project, commands: str) -> None:
    done = subprocess.run(
        ["bash", "-e", "-c", commands],
        cwd=project.root,
        env=project.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_that_waits_goes_on_in_another_job_with_the_same_key(project: Project, tmp_path: Path) -> None:
    text = files()["penstock.toml"].replace('"local"]', '"local", "sigstore"]')
    project.commit({**files(), "penstock.toml": text + '\n[sign.release]\nuses = "sigstore"\n'})
    made = project.passes("keys", "new", env={"XDG_DATA_HOME": str(tmp_path / "made")}).out.strip()
    key = (tmp_path / "made" / "penstock" / "keys" / f"{made}.pem").read_text().rstrip("\n")

    first = signed_by(project, tmp_path / "one", key)
    assert first.run("run").code == 3
    other = tmp_path / "elsewhere" / "checkout"
    shutil.copytree(project.root, other, ignore=shutil.ignore_patterns("workspaces"))
    project.root = other
    second = signed_by(project, tmp_path / "two", key)
    sh(second, commands_below("Approve in CI"))

    assert second.json("show")["state"] == "passed"
    assert [step["attempts"] for step in second.json("show")["steps"] if step["name"] == "test.unit"] == [1]
    assert (tmp_path / "elsewhere" / "releases" / "current").exists()


# --- the reports ---


def test_what_report_writes_is_what_the_tools_said(project: Project) -> None:
    project.commit(files(good=False))
    assert project.run("run").code == 1
    project.passes("report", "--junit", "there/junit.xml", "--sarif", "there/scan.sarif")
    data = (project.root / "there" / "junit.xml").read_bytes()
    assert [(case.name, case.outcome, case.seconds) for case in junit.parse("x", data)][:2] == [
        ("tests.test_a::test_good", "passed", 0.5),
        ("tests.test_a::test_other", "failed", 0.25),
    ]
    [run] = sarif.parse("x", (project.root / "there" / "scan.sarif").read_bytes())
    [result] = run.results
    assert (run.tool, result.rule, result.level, result.text) == ("look 1.0", "L1", "warning", "Not nice")
    assert (result.file, result.line) == ("src/a b.py", 3)


def test_report_writes_to_standard_output_and_needs_to_know_what(project: Project) -> None:
    project.commit(files())
    assert project.run("report", "--junit", "-").err.startswith("penstock: there is no run yet.")
    assert project.run("run", "--no-deploy").code == 0
    done = project.passes("report", "1", "--sarif", "-")
    assert (json.loads(done.out)["version"], done.err) == ("2.1.0", "")
    done = project.run("report")
    assert (done.code, "say what to write" in done.err) == (2, True)
    assert project.run("report", "7", "--junit", "-").code == 2


def test_a_report_takes_the_place_of_nothing_but_a_file(project: Project) -> None:
    """Root would be able to put a file where /dev/null is."""
    project.commit(files())
    assert project.run("run", "--no-deploy").code == 0
    pipe = project.root / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    project.passes("report", "--junit", "pipe")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert os.read(reader, 1 << 20).startswith(b"<?xml")
    os.close(reader)
    for name, why in {
        "/": "Is a directory: /",
        "..": "Is a directory: ..",
        "penstock.toml/junit.xml": "File exists: penstock.toml",
        "penstock.toml/more/junit.xml": "Not a directory: penstock.toml/more",
    }.items():
        done = project.run("report", "--junit", name)
        said = done.err.replace(f"{project.root}/", "")
        assert (done.code, said) == (2, f"penstock: {name} can't be written: {why}. Name a file\n")


def test_a_secret_is_not_in_a_report(project: Project, tmp_path: Path) -> None:
    bad = CASES.format(bad=1, failure='<failure message="it was hunter2-hunter2"/>')
    text = files()["penstock.toml"].replace(
        'reports = ["cases.xml"]', 'reports = ["cases.xml"]\nsecrets = { WORD = "env:WORD" }', 1
    )
    project.commit({**files(), "cases.txt": bad, "penstock.toml": text})
    assert project.run("run", env={"WORD": "hunter2-hunter2"}).code == 1
    out = project.passes("report", "--junit", "-").out
    assert "it was" in out
    assert "hunter2" not in out
    stored = [path for path in (project.root / ".penstock" / "artifacts").rglob("*") if path.is_file()]
    holding = [path for path in stored if b"it was hunter2" in path.read_bytes()]
    assert [b"testsuite" in path.read_bytes() for path in holding] == [True] * len(
        holding
    )  # the source itself


def test_no_deploy_and_to_exclude_each_other(project: Project) -> None:
    project.commit(files())
    done = project.run("run", "--no-deploy", "--to", "production")
    assert (done.code, "exclude each other" in done.err) == (2, True)
