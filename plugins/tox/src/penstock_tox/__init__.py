"""The `tox` plugin: a project's own tox environments, on the wheel that was built."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from penstock import Proposal, Settings, Step, TestReport, Tool, hookimpl
from pydantic import AfterValidator, Field

PENSTOCK_API = 1


def _check_name(value: str) -> str:
    if not value or value.startswith("-") or any(sign in value for sign in ", \t\n\0"):
        raise ValueError(
            f'"{value}" is no name of an environment. Write each one by itself: ["py311", "lint"]'
        )
    return value


EnvName = Annotated[str, AfterValidator(_check_name)]


class Tox(Settings):
    """Runs the project's tox environments; the built wheel is what they install."""

    environments: tuple[EnvName, ...] | None = Field(
        default=None,
        min_length=1,
        description='Runs these environments, such as ["py311", "lint"]. By default those of env_list.',
    )
    args: tuple[str, ...] = Field(
        default=(),
        description="Hands these arguments to the environments' commands, where they say {posargs}.",
    )
    skip_missing: bool = Field(
        default=True,
        description="Skips environments whose Python is not on this machine; false lets them fail.",
    )
    parallel: int = Field(default=1, ge=1, le=64, description="Runs so many environments at the same time.")
    package: str | None = Field(
        default=None,
        min_length=1,
        description='Installs the built wheel or sdist whose file name matches this glob, such as "shop-*", '
        "where there are several.",
    )
    directory: str = Field(
        default=".",
        description="Tests the project in this directory of the revision, where its tox configuration is.",
    )
    recreate: bool = Field(
        default=False, description="Makes every environment anew, instead of using those of earlier runs."
    )
    allow_tree: bool = Field(
        default=False,
        description="Lets tests import modules from the tree that differ from the wheel's or that it lacks.",
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        description="Runs this tox, by its path, and not the one that is installed with Penstock.",
    )


@hookimpl
def penstock_test(settings: Tox, step: Step) -> TestReport:
    """Run the environments; one case each, as tox's own results have it."""
    from penstock_tox import session

    return session.run(settings, step)


@hookimpl
def penstock_tools(settings: Tox) -> list[Tool]:
    """The tox that runs. Which Pythons it finds and what it installs is the project's choice."""
    from penstock_tox import program

    tool = program.tool(settings.path)
    return [] if tool is None else [tool]


@hookimpl
def penstock_propose(root: Path, add: str | None) -> Proposal | None:
    """The environments, where tox is the only way to test the project."""
    from penstock_tox import propose

    return propose.propose(root, add)
