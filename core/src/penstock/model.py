"""The values that travel between the core and its plugins.

All of them are frozen, and all of them survive a trip through JSON: that is what lets the same step
run in this process, in a worker, or on another machine.
"""

import hashlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from penstock.units import Duration as Duration
from penstock.units import Memory
from penstock.units import Percentage as Percentage


class Model(BaseModel):
    """The base of every value: frozen, and no field that nobody declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Settings(Model):
    """The base of a plugin's settings: what a section of `penstock.toml` may say.

    Give every field a type that carries its unit, a default that is safe and a description that
    starts with what the user gets: the schema, the reference and `penstock init` are made from them.
    """


Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""The SHA-256 of some bytes, as `sha256:` and 64 hexadecimal digits."""


def sha256_of(data: bytes) -> str:
    """The digest of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def short(digest: str) -> str:
    """A digest as people read it: its first and last four digits."""
    digits = digest.rpartition(":")[2]
    return digits if len(digits) <= 8 else f"{digits[:4]}…{digits[-4:]}"


# --- what is worked on -------------------------------------------------------------------------


class Revision(Model):
    """The exact source that a run is about."""

    commit: str | None = Field(
        default=None, description="The full name of the commit; none outside source control."
    )
    ref: str | None = Field(default=None, description="The branch or tag that was asked for.")
    author: str | None = None
    subject: str | None = Field(default=None, description="The first line of the commit's message.")
    time: int | None = Field(default=None, description="When it was committed, in seconds since 1970.")
    tag: str | None = Field(default=None, description="The nearest tag at or before the commit.")
    distance: int = Field(default=0, ge=0, description="How many commits the tag lies back.")
    dirty: bool = Field(default=False, description="Whether files that are not committed were taken too.")
    left_out: tuple[str, ...] = Field(
        default=(), description="Files that are not committed and were not taken."
    )
    notes: tuple[str, ...] = Field(
        default=(), description="What the snapshot lacks or is otherwise odd about, for people."
    )
    snapshot: Digest | None = Field(
        default=None, description="The digest of the files themselves; the core fills it in."
    )

    @property
    def short(self) -> str:
        """How people name it: seven digits of the commit, or of the snapshot where there is none."""
        if self.commit:
            return self.commit[:7] + ("+" if self.dirty else "")
        return short(self.snapshot) if self.snapshot else "unknown"


class Artifact(Model):
    """Something built, known by the digest of its bytes."""

    name: str = Field(description="The name of the file, directory or image.")
    kind: str = Field(description="wheel, sdist, file, directory, image, sbom, report, …")
    digest: Digest
    size: int = Field(default=0, ge=0, description="In bytes.")
    digests: dict[str, str] = Field(
        default={}, description="Other digests of the same thing, by what they are."
    )
    parts: tuple[Digest, ...] = Field(
        default=(),
        description="Further bytes in the store that it is made of, such as an image's layers: compared with "
        "their digests where its own are.",
    )


class Inside(Model):
    """Where a step's programs run: inside what a build step has made, with how much of the machine."""

    step: str = Field(
        min_length=1,
        strict=True,
        description="The build step that makes it. The step waits for that one, whatever else it needs.",
    )
    memory: Memory | None = Field(
        default=None, description='Ends a program that uses more memory than this, such as "512MB".'
    )
    cpus: float | None = Field(
        default=None,
        gt=0,
        le=4096,
        allow_inf_nan=False,
        description="Gives it so many processors at the most.",
    )
    network: bool = Field(
        default=False, strict=True, description="Whether it reaches the network. Services are reached anyway."
    )
    host: str | None = Field(
        default=None,
        min_length=1,
        description="Where that is, as the plugin names places, such as ssh://build@big for a Docker engine "
        "there. By default on this machine.",
    )


class Tool(Model):
    """A program that a plugin runs: part of the provenance."""

    name: str
    version: str = Field(description="Empty where it was not asked.")
    path: str
    sha256: str | None = None


