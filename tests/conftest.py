from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.projects import ROOT, Project, Shop

collect_ignore = ["docs_projects"]  # projects of the documentation, whose tests are theirs


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty directory with a git repository, for `penstock` of this environment."""
    return Project.make(tmp_path / "project", tmp_path / "data")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core and somebody else's plugin, built as they would be published."""
    place = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", place]
    subprocess.run([*command, ROOT / "core", ROOT / "tests" / "acme"], check=True)
    return place


@pytest.fixture(scope="session")
def acme(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `penstock` of a fresh environment into which pip has installed the core and the plugin acme."""
    place = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    pip = [sys.executable, "-m", "pip", "--python", place / "bin" / "python", "install", "-q", "--no-compile"]
    subprocess.run([*pip, *sorted(wheels.glob("*.whl"))], check=True)
    return place / "bin" / "penstock"


@pytest.fixture
def acme_project(acme: Path, tmp_path: Path) -> Project:
    """A project in which nothing but acme is installed."""
    return Project.make(tmp_path / "project", tmp_path / "data", penstock=acme)


@pytest.fixture(scope="module")
def make_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Shop]]:
    """Makes copies of the example; what they have deployed is stopped at the end."""
    made: list[Shop] = []

    def make() -> Shop:
        made.append(Shop.copy(tmp_path_factory.mktemp("shop")))
        return made[-1]

    yield make
    for shop in made:
        shop.stop()
