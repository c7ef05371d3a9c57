"""How to keep a plugin in the project: what the page says works as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.projects import ROOT, Project


def blocks() -> list[str]:
    text = (ROOT / "docs" / "how-to" / "in-house-plugins.md").read_text()
    return re.findall(r"^```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def ours(project: Project) -> Project:
    plugin, configuration, test = blocks()[:3]
    files = {"ci/ours.py": plugin, "penstock.toml": configuration, "ci/test_ours.py": test}
    project.commit(files)
    return project


def tool(project: Project, name: str, *arguments: str) -> None:
    command = [sys.executable, "-m", name, *arguments]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_is_valid_and_shows_its_settings(ours: Project) -> None:
    assert ours.passes("validate").out == "penstock.toml is right: 3 steps, plugins git, python, ours\n"
    info = ours.passes("plugins", "info", "ours").out
    assert '[test.NAME] uses = "ours"\n  limit  (default 1000000)\n      The largest that passes.\n' in info


def test_the_example_is_typed(ours: Project) -> None:
    tool(ours, "mypy", "--strict", "ci/ours.py", "ci/test_ours.py")


def test_the_example_tests_itself(ours: Project) -> None:
    tool(ours, "pytest", "-q", "-W", "error", "ci")


PIPELINE = """\
[penstock]
plugins = ["git", "shell", "local", "./ci/ours.py"]

[build.it]
uses = "shell"
run = "echo it > it.txt"
artifacts = ["it.txt"]

[test.size]
uses = "ours"
limit = "{limit}"

[deploy.production]
uses = "local"
directory = "{place}"
run = ["never", "started"]
"""


def test_the_example_stops_the_deployment_while_it_is_told_to(ours: Project, tmp_path: Path) -> None:
    ours.commit({"penstock.toml": PIPELINE.format(limit="1kB", place=tmp_path / "place"), "FREEZE": ""})

    assert ours.run("run").code == 1

    assert ours.step("test.size")["state"] == "passed"
    deploy = ours.step("deploy.production")
    assert (deploy["state"], deploy["reason"]) == (
        "refused",
        "nothing is deployed while FREEZE is there (freeze).",
    )


def test_the_example_finds_what_is_too_large(ours: Project, tmp_path: Path) -> None:
    ours.commit({"penstock.toml": PIPELINE.format(limit="2B", place=tmp_path / "place")})

    assert ours.run("run", "--only", "test.size").code == 1

    assert ours.step("test.size")["reason"] == "1 of 1 failed"
