from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.model import Event
from penstock.turns import WANTED, Claim, Turn, claims, holder, overtaken, turn

ASKS, DEPLOYS = "approve.prod", "deploy.prod"


def asks(run: int, **more: Any) -> Claim:
    return Claim(run, ASKS, deploys=False, **more)


def waits(run: int, **more: Any) -> Claim:
    return Claim(run, DEPLOYS, **more)


def decide(mine: Claim, *others: Claim, dead: tuple[int, ...] = ()) -> Turn:
    return turn(mine, others, {claim.run for claim in others} - set(dead))


# --- one claim ---


def folded(*events: tuple[str, str | None, dict[str, Any]]) -> Claim:
    """A claim to deploy, after these events of its run."""
    wanted = {"environment": "prod", "deploys": True, "yields": True}
    every = [(WANTED, DEPLOYS, wanted), *events]
    [claim] = claims(
        [
            Event(id=number, run=7, time=0.0, type=kind, step=step, data=data)
            for number, (kind, step, data) in enumerate(every, 1)
        ],
        "prod",
    )
    return claim


STARTED = ("step.started", DEPLOYS, {})
BEGAN = ("rollout.began", DEPLOYS, {})


def finished(state: str, **more: Any) -> tuple[str, str, dict[str, Any]]:
    return "step.finished", DEPLOYS, {"state": state, **more}


FOLDS: dict[str, tuple[tuple[Any, ...], Claim]] = {
    "it came": ((), waits(7)),
    "another step of its run": ((("step.started", "test.a", {}),), waits(7)),
    "at its gate": ((STARTED,), waits(7, busy=True)),
    "refused": ((STARTED, finished("refused")), waits(7, over=True)),
    "tried again": ((STARTED, ("step.retried", DEPLOYS, {})), waits(7)),
    "cut off at its gate": ((STARTED, ("run.resumed", None, {})), waits(7)),
    "rolling out": ((STARTED, BEGAN), waits(7, busy=True, began=3)),
    "cut off": ((STARTED, BEGAN, ("run.resumed", None, {})), waits(7, busy=True, began=3)),
    "deployed": ((STARTED, BEGAN, finished("passed")), waits(7, began=3, over=True, stands=True)),
    "put back": ((STARTED, BEGAN, finished("failed", stands=False)), waits(7, began=3, over=True)),
    "stuck": ((STARTED, BEGAN, finished("failed", stands=True)), waits(7, began=3, over=True, stands=True)),
    "cancelled while it waited": ((("run.finished", None, {}),), waits(7, over=True)),
    "over before that was on record": (
        (STARTED, BEGAN, finished("failed")),
        waits(7, began=3, over=True),
    ),
}


@pytest.mark.parametrize(("events", "claim"), FOLDS.values(), ids=FOLDS.keys())
def test_a_claim_is_what_its_events_left(events: tuple[Any, ...], claim: Claim) -> None:
    assert folded(*events) == claim


def test_claims_to_other_environments_are_not_looked_at() -> None:
    data = {"environment": "stage", "deploys": True, "yields": True}

    assert claims([Event(id=1, run=7, time=0.0, type=WANTED, step="deploy.stage", data=data)], "prod") == []


# --- whose turn it is ---

