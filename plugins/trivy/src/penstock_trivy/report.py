"""Trivy's JSON report → findings. What is not understood raises StepFailed: it is never left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from penstock import Finding, Severity, StepFailed
from pydantic import BaseModel, ConfigDict, Field, ValidationError

Forbidden = Callable[[str], bool]
_HARMLESS = frozenset({"notice", "permissive", "unencumbered"})


SYSTEM = "OS Packages"
"""Where Trivy reports the licences of the operating system's own packages."""


class Scanned(Protocol):
    """What a report is about: what people know its paths by, and what in it was planted."""

    def planted(self, path: str) -> bool: ...  # noqa: D102

    def mentions(self, text: str) -> bool: ...  # noqa: D102

    def shown(self, path: str, layer: str | None = None) -> str: ...  # noqa: D102


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Layer(_Part):
    diff_id: str | None = Field(default=None, alias="DiffID")


_NO_LAYER = _Layer(DiffID=None)


class _Cause(_Part):
    line: int = Field(default=0, alias="StartLine")


class Package(_Part):
    """A package that Trivy has seen."""

    name: str = Field(alias="Name")
    path: str = Field(default="", alias="FilePath")
    layer: _Layer = Field(default=_NO_LAYER, alias="Layer")


class Vulnerability(_Part):
    """A known vulnerability of a package."""

    id: str = Field(alias="VulnerabilityID", min_length=1)
    package: str = Field(alias="PkgName")
    path: str = Field(default="", alias="PkgPath")
    layer: _Layer = Field(default=_NO_LAYER, alias="Layer")
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
    layer: _Layer = Field(default=_NO_LAYER, alias="Layer")


class Misconfiguration(_Part):
    """A check that a configuration file did not pass."""

    id: str = Field(alias="ID", min_length=1)
    severity: str = Field(alias="Severity")
    title: str = Field(default="", alias="Title")
    message: str = Field(default="", alias="Message")
    status: str = Field(alias="Status")
    cause: _Cause = Field(default=_Cause(), alias="CauseMetadata")
    layer: _Layer = Field(default=_NO_LAYER, alias="Layer")


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


class _System(_Part):
    family: str = Field(default="", alias="Family")
    name: str = Field(default="", alias="Name")
    ended: bool = Field(default=False, alias="EOSL")


class Metadata(_Part):
    """What Trivy says about an image."""

    system: _System | None = Field(default=None, alias="OS")
    diff_ids: list[str] | None = Field(default=None, alias="DiffIDs")


class Report(_Part):
    """A whole report."""

    schema_version: int = Field(alias="SchemaVersion")
    metadata: Metadata = Field(default=Metadata(OS=None, DiffIDs=None), alias="Metadata")
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


def silent(report: Report, kinds: tuple[str, ...], scanned: Scanned) -> list[str]:
    """The kinds whose planted example this report lacks: it can't be trusted about the others either."""
    planted = [result for result in report.results if scanned.planted(result.target)]
    packages = [
        package
        for result in report.results
        for package in result.packages or ()
        if scanned.planted(package.path or result.target)
    ]
    licenses = [x for result in report.results for x in result.licenses or () if scanned.planted(x.path)]
    seen = {
        "vulnerability": bool(packages),
        "secret": any(result.secrets for result in planted),
        "misconfiguration": any(result.misconfigurations for result in planted),
        "license": any(found.category == "restricted" for found in licenses),
    }
    return [kind for kind in kinds if not seen[kind]]


