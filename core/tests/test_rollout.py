"""Rollouts, simulated: targets that can be half changed, operations that fail or hang, crashes anywhere."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock.config import Rollout
from penstock.model import Release, Revision
from penstock.progress import RESTORE_TRIES, Kind, RolloutState
from penstock.rollout import Ended, Move, Operation, WakeAt, advance

A = "sha256:" + "a" * 64
RELEASE = Release(digest=A, artifacts=(), revision=Revision(), run=1, environment="live")
PARTS = 3


def begin(targets: int | list[str], **options: Any) -> RolloutState:
    names = [f"t{number}" for number in range(targets)] if isinstance(targets, int) else targets
    return RolloutState.begin(Rollout.model_validate(options), RELEASE, names)


def op(kind: Kind, target: str) -> Operation:
    return Operation(kind, target)


def do(state: RolloutState, kind: Kind, *targets: str, now: float = 0.0, **data: Any) -> None:
    """Operations from their beginning to their end."""
    answers: dict[Kind, dict[str, Any]] = {
        "observe": {"state": {"release": None}},
        "apply": {},
        "probe": {"health": "healthy"},
        "restore": {},
    }
    for target in targets:
        state.started(target, kind, now)
        state.ended(target, kind, {"ok": True, **answers[kind], **data}, now)


# --- by hand ---


def test_all_are_observed_before_any_is_changed() -> None:
    state = begin(2)

    assert advance(state, 0) == [op("observe", "t0"), op("observe", "t1")]
    do(state, "observe", "t0")
    assert advance(state, 0) == [op("observe", "t1")]
    state.started("t1", "observe", 0)
    assert advance(state, 0) == []
    state.ended("t1", "observe", {"ok": True, "state": {}}, 0)
    assert advance(state, 0) == [op("apply", "t0"), op("apply", "t1")]
    do(state, "apply", "t0", "t1")
    assert advance(state, 0) == [op("probe", "t0"), op("probe", "t1")]
    do(state, "probe", "t0", "t1")
    assert advance(state, 0) == [Ended(True)]


def test_rolling_goes_batch_by_batch_with_a_pause_between() -> None:
    state = begin(3, strategy="rolling", batch=2, pause=60)

    do(state, "observe", "t0", "t1", "t2")
    assert advance(state, 0) == [op("apply", "t0"), op("apply", "t1")]
    do(state, "apply", "t0", "t1")
    do(state, "probe", "t0", now=5)
    assert advance(state, 6) == [op("probe", "t1")]
    do(state, "probe", "t1", now=7)
    assert advance(state, 7) == [WakeAt(67)]
    assert advance(state, 66.9) == [WakeAt(67)]
    assert advance(state, 67) == [op("apply", "t2")]
    do(state, "apply", "t2", now=67)
    do(state, "probe", "t2", now=68)
    assert advance(state, 68) == [Ended(True)]


SIZES: dict[str, tuple[int, dict[str, Any], int]] = {
    "all at once": (7, {}, 7),
    "one by one": (7, {"strategy": "rolling"}, 1),
    "three at a time": (7, {"strategy": "rolling", "batch": 3}, 3),
    "more than there are": (2, {"strategy": "rolling", "batch": 5}, 5),
    "a quarter": (8, {"strategy": "rolling", "batch": "25%"}, 2),
    "a quarter of a few": (3, {"strategy": "rolling", "batch": "25%"}, 1),
    "7% of 100 are 7, whatever floating point says": (100, {"strategy": "rolling", "batch": "7%"}, 7),
    "29% of 100 are 29": (100, {"strategy": "rolling", "batch": "29%"}, 29),
    "next to nothing is one": (10, {"strategy": "rolling", "batch": "0.1%"}, 1),
    "all of them are not one of them": (10, {"strategy": "rolling", "batch": "100%"}, 10),
    "a third is rounded up": (10, {"strategy": "rolling", "batch": "33.4%"}, 4),
}


@pytest.mark.parametrize(("targets", "options", "size"), SIZES.values(), ids=SIZES.keys())
def test_the_size_of_a_batch(targets: int, options: dict[str, Any], size: int) -> None:
    state = begin(targets, **options)

    assert state.size == size
    names = [name for number in range(targets) for name in state.batch(number)]
    assert names == list(state.targets)


def test_a_probe_is_repeated_until_its_time_is_over() -> None:
    state = begin(1, healthy_within=10, interval=2)
    do(state, "observe", "t0")
    do(state, "apply", "t0", now=100)

    do(state, "probe", "t0", now=101, health="unknown")
    assert advance(state, 101) == [WakeAt(103)]
    assert advance(state, 103) == [op("probe", "t0")]
    do(state, "probe", "t0", now=109.9, health="unknown", detail="starting")
    assert state.failure is None
    do(state, "probe", "t0", now=110, health="unknown", detail="starting")
    assert state.failure == "t0 was not healthy within 10 s: starting"


FAILURES: dict[str, tuple[Kind, dict[str, Any], str]] = {
    "observe": ("observe", {"ok": False, "detail": "no route"}, "t0 can't be observed: no route"),
    "apply": ("apply", {"ok": False, "detail": "disk full"}, "t0 could not be changed: disk full"),
    "probe fails": ("probe", {"ok": False, "detail": "no route"}, "t0 is unhealthy: no route"),
    "unhealthy": ("probe", {"health": "unhealthy", "detail": "500"}, "t0 is unhealthy: 500"),
    "healthy, but the probe failed": (
        "probe",
        {"ok": False, "health": "healthy", "detail": "cut"},
        "t0 is unhealthy: cut",
    ),
}


@pytest.mark.parametrize(("kind", "data", "reason"), FAILURES.values(), ids=FAILURES.keys())
def test_what_makes_a_rollout_fail(kind: Kind, data: dict[str, Any], reason: str) -> None:
    state = begin(1)
    for before in ("observe", "apply", "probe"):
        if before == kind:
            break
        do(state, before, "t0")  # type: ignore[arg-type]

    do(state, kind, "t0", **data)

    assert state.failure == reason
    changed = kind != "observe"
    assert advance(state, 0) == (
        [op("restore", "t0")] if changed else [Ended(False, f"{reason}; nothing was changed")]
    )


def test_what_was_touched_goes_back_in_reverse_and_the_rest_is_left_alone() -> None:
    state = begin(4, strategy="rolling", batch=2)
    do(state, "observe", "t0", "t1", "t2", "t3")
    do(state, "apply", "t0", "t1")
    do(state, "probe", "t0", "t1")
    state.started("t2", "apply", 0)
    do(state, "apply", "t3", ok=False, detail="disk full")

    assert advance(state, 0) == []  # t2 is still at it
    state.ended("t2", "apply", {"ok": True}, 0)
    assert advance(state, 0) == [op("restore", name) for name in ("t3", "t2", "t1", "t0")]
    do(state, "restore", "t3", "t2", "t1", "t0")
    assert advance(state, 0) == [
        Ended(False, "t3 could not be changed: disk full; put back to what ran before: t0, t1, t2 and 1 more")
    ]


def test_the_first_failure_is_the_reason() -> None:
    state = begin(2)
    do(state, "observe", "t0", "t1")
    do(state, "apply", "t1", ok=False, detail="first")
    do(state, "apply", "t0", ok=False, detail="second")

    assert state.failure == "t1 could not be changed: first"


def test_a_restore_is_tried_again_later_and_in_the_end_given_up_loudly() -> None:
    state = begin(2)
    do(state, "observe", "t0", "t1")
    do(state, "apply", "t0", "t1")
    do(state, "probe", "t0", health="unhealthy", detail="500")
    do(state, "restore", "t1")

    now, waits = 0.0, []
    for _ in range(RESTORE_TRIES):
        assert advance(state, now) == [op("restore", "t0")]
        do(state, "restore", "t0", now=now, ok=False, detail="no route")
        move = advance(state, now)[0]
        if isinstance(move, WakeAt):
            waits.append(move.time - now)
            now = move.time

    assert waits == [0.5, 1, 2, 4, 8] + [10.0] * 14
    assert advance(state, now) == [Ended(False, "t0 is unhealthy: 500; COULD NOT BE PUT BACK: t0 (no route)")]


def test_a_rollout_without_a_target_has_not_passed() -> None:
    assert advance(begin([]), 0) == [Ended(False, "there is no target to deploy to")]


def test_what_was_cut_off_is_asked_for_again() -> None:
    state = begin(2)
    do(state, "observe", "t0", "t1")
    do(state, "apply", "t0")
    state.started("t1", "apply", 0)
    state.started("t0", "probe", 0)

    state.cut(0.0)

    assert advance(state, 0) == [op("probe", "t0"), op("apply", "t1")]


def test_a_change_that_was_cut_off_is_put_back_too() -> None:
    state = begin(2)
    do(state, "observe", "t0", "t1")
    state.started("t0", "apply", 0)
    state.cut(0.0)

    state.fail("somebody said so")

    assert advance(state, 0) == [op("restore", "t0")]


# --- simulated ---


@dataclass
class Machine:
    """A target as it really is: its parts are changed one after another, and that can be cut off."""

    parts: list[str] = field(default_factory=lambda: ["old"] * PARTS)
    sick: bool = False
    """Whether the new release does not work here."""
    slow: bool = False
    """Whether it never says that it is healthy."""
    lost: bool = False
    """Whether it can't be put back any more."""

    def change(self, to: list[str], count: int) -> None:
        self.parts[:count] = to[:count]


