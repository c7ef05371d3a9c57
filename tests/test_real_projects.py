"""Projects from the package index with their own tests: `penstock init`, `penstock run`, nothing between.

`python tests/real_projects.py` runs a dozen and more; here are a few that are quick and unlike each other.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real_projects import attempt, checkout, fetch, use

pytestmark = [pytest.mark.real, pytest.mark.slow]

BY_HAND = """\
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
assert len(BY_HAND.splitlines()) <= 20
TOX = BY_HAND.replace('"pytest"', '"tox"').replace(
    "[scan.all]", f'environments = ["py{sys.version_info[0]}{sys.version_info[1]}"]\n\n[scan.all]'
)


@dataclass(frozen=True)
class Real:
    """A source distribution, and what is known of it."""

    requirement: str
    tests: int
    """At least so many pass."""
    compiled: bool = False


PROJECTS = [
    Real("itsdangerous==2.2.0", 250),  # flit, a src layout, requirements in a file
    Real("markupsafe==3.0.2", 70, compiled=True),  # setuptools, with a C extension
    Real("defusedxml==0.7.1", 60),  # setup.py, a script of unittest's at the root, which tox runs
]


@pytest.fixture(scope="module")
def sdists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where source distributions are kept that have been fetched: pip looks at each as if to build it."""
    return tmp_path_factory.mktemp("sdists")


@pytest.mark.parametrize("real", PROJECTS, ids=lambda real: real.requirement)
def test_a_project_from_the_index_passes(real: Real, sdists: Path, tmp_path: Path) -> None:
    project, version = checkout(fetch(real.requirement, sdists), tmp_path)
    name = real.requirement.partition("==")[0]
    outcome = use(project, name, version)
    assert outcome.passed, outcome.line()
    assert outcome.tests["passed"] >= real.tests
    assert outcome.tests["failed"] == 0
    assert set(project.states().values()) == {"passed"}
    [wheel] = [a for a in project.step("build.wheel")["artifacts"] if a["kind"] == "wheel"]
    assert wheel["name"].startswith(f"{name}-{version}-")
    assert wheel["name"].endswith("-none-any.whl") != real.compiled
    assert "All signatures verify" in project.passes("verify", wheel["digest"]).out


@pytest.mark.parametrize(
    ("requirement", "tests"),
    [
        ("humanize==4.13.0", 600),  # hatchling, the version from the tag
        ("itsdangerous==2.2.0", 250),  # flit, a src layout
        ("markupsafe==3.0.2", 70),  # setuptools, with a C extension
    ],
)
def test_twenty_lines_by_hand_are_enough(requirement: str, tests: int, sdists: Path, tmp_path: Path) -> None:
    project, _ = checkout(fetch(requirement, sdists), tmp_path)
    project.write({"penstock.toml": BY_HAND})
    project.passes("run", timeout=600)
    assert set(project.states().values()) == {"passed"}
    found = project.step("test.all")["tests"]
    assert found["passed"] >= tests
    assert found["failed"] == 0
    assert "All signatures verify" in project.passes("verify", project.digest("wheel")).out


def test_a_project_s_own_tox_configuration(sdists: Path, tmp_path: Path) -> None:
    project, _ = checkout(fetch("blinker==1.9.0", sdists), tmp_path)
    project.write({"penstock.toml": TOX})
    project.passes("run", timeout=600)
    assert project.step("test.all")["tests"]["passed"] == 1
    assert " 25 passed in " in project.passes("logs", "last", "test.all").out
    assert "All signatures verify" in project.passes("verify", project.digest("wheel")).out


def test_a_project_whose_tests_can_not_pass_here(sdists: Path, tmp_path: Path) -> None:
    """Somebody's tests may need what is not there: the run fails, and says which, why, and what to do."""
    project, _ = checkout(fetch("itsdangerous==2.2.0", sdists), tmp_path)
    test = "import socket\n\ndef test_database():\n    socket.create_connection(('localhost', 1))\n"
    project.commit({"tests/test_database.py": test})
    project.passes("init")
    done = project.run("run", timeout=600)
    assert done.code == 1
    assert "✗ test.pytest" in done.out
    assert "tests/test_database.py:4  test_database" in done.out
    assert "E ConnectionRefusedError" in done.out
    assert "A test asks for a network or a service that is not there" in done.out
    assert 'deselect = ["tests/test_database.py::test_database"] under [test.pytest]' in done.out
    text = (project.root / "penstock.toml").read_text()
    chosen = '[test.pytest]\ndeselect = ["tests/test_database.py::test_database"]\n'
    project.write({"penstock.toml": text.replace("[test.pytest]\n", chosen)})
    assert "297 passed, 1 skipped" in project.passes("run", timeout=600).out


def test_what_is_not_on_the_index_is_said(tmp_path: Path) -> None:
    outcome = attempt("itsdangerous==0.0.0.1", tmp_path, tmp_path / "sdists")
    assert outcome.state == "not fetched"
    assert "itsdangerous==0.0.0.1" in outcome.why
