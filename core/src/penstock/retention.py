"""Which runs are old enough that what they left may go. Pure."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from pydantic import Field

from penstock.model import Duration, Model


class Retention(Model):
    """What `penstock prune` leaves. A run stays where any of it says so."""

    keep: int | None = Field(default=None, ge=1, strict=True, description="So many of the newest runs.")
    older_than: Duration | None = Field(default=None, description="Runs that are younger than that.")
    releases: int = Field(
        default=5,
        ge=0,
        strict=True,
        description="So many releases of each environment before the one that runs there, to go back to.",
    )


USUAL = Retention.model_construct(keep=50, older_than=30 * 86400.0)
"""What holds where nobody says anything."""


class Line(NamedTuple):
    """A run, as far as its age is concerned."""

    run: int
    ended: float


def old(runs: Sequence[Line], rule: Retention, needed: Collection[int], now: float) -> list[int]:
    """Those of the runs, given the newest first, that nothing asks for any more; never the newest."""
    newest = max(rule.keep or 0, 1)
    youngest = now - (rule.older_than or 0)
    return [line.run for line in runs[newest:] if line.run not in needed and line.ended < youngest]
