"""What comes next in a rollout, in the words of all who hand it on or carry it out. Pure."""

from typing import Literal, NamedTuple

Kind = Literal["observe", "apply", "probe", "restore", "shift", "job", "judge"]
"""The methods of a target; a job beside them; and a verify step that judges between two waves."""
Lane = Literal["target", "job", "judge"]


class Place(NamedTuple):
    """What an operation is under way on: a target and a job may have the same name."""

    lane: Lane
    name: str


def place_of(kind: Kind, name: str) -> Place:
    """What an operation is on."""
    return Place(kind if kind in ("job", "judge") else "target", name)


class Operation(NamedTuple):
    """One method of one target, a job, or a judgement, to be called now."""

    kind: Kind
    target: str
    share: float = 1.0
    """For `shift`: which share of its traffic the target gets."""


class WakeAt(NamedTuple):
    """Nothing to do until then, in seconds since 1970."""

    time: float


class Hold(NamedTuple):
    """Nobody can tell whether it may go on: a person has to."""

    reason: str


class Ended(NamedTuple):
    """The rollout is over."""

    passed: bool
    reason: str = ""


Move = Operation | WakeAt | Hold | Ended
