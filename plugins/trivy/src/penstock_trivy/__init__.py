"""The `trivy` plugin: the source and what was built from it, scanned with Trivy, failing closed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from penstock import Proposal, ScanReport, Step, Tool, hookimpl

from penstock_trivy.settings import Exemption, Trivy

PENSTOCK_API = 1

__all__ = ["Exemption", "Trivy", "penstock_scan", "penstock_tools"]


@hookimpl
def penstock_scan(settings: Trivy, step: Step) -> ScanReport:
    """Scan what the settings name; everything that can't be judged fails the step."""
    from penstock_trivy.scanning import scan

    return scan(settings, step)


@hookimpl
def penstock_tools(settings: Trivy) -> list[Tool]:
    """Trivy itself, by version and digest, and its database; left out where it is missing.

    StepFailed where it must not run.
    """
    from penstock_trivy import binary, database

    program = binary.find(settings.path)
    if program is None:
        return []
    version = binary.version_of(program, _ask)
    tool = Tool(name="trivy", version=version, path=str(program), sha256=binary.sha256_of(program))
    if "vulnerability" not in settings.scanners:
        return [tool]
    known = database.present(database.directory_of(settings.database_directory))
    return [tool, *([known.as_tool()] if known else [])]


@hookimpl
def penstock_propose(root: Path, add: str | None) -> Proposal:
    """A scan for what needs no database, which passes or fails the same anywhere; of an image, for all."""
    from penstock_trivy import propose

    return propose.propose(root, _ask) if add is None else propose.section(root, add)


def _ask(argv: list[str]) -> str:
    from penstock_trivy.command import clean

    try:
        done = subprocess.run(clean(argv), cwd="/", capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")
