"""What `penstock watch` knows: the commits that were taken on, by branch, as the journal has them. Pure.

There is no other memory: a commit is taken on by the very event that begins its run. So whoever is killed
and starts again neither misses one nor repeats it.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from penstock.model import Event, Revision

BEGAN, SEEN, REFUSED, SUPERSEDED = "watch.began", "change.seen", "change.refused", "change.superseded"
"""Events of no run, but for the last one, which stands with the run, or the refusal, that it speaks of."""
KINDS = ("run.started", BEGAN, SEEN, REFUSED)
NO_RUN = 0
"""Where the journal keeps what belongs to no run."""


class Change(NamedTuple):
    """What there is to do for a branch: its last commit, and those before it that it supersedes."""

    revision: Revision
    skipped: tuple[Revision, ...] = ()

    @property
    def ref(self) -> str:
        """The branch."""
        return str(self.revision.ref)

    @property
    def commit(self) -> str:
        """The full name of the commit."""
        return str(self.revision.commit)

    @property
    def trigger(self) -> dict[str, Any]:
        """What the run that begins for it records: this is what takes the commit on."""
        return {"by": "watch", "ref": self.ref, "commit": self.commit}

    @property
    def superseded(self) -> list[dict[str, Any]]:
        """What is recorded of each commit that no run is made for."""
        return [
            {"ref": self.ref, "commit": skipped.commit, "subject": skipped.subject, "by": self.commit}
            for skipped in self.skipped
        ]


class Ledger:
    """The commits that were taken on, from the journal's events."""

    def __init__(self) -> None:
        self.since: dict[str, str] = {}
        """The commit that was seen last, by branch."""
        self.patterns: set[str] = set()
        """The patterns that were watched before."""
        self.last = 0
        """The id of the last event that was folded in."""
        self._tried: set[tuple[str, str]] = set()
        self._turns: dict[str, int] = {}

    def apply(self, event: Event) -> None:
        """Fold one event in."""
        self.last = max(self.last, event.id)
        if event.type == BEGAN:
            self.patterns.update(event.data["branches"])
            self.since.update(event.data["heads"])
            self._tried.update(event.data["heads"].items())
            return
        told = event.data.get("trigger") if event.type == "run.started" else event.data
        if event.type not in KINDS or not told:
            return
        self.since[told["ref"]] = told["commit"]
        self._tried.add((told["ref"], told["commit"]))
        self._turns[told["ref"]] = event.id

    def knows(self, change: Change) -> bool:
        """Whether a branch was at this commit before, so that it is not run again."""
        return (change.ref, change.commit) in self._tried

    def changes(self, revisions: Iterable[Revision]) -> list[Change]:
        """What is to be done, out of what is new: first the branch that has waited longest for its turn."""
        branches: dict[str, list[Revision]] = {}
        for revision in revisions:
            branches.setdefault(str(revision.ref), []).append(revision)
        found = [
            Change(
                commits[-1],
                tuple(each for each in commits[:-1] if (ref, str(each.commit)) not in self._tried),
            )
            for ref, commits in branches.items()
        ]
        return sorted(found, key=lambda change: self._turns.get(change.ref, 0))


def is_pattern(branch: str) -> bool:
    """Whether it may mean several branches."""
    return "*" in branch or "?" in branch
