"""The `pytest` plugin: a project's tests against the wheel that was built, and never against the tree."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from penstock import Percentage, Proposal, Settings, Step, TestReport, Tool, hookimpl
from pydantic import Field

PENSTOCK_API = 1


class Pytest(Settings):
    """Runs the project's tests with pytest against the wheel that the build steps made."""

    runner: Literal["pytest", "unittest"] | None = Field(
        default=None,
        description="Runs the tests with this. By default with pytest, and with unittest where nothing in "
        "the project speaks of pytest and tox runs unittest, or a script of tests.",
    )
    paths: tuple[str, ...] = Field(
        default=(),
        description="Runs these files, directories or single tests, relative to `directory`. By default what "
        "pytest's own configuration says.",
    )
    args: tuple[str, ...] = Field(
        default=(), description='Hands these further arguments to pytest (or unittest), such as ["-n", "2"].'
    )
    requirements: tuple[str, ...] = Field(
        default=(),
        description='Installs these as well, such as ["pytest-xdist>=3"]: requirement strings, added to '
        "what is found or named below.",
    )
    groups: tuple[str, ...] | None = Field(
        default=None,
        description="Installs these dependency groups of pyproject.toml. Where groups, extras or "
        "requirements_files is given, nothing is searched for.",
    )
    extras: tuple[str, ...] | None = Field(
        default=None, description="Installs the wheel with these extras, and searches for nothing."
    )
    requirements_files: tuple[str, ...] | None = Field(
        default=None,
        description="Installs these requirements files, relative to `directory`, and searches for nothing.",
    )
    locked: bool = Field(
        default=True,
        description="Keeps to the versions of the project's lock file (pylock.toml, uv.lock, poetry.lock, "
        "pdm.lock), where it has one and they can be had.",
    )
    deselect: tuple[str, ...] = Field(
        default=(),
        description='Leaves these tests out, such as ["tests/test_api.py::test_refund"]: names as the report '
        "has them, or their beginnings. They count as skipped.",
    )
    coverage: bool = Field(
        default=False,
        description="Measures which share of the wheel's lines the tests run, with coverage.py.",
    )
    coverage_minimum: Percentage | None = Field(
        default=None,
        description="Fails the step where less of the wheel's lines is run; switches `coverage` on.",
    )
    directory: str = Field(
        default=".",
        description="Tests the project in this directory of the revision, which pytest starts in.",
    )
    python: str | None = Field(
        default=None,
        min_length=1,
        description='Runs the tests on this Python: a version such as "3.12", or a path. By default the one '
        "that Penstock runs on.",
    )

    @property
    def measures(self) -> bool:
        """Whether coverage is measured."""
        return self.coverage or self.coverage_minimum is not None


@hookimpl
def penstock_test(settings: Pytest, step: Step) -> TestReport:
    """Run the suite over the wheels among `step.artifacts`; without one, the tree; or inside an image."""
    from penstock_pytest import inside, suite

    return suite.run(settings, step) if step.inside is None else inside.run(settings, step)


@hookimpl
def penstock_tools(settings: Pytest) -> list[Tool]:
    """The Python that the tests run on, and uv. pytest's version, the project's choice, is in the report."""
    from penstock import PenstockError

    from penstock_pytest import installer, probe, python

    uv = installer.find_uv()
    said = probe.output([str(uv), "--version"]) if uv else None
    tools = [_tool("uv", said.split()[1], uv)] if uv and said and len(said.split()) > 1 else []
    try:
        found = python.find(settings.python, probe.output, uv)
    except PenstockError:
        return tools  # the step itself says that it is not there
    return [_tool("python", found.version, found.path), *tools]


@hookimpl
def penstock_propose(root: Path) -> Proposal | None:
    """The tests, where there are some."""
    from penstock_pytest import propose

    return propose.propose(root)


def _tool(name: str, version: str, path: Path) -> Tool:
    with path.open("rb") as file:
        return Tool(
            name=name, version=version, path=str(path), sha256=hashlib.file_digest(file, "sha256").hexdigest()
        )