class Service(Model):
    """What runs beside a step while it works, and how the step's programs reach it."""

    name: str = Field(default="", description="As the section, without its first word; the core fills it in.")
    host: str = Field(default="127.0.0.1", description="Where the step's programs reach it.")
    port: int | None = Field(default=None, ge=1, le=65535, description="And at which port; none: at none.")
    variables: dict[str, str] = Field(
        default={},
        description="Added to the environment of the step's programs. By default host and port, as "
        "PENSTOCK_SERVICE_DB_HOST and PENSTOCK_SERVICE_DB_PORT for the service `db`. No place for secrets.",
    )
    network: str | None = Field(
        default=None,
        description="A network that it is on, for the launcher of the same plugin to join; opaque to others.",
    )
    tools: tuple[Tool, ...] = Field(
        default=(), description="What it was started from, by digest, as `penstock_service_tools` names it."
    )

    @property
    def environment(self) -> dict[str, str]:
        """Its variables, with those that every service has."""
        word = "".join(letter if letter.isalnum() else "_" for letter in self.name).upper()
        said = {"HOST": self.host} | ({"PORT": str(self.port)} if self.port is not None else {})
        return {f"PENSTOCK_SERVICE_{word}_{key}": value for key, value in said.items()} | self.variables


class Proposal(Model):
    """What a plugin would do for a project, and what it saw there."""

    saw: str = Field(description='What it understood, such as "hatchling, src layout".')
    about: str = Field(
        default="", description='What it speaks of where that is not the plugin itself, such as "ruff".'
    )
    sections: dict[str, dict[str, JsonValue]] = Field(
        default={},
        description="The sections to write, by their whole names such as build.wheel, with their settings. "
        "None: the plugin is enabled, and needs no section.",
    )
    unsure: tuple[str, ...] = Field(
        default=(), description="What it could not tell or did not add, and what to do about it."
    )
    enable: bool = Field(
        default=True, description="Whether the plugin is to be enabled; no: it only says what it saw."
    )
    first: tuple[str, ...] = Field(
        default=(), description='Commands without which no run can pass yet, such as "git init".'
    )


# --- test --------------------------------------------------------------------------------------


class TestCase(Model):
    """One test and how it went."""

    __test__ = False  # so that pytest does not take it for a test itself

    name: str = Field(description="As the test tool names it, unique within the report.")
    outcome: Literal["passed", "failed", "skipped"]
    seconds: float = Field(default=0.0, ge=0)
    file: str | None = None
    line: int | None = Field(default=None, ge=1)
    message: str | None = Field(default=None, description="Why it failed or was skipped, in a line or a few.")
    output: str | None = Field(default=None, description="What it printed, where that helps.")
    flaky: str | None = Field(
        default=None,
        description="How else it went on the same inputs, where it both failed and passed: it is flaky. A "
        "plugin says so of a case that its tool ran again; of other attempts and runs the core does.",
    )
    quarantined: str | None = Field(
        default=None, description="Why its failure does not count, where the configuration says so."
    )

    @property
    def counts(self) -> bool:
        """Whether it closes the gate."""
        return self.outcome == "failed" and self.quarantined is None


class TestReport(Model):
    """What a test step found. A report with a failed case, or with no case at all, closes the gate."""

    __test__ = False

    tool: str = Field(description='The program and its version, such as "pytest 8.4.1".')
    cases: tuple[TestCase, ...]
    coverage: float | None = Field(default=None, ge=0, le=1, description="The share of lines that were run.")
    checks_only: bool = Field(
        default=False, description="The outcome of a command that reports no cases, such as a linter."
    )
    advice: str | None = Field(default=None, description="What a person may do about the failed cases.")
    cut_short: str | None = Field(
        default=None,
        description="Why not all tests were run, where that is so: then no failure can be let pass by a "
        "quarantine, since others may stand behind it.",
    )

    def count(self, outcome: str) -> int:
        """How many cases ended so."""
        return sum(case.outcome == outcome for case in self.cases)

    @property
    def quarantined(self) -> tuple[TestCase, ...]:
        """The cases that failed and don't count."""
        return tuple(case for case in self.cases if case.outcome == "failed" and not case.counts)


