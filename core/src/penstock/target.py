"""What a deploy plugin writes: a place that can be observed, changed and probed.

The values travel as JSON like those of `model`; the methods of a `Target` are where the world is touched.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from pydantic import Field, JsonValue

from penstock.model import Digest, Model, Release
from penstock.step import Step


class TargetState(Model):
    """What runs on a target now. It lies in the journal until it may be needed: no secrets."""

    release: Digest | None = Field(
        default=None, description="The release that runs there; none: nothing does."
    )
    data: dict[str, JsonValue] = Field(
        default={}, description="What the target's plugin needs to return to it."
    )


class Health(Model):
    """What a probe saw: one look, now. The core asks again until its time is over."""

    status: Literal["healthy", "unhealthy", "unknown"]
    detail: str = ""


class Target(Model, ABC):
    """One place that can be observed, changed and probed: all that a deploy plugin has to write.

    The core's rollout calls one method after another, each in a worker, with intent and outcome in
    the journal. A rollout that was cut off is taken up with the targets that the plugin names then,
    matched by `id`. Fields are plain values: a target travels as JSON.
    """

    id: str = Field(description="Unique within its environment, and the same at every run.")

    @abstractmethod
    def observe(self, step: Step) -> TargetState:
        """Say what runs there now. Changes nothing."""

    @abstractmethod
    def apply(self, release: Release, step: Step) -> None:
        """Bring the target to `release`. Called again after a crash: the same call twice is one."""

    @abstractmethod
    def probe(self, step: Step) -> Health:
        """Look once whether what runs there serves. `unknown` while it is still starting."""

    @abstractmethod
    def restore(self, state: TargetState, step: Step) -> None:
        """Bring the target back to what `observe` said before. The same call twice is one."""
