"""Trivy's JSON report → findings. What is not understood raises StepFailed: it is never left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from penstock import Finding, Severity, StepFailed
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from penstock_trivy.tree import CANARY

Show = Callable[[str], str]
Forbidden = Callable[[str], bool]
_HARMLESS = frozenset({"notice", "permissive", "unencumbered"})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Cause(_Part):
    line: int = Field(default=0, alias="StartLine")


class Package(_Part):
    """A package that Trivy has seen."""

    name: str = Field(alias="Name")
    path: str = Field(default="", alias="FilePath")


class Vulnerability(_Part):
    """A known vulnerability of a package."""

    id: str = Field(alias="VulnerabilityID", min_length=1)
    package: str = Field(alias="PkgName")
    path: str = Field(default="", alias="PkgPath")
    version: str = Field(default="", alias="InstalledVersion")
    fixed_in: str = Field(default="", alias="FixedVersion")
    severity: str = Field(alias="Severity")
    title: str = Field(default="", alias="Title")


class Secret(_Part):
    """Something that looks like a secret."""

    id: str = Field(alias="RuleID", min_length=1)
    severity: str = Field(alias="Severity")
    title: str = Field(default="", alias="Title")
    line: int = Field(default=0, alias="StartLine")


class Misconfiguration(_Part):
    """A check that a configuration file did not pass."""

    id: str = Field(alias="ID", min_length=1)
    severity: str = Field(alias="Severity")
    title: str = Field(default="", alias="Title")
    message: str = Field(default="", alias="Message")
    status: str = Field(alias="Status")
    cause: _Cause = Field(default=_Cause(), alias="CauseMetadata")


class License(_Part):
    """The licence of a package or file."""

    name: str = Field(alias="Name")
    severity: str = Field(alias="Severity")
    category: str = Field(default="", alias="Category")
    package: str = Field(default="", alias="PkgName")
    path: str = Field(default="", alias="FilePath")


class Result(_Part):
    """What Trivy says about one file, or about one sort of package."""

    target: str = Field(alias="Target")
    packages: list[Package] | None = Field(default=None, alias="Packages")
    vulnerabilities: list[Vulnerability] | None = Field(default=None, alias="Vulnerabilities")
    secrets: list[Secret] | None = Field(default=None, alias="Secrets")
    misconfigurations: list[Misconfiguration] | None = Field(default=None, alias="Misconfigurations")
    licenses: list[License] | None = Field(default=None, alias="Licenses")


class Report(_Part):
    """A whole report."""

    schema_version: int = Field(alias="SchemaVersion")
    results: list[Result] = Field(alias="Results")


def read(text: str, mode: str) -> tuple[Report, dict[str, Any]]:
    """A report, checked, and as it came."""
    try:
        raw = json.loads(text)
        report = Report.model_validate(raw)
    except (ValueError, RecursionError) as error:
        raise StepFailed(
            f"trivy {mode} ended with 0, but {_trouble(error)}; the gate stays shut. Use a Trivy that this "
            "plugin knows (0.70 to 0.76), or tell its authors"
        ) from None
    if report.schema_version != 2:
        raise StepFailed(
            f"trivy {mode} wrote a report of schema {report.schema_version}, and this plugin reads schema 2; "
            "the gate stays shut. Use Trivy 0.70 to 0.76, or a newer penstock-trivy"
        )
    return report, raw


def _trouble(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "its report is not JSON"
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "it"
    if first["type"] == "missing":
        return f'its report has no "{where}"'
    return f"its report can't be read ({where}: {first['msg']})"


def silent(report: Report, kinds: tuple[str, ...]) -> list[str]:
    """The kinds whose planted example this report lacks: it can't be trusted about the others either."""
    planted = [result for result in report.results if _in_canary(result.target)]
    packages = [
        package
        for result in report.results
        for package in result.packages or ()
        if _in_canary(package.path or result.target)
    ]
    licenses = [x for result in report.results for x in result.licenses or () if _in_canary(x.path)]
    seen = {
        "vulnerability": bool(packages),
        "secret": any(result.secrets for result in planted),
        "misconfiguration": any(result.misconfigurations for result in planted),
        "license": any(found.category == "restricted" for found in licenses),
    }
    return [kind for kind in kinds if not seen[kind]]


def findings(report: Report, show: Show, unknown: Severity, forbidden: Forbidden) -> list[Finding]:
    """Everything that was found, without what was planted and without licences that ask for nothing."""
    return [finding for result in report.results for finding in _of(result, show, unknown, forbidden)]


def _of(result: Result, show: Show, unknown: Severity, forbidden: Forbidden) -> Iterator[Finding]:
    def level(word: str) -> Severity:
        try:
            severity = Severity(word.lower())
        except ValueError:
            raise StepFailed(
                f'trivy gives a finding in {show(result.target)} the severity "{word}", which this plugin '
                "doesn't know; the gate stays shut"
            ) from None
        return unknown if severity is Severity.unknown else severity

    if not _in_canary(result.target):
        yield from _in_file(result, show(result.target), level)
    for found in result.vulnerabilities or ():
        place = found.path or result.target
        if not _in_canary(place):
            yield Finding(
                id=found.id,
                kind="vulnerability",
                severity=level(found.severity),
                title=found.title,
                location=show(place),
                package=found.package,
                version=found.version or None,
                fixed_in=found.fixed_in or None,
            )
    for license_ in result.licenses or ():
        place = license_.path or result.target
        banned = forbidden(license_.name)
        if not _in_canary(place) and (banned or license_.category not in _HARMLESS):
            yield Finding(
                id=license_.name,
                kind="license",
                severity=Severity.critical if banned else level(license_.severity),
                title=f"licence category: {license_.category or 'unknown'}",
                location=show(place),
                package=license_.package or None,
            )


def _in_file(result: Result, place: str, level: Callable[[str], Severity]) -> Iterator[Finding]:
    for secret in result.secrets or ():
        yield Finding(
            id=secret.id,
            kind="secret",
            severity=level(secret.severity),
            title=secret.title,
            location=_at(place, secret.line),
        )
    for wrong in result.misconfigurations or ():
        if wrong.status != "PASS":
            yield Finding(
                id=wrong.id,
                kind="misconfiguration",
                severity=level(wrong.severity),
                title=wrong.message or wrong.title,
                location=_at(place, wrong.cause.line),
            )


def _at(place: str, line: int) -> str:
    return f"{place}:{line}" if line > 0 else place


def _in_canary(path: str) -> bool:
    return path.startswith(f"{CANARY}/")


def merged(raws: list[dict[str, Any]], show: Show, name: str) -> dict[str, Any]:
    """Several reports as one, about packages alone: what a bill of materials is made from."""
    results = [
        {
            "Target": show(result["Target"]),
            "Class": result.get("Class"),
            "Type": result.get("Type"),
            "Packages": packages,
        }
        for raw in raws
        for result in raw["Results"]
        if not _in_canary(result["Target"]) and (packages := _packages(result, show))
    ]
    return {**{key: raws[0].get(key) for key in _HEAD}, "ArtifactName": name, "Results": results}


_HEAD = ("SchemaVersion", "Trivy", "ReportID", "CreatedAt", "ArtifactType")


def _packages(result: dict[str, Any], show: Show) -> list[dict[str, Any]]:
    target = result["Target"]
    found = [p for p in result.get("Packages") or () if not _in_canary(p.get("FilePath") or target)]
    return [{**p, "FilePath": show(p["FilePath"])} if p.get("FilePath") else p for p in found]
