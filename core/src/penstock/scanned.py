"""A scan report → what its statements say. Pure.

The in-toto vulnerability predicate: https://github.com/in-toto/attestation/blob/main/spec/predicates/vulns_02.md
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.findings import Finding, ScanReport

_ANNOTATIONS = {"package", "version", "fixed_in", "location", "ignored"}


def verdict(report: ScanReport) -> dict[str, Any]:
    """What was looked for and found, with what does not count, and why."""
    return {
        "scanner": report.scanner,
        "lookedFor": list(report.looked_for),
        "notLookedFor": report.not_looked_for,
        "database": report.database,
        "block": report.block,
        "findings": [finding.model_dump(mode="json", exclude_none=True) for finding in report.findings],
        "exemptions": [entry.model_dump(mode="json", exclude_none=True) for entry in report.exemptions],
    }


def vulnerabilities(
    report: ScanReport, started: float, finished: float, told: Callable[[float], str]
) -> dict[str, Any]:
    """The in-toto predicate: all of them, those that do not count too, each saying why.

    `told` writes a time.
    """
    name, _, version = report.scanner.partition(" ")
    return {
        "scanner": {
            "uri": f"pkg:generic/{name}",
            "version": version,
            "db": _database(report, told),
            "result": [_result(finding) for finding in report.findings if finding.kind == "vulnerability"],
        },
        "metadata": {"scanStartedOn": told(started), "scanFinishedOn": told(finished)},
    }


def _database(report: ScanReport, told: Callable[[float], str]) -> dict[str, str]:
    described = {"version": report.database or "unknown"}
    if report.database_updated is None:
        return described
    return {**described, "lastUpdate": told(report.database_updated.timestamp())}


def _result(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "severity": [{"method": "vendor", "score": finding.severity.value}],
        "annotations": [finding.model_dump(mode="json", include=_ANNOTATIONS, exclude_none=True)],
    }