def findings(
    report: Report, scanned: Scanned, unknown: Severity, forbidden: Forbidden, *, system_licenses: bool = True
) -> list[Finding]:
    """Everything that was found, without what was planted and without licences that ask for nothing."""
    layers = {
        (package.name, package.path): package.layer.diff_id
        for result in report.results
        for package in result.packages or ()
    }

    def level(word: str, place: str) -> Severity:
        try:
            severity = Severity(word.lower())
        except ValueError:
            raise StepFailed(
                f'trivy gives a finding in {scanned.shown(place)} the severity "{word}", which this plugin '
                "doesn't know; the gate stays shut"
            ) from None
        return unknown if severity is Severity.unknown else severity

    def license_(found: License, target: str) -> Iterator[Finding]:
        place = found.path or target
        banned = forbidden(found.name)
        if not banned and (found.category in _HARMLESS or (target == SYSTEM and not system_licenses)):
            return
        yield Finding(
            id=found.name,
            kind="license",
            severity=Severity.critical if banned else level(found.severity, place),
            title=f"licence category: {found.category or 'unknown'}",
            location=scanned.shown(place, layers.get((found.package, found.path))),
            package=found.package or None,
        )

    found = [
        finding
        for result in report.results
        for finding in (*_in_file(result, scanned, level), *_vulnerabilities(result, scanned, level))
    ]
    return found + [
        finding
        for result in report.results
        for each in result.licenses or ()
        if not scanned.planted(each.path or result.target)
        for finding in license_(each, result.target)
    ]


def system_licenses(report: Report) -> int:
    """How many of the operating system's packages have a licence that asks for more than to be named."""
    return len(
        {
            found.package
            for result in report.results
            if result.target == SYSTEM
            for found in result.licenses or ()
            if found.category not in _HARMLESS
        }
    )


_Level = Callable[[str, str], Severity]


def _vulnerabilities(result: Result, scanned: Scanned, level: _Level) -> Iterator[Finding]:
    for found in result.vulnerabilities or ():
        place = found.path or result.target
        if not scanned.planted(place):
            yield Finding(
                id=found.id,
                kind="vulnerability",
                severity=level(found.severity, place),
                title=found.title,
                location=scanned.shown(place, found.layer.diff_id),
                package=found.package,
                version=found.version or None,
                fixed_in=found.fixed_in or None,
            )


def _in_file(result: Result, scanned: Scanned, level: _Level) -> Iterator[Finding]:
    target = result.target
    if scanned.planted(target):
        return
    for secret in result.secrets or ():
        yield Finding(
            id=secret.id,
            kind="secret",
            severity=level(secret.severity, target),
            title=secret.title,
            location=_at(scanned.shown(target, secret.layer.diff_id), secret.line),
        )
    for wrong in result.misconfigurations or ():
        if wrong.status != "PASS" and not scanned.mentions(wrong.message):
            yield Finding(
                id=wrong.id,
                kind="misconfiguration",
                severity=level(wrong.severity, target),
                title=wrong.message or wrong.title,
                location=_at(scanned.shown(target, wrong.layer.diff_id), wrong.cause.line),
            )


def _at(place: str, line: int) -> str:
    return f"{place}:{line}" if line > 0 else place


def merged(raws: Sequence[tuple[dict[str, Any], Scanned]], name: str) -> dict[str, Any]:
    """Several reports as one, about packages alone: what a bill of materials is made from."""
    results = [
        {
            "Target": scanned.shown(result["Target"]),
            "Class": result.get("Class"),
            "Type": result.get("Type"),
            "Packages": packages,
        }
        for raw, scanned in raws
        for result in raw["Results"]
        if not scanned.planted(result["Target"]) and (packages := _packages(result, scanned))
    ]
    head = raws[0][0]
    return {**{key: head.get(key) for key in _HEAD}, "ArtifactName": name, "Results": results}


_HEAD = ("SchemaVersion", "Trivy", "ReportID", "CreatedAt", "ArtifactType")


def _packages(result: dict[str, Any], scanned: Scanned) -> list[dict[str, Any]]:
    target = result["Target"]
    found = [p for p in result.get("Packages") or () if not scanned.planted(p.get("FilePath") or target)]
    return [{**p, "FilePath": scanned.shown(p["FilePath"])} if p.get("FilePath") else p for p in found]
