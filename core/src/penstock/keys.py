"""The keys of a section that belong to the core, and what a section comes to once it is checked."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, Strict, field_validator

from penstock.model import Duration, Model, Percentage

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


class Rollout(Model):
    """How a deploy step moves its targets to the new release."""

    strategy: Literal["all-at-once", "rolling"] = Field(
        default="all-at-once", description="All targets together, or one batch after another."
    )
    batch: Annotated[int, Strict()] | Percentage = Field(
        default=1, description='Rolling: how many targets at a time, or "25%" of them.'
    )
    pause: Duration = Field(default=0, description="Rolling: how long to wait between batches.")
    healthy_within: Duration = Field(
        default=60, description="How long a target may take until it is healthy; after that it is put back."
    )
    interval: Duration = Field(default=0.25, description="How long to wait between two probes.")

    @field_validator("batch")
    @classmethod
    def _some(cls, value: float) -> float:
        if value <= 0:
            raise ValueError('a batch is at least 1 target, or a share such as "25%"')
        return value


def _inside(pattern: str) -> str:
    if not pattern or pattern.startswith("/") or ".." in pattern.split("/"):
        raise ValueError(f'"{pattern}" leads out of the workspace. A glob is such as "dist/*"')
    return pattern


class Keys(Model):
    """The keys that every section may have."""

    uses: str | None = Field(default=None, description="The plugin that does the work.")
    needs: tuple[str, ...] | None = Field(
        default=None, description="The steps to wait for, instead of all of the nearest earlier phase."
    )
    timeout: Duration | None = Field(
        default=None,
        gt=0,
        description="How long the step may take, or each operation of a deploy step; then it is ended.",
    )
    retries: int = Field(
        default=0, ge=0, le=100, strict=True, description="How often a failed step is tried again."
    )
    matrix: dict[str, JsonValue] = Field(
        default={},
        description="Makes a step of every combination of values: a list of them for each key that varies.",
    )
    env: dict[str, str] = Field(
        default={}, description="Environment variables for the programs that it runs."
    )
    secrets: dict[str, str] = Field(
        default={}, description='What the step is handed in secret, as NAME = "env:NAME" or "file:PATH".'
    )
    artifacts: tuple[Annotated[str, AfterValidator(_inside)], ...] = Field(
        default=(), description="Files that it leaves in its workspace and that are kept, as globs."
    )
    environment: str | None = Field(
        default=None, description="The environment that it belongs to; a test then runs after its deployment."
    )
    allow_failure: bool = Field(
        default=False, strict=True, description="Whether the pipeline goes on if it fails."
    )
    rollout: Rollout = Field(default=Rollout(), description="How a deploy step moves its targets.")

    @field_validator("environment")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value is not None and not NAME.fullmatch(value):
            raise ValueError(f'"{value}" is no name: a name is made of at most 63 letters, digits, - and _')
        return value


class Manual(Model):
    """The settings of an approve step without a plugin: it waits for `penstock approve`."""

    by: tuple[str, ...] = Field(
        default=(), description="Roles or identities that may approve; empty: anybody."
    )
    expires: Duration = Field(default=86400, description="How long an approval is good for.")


class Section(Model):
    """One step as written: the core's keys, and the plugin's settings, checked."""

    name: str
    phase: str
    keys: Keys
    plugin: str | None
    settings: dict[str, JsonValue]
    environment: str | None
