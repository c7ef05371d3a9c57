from __future__ import annotations

import os
import shutil
import sysconfig
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from penstock import StepFailed
from penstock_local import environment

if TYPE_CHECKING:
    from conftest import Deployer

# `Step.detach` lets go of its Popen on purpose: what it started is to live on.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

RUN = ("python", "-m", "toy", "{port}")


@pytest.fixture(params=["uv", "virtualenv"])
def installer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """With uv on PATH, and without."""
    uv = environment.find_uv()
    if request.param == "virtualenv":
        monkeypatch.setenv("PATH", os.defpath)
        monkeypatch.setattr(environment.sys, "executable", _python_alone(tmp_path))
        assert environment.find_uv() is None
    elif uv is None:
        pytest.skip("uv is not installed")
    else:
        monkeypatch.setenv("PATH", f"{Path(uv).parent}{os.pathsep}{os.defpath}")
    return str(request.param)


def _python_alone(tmp_path: Path) -> str:
    """The Python of the tests, in a directory without the other programs beside it."""
    program = tmp_path / "alone" / "python"
    program.parent.mkdir()
    home = sysconfig.get_path("purelib")
    program.write_text(f'#!/bin/sh\nPYTHONPATH={home!r} exec {environment.sys.executable!r} "$@"\n')
    program.chmod(0o755)
    return str(program)


def test_a_wheel_is_installed_and_run(deployer: Deployer, installer: str) -> None:
    settings = deployer.service(run=RUN)
    target = deployer.target(settings)
    assert deployer.deploy(target, deployer.toy_wheel("1.0")).status == "healthy"
    assert deployer.get(settings) == "1.0"
    (tool,) = environment.tools()
    assert tool.name == installer


@pytest.mark.parametrize("name", ["space and 'quote'", "größe-日本", "/".join(["long" * 12] * 4)])
def test_a_wheel_runs_in_any_directory(deployer: Deployer, name: str) -> None:
    settings = deployer.service(directory=str(deployer.root / name), run=RUN)
    assert deployer.deploy(deployer.target(settings), deployer.toy_wheel("1.0")).status == "healthy"


def test_a_release_that_was_changed_is_named_and_made_anew(deployer: Deployer) -> None:
    target = deployer.target(deployer.service(run=RUN))
    release = deployer.toy_wheel("1.0")
    deployer.deploy(target, release)
    before = deployer.pid(target)
    (changed,) = deployer.directory.glob("current/.venv/lib/python*/site-packages/toy/data.txt")
    changed.write_text("not what was built")
    name = changed.relative_to(deployer.directory / "current")
    assert target.observe(deployer.step()).data["drift"] == [f"changed: {name}"]
    assert deployer.deploy(target, release).status == "healthy"
    assert deployer.pid(target) != before
    assert target.observe(deployer.step()).data["drift"] == []


def test_another_wheel_of_the_same_name_is_found_out(deployer: Deployer, tmp_path: Path) -> None:
    target = deployer.target(deployer.service(run=RUN))
    release = deployer.toy_wheel("1.0")
    deployer.deploy(target, release)
    other = shutil.copy(tmp_path / "wheels" / release.artifacts[0].name, tmp_path)
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr("toy/more.py", "")
    environment.check(
        tmp_path / "wheels" / release.artifacts[0].name, deployer.directory / "current" / ".venv"
    )
    with pytest.raises(StepFailed, match=r"toy/more\.py is not the file that is in the wheel"):
        environment.check(Path(other), deployer.directory / "current" / ".venv")


def test_a_wheel_that_needs_what_is_not_there_says_so(deployer: Deployer, tmp_path: Path) -> None:
    broken = tmp_path / "toy-1.0-py3-none-any.whl"
    broken.write_bytes(b"no wheel at all")
    target = deployer.target(deployer.service(run=RUN))
    with pytest.raises(StepFailed, match="ended with status"):
        target.apply(deployer.release(broken), deployer.step())
    assert target.observe(deployer.step()).release is None


@pytest.mark.parametrize("uv", [None, "/bin/uv"], ids=["pip", "uv"])
def test_the_wheels_themselves_are_on_the_command_line(uv: str | None) -> None:
    argv = environment.install_argv(uv, Path("/r/.venv"), [Path("/in/a.whl"), Path("/in/b.whl")])
    assert argv[-2:] == ["/in/a.whl", "/in/b.whl"]
    assert "/r/.venv/bin/python" in argv
