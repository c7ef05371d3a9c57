"""The keys of a section that belong to the core, and what a section comes to once it is checked."""

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    StrictBool,
    WithJsonSchema,
    model_validator,
)

from penstock.matrix import base_of
from penstock.model import Duration, Inside, Model, Percentage
from penstock.words import WAVE, Batch, Glob, Labels, Name, Pattern, Secrets, Variable, Variables

Failure = Literal["failed", "timeout", "error"]
"""What went wrong with an attempt; what a gate refused is never tried again."""


def _wave(value: object) -> object:
    """How many targets alone says how far the wave goes."""
    return value if isinstance(value, dict | Wave) else {"targets": value}


class Wave(Model):
    """How far a canary goes at a time."""

    targets: Batch = Field(description='How many targets have the release then, in all, or "10%" of them.')
    share: Percentage = Field(default=1.0, description="Which share of their traffic those get.")


class Rollout(Model):
    """How a deploy step moves its targets to the new release."""

    strategy: Literal["all-at-once", "rolling", "canary", "blue-green"] = Field(
        default="all-at-once",
        description="All targets together; one batch after another; in waves; or first one half, without "
        "traffic, to which all traffic is then switched, and then the other.",
    )
    batch: Batch = Field(default=1, description='Rolling: how many targets at a time, or "25%" of them.')
    waves: tuple[Annotated[Wave, BeforeValidator(_wave), WithJsonSchema(WAVE)], ...] = Field(
        default=(),
        description="Canary: how many targets have the release after each wave, in numbers or shares; by "
        'default ["10%", "50%", "100%"]. A table also says which share of their traffic they get, such as '
        '{ targets = 1, share = "5%" }.',
    )
    pause: Duration = Field(default=0, description="How long to wait between batches, or waves.")
    judge: tuple[str, ...] = Field(
        default=(),
        description='Verify steps that judge between batches or waves, as ["verify.live"]: one that fails '
        "puts all back; one that can't tell waits for a person.",
    )
    healthy_within: Duration = Field(
        default=60, description="How long a target may take until it is healthy; after that it is put back."
    )
    interval: Duration = Field(default=0.25, description="How long to wait between two probes.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.batch != 1 and self.strategy in ("canary", "blue-green"):
            raise ValueError(f"batch is for a rolling one, and this is {self.strategy}. Leave it out")
        if self.waves and self.strategy != "canary":
            raise ValueError(f'waves are for strategy = "canary", and this is {self.strategy}')
        if self.judge and self.strategy == "all-at-once":
            raise ValueError("judge has nothing to judge where all is done at once. Choose another strategy")
        if len(set(self.judge)) < len(self.judge):
            raise ValueError("judge names a step twice")
        _check_waves(self.waves)
        return self


def _check_waves(waves: tuple[Wave, ...]) -> None:
    for before, after in pairwise(waves):
        if type(before.targets) is type(after.targets) and after.targets < before.targets:
            raise ValueError(
                "waves must not become smaller: each says how many targets have the release after it, such "
                'as ["10%", "50%", "100%"]'
            )
    if waves and (waves[-1].share < 1 or (isinstance(waves[-1].targets, float) and waves[-1].targets < 1)):
        raise ValueError('the last of the waves must be all: "100%"')


def _some(failures: tuple[Failure, ...]) -> tuple[Failure, ...]:
    if not failures:
        raise ValueError("is an empty list: it would never be tried again")
    return failures


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f'names "{name}" twice')
    return names


class Retries(Model):
    """Whether a step is tried again, when, and after what."""

    times: int = Field(default=1, ge=0, le=100, strict=True, description="How often it is tried again.")
    backoff: Duration = Field(default=1, description="How long to wait before it is tried again first.")
    factor: float = Field(
        default=2, ge=1, le=100, strict=True, description="How much longer to wait each time after that."
    )
    longest: Duration | None = Field(
        default=None, description="No wait is longer than this: one minute, or `backoff` where that is more."
    )
    on: Annotated[tuple[Failure, ...], AfterValidator(_some)] = Field(
        default=("failed",),
        description='After what: "failed", "timeout", or "error" for a plugin or the machine that failed.',
    )


def _retries(value: object) -> object:
    """A number alone says how often."""
    return value if isinstance(value, dict | Retries) else {"times": value}


