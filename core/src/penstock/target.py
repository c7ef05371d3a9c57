"""What a deploy plugin writes: a place that can be observed, changed and probed.

The values travel as JSON like those of `model`; the methods of a `Target` are where the world is touched.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal

from pydantic import Field, JsonValue

from penstock.errors import StepFailed
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


class Job(Model, ABC):
    """Something that is done once a rollout, such as the migration of a database.

    Before: when all targets were observed and none is changed yet; where it fails, none will be. After: when
    all targets are healthy; where it fails, they are put back. One that was cut off is run again.
    """

    id: str = Field(min_length=1, description="Unique within its step, and the same at every call.")
    when: Literal["before", "after"] = "before"

    @abstractmethod
    def run(self, release: Release, step: Step) -> None:
        """Do it. Raise `StepFailed` where it went wrong."""


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

    @property
    def shifts(self) -> bool:
        """Whether traffic can be kept from it, or a share of it given: then `shift` has to be there."""
        return False

    def logs(self, step: Step, *, since: float | None, tail: int | None, follow: bool) -> Iterator[str]:
        """Yield what the service that runs there writes, line by line: `penstock logs ENV`. May be left out.

        `since` is a time in seconds since 1970, `tail` so many of the newest lines; with `follow` go on for
        as long as you are asked, also when another release takes its place. Secrets are masked by the core.
        """
        raise StepFailed("its plugin can't tell what it writes")

    def shift(self, share: float, step: Step) -> None:
        """Give it this share of the traffic that it has as a rule: 0 before it is changed, 1 when it is well.

        With 0 return when the requests under way have ended, or their time is over. The same call twice is
        one.
        """
        raise NotImplementedError(f"{type(self).__name__} says that it shifts traffic, and has no shift")

    @abstractmethod
    def restore(self, state: TargetState, step: Step) -> None:
        """Bring the target back to what `observe` said before. The same call twice is one."""
