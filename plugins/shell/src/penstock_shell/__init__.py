"""The `shell` plugin: a command as a build, test, scan or verify step, judged by status and reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from penstock import (
    Artifact,
    Proposal,
    ScanReport,
    Step,
    StepFailed,
    TestReport,
    Tool,
    Verification,
    hookimpl,
)

from penstock_shell import command, found, judge
from penstock_shell.found import BadReportError, Report
from penstock_shell.judge import Ended
from penstock_shell.settings import Build, Programs, Scan, Test, Verify

PENSTOCK_API = 1

_Judged = TypeVar("_Judged")


@hookimpl
def penstock_build(settings: Build, step: Step) -> list[Artifact]:
    """Run the command; what it built is named by the section's key `artifacts`, which the core keeps."""
    ended = _run(settings, step)
    if ended.returncode != 0:
        raise StepFailed(f"`{ended.name}` {ended.how}")
    return []


@hookimpl
def penstock_test(settings: Test, step: Step) -> TestReport:
    """Run the command; report its cases, or its exit status where it writes no reports."""
    return _judged(
        settings, step, settings.reports, lambda ended, reports: judge.test(ended, reports, step.mask)
    )


@hookimpl
def penstock_scan(settings: Scan, step: Step) -> ScanReport:
    """Run the scanner; report the findings in its SARIF files."""
    block = None if settings.block == "none" else settings.block
    return _judged(
        settings,
        step,
        settings.reports,
        lambda ended, reports: judge.scan(ended, reports or (), settings.kind, block, step.mask),
    )


@hookimpl
def penstock_verify(settings: Verify, step: Step) -> Verification:
    """Run the command; one check for it, or one a case of its reports."""
    return _judged(
        settings, step, settings.reports, lambda ended, reports: judge.verify(ended, reports, step.mask)
    )


@hookimpl
def penstock_tools(settings: Programs) -> list[Tool]:
    """The programs that the command names; which version they have, none of them was asked."""
    from penstock_shell import programs

    return programs.tools(settings.run)


@hookimpl
def penstock_propose(root: Path, add: str | None) -> list[Proposal]:
    """The linters and the like that the project has configured."""
    from penstock_shell import propose

    return propose.propose(root, add)


def _judged(
    settings: Build,
    step: Step,
    globs: Sequence[str],
    judge_it: Callable[[Ended, Sequence[Report] | None], _Judged],
) -> _Judged:
    before = found.marks(step.workspace, globs)
    ended = _run(settings, step)
    if not globs:
        return judge_it(ended, None)
    try:
        written = found.collect(step.workspace, globs, before)
        for name in written.old:
            step.log(f"{name} was there before the command ran and was not written by it: ignored")
        return judge_it(ended, written.reports)
    except BadReportError as error:
        raise StepFailed(step.mask(f"reports: {error}. The command `{ended.name}` {ended.how}")) from None


def _run(settings: Build, step: Step) -> Ended:
    step.log(command.shown(settings.run))
    done = step.run(command.argv(settings.run), cwd=_directory(settings, step), check=False, quiet=True)
    return Ended(
        name=step.mask(command.name(settings.run)),
        how=command.ending(done.returncode),
        returncode=done.returncode,
        seconds=done.seconds,
    )


def _directory(settings: Build, step: Step) -> Path:
    if settings.cwd == ".":
        return step.workspace
    place = step.workspace / settings.cwd
    if not place.is_dir():
        raise StepFailed(f'cwd: "{settings.cwd}" is no directory of the workspace. Is it committed?')
    if not place.resolve().is_relative_to(step.workspace.resolve()):
        raise StepFailed(f'cwd: "{settings.cwd}" leads out of the workspace, through a symbolic link')
    return place