def _or_a_number(schema: dict[str, Any]) -> None:
    schema["default"] = 0
    schema["anyOf"] = [{"type": "integer", "minimum": 0, "maximum": 100}, {"$ref": schema.pop("$ref")}]


def _inside(value: object) -> object:
    """A name alone says which step."""
    if value == "" or not isinstance(value, str | dict | Inside | None):
        raise ValueError('must be the name of a build step, such as "build.image", or a table')
    return {"step": value} if isinstance(value, str) else value


def _or_a_name(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"type": "string", "minLength": 1}, *schema["anyOf"]]


class Cache(Model):
    """What the result of a step depends on, beside its settings, artifacts, plugin and tools."""

    inputs: tuple[Pattern, ...] | None = Field(
        default=None,
        description='Files of the source that count, such as ["src/**", "pyproject.toml"]; with a "!" before '
        "it, files that do not. By default all files.",
    )
    env: tuple[Variable, ...] = Field(
        default=(), description='Environment variables whose values count, too, such as ["LANG"].'
    )
    expires: Duration | None = Field(
        default=None,
        description="How long a result is good for; by default one day for a scan, and for ever otherwise.",
    )
    ignore_secrets: bool = Field(
        default=False,
        strict=True,
        description="Keeps the result though the step is handed secrets, whose values are not compared.",
    )


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
    when: str | None = Field(
        default=None, description='A condition, such as ref == "main"; where it is false the step is skipped.'
    )
    retries: Annotated[Retries, BeforeValidator(_retries)] = Field(
        default=Retries.model_construct(times=0),
        json_schema_extra=_or_a_number,
        description="How often a failed step is tried again; or a table that also says when and after what.",
    )
    matrix: dict[str, JsonValue] = Field(
        default={},
        description="Makes a step of every combination of values: a list of them for each key that varies.",
    )
    env: Variables = Field(default={}, description="Environment variables for the programs that it runs.")
    secrets: Secrets = Field(
        default={}, description='What the step is handed in secret, as NAME = "env:NAME" or "file:PATH".'
    )
    labels: Labels = Field(
        default=(), description='What the machine must be that runs it, such as ["os=linux"].'
    )
    cache: StrictBool | Cache = Field(
        default=False,
        description="Whether a result is taken over while nothing that it depends on has changed, or what "
        "it depends on; for build, test and scan.",
    )
    artifacts: tuple[Glob, ...] = Field(
        default=(), description="Files that it leaves in its workspace and that are kept, as globs."
    )
    services: Annotated[tuple[Name, ...], AfterValidator(_each_once)] = Field(
        default=(), description="What runs beside it while it works: the names of [service.NAME] sections."
    )
    inside: Annotated[Inside | None, BeforeValidator(_inside)] = Field(
        default=None,
        json_schema_extra=_or_a_name,
        description="The build step inside whose image its programs run; or a table that also says with how "
        "much memory, how many processors, and whether with a network.",
    )
    environment: Name | None = Field(
        default=None, description="The environment that it belongs to; a test then runs after its deployment."
    )
    allow_failure: bool = Field(
        default=False, strict=True, description="Whether the pipeline goes on if it fails."
    )
    rollout: Rollout = Field(
        default=Rollout.model_construct(), description="How a deploy step moves its targets."
    )

    @property
    def cached(self) -> Cache | None:
        """What its result depends on; None where it is never taken over."""
        if isinstance(self.cache, bool):
            return Cache() if self.cache else None
        return self.cache


class Manual(Model):
    """Waits for `penstock approve`: an approve step that needs no plugin."""

    by: tuple[str, ...] = Field(
        default=(), description="Roles or identities that may approve; empty: anybody."
    )
    expires: Duration = Field(default=86400, description="How long an approval is good for.")


class Section(NamedTuple):
    """One step as written: the core's keys, and the plugin's settings, checked."""

    name: str
    phase: str
    keys: Keys
    plugin: str | None
    settings: Mapping[str, JsonValue]
    environment: str | None
    variant: Mapping[str, JsonValue] = MappingProxyType({})
    """The values of a matrix that it is for."""
    shared: tuple[str, ...] = ()
    """Keys that it has from the phase's defaults."""

    def place(self, key: str) -> str:
        """The section of the file in which a key of this one stands."""
        return f"defaults.{self.phase}" if key in self.shared else base_of(self.name)