@dataclass
class Faults:
    observe: float = 0.0
    apply: float = 0.0
    probe: float = 0.0
    restore: float = 0.0
    sick: float = 0.0
    slow: float = 0.0
    lost: float = 0.0
    crash: float = 0.0


class Simulation:
    """Plays the engine and the targets, and checks after each move that the rules were kept."""

    def __init__(self, count: int, options: dict[str, Any], faults: Faults, seed: int, slots: int) -> None:
        self.random = random.Random(seed)
        self.faults, self.slots, self.options = faults, slots, options
        chance = self.random.random
        self.machines = {
            f"t{n}": Machine(
                sick=chance() < faults.sick, slow=chance() < faults.slow, lost=chance() < faults.lost
            )
            for n in range(count)
        }
        self.state = begin(list(self.machines), **options)
        self.log: list[Callable[[RolloutState], None]] = []
        self.now = 0.0
        self.under_way: list[Operation] = []
        self.crashes = 0
        self.done_at: list[float] = []

    def run(self) -> Ended:
        while True:
            moves = advance(self.state, self.now)
            self.check(moves)
            if moves and isinstance(moves[0], Ended):
                assert len(moves) == 1
                return moves[0]
            self.begin_some([move for move in moves if isinstance(move, Operation)])
            if self.random.random() < self.faults.crash and self.crashes < 100:
                self.crash()
            elif self.under_way:
                self.end(self.under_way.pop(self.random.randrange(len(self.under_way))))
            else:
                self.now = min(move.time for move in moves if isinstance(move, WakeAt))

    def write(self, change: Callable[[RolloutState], None]) -> None:
        self.log.append(change)
        change(self.state)

    def begin_some(self, operations: list[Operation]) -> None:
        for operation in operations[: self.slots - len(self.under_way)]:
            now = self.now
            if operation.kind == "apply" and self.state.current:
                assert now >= self.state.batch_done_at + self.state.settings.pause
            self.write(lambda state, o=operation, now=now: state.started(o.target, o.kind, now))  # type: ignore[misc]
            self.under_way.append(operation)

    def end(self, operation: Operation) -> None:
        self.now += self.random.random()
        name, kind, now = operation.target, operation.kind, self.now
        data = self.answer(operation)
        self.write(lambda state: state.ended(name, kind, data, now))

    def answer(self, operation: Operation) -> dict[str, Any]:
        machine, kind = self.machines[operation.target], operation.kind
        bad = self.random.random() < getattr(self.faults, kind) or (kind == "restore" and machine.lost)
        if kind in ("apply", "restore"):
            self.change(operation, self.random.randrange(PARTS) if bad else PARTS)
        if bad:
            return {"ok": False, "detail": "odd"}
        if kind == "observe":
            return {"ok": True, "state": {"release": None, "data": {"parts": list(machine.parts)}}}
        if kind == "probe":
            assert machine.parts == ["new"] * PARTS, "what is probed was applied to its end"
            return {
                "ok": True,
                "health": "unhealthy" if machine.sick else "unknown" if machine.slow else "healthy",
            }
        return {"ok": True}

    def change(self, operation: Operation, count: int) -> None:
        machine = self.machines[operation.target]
        before: Any = self.state.targets[operation.target].before
        to = ["new"] * PARTS if operation.kind == "apply" else before["data"]["parts"]
        machine.change(to, count)

    def crash(self) -> None:
        """Everything stops, somewhere; what was under way may have done something, or all, or nothing."""
        self.crashes += 1
        for operation in self.under_way:
            if operation.kind in ("apply", "restore"):
                self.change(operation, self.random.randint(0, PARTS))
        self.under_way.clear()
        again = begin(list(self.machines), **self.options)
        for change in self.log:
            change(again)
        assert again == self.state, "what is on record is all there is to know"
        self.state = again
        self.now += self.random.random() * 10
        now = self.now
        self.write(lambda state: state.cut(now))

    def check(self, moves: list[Move]) -> None:
        restores = [move.target for move in moves if isinstance(move, Operation) and move.kind == "restore"]
        places = [list(self.machines).index(name) for name in restores] if len(restores) < 50 else []
        assert places == sorted(places, reverse=True)
        forward = [operation for operation in self.under_way if operation.kind != "restore"]
        assert not (restores and forward), "nothing is put back while something is still being changed"
        if self.state.failure is None:
            changing = [
                name
                for name, target in self.state.targets.items()
                if target.touched and target.state != "healthy"
            ]
            assert len(changing) <= self.state.size
            assert not restores
        else:
            started = [move for move in moves if isinstance(move, Operation) and move.kind != "restore"]
            assert not started, "once it has failed it only goes back"

    def verdict(self, ended: Ended) -> None:
        """Every target is what it was or what it should be, or it was said that it is not."""
        stuck = {name for name, target in self.state.targets.items() if target.state == "stuck"}
        for name, machine in self.machines.items():
            if name in stuck:
                continue
            assert machine.parts == (["new"] if ended.passed else ["old"]) * PARTS
        if ended.passed:
            assert not any(machine.sick or machine.slow for machine in self.machines.values())
            assert ended.reason == ""
        elif stuck:
            assert "COULD NOT BE PUT BACK" in ended.reason
        else:
            touched = any(target.touched for target in self.state.targets.values())
            assert ("put back to what ran before" if touched else "nothing was changed") in ended.reason
        for name in stuck:
            assert self.state.targets[name].restores == RESTORE_TRIES


