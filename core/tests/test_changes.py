from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from penstock.changes import BEGAN, REFUSED, SEEN, SUPERSEDED, Change, Ledger
from penstock.model import Event, Revision

numbers = itertools.count(1)


def event(kind: str, run: int = 0, **data: Any) -> Event:
    return Event(id=next(numbers), run=run, time=0.0, type=kind, data=data)


def revision(ref: str, commit: str) -> Revision:
    return Revision(ref=ref, commit=commit)


def started(ref: str, commit: str) -> Event:
    return event("run.started", 1, plan="p", trigger={"by": "watch", "ref": ref, "commit": commit})


def ledger(*events: Event) -> Ledger:
    made = Ledger()
    for each in events:
        made.apply(each)
    return made


def test_a_run_takes_a_commit_on_and_so_do_a_refusal_and_a_look() -> None:
    known = ledger(
        event(BEGAN, branches=["x/*"], heads={"x/1": "a"}),
        started("main", "b"),
        event(SUPERSEDED, 1, ref="main", commit="aa", by="b"),
        event(REFUSED, ref="dev", commit="c", reason="why"),
        event(SEEN, ref="old", commit="d", reason="why"),
        event("run.started", 2, plan="p"),
    )

    assert known.since == {"x/1": "a", "main": "b", "dev": "c", "old": "d"}
    assert known.patterns == {"x/*"}
    assert known.knows(Change(revision("main", "b")))
    assert not known.knows(Change(revision("main", "aa"))), "superseded, and not run"
    assert not known.knows(Change(revision("dev", "b"))), "on another branch"


def test_the_last_commit_of_a_branch_supersedes_those_before_it_that_never_ran() -> None:
    known = ledger(started("main", "b"))

    [change] = known.changes([revision("main", commit) for commit in ("a", "b", "c", "d")])

    assert change.commit == "d"
    assert [(each["commit"], each["by"]) for each in change.superseded] == [("a", "d"), ("c", "d")]


def test_the_branch_that_has_waited_longest_is_first() -> None:
    known = ledger(started("a", "1"), started("b", "1"))

    found = known.changes([revision("b", "2"), revision("a", "2"), revision("c", "2")])

    assert [change.ref for change in found] == ["c", "a", "b"]


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.booleans(), st.booleans()), max_size=60))
def test_whenever_it_is_killed_each_commit_ran_or_is_superseded_once(
    steps: list[tuple[str, bool, bool]],
) -> None:
    """A step: a commit arrives, perhaps a change is begun, perhaps all is forgotten but the events."""
    events: list[Event] = []
    branches: dict[str, list[str]] = {}
    known = Ledger()

    def begin_one() -> bool:
        new = [
            revision(ref, commit)
            for ref, commits in branches.items()
            for commit in commits[commits.index(known.since[ref]) + 1 if ref in known.since else -1 :]
        ]
        for change in known.changes(new)[:1]:
            made = [event("run.started", 1, trigger=change.trigger)]
            made += [event(SUPERSEDED, 1, **data) for data in change.superseded]
            for each in made:
                known.apply(each)
            events.extend(made)
            return True
        return False

    for number, (ref, begins, killed) in enumerate(steps):
        branches.setdefault(ref, []).append(f"{ref}{number}")
        if begins:
            begin_one()
        if killed:
            known = ledger(*events)
    while begin_one():
        pass

    ran = [each.data["trigger"]["commit"] for each in events if each.type == "run.started"]
    skipped = [each.data["commit"] for each in events if each.type == SUPERSEDED]
    assert len(ran) == len(set(ran))
    assert len(skipped) == len(set(skipped))
    assert set(ran).isdisjoint(skipped)
    for commits in branches.values():
        assert commits[-1] in ran
        begun = next(commit for commit in commits if commit in ran)  # what was there before the first look
        assert set(commits[commits.index(begun) :]) <= {*ran, *skipped}
