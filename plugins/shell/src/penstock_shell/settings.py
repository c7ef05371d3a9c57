"""What a section that `uses = "shell"` may say, a model a phase."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from penstock import Settings, Severity
from pydantic import AfterValidator, Field

_NEVER_MATCHES = r"(^|/)[^/]*(\*\*[^/]|[^/]\*\*)[^/]*(/|$)"


def _check_command(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    words = (value,) if isinstance(value, str) else value
    if not words or not words[0].strip():
        raise ValueError('there is nothing to run. A command is a script such as "make test", or a list')
    if any("\0" in word for word in words):
        raise ValueError("a command can't hold a NUL character")
    return value


def _check_inside(value: str) -> str:
    path = PurePosixPath(value)
    if not value or "\0" in value:
        raise ValueError("it is empty or holds a NUL character")
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f'"{value}" leaves the workspace. Write it relative to the workspace, without ".."')
    return value


def _check_glob(value: str) -> str:
    _check_inside(value)
    if value == ".":
        raise ValueError('"." is a directory. Reports are files, such as "reports/*.xml"')
    if re.search(_NEVER_MATCHES, value):
        raise ValueError(f'in "{value}", "**" must stand alone between slashes, as in "reports/**/*.xml"')
    return value


Command = Annotated[str | tuple[str, ...], AfterValidator(_check_command)]
Inside = Annotated[str, AfterValidator(_check_inside)]
Glob = Annotated[str, AfterValidator(_check_glob)]
Kind = Literal["vulnerability", "secret", "misconfiguration", "license"]

_WRITTEN = (
    "files that the command writes, as globs relative to the workspace. Each glob must match a file that the "
    "command wrote."
)
_REPORTS = f"JUnit XML or SARIF 2.1.0 (told apart by content) {_WRITTEN}"


class Build(Settings):
    """Runs a command that builds; the section's own key `artifacts` says which files it leaves."""

    run: Command = Field(
        description="Runs this: a string is a script for `sh -eu -c`, a list is a program and its arguments "
        "as they stand."
    )
    cwd: Inside = Field(default=".", description="Runs it in this directory of the workspace.")


class Programs(Build, extra="ignore"):
    """What all phases have: enough to say which programs are run."""


class Test(Build):
    """Runs a command that tests; its exit status and its reports must agree."""

    __test__ = False  # so that pytest does not take it for a test itself

    reports: tuple[Glob, ...] = Field(
        default=(),
        description=f"Reports each test case, out of {_REPORTS} Without reports the exit status decides.",
    )


class Scan(Build):
    """Runs a scanner that writes SARIF."""

    reports: tuple[Glob, ...] = Field(
        min_length=1,
        description=f"Reports each finding, out of SARIF 2.1.0 {_WRITTEN}",
    )
    block: Severity | Literal["none"] = Field(
        default=Severity.high,
        description='Closes the gate at a finding of this severity or above; "none" lets everything pass.',
    )
    kind: Kind = Field(
        default="vulnerability",
        description="Names what the scanner looks for; a rule's own tags, where it has any, come first.",
    )


class Verify(Build):
    """Runs a command that checks what was deployed; it must end with 0."""

    reports: tuple[Glob, ...] = Field(
        default=(),
        description=f"Shows one check a case, out of {_REPORTS} Without reports its exit status is.",
    )
