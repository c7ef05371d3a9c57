"""Projects from PyPI with their own tests: source → build → test → scan → sign, with twenty lines of TOML."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.projects import Project

pytestmark = [pytest.mark.real, pytest.mark.slow]

PIPELINE = """\
[penstock]
plugins = ["git", "python", "pytest", "trivy", "sigstore"]

[build.wheel]
uses = "python"

[test.all]
uses = "pytest"

[scan.all]
uses = "trivy"
scanners = ["secret", "license"]
block = "critical"

[sign.release]
uses = "sigstore"
"""
assert len(PIPELINE.splitlines()) <= 20


@dataclass(frozen=True)
class Real:
    """A source distribution, and what is known of it."""

    name: str
    version: str
    tests: int
    """At least so many pass."""
    compiled: bool = False


PROJECTS = [
    Real("humanize", "4.13.0", 600),  # hatchling, the version from the tag
    Real("itsdangerous", "2.2.0", 250),  # flit, a src layout
    Real("markupsafe", "3.0.2", 70, compiled=True),  # setuptools, with a C extension
]


def unpack(real: Real, place: Path) -> Path:
    """The distribution's files as they stand in its repository."""
    requirement = f"{real.name}=={real.version}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "-d", place, requirement], check=True)
    [archive] = place.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(place, filter="data")
    [tree] = [path for path in place.iterdir() if path.is_dir()]
    (tree / "PKG-INFO").unlink()
    return tree


def checkout(real: Real, place: Path) -> Project:
    """A repository with the distribution's files, tagged with its version."""
    tree = unpack(real, place)
    project = Project.make(place / "checkout", place / "data")
    for path in tree.iterdir():
        path.rename(project.root / path.name)
    project.commit(message=f"{real.name} {real.version}")
    project.git("tag", f"v{real.version}")
    return project


TOX = PIPELINE.replace('"pytest"', '"tox"').replace(
    "[scan.all]", f'environments = ["py{sys.version_info[0]}{sys.version_info[1]}"]\n\n[scan.all]'
)


@pytest.mark.parametrize("real", PROJECTS, ids=lambda real: real.name)
def test_a_project_from_pypi_passes(real: Real, tmp_path: Path) -> None:
    project = checkout(real, tmp_path)
    project.write({"penstock.toml": PIPELINE})  # not committed: init and run, nothing between
    project.passes("run", timeout=600)
    assert set(project.states().values()) == {"passed"}
    tests = project.step("test.all")["tests"]
    assert tests["passed"] >= real.tests
    assert tests["failed"] == 0
    [wheel] = [a for a in project.step("build.wheel")["artifacts"] if a["kind"] == "wheel"]
    assert wheel["name"].startswith(f"{real.name}-{real.version}-")
    assert wheel["name"].endswith("-none-any.whl") != real.compiled
    assert "All signatures verify" in project.passes("verify", wheel["digest"]).out


def test_a_project_from_pypi_passes_with_its_own_tox_configuration(tmp_path: Path) -> None:
    project = checkout(Real("blinker", "1.9.0", 25), tmp_path)
    project.write({"penstock.toml": TOX})
    project.passes("run", timeout=600)
    assert project.step("test.all")["tests"]["passed"] == 1
    assert " 25 passed in " in project.passes("logs", "last", "test.all").out
    wheel = project.digest("wheel")
    assert "All signatures verify" in project.passes("verify", wheel).out
