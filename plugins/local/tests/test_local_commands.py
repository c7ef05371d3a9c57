from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from penstock_local import penstock_commands

if TYPE_CHECKING:
    from conftest import Deployer

pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

(LOCAL,) = penstock_commands()


def run(*words: str | Path) -> str:
    result = CliRunner().invoke(LOCAL, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def test_status_and_stop_of_what_runs(deployer: Deployer) -> None:
    settings = deployer.service()
    target = deployer.target(settings)
    release = deployer.toy("1.0")
    deployer.deploy(target, release)
    pid = deployer.pid(target)
    assert f"healthy, {settings.url_of(1)}" in run("status", deployer.directory)
    (entry,) = json.loads(run("status", "--json", deployer.directory))
    assert (entry["state"], entry["pid"], entry["release"]) == ("healthy", pid, release.digest)

    assert run("stop", deployer.directory) == f"{deployer.directory}#1: stopped process {pid}\n"
    assert not deployer.alive(pid)
    assert run("stop", deployer.directory) == f"{deployer.directory}#1: nothing runs\n"
    (entry,) = json.loads(run("status", "--json", deployer.directory))
    assert (entry["state"], entry["pid"]) == ("stopped", None)
    assert deployer.settled(target).detail == "it was stopped"


def test_what_was_stopped_stays_stopped_when_a_later_deployment_is_taken_back(deployer: Deployer) -> None:
    target = deployer.target(deployer.service())
    deployer.deploy(target, deployer.toy("1.0"))
    run("stop", deployer.directory)
    before = target.observe(deployer.step())
    assert deployer.deploy(target, deployer.toy("2.0")).status == "healthy"
    target.restore(before, deployer.step())
    after = target.observe(deployer.step())
    assert after.release == before.release
    assert after.data["drift"] == ["not running: it was stopped"]


def test_a_service_that_failed_is_unhealthy_in_status(deployer: Deployer) -> None:
    target = deployer.target(deployer.service(restart=0))
    deployer.deploy(target, deployer.toy("1.0", "crash"))
    output = run("status", deployer.directory)
    assert "unhealthy, no process" in output
    assert "it ended once and is not started again, at last with status 3: toy 1.0 starts" in output


def test_directories_where_nothing_was_deployed(tmp_path: Path) -> None:
    assert run("stop", tmp_path, tmp_path / "no") == f"{tmp_path}: nothing runs\n{tmp_path}/no: not there\n"
    assert run("status", tmp_path) == f"{tmp_path}: nothing was deployed here\n"
    assert json.loads(run("status", "--json", tmp_path)) == []


def test_the_plugin_is_imported_without_its_commands() -> None:
    late = ("click", "urllib.request")
    program = f"import sys, penstock_local; print([m for m in {late} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