NEWER_WAITS = Turn(superseded_by=9)
TURNS: dict[str, tuple[Claim, tuple[Claim, ...], tuple[int, ...], Turn]] = {
    "alone": (waits(7), (), (), Turn()),
    "a newer one waits": (waits(7), (waits(8), waits(9)), (), NEWER_WAITS),
    "a newer one is at its gate": (waits(7), (waits(9, busy=True),), (), NEWER_WAITS),
    "a newer one was cut off while it waited": (waits(7), (waits(9),), (9,), Turn()),
    "a newer one was cut off in its rollout": (waits(7), (waits(9, began=3),), (9,), Turn(superseded_by=9)),
    "a newer one is there": (waits(7), (waits(9, over=True, stands=True),), (9,), NEWER_WAITS),
    "a newer one was put back": (waits(7), (waits(9, began=3, over=True),), (), Turn()),
    "a newer one asks": (waits(7), (asks(9),), (), Turn()),
    "it does not yield": (waits(7, yields=False), (waits(9),), (), Turn()),
    "it does not yield, and a newer one is there": (
        waits(7, yields=False),
        (waits(9, over=True, stands=True),),
        (),
        Turn(over=9),
    ),
    "an older one waits": (waits(7), (waits(5),), (), Turn(supersedes=(waits(5),))),
    "an older one was cut off while it waited": (waits(7), (waits(5),), (5,), Turn(supersedes=(waits(5),))),
    "an older one deploys": (waits(7), (waits(5, busy=True, began=3),), (), Turn()),
    "an older one does not yield": (waits(7), (waits(5, yields=False),), (), Turn(behind=5)),
    "the first of those who do not yield": (
        waits(7),
        (waits(6, yields=False), waits(5, yields=False)),
        (),
        Turn(behind=5),
    ),
    "an older one that does not yield was cut off": (waits(7), (waits(5, yields=False),), (5,), Turn()),
    "an older one asks": (waits(7), (asks(5),), (), Turn(supersedes=(asks(5),))),
    "an older one was approved": (
        waits(7),
        (asks(5, approved=True),),
        (),
        Turn(supersedes=(asks(5, approved=True),)),
    ),
    "it asks, and an older one asks": (asks(7), (asks(5),), (), Turn(supersedes=(asks(5),))),
    "it asks, and an older one was approved": (asks(7), (asks(5, approved=True),), (), Turn()),
    "it asks, and an older one waits": (asks(7), (waits(5),), (), Turn()),
    "it asks, and an older one's plugin is asked": (asks(7), (asks(5, busy=True),), (), Turn()),
    "it asks, and a newer one asks": (asks(7), (asks(9),), (9,), NEWER_WAITS),
    "it asks, and a newer one waits": (asks(7), (waits(9),), (), NEWER_WAITS),
    "it asks, and a newer one was rejected": (asks(7), (asks(9, over=True),), (), Turn()),
}


@pytest.mark.parametrize(("mine", "others", "dead", "result"), TURNS.values(), ids=TURNS.keys())
def test_whose_turn_it_is(
    mine: Claim, others: tuple[Claim, ...], dead: tuple[int, ...], result: Turn
) -> None:
    assert decide(mine, *others, dead=dead) == result


claim = st.builds(
    Claim,
    run=st.integers(1, 9),
    step=st.just(DEPLOYS),
    deploys=st.just(True),
    yields=st.booleans(),
    busy=st.just(False),
)


@given(st.lists(claim, min_size=1, unique_by=lambda claim: claim.run))
def test_of_those_who_wait_exactly_one_goes_and_all_others_are_told_why(waiting: list[Claim]) -> None:
    turns = {mine.run: decide(mine, *(c for c in waiting if c is not mine)) for mine in waiting}

    goes = [run for run, found in turns.items() if found.superseded_by is None and found.behind is None]
    newest = max(turns)
    proud = [c.run for c in waiting if not c.yields]
    assert goes == [min([*proud, newest])]
    for run, found in turns.items():
        if found.superseded_by is not None:
            assert found.superseded_by == newest > run
            assert run not in proud


@given(st.lists(claim, min_size=2, unique_by=lambda claim: claim.run))
def test_who_is_superseded_and_who_supersedes_say_the_same(waiting: list[Claim]) -> None:
    newest = max(waiting, key=lambda claim: claim.run)

    given_way = decide(newest, *(c for c in waiting if c is not newest)).supersedes

    for other in waiting:
        told = decide(other, *(c for c in waiting if c is not other)).superseded_by
        assert (other in given_way) == (told == newest.run)


# --- a rollout that was cut off ---


@pytest.mark.parametrize(
    ("others", "by"),
    [
        ((), None),
        ((waits(9, began=8, over=True, stands=True),), 9),
        ((waits(5, began=8, over=True, stands=True),), 5),
        ((waits(9, began=8, over=True),), None),
        ((waits(9, began=8),), 9),
        ((waits(5, began=2, over=True, stands=True),), None),
        ((waits(9, began=8, over=True, stands=True), waits(8, began=9, over=True, stands=True)), 8),
    ],
    ids=["nobody", "newer", "older", "put back", "cut off, too", "before", "the last one"],
)
def test_a_rollout_is_overtaken_by_what_was_deployed_since(others: tuple[Claim, ...], by: int | None) -> None:
    assert overtaken(waits(7, began=3), others) == by


def test_who_deploys_is_who_is_alive() -> None:
    both = [waits(5, busy=True), waits(7, busy=True), asks(9, busy=True)]

    assert holder(both, {5}) == 5
    assert holder(both, set()) == 7
    assert holder([waits(5)], {5}) is None