RATE = st.sampled_from([0.0, 0.0, 0.02, 0.2])
FAULTS = st.builds(
    Faults,
    observe=st.sampled_from([0.0, 0.0, 0.0, 0.1]),
    apply=RATE,
    probe=RATE,
    restore=st.sampled_from([0.0, 0.3, 0.8]),
    sick=RATE,
    slow=RATE,
    lost=st.sampled_from([0.0, 0.0, 0.3]),
    crash=st.sampled_from([0.0, 0.1, 0.4]),
)
OPTIONS = st.fixed_dictionaries(
    {
        "strategy": st.sampled_from(["all-at-once", "rolling"]),
        "batch": st.sampled_from([1, 2, 3, 50, "10%", "34%", "100%"]),
        "pause": st.sampled_from([0, 30]),
        "healthy_within": st.sampled_from([0, 5, 60]),
        "interval": st.sampled_from([0, 1]),
    }
)


@given(st.integers(1, 12), OPTIONS, FAULTS, st.integers(0, 2**32), st.sampled_from([1, 2, 20]))
@settings(max_examples=400, deadline=None)
def test_no_target_is_left_neither_old_nor_new(
    count: int, options: dict[str, Any], faults: Faults, seed: int, slots: int
) -> None:
    # A probe that says nothing at once, for ever, is a loop of its own.
    options = {**options, "interval": 1} if faults.slow else options
    simulation = Simulation(count, options, faults, seed, slots)

    simulation.verdict(simulation.run())


THOUSAND = Faults(apply=0.0005, restore=0.2, sick=0.0005, crash=0.01)


@pytest.mark.parametrize("faults", [Faults(crash=0.01), THOUSAND], ids=["well", "with failures"])
@pytest.mark.parametrize(
    "options",
    [{}, {"strategy": "rolling", "batch": "10%"}, {"strategy": "rolling", "batch": 7, "pause": 5}],
    ids=["all at once", "tenths", "sevens"],
)
def test_a_thousand_targets(options: dict[str, Any], faults: Faults) -> None:
    for seed in range(2):
        simulation = Simulation(1000, options, faults, seed, 200)
        ended = simulation.run()

        simulation.verdict(ended)
        assert simulation.crashes
        assert ended.passed or faults is THOUSAND
