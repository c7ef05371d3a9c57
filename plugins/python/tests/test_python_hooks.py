"""The hooks without a build: settings, what is refused before one starts, the tools."""

from __future__ import annotations

import hashlib
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from penstock import Artifact, Revision, Step, StepFailed
from penstock.testing import StepMaker
from penstock_python import Python, frontend, interpreter, penstock_build, penstock_tools, repository
from pydantic import ValidationError

Build = Callable[..., tuple[list[Artifact], Step]]
README = (Path(__file__).parent.parent / "README.md").read_text()
SYSTEM = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'


def failure(build: Build, *args: object, **keywords: object) -> str:
    with pytest.raises(StepFailed) as caught:
        build(*args, **keywords)
    return str(caught.value)


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        pytest.param({"formats": []}, "at least 1 item", id="no-format"),
        pytest.param({"formats": ["egg"]}, "'wheel' or 'sdist'", id="egg"),
        pytest.param({"formats": ["wheel", "wheel"]}, "a format is named twice", id="twice"),
        pytest.param({"directory": "../x"}, 'directory\n  Value error, "../x" is not inside', id="above"),
        pytest.param({"directory": "/x"}, '"/x" is not inside the project', id="absolute"),
        pytest.param({"directory": ""}, '"" is not inside the project', id="empty"),
        pytest.param({"python": ""}, "at least 1 character", id="no-python"),
        pytest.param({"installer": "poetry"}, "'uv' or 'pip'", id="installer"),
        pytest.param({"wheels": True}, "Extra inputs are not permitted", id="unknown"),
    ],
)
def test_settings_refuse(section: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Python.model_validate(section)
    assert reason in str(caught.value)


def test_readme_shows_valid_settings_and_each_of_them() -> None:
    blocks = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", README, re.DOTALL)]
    sections = [section for block in blocks for section in block["build"].values()]
    assert len(sections) == 2
    for section in sections:
        Python.model_validate({k: v for k, v in section.items() if k not in ("uses", "env")})
    for name in Python.model_fields:
        assert f"| `{name}` |" in README


@pytest.mark.parametrize(
    ("formats", "config", "expected"),
    [
        pytest.param(("wheel", "sdist"), {}, [], id="both"),
        pytest.param(("sdist", "wheel"), {}, [], id="both-the-other-way"),
        pytest.param(("wheel",), {}, ["--wheel"], id="wheel"),
        pytest.param(("sdist",), {}, ["--sdist"], id="sdist"),
        pytest.param(
            ("wheel",),
            {"a": "1", "--opt": ("x=y", "z")},
            ["--wheel", "--config-setting=a=1", "--config-setting=--opt=x=y", "--config-setting=--opt=z"],
            id="config",
        ),
    ],
)
def test_argv(
    formats: tuple[str, ...], config: dict[str, str | tuple[str, ...]], expected: list[str]
) -> None:
    command = frontend.argv(
        ["python", "-P"], Path("/src"), Path("/out"), formats=formats, installer="pip", config_settings=config
    )
    head = ["python", "-P", "-m", "build", "--installer=pip", "--outdir", "/out"]
    assert command == [*head, *expected, "/src"]


def test_build_without_a_project(build: Build) -> None:
    assert failure(build, {"README": ""}).startswith("there is nothing to build in .: no pyproject.toml")


def test_build_in_a_directory_that_is_not_there(build: Build) -> None:
    assert failure(build, {}, {"directory": "core"}) == (
        'directory = "core" is not there in this revision. Name the directory that has pyproject.toml, and commit it'
    )


def test_build_in_a_directory_that_leads_out(make_step: StepMaker, tmp_path: Path) -> None:
    step = make_step("build.package")
    (step.workspace / "core").symlink_to(tmp_path)
    with pytest.raises(StepFailed, match=r'^directory = "core" is a link that leads out of the project'):
        penstock_build(Python(directory="core"), step)


def test_build_with_a_python_that_is_not_there(build: Build) -> None:
    assert failure(build, {"pyproject.toml": SYSTEM}, {"python": "python2.0"}).startswith(
        "python2.0 is not on the PATH, so it can't be run. Install it, or add its directory to PATH. "
        "It is what the setting python names. Install it, or"
    )


def test_build_with_a_python_that_does_not_start(build: Build, tmp_path: Path) -> None:
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    assert failure(build, {"pyproject.toml": SYSTEM}, {"python": str(shim)}) == (
        f"{shim}, which the setting python names, is no Python that works: it ended with status 127. Its output: "
        "penstock logs 1 build.package"
    )


def test_build_with_a_uv_that_is_not_there(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    assert failure(build, {"pyproject.toml": SYSTEM}, {"installer": "uv"}).startswith(
        'installer = "uv", but uv is not there. Install it (pip install "penstock-python[uv]")'
    )
    assert interpreter.pick_installer(None) == "pip"


def test_build_with_a_tag_that_names_no_version(build: Build) -> None:
    files = {"pyproject.toml": SYSTEM.replace('"hatchling"', '"hatchling", "hatch-vcs"')}
    assert failure(build, files, revision=Revision(tag="nightly")) == (
        'the version is taken from git, and the tag "nightly" names none. Tag the release like "v1.2.3", or set '
        'the version yourself: env = { SETUPTOOLS_SCM_PRETEND_VERSION = "…" }'
    )


def test_the_repository_holds_all_files_and_leaves_the_users_alone(
    make_step: StepMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = tmp_path / "users.git"
    # As in a git hook, which sets these.
    monkeypatch.setenv("GIT_DIR", str(users))
    monkeypatch.setenv("GIT_INDEX_FILE", str(users / "index"))
    step = make_step(
        files={"a.txt": "", "ignored.txt": "", ".gitignore": "ignored.txt\n"},
        revision=Revision(time=1_700_000_000, tag="v1.0", author="Ana <ana@example.com>"),
    )
    repository.make(step)
    repository.make(step)
    assert not users.exists()

    def git(*words: str) -> str:
        return step.run([*repository.WITHOUT_GIT_DIR, "git", *words], capture=True).stdout.strip()

    assert git("ls-tree", "--name-only", "HEAD").split() == [".gitignore", "a.txt", "ignored.txt"]
    assert git("describe", "--dirty") == "v1.0"
    assert git("log", "--format=%an %ae %at") == "Ana ana@example.com 1700000000"


def test_no_tag_on_a_revision_behind_it() -> None:
    on, behind = (repository.commands(Revision(tag="v1.0", distance=n)) for n in (0, 1))
    assert len(on) == len(behind) + 1
    assert len(repository.commands(Revision(tag="--force"))) == len(behind)


def test_without_git_the_mark_ends_the_search(make_step: StepMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    step = make_step()
    monkeypatch.setenv("PATH", "/nowhere")
    repository.make(step)
    assert (step.workspace / ".git").is_dir()
    assert "git is not there" in make_step.log_of(step)


def test_tools() -> None:
    tools = {tool.name: tool for tool in penstock_tools(Python(installer="pip"))}
    assert set(tools) == {"python", "build"}
    assert tools["python"].path == sys.executable
    assert tools["python"].sha256 == hashlib.sha256(Path(sys.executable).read_bytes()).hexdigest()
    assert tools["build"].path.endswith("build/__main__.py")
    named = {tool.name: tool for tool in penstock_tools(Python(installer="pip", python=sys.executable))}
    assert named == tools


def test_tools_leave_out_what_is_not_there(tmp_path: Path) -> None:
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    for name in ("python2.0", str(shim)):
        assert [tool.name for tool in penstock_tools(Python(installer="pip", python=name))] == ["build"]


def test_relay_does_not_wait_for_a_server_that_the_build_left(make_step: StepMaker, tmp_path: Path) -> None:
    step = make_step()
    program = "sleep 30 & echo built; exit 3"
    done = frontend.run(step, ["sh", "-c", program], step.workspace, {})
    assert (done.returncode, done.output) == (3, "built\n")
    assert make_step.log_of(step).endswith("built\n")
