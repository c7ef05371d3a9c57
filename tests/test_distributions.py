"""Each distribution is built and installed alone with plain pip; the extra brings the useful set."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.projects import ROOT

pytestmark = pytest.mark.real

PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("all-wheels")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", place]
    subprocess.run([*command, ROOT / "core", *PLUGINS], check=True)
    return place


def install(place: Path, wheels: Path, *requirements: str) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    pip = [sys.executable, "-m", "pip", "--python", place / "bin" / "python", "install", "-q"]
    # Most of what comes along is imported by nobody here.
    subprocess.run([*pip, "--no-compile", "--find-links", wheels, *requirements], check=True)
    return place / "bin" / "penstock"


SEPARATE = ("docker",)
"""Plugins with an extra of their own: not every Python project has a use for them."""


def test_the_extra_brings_every_plugin_of_this_repository(wheels: Path, tmp_path: Path) -> None:
    [core] = wheels.glob("penstock-*.whl")
    penstock = install(tmp_path / "venv", wheels, f"penstock[python] @ {core.as_uri()}")
    listed = subprocess.run(
        [penstock, "plugins", "list", "--json"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    rows = json.loads(listed.stdout)
    assert [row["name"] for row in rows] == [path.name for path in PLUGINS if path.name not in SEPARATE]
    assert [row["name"] for row in rows if row["broken"]] == []


def test_the_core_alone_needs_three_libraries(wheels: Path, tmp_path: Path) -> None:
    [core] = wheels.glob("penstock-*.whl")
    penstock = install(tmp_path / "venv", wheels, str(core))
    shown = subprocess.run([penstock, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == "penstock, version 0.1.0\n"
    assert subprocess.run([penstock, "doctor"], cwd=tmp_path, capture_output=True).returncode == 1
    project = tomllib.loads((ROOT / "core" / "pyproject.toml").read_text())["project"]
    assert sorted(line.partition(">")[0] for line in project["dependencies"]) == [
        "click",
        "pluggy",
        "pydantic",
    ]


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_is_complete(plugin: Path, wheels: Path) -> None:
    project = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
    assert project["name"] == f"penstock-{plugin.name}"
    assert project["entry-points"]["penstock"] == {plugin.name: f"penstock_{plugin.name}"}
    assert (plugin / "README.md").read_text().startswith(f"# penstock-{plugin.name}")
    assert list((plugin / "tests").glob("test_*.py"))
    [wheel] = wheels.glob(f"penstock_{plugin.name}-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert f"penstock_{plugin.name}/py.typed" in names
    assert {name.partition("/")[0] for name in names} == {
        f"penstock_{plugin.name}",
        f"penstock_{plugin.name}-{project['version']}.dist-info",
    }


def test_every_distribution_is_in_the_workspace_and_the_extra() -> None:
    names = {f"penstock-{plugin.name}" for plugin in PLUGINS}
    core = tomllib.loads((ROOT / "core" / "pyproject.toml").read_text())["project"]
    extra = {name.partition("[")[0] for name in core["optional-dependencies"]["python"]}
    sources = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["sources"].keys()
    listed = (ROOT / "tools" / "workspace.txt").read_text()
    separate = {f"penstock-{name}" for name in SEPARATE}
    assert extra == names - separate
    for name in SEPARATE:
        assert core["optional-dependencies"][name] == [f"penstock-{name}"]
    assert sources == {*names, "penstock"}
    assert all(f"-e ./plugins/{plugin.name}" in listed for plugin in PLUGINS)