# --- scan --------------------------------------------------------------------------------------


# --- evidence ----------------------------------------------------------------------------------


class Signature(Model):
    """A Sigstore bundle over one statement."""

    bundle: str = Field(description="The bundle's JSON text, as other verifiers read it.")
    statement: Digest = Field(description="The digest of the signed statement's bytes.")
    signer: str = Field(description='Who signed: "key:" and the key\'s id, or an identity.')


class Signer(Model):
    """Who a signature proves to have signed."""

    identity: str = Field(description='"key:" and the key\'s id, or an identity such as a mail address.')
    public_key: str | None = Field(default=None, description="PEM, for a signer that is a key.")


class Evidence(Model):
    """One in-toto statement on record, and whether its signatures hold."""

    step: str
    predicate_type: str
    digest: Digest = Field(description="Of the statement's bytes.")
    statement: dict[str, JsonValue]
    signers: tuple[str, ...] = Field(default=(), description="Whose signatures verify.")
    bundles: tuple[str, ...] = Field(
        default=(), description="The digests of its signatures' Sigstore bundles, in the store."
    )
    invalid: str | None = Field(default=None, description="Why a signature, or the statement, does not hold.")

    @property
    def subjects(self) -> frozenset[str]:
        """The digests that the statement speaks of."""
        entries = self.statement.get("subject")
        if not isinstance(entries, list):
            return frozenset()
        digests = [entry.get("digest") for entry in entries if isinstance(entry, dict)]
        return frozenset(f"sha256:{d['sha256']}" for d in digests if isinstance(d, dict) and "sha256" in d)


class Publication(Model):
    """Where an artifact can be had, by digest."""

    artifact: Digest
    location: str = Field(
        description="An address that holds the digest, such as URL#sha256=… or NAME@sha256:…."
    )
    already: bool = Field(default=False, description="Whether it was there before, with the same bytes.")
    purl: str | None = Field(
        default=None,
        description="The release that it is part of, such as pkg:pypi/shop@1.0.0, where it has a name.",
    )


class Approval(Model):
    """A person's word, bound to what it was given for."""

    by: str = Field(description="The identity that signed it, or the operating system's user.")
    proved: bool = Field(default=False, description="Whether a signature proves who it was.")
    why: str = ""
    environment: str
    artifacts: tuple[Digest, ...]
    plan: Digest
    given: float = Field(description="Seconds since 1970.")
    expires: float = Field(description="Seconds since 1970.")


class Pending(Model):
    """Nobody has said anything yet."""

    reason: str


# --- deploy and verify -------------------------------------------------------------------------


class Check(Model):
    """One question that a verification asked."""

    name: str
    passed: bool
    detail: str = ""
    seconds: float = Field(default=0.0, ge=0)


class Verification(Model):
    """What a verify step found. One check that did not pass, or no check at all, closes the gate."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether there was a check and all of them passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)


class Release(Model):
    """What is deployed: artifacts by digest, with where they come from."""

    digest: Digest = Field(description="Of the artifact, or of the list of digests where there are several.")
    artifacts: tuple[Artifact, ...]
    revision: Revision
    run: int
    environment: str


# --- gates -------------------------------------------------------------------------------------


class Refusal(Model):
    """Why a gate stays shut, and how to open it."""

    rule: str = Field(description='Which rule says so, such as "policy.production: scan".')
    reason: str
    way_out: str = Field(default="", description="What the reader can do, best a command.")

    def __str__(self) -> str:
        return f"{self.reason} ({self.rule})." + (f" {self.way_out}" if self.way_out else "")


class Event(Model):
    """One line of the journal, as observers see it."""

    id: int
    run: int
    time: float = Field(description="Seconds since 1970.")
    type: str
    step: str | None = None
    data: dict[str, Any] = {}
