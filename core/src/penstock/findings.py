"""What a scan found, and what it did not look for."""

from datetime import date
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, Field

from penstock.model import Artifact, Model


class Severity(StrEnum):
    """How bad a finding is, by the words that scanners share."""

    unknown = "unknown"
    low = "low"
    medium = "medium"
    high = "high"
    critical = "critical"

    @property
    def rank(self) -> int:
        """A number to compare by: the worse the higher."""
        return list(Severity).index(self)


class Finding(Model):
    """One thing that a scanner found."""

    id: str = Field(description="The scanner's name for it, such as CVE-2099-0001 or aws-access-key-id.")
    kind: Literal["vulnerability", "secret", "misconfiguration", "license"]
    severity: Severity
    title: str = ""
    location: str = Field(default="", description="The file, with its line where known, or the package.")
    package: str | None = None
    version: str | None = None
    fixed_in: str | None = None
    ignored: str | None = Field(default=None, description="Why it does not count, where somebody said so.")

    @property
    def about(self) -> str:
        """The package with its version, and the version that mends it; empty where it is about none."""
        package = f"{self.package} {self.version or ''}".strip() if self.package else ""
        fixed = f"fixed in {self.fixed_in}" if self.fixed_in else ""
        return ", ".join(filter(None, (package, fixed)))


class Exempted(Model):
    """An entry of a scan's ignore list, and what became of it."""

    id: str
    reason: str
    until: date | None = Field(default=None, description="The last day on which it lets anything pass.")
    path: str | None = None
    package: str | None = None
    state: Literal["applied", "ended", "unused"] = Field(
        description="applied: it lets a finding pass; ended: it would, and its day is over; unused: it "
        "matches nothing that was found."
    )

    @property
    def remark(self) -> str | None:
        """What is to be said about it; None where it does what it is there for."""
        if self.state == "ended":
            over = f"its exemption ended on {self.until}"
            return f"ignore: {self.id} counts again, {over}. Mend it, or set a later `until`"
        if self.state == "unused":
            return f"ignore: {self.id} matches nothing any more. Remove it"
        return None


class ScanReport(Model):
    """What a scan found, and what it did not look for."""

    scanner: str = Field(description='The program and its version, such as "trivy 0.76.0".')
    findings: tuple[Finding, ...] = ()
    block: Severity | None = Field(
        default=Severity.high, description="This severity and above closes the gate; none: nothing does."
    )
    looked_for: tuple[str, ...] = Field(description="What kinds of finding were looked for.")
    not_looked_for: dict[str, str] = Field(default={}, description="What was not looked for, and why.")
    database: str | None = Field(default=None, description="Which vulnerability database, and how old.")
    database_updated: AwareDatetime | None = Field(default=None, description="When that database was made.")
    exemptions: tuple[Exempted, ...] = Field(
        default=(), description="The ignore list, and what became of each entry."
    )
    sbom: Artifact | None = Field(
        default=None, description="A CycloneDX bill of materials, kept in the store."
    )

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The findings that close the gate."""
        limit = self.block
        if limit is None:
            return ()
        return tuple(f for f in self.findings if f.ignored is None and f.severity.rank >= limit.rank)
