"""One scan from beginning to end: program, database, what is looked at, verdicts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from penstock import Finding, ScanReport, Step, StepFailed

from penstock_trivy import binary, command, database, judge
from penstock_trivy.database import Database
from penstock_trivy.looking import Look, Seen
from penstock_trivy.running import run
from penstock_trivy.settings import KINDS, Trivy
from penstock_trivy.tree import Tree, lay_out


def scan(settings: Trivy, step: Step) -> ScanReport:
    """Look for everything that the settings ask for, or fail."""
    program = binary.require(settings.path)
    binary.check_digest(program, settings.sha256)
    version = binary.version_of(program, lambda argv: _ask(step, argv))
    files = command.Files(step.tmp / "trivy")
    files.write()
    now = datetime.now(UTC)
    tree = lay_out(step, settings.targets, settings.skip)
    look = Look(settings, step, program, files, tree)
    known: Database | None = None
    with ExitStack() as stack:
        if "vulnerability" in settings.scanners:
            known = _database(settings, step, program, files, now)
            stack.enter_context(database.held(known.directory))
        seen = look.everywhere()
    sbom = look.bill_of_materials(seen) if settings.sbom else None
    judged = judge.judge(seen.findings, settings, now.date())
    exempted = tuple(judge.exemptions(judged, settings, now.date()))
    for line in [*map(in_a_line, judged), *filter(None, (entry.remark for entry in exempted))]:
        step.log(line)
    return ScanReport(
        scanner=f"trivy {version}",
        findings=judged,
        block=judge.block_of(settings),
        looked_for=settings.scanners,
        not_looked_for=not_looked_for(settings, tree, seen),
        database=known.describe(now) if known else None,
        database_updated=known.updated if known else None,
        exemptions=exempted,
        sbom=sbom,
    )


def in_a_line(finding: Finding) -> str:
    """A finding as the log shows it: the summary has room for a few only."""
    ignored = f"ignored: {finding.ignored}" if finding.ignored else ""
    words = (
        finding.severity,
        finding.kind,
        finding.id,
        finding.location,
        finding.about,
        finding.title,
        ignored,
    )
    return "  ".join(word for word in words if word)


def not_looked_for(settings: Trivy, tree: Tree, seen: Seen) -> dict[str, str]:
    """What a reader might take for granted and must not."""
    asked = json.dumps(list(settings.scanners))
    left: dict[str, str] = {
        kind: f"not asked for (scanners = {asked})" for kind in KINDS if kind not in settings.scanners
    }
    if tree.skipped:
        left["skipped files"] = f"{tree.skipped} (skip = {json.dumps(list(settings.skip))})"
    if tree.packed:
        left["archives inside"] = f"{_some(tree.packed)} (what they hold was not unpacked)"
    if tree.opaque:
        left["binary files"] = f"{_some(tree.opaque)} (looked through for known packages alone)"
    return left | seen.left_out


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _database(settings: Trivy, step: Step, program: Path, files: command.Files, now: datetime) -> Database:
    """The database to judge by, fetched where that is wanted, and linked to where the scan looks for it."""
    directory = database.directory_of(settings.database_directory)
    if settings.database == "fetch":
        _fetch(settings, step, program, files, directory)
    known = database.require(database.present(directory), directory, settings.max_database_age, now)
    for name in ("db", "java-db"):
        if (directory / name).is_dir():
            (files.cache / name).symlink_to(directory / name)
    return known


def _fetch(settings: Trivy, step: Step, program: Path, files: command.Files, directory: Path) -> None:
    argv = command.fetch(program, directory, settings.database_repository, files)
    try:
        with database.alone(directory):
            run(step, argv, credentials=True)
    except OSError as error:
        raise StepFailed(
            f"the vulnerability database can't be kept in {directory}: {error.strerror}"
        ) from None
    except StepFailed as error:
        if database.present(directory) is None:
            raise StepFailed(
                f"the vulnerability database can't be fetched: {error} Or leave vulnerabilities out: "
                'scanners = ["secret", "misconfiguration", "license"]'
            ) from None
        step.log(f"The database that is there is used as it stands, a newer one can't be fetched: {error}")


def _ask(step: Step, argv: list[str]) -> str:
    return step.run(command.clean(argv), cwd=step.tmp, check=False, capture=True, quiet=True).stdout
