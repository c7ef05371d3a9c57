"""One scan from beginning to end: program, database, tree, reports, verdicts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from penstock import Artifact, Finding, ScanReport, Step, StepFailed

from penstock_trivy import binary, command, database, judge, report
from penstock_trivy.database import Database
from penstock_trivy.settings import KINDS, Kind, Trivy
from penstock_trivy.tree import Tree, lay_out

# Trivy has no mode that knows both lock files and installed packages, so it looks twice.
_MODES: dict[str, tuple[Kind, ...]] = {"fs": KINDS, "rootfs": ("vulnerability", "license")}
# `fs` has no licence of its own to plant: it takes them from installed packages.
_PROVED_BY: dict[str, tuple[Kind, ...]] = {
    "fs": ("secret", "misconfiguration", "vulnerability"),
    "rootfs": ("vulnerability", "license"),
}


def scan(settings: Trivy, step: Step) -> ScanReport:
    """Look for everything that the settings ask for, or fail."""
    program = binary.require(settings.path)
    binary.check_digest(program, settings.sha256)
    version = binary.version_of(program, lambda argv: _ask(step, argv))
    files = command.Files(step.tmp / "trivy")
    files.write()
    now = datetime.now(UTC)
    tree = lay_out(step, settings.targets, settings.skip)
    look = _Look(settings, step, program, files, tree)
    known: Database | None = None
    with ExitStack() as stack:
        if "vulnerability" in settings.scanners:
            known = _database(settings, step, program, files, now)
            stack.enter_context(database.held(known.directory))
        found, raws = look.everywhere()
    sbom = look.bill_of_materials(raws) if settings.sbom else None
    judged = judge.judge(found, settings, now.date())
    for line in [*map(in_a_line, judged), *judge.remarks(judged, settings, now.date())]:
        step.log(line)
    return ScanReport(
        scanner=f"trivy {version}",
        findings=judged,
        block=judge.block_of(settings),
        looked_for=settings.scanners,
        not_looked_for=not_looked_for(settings, tree),
        database=known.describe(now) if known else None,
        sbom=sbom,
    )


def in_a_line(finding: Finding) -> str:
    """A finding as the log shows it: the summary has room for a few only."""
    package = f"{finding.package} {finding.version or ''}".strip() if finding.package else ""
    fixed = f"fixed in {finding.fixed_in}" if finding.fixed_in else ""
    ignored = f"ignored: {finding.ignored}" if finding.ignored else ""
    words = (
        finding.severity,
        finding.kind,
        finding.id,
        finding.location,
        package,
        finding.title,
        fixed,
        ignored,
    )
    return "  ".join(word for word in words if word)


def not_looked_for(settings: Trivy, tree: Tree) -> dict[str, str]:
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
    return left


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


@dataclass(frozen=True)
class _Look:
    settings: Trivy
    step: Step
    program: Path
    files: command.Files
    tree: Tree

    def everywhere(self) -> tuple[list[Finding], list[dict[str, Any]]]:
        """The findings of all modes that are needed, and their reports."""
        found: list[Finding] = []
        raws = []
        for mode, can in _MODES.items():
            asked = tuple(kind for kind in can if kind in self.settings.scanners)
            # A bill of materials lists packages, which Trivy reads only for these kinds.
            with_packages = self.settings.sbom and not {"vulnerability", "license"} & set(asked)
            kinds = (*asked, "license") if with_packages else asked
            if kinds:
                parsed, raw = self._one(mode, kinds)
                raws.append(raw)
                found += [finding for finding in self._findings(parsed) if finding.kind in asked]
        return found, raws

    def bill_of_materials(self, raws: list[dict[str, Any]]) -> Artifact:
        """A CycloneDX document about all packages seen, kept in the store."""
        source = self.step.tmp / "packages.json"
        target = self.step.tmp / "sbom.cdx.json"
        name = self.step.stamp.short
        source.write_text(json.dumps(report.merged(raws, self.tree.shown, name)))
        _run(self.step, command.convert(self.program, source, target, self.files))
        try:
            document = json.loads(target.read_text())
            good = document["bomFormat"] == "CycloneDX"
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            good = False
        if not good:
            raise StepFailed(
                "trivy convert ended with 0, but made no CycloneDX document. Or set: sbom = false"
            )
        return self.step.keep(target, "sbom")

    def _one(self, mode: str, kinds: Sequence[str]) -> tuple[report.Report, dict[str, Any]]:
        path = self.step.tmp / f"{mode}.json"
        _run(self.step, command.scan(self.program, mode, kinds, self.tree.root, path, self.files))
        if not path.is_file():
            raise StepFailed(f"trivy {mode} ended with 0, but wrote no report; the gate stays shut")
        parsed, raw = report.read(path.read_text(errors="replace"), mode)
        proved = tuple(kind for kind in _PROVED_BY[mode] if kind in kinds)
        if silent := report.silent(parsed, proved):
            raise StepFailed(
                f"trivy {mode} ended with 0, but didn't find the {' and '.join(silent)} that was planted to "
                "test it, so what else it misses is not known; the gate stays shut. Use a Trivy that this "
                "plugin knows (0.70 to 0.76)"
            )
        return parsed, raw

    def _findings(self, parsed: report.Report) -> list[Finding]:
        forbidden = judge.forbids(self.settings.license_forbidden)
        return report.findings(parsed, self.tree.shown, self.settings.unknown_counts_as, forbidden)


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
            _run(step, argv, credentials=True)
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


def _run(step: Step, argv: Sequence[str], *, credentials: bool = False) -> None:
    # Away from the workspace: Trivy reads settings from the directory that it is started in.
    empty = step.tmp / "empty"
    empty.mkdir(exist_ok=True)
    step.log("$ " + " ".join(argv))
    done = step.run(
        command.clean(argv, credentials=credentials), cwd=empty, check=False, capture=True, quiet=True
    )
    step.log(done.stdout.rstrip())
    if done.returncode != 0:
        raise StepFailed(failure(step.name, argv[1], done.returncode, step.mask(done.stdout)))


def failure(step: str, mode: str, status: int, output: str) -> str:
    """What a failed Trivy said, in a line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    fatal = next(
        (line for line in reversed(lines) if "FATAL" in line), lines[-1] if lines else "it said nothing"
    )
    reason = fatal.rpartition("FATAL")[2].strip().removeprefix("Fatal error").strip()
    if "Java DB" in reason:
        return (
            f"trivy {mode} can't look into Java archives without its Java index. Fetch it once "
            "(trivy image --download-java-db-only; with database_directory, add --cache-dir and that path), "
            'or leave them out: skip = ["*.jar"]'
        )
    return (
        f"trivy {mode} ended with status {status}: {reason[:500]}. Whole output: penstock logs last {step}."
    )


def _ask(step: Step, argv: list[str]) -> str:
    return step.run(command.clean(argv), cwd=step.tmp, check=False, capture=True, quiet=True).stdout
