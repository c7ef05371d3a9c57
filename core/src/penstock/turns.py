"""Whose turn it is at an environment: who goes next, and who is superseded by whom. Pure.

A run that comes to an environment, to be approved for it or to deploy there, has a claim to it. Of two runs
the one with the higher number is the newer one. A newer claim supersedes an older one that still waits and
that yields; one that has begun to roll out is never superseded, and what does not yield goes in the order
of the numbers. Who asks for approval supersedes only others who ask: somebody who has been approved gives
way to those alone who come to deploy.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from penstock.model import Event

WANTED = "environment.wanted"
KINDS = (
    WANTED,
    *("approval.requested", "approval.given", "rollout.began"),
    *("step.started", "step.retried", "step.finished", "run.resumed", "run.finished"),
)
"""The events that tell of claims."""


@dataclass
class Claim:
    """One step of a run that came to an environment, as its events left it."""

    run: int
    step: str
    deploys: bool = True
    """Whether it comes to deploy, and not only to be approved."""
    yields: bool = True
    """Whether a newer one may supersede it."""
    approved: bool = False
    busy: bool = False
    """Whether it is being worked on: a plugin is asked, or the environment is held."""
    began: int = 0
    """The event with which its rollout began."""
    over: bool = False
    stands: bool = False
    """Whether its release was left in the environment."""

    @property
    def waits(self) -> bool:
        """Whether it could still be superseded."""
        return not (self.over or self.busy or self.began)

    @property
    def left_something(self) -> bool:
        """Whether its release is there, in whole or in part."""
        return self.stands or (self.began > 0 and not self.over)

    def fold(self, event: Event) -> None:
        """Take in an event of its run."""
        if event.type == "run.finished":
            self.over = True
        elif event.type == "run.resumed":
            self.busy = self.began > 0
        elif event.step == self.step:
            self._fold(event)

    def _fold(self, event: Event) -> None:
        if event.type == "step.started":
            self.busy = True
        elif event.type in ("step.retried", "approval.requested"):
            self.busy = False
        elif event.type == "approval.given":
            self.approved = True
        elif event.type == "rollout.began":
            self.began = event.id
        elif event.type == "step.finished":
            passed = event.data.get("state") == "passed"
            self.over, self.busy = True, False
            self.stands = self.deploys and bool(event.data.get("stands", passed))


class Turn(NamedTuple):
    """What a claim comes to, as things stand."""

    superseded_by: int | None = None
    supersedes: tuple[Claim, ...] = ()
    behind: int | None = None
    """The run that goes first."""
    over: int | None = None
    """The newer run whose release would be replaced."""


def claims(events: Iterable[Event], environment: str) -> list[Claim]:
    """The claims to an environment that these events, in their order, tell of."""
    found: dict[tuple[int, str], Claim] = {}
    of_run: dict[int, list[Claim]] = {}
    for event in events:
        if event.type == WANTED and event.data.get("environment") == environment:
            key = event.run, str(event.step)
            if key not in found:
                claim = found[key] = Claim(
                    *key, deploys=bool(event.data["deploys"]), yields=bool(event.data["yields"])
                )
                of_run.setdefault(event.run, []).append(claim)
        for claim in of_run.get(event.run, ()):
            claim.fold(event)
    return list(found.values())


def turn(mine: Claim, others: Iterable[Claim], alive: Collection[int]) -> Turn:
    """Whether it is this claim's turn among those of other runs; `alive` are the runs that are worked on."""
    known = [claim for claim in others if claim.run != mine.run]
    newer = [c.run for c in known if c.run > mine.run and _supersedes(c, mine, c.run in alive)]
    if newer and mine.yields:
        return Turn(superseded_by=max(newer))
    older = [claim for claim in known if claim.run < mine.run]
    given_way = tuple(c for c in older if c.waits and c.yields and _supersedes(mine, c, True))
    if not mine.deploys:
        return Turn(supersedes=given_way)
    before = [c.run for c in older if c.waits and c.deploys and c.run in alive and c not in given_way]
    there = [c.run for c in known if c.run > mine.run and c.left_something]
    return Turn(None, given_way, min(before, default=None), max(there, default=None))


def overtaken(mine: Claim, others: Iterable[Claim]) -> int | None:
    """The run that deployed after this claim's rollout began: that one must not be gone on with."""
    since = [(c.began, c.run) for c in others if c.run != mine.run and c.began > mine.began]
    left = {c.run for c in others if c.left_something}
    return next((run for _, run in sorted(since, reverse=True) if run in left), None)


def holder(others: Iterable[Claim], alive: Collection[int]) -> int | None:
    """The run that deploys there now, as far as it is on record."""
    at_it = [claim for claim in others if claim.deploys and claim.busy]
    return max((c.run for c in at_it if c.run in alive), default=max((c.run for c in at_it), default=None))


def _supersedes(newer: Claim, older: Claim, alive: bool) -> bool:
    if newer.left_something:
        return True
    if newer.over:
        return False
    if newer.deploys:
        return alive  # one that was cut off while it waited gives way until somebody takes it up
    return not (older.deploys or older.approved)
