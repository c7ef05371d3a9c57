"""Projects of other people, from their source distributions: built, installed, tested."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from penstock_pytest import Pytest, penstock_test

pytestmark = [pytest.mark.real, pytest.mark.slow]


def _sdist(requirement: str, place: Path) -> Path:
    """Download a source distribution and unpack it as a checkout looks, without what an sdist adds."""
    options = ["--no-deps", "--no-binary", ":all:", "--quiet", "--dest", str(place)]
    argv = [sys.executable, "-m", "pip", "download", *options, requirement]
    subprocess.run(argv, check=True, capture_output=True)
    (archive,) = place.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(place / "tree", filter="data")
    (tree,) = (place / "tree").iterdir()
    for extra in ("PKG-INFO", "*.egg-info", "src/*.egg-info"):
        for path in tree.glob(extra):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return tree


def _build(tree: Path, place: Path, version: str = "") -> Path:
    argv = [sys.executable, "-m", "build", "--wheel", "--installer", "uv", "--outdir", str(place), str(tree)]
    # The version of a project that asks git for it: there is no repository here.
    env = {**os.environ, "SETUPTOOLS_SCM_PRETEND_VERSION": version}
    subprocess.run(argv, check=True, capture_output=True, env=env)
    shutil.rmtree(tree / "build", ignore_errors=True)
    (wheel,) = place.glob("*.whl")
    return wheel


@pytest.mark.parametrize(
    ("requirement", "passed"),
    [
        pytest.param("iniconfig==2.3.1", 40, id="iniconfig: pytest needs it itself"),
        pytest.param("toolz==1.0.0", 180, id="toolz: tests inside, in the wheel"),
        pytest.param("h11==0.16.0", 70, id="h11: tests inside, not in the wheel"),
        pytest.param("six==1.17.0", 190, id="six: one module"),
        pytest.param("markupsafe==3.0.2", 60, id="markupsafe: C"),
        pytest.param("humanize==4.12.3", 600, id="humanize: hatchling"),
        pytest.param("idna==3.10", 30, id="idna: flat"),
    ],
)
def test_a_project_from_the_index(bench: Any, tmp_path: Path, requirement: str, passed: int) -> None:
    tree = _sdist(requirement, tmp_path / "sdist")
    wheel = _build(tree, tmp_path / "built", requirement.partition("==")[2])
    build = bench.make_step("build.wheel")
    step = bench.make_step("test.unit", artifacts=[build.keep(wheel, "wheel")])
    shutil.copytree(tree, step.workspace, dirs_exist_ok=True, symlinks=True)
    report = penstock_test(Pytest(), step)
    log = bench.make_step.log_of(step)
    assert report.count("failed") == 0, log[-3000:]
    assert report.count("passed") >= passed, log[-3000:]
    assert "the wheel's in place of the tree's" in log
    assert "No test imported" not in log


def test_the_example_shop(bench: Any, tmp_path: Path) -> None:
    tree = Path(__file__).parents[3] / "examples" / "shop"
    copy = tmp_path / "shop"
    shutil.copytree(tree, copy)
    build = bench.make_step("build.wheel")
    step = bench.make_step("test.unit", artifacts=[build.keep(_build(copy, tmp_path / "built"), "wheel")])
    shutil.copytree(tree, step.workspace, dirs_exist_ok=True)
    report = penstock_test(Pytest(paths=("tests/unit",), coverage_minimum="10%"), step)
    assert report.count("failed") == 0
    assert report.count("passed") > 20
