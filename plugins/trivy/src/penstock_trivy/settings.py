"""What a section that uses `trivy` may say. Validation only."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from penstock import Digest, Duration, Model, Settings, Severity
from pydantic import AfterValidator, Field

Kind = Literal["vulnerability", "secret", "misconfiguration", "license"]
KINDS: tuple[Kind, ...] = ("vulnerability", "secret", "misconfiguration", "license")


def _from_anywhere(path: str) -> str:
    # A relative path would lie in the scanned project, which must not choose its own scanner.
    if not Path(path).expanduser().is_absolute():
        raise ValueError(f'"{path}" must start with "/" or "~/"')
    return path


def _each_once(kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
    if len(set(kinds)) < len(kinds):
        raise ValueError("names a kind twice")
    return kinds


AbsolutePath = Annotated[str, AfterValidator(_from_anywhere)]
Text = Annotated[str, Field(min_length=1, pattern=r"\S")]


class Exemption(Model):
    """One finding that is known and does not count for now."""

    id: Text = Field(description="Lets findings of exactly this id pass, such as CVE-2099-0001.")
    reason: Text = Field(description="Shows this reason wherever the finding is shown.")
    until: date | None = Field(
        default=None, description="Counts the finding again after this day (UTC). By default never."
    )
    path: Text | None = Field(
        default=None,
        description='Narrows it to files of this glob, such as "tests/certs/*"; "*" matches "/" too.',
    )
    package: Text | None = Field(default=None, description="Narrows it to the package of this name.")


class Trivy(Settings):
    """Scans the source and what was built from it, images too, with Trivy; a bad finding closes the gate."""

    scanners: Annotated[tuple[Kind, ...], AfterValidator(_each_once)] = Field(
        default=KINDS,
        min_length=1,
        description="Looks for these kinds of finding. By default for all of them; vulnerabilities need "
        "Trivy's database.",
    )
    targets: Literal["all", "artifacts", "source"] = Field(
        default="all",
        description="Looks into the revision's files (source), into what was built (artifacts), or "
        "both (all).",
    )
    block: Severity | Literal["none"] = Field(
        default=Severity.high,
        description='Closes the gate at findings of this severity and above; "none" never closes it.',
    )
    unknown_counts_as: Severity = Field(
        default=Severity.medium,
        description="Gives this severity to findings of which Trivy doesn't know one, such as a licence "
        "that it has never heard of.",
    )
    ignore: tuple[Exemption, ...] = Field(
        default=(),
        description="Lets these findings pass, each with a reason; they stay in the report.",
    )
    fixed_only: bool = Field(
        default=False, description="Lets vulnerabilities pass for which there is no fixed version yet."
    )
    license_allowed: tuple[Text, ...] = Field(
        default=(),
        description='Lets these licences pass, by their SPDX names, such as "GPL-3.0-only".',
    )
    system_licenses: bool = Field(
        default=False,
        description="Counts the licences of an image's operating system too, which is full of the GPL.",
    )
    license_forbidden: tuple[Text, ...] = Field(
        default=(), description="Makes these licences critical, by their SPDX names."
    )
    skip: tuple[Text, ...] = Field(
        default=(),
        description='Leaves files of these globs out, such as "docs/*", in the source and in what was built; '
        '"*" matches "/" too.',
    )
    sbom: bool = Field(
        default=True, description="Keeps a CycloneDX bill of materials and makes it part of the evidence."
    )
    database: Literal["fetch", "present"] = Field(
        default="fetch",
        description="Fetches the vulnerability database where it is missing or out of date; present: uses "
        "the one that is there, without any network.",
    )
    database_repository: Text | None = Field(
        default=None,
        description="Fetches the database from this OCI repository instead of Trivy's own.",
    )
    database_directory: AbsolutePath | None = Field(
        default=None,
        description="Keeps the database under this directory, in `db`. By default in Trivy's own cache, "
        "which all projects share.",
    )
    max_database_age: Duration | None = Field(
        default=7 * 86400.0,
        description="Fails the scan rather than judge with a database older than this.",
    )
    path: AbsolutePath | None = Field(
        default=None,
        description="Runs this Trivy. By default the one on PATH, or else the one installed beside Penstock.",
    )
    sha256: Digest | None = Field(
        default=None, description="Refuses to run any Trivy but the one with this digest."
    )
