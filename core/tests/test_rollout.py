"""Rollouts, simulated: targets that can be half changed, operations that fail or hang, crashes anywhere."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock.config import Rollout
from penstock.model import Release, Revision
from penstock.moves import Ended, Hold, Kind, Move, Operation, WakeAt
from penstock.progress import RESTORE_TRIES, RolloutState
from penstock.rollout import advance

A = "sha256:" + "a" * 64
RELEASE = Release(digest=A, artifacts=(), revision=Revision(), run=1, environment="live")
PARTS = 3


def begin(
    targets: int | list[str], shifting: bool = False, jobs: dict[str, str] | None = None, **options: Any
) -> RolloutState:
    names = [f"t{number}" for number in range(targets)] if isinstance(targets, int) else targets
    made = Rollout.model_validate(options)
    return RolloutState.begin(made, RELEASE, names, names if shifting else (), jobs)


def op(kind: Kind, target: str, share: float = 1.0) -> Operation:
    return Operation(kind, target, share)


def do(state: RolloutState, kind: Kind, /, *targets: str, now: float = 0.0, **data: Any) -> None:
    """Operations from their beginning to their end."""
    answers: dict[Kind, dict[str, Any]] = {
        "observe": {"state": {"release": A}},
        "apply": {},
        "probe": {"health": "healthy"},
        "restore": {},
        "shift": {},
        "job": {},
        "judge": {},
    }
    share = data.pop("share", 1.0)
    for target in targets:
        state.started(target, kind, now, share)
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
    "more than there are": (2, {"strategy": "rolling", "batch": 5}, 2),
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

    assert [len(wave.names) for wave in state.waves[:-1]] == [size] * (len(state.waves) - 1)
    assert [name for wave in state.waves for name in wave.names] == list(state.targets)


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
    assert advance(state, 0) == [op("restore", "t3"), op("restore", "t2")]
    do(state, "restore", "t3", "t2")
    assert advance(state, 0) == [
        op("probe", "t3"),
        op("probe", "t2"),
    ]  # no more are out than on the way there
    do(state, "probe", "t3", "t2")
    assert advance(state, 0) == [op("restore", "t1"), op("restore", "t0")]
    do(state, "restore", "t1", "t0")
    do(state, "probe", "t1", "t0", health="unhealthy")  # so it may have been before
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
    do(state, "probe", "t1")

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


# --- waves, traffic, jobs and judges ---


WAVES: dict[str, tuple[int, dict[str, Any], list[tuple[int, float]]]] = {
    "by default": (100, {"strategy": "canary"}, [(10, 1), (40, 1), (50, 1)]),
    "of three": (3, {"strategy": "canary", "waves": ["10%", "50%", "100%"]}, [(1, 1), (1, 1), (1, 1)]),
    "of one": (1, {"strategy": "canary"}, [(1, 1)]),
    "none is empty": (4, {"strategy": "canary", "waves": ["1%", "2%", "100%"]}, [(1, 1), (3, 1)]),
    "counts are totals": (5, {"strategy": "canary", "waves": [1, 3, "100%"]}, [(1, 1), (2, 1), (2, 1)]),
    "what is left comes last": (5, {"strategy": "canary", "waves": [1, 2]}, [(1, 1), (1, 1), (3, 1)]),
    "more than there are": (2, {"strategy": "canary", "waves": [1, 9]}, [(1, 1), (1, 1)]),
    "a wave of traffic alone": (
        3,
        {
            "strategy": "canary",
            "waves": [{"targets": 1, "share": "5%"}, {"targets": 1, "share": "50%"}, "100%"],
        },
        [(1, 0.05), (0, 0.5), (2, 1)],
    ),
    "halves": (4, {"strategy": "blue-green"}, [(2, 1), (2, 1)]),
    "an odd number": (3, {"strategy": "blue-green"}, [(2, 1), (1, 1)]),
}


@pytest.mark.parametrize(("targets", "options", "expected"), WAVES.values(), ids=WAVES.keys())
def test_waves(targets: int, options: dict[str, Any], expected: list[tuple[int, float]]) -> None:
    state = begin(targets, shifting=True, **options)

    assert [(len(wave.names), wave.share) for wave in state.waves] == expected
    assert [name for wave in state.waves for name in wave.names] == list(state.targets)


IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "blue-green of one": ({"targets": 1, "shifting": True}, "needs two targets at least"),
    "blue-green without traffic": ({"targets": 2}, "t0 can't shift any"),
    "a share without traffic": (
        {"targets": 2, "strategy": "canary", "waves": [{"targets": 1, "share": "5%"}, "100%"]},
        "a wave has a share of traffic, and t0 can't shift any",
    ),
}


@pytest.mark.parametrize(("options", "said"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_what_the_targets_can_not_do_is_not_begun(options: dict[str, Any], said: str) -> None:
    (ended,) = advance(begin(**{"strategy": "blue-green", **options}), 0)

    assert isinstance(ended, Ended)
    assert said in ended.reason
    assert ended.reason.endswith("; nothing was changed")


def test_traffic_is_taken_before_and_given_back_after() -> None:
    state = begin(2, shifting=True, strategy="rolling")
    do(state, "observe", "t0", "t1")

    for name in ("t0", "t1"):
        assert advance(state, 0) == [op("shift", name, 0.0)]
        do(state, "shift", name, share=0.0)
        assert advance(state, 0) == [op("apply", name)]
        do(state, "apply", name)
        do(state, "probe", name)
        assert advance(state, 0) == [op("shift", name, 1.0)]
        do(state, "shift", name, share=1.0)
    assert advance(state, 0) == [Ended(True)]


def test_traffic_that_can_not_be_taken_leaves_the_target_alone() -> None:
    state = begin(2, shifting=True, strategy="rolling")
    do(state, "observe", "t0", "t1")

    do(state, "shift", "t0", share=0.0, ok=False, detail="no such server")

    assert state.failure == "the traffic of t0 can't be shifted: no such server"
    assert advance(state, 0) == [op("shift", "t0", 1.0)]  # who knows whether it was done
    do(state, "shift", "t0", share=1.0)
    assert advance(state, 0) == [Ended(False, f"{state.failure}; nothing was changed")]


def test_a_target_is_put_back_also_where_its_traffic_can_not_be_taken() -> None:
    state = begin(1, shifting=True)
    do(state, "observe", "t0")
    do(state, "shift", "t0", share=0.0)
    do(state, "apply", "t0")
    do(state, "probe", "t0")
    state.started("t0", "shift", 0)
    state.fail("somebody said so")
    state.ended("t0", "shift", {"ok": False, "detail": "no proxy"}, 0)

    assert advance(state, 0) == [op("shift", "t0", 0.0)]
    do(state, "shift", "t0", share=0.0, ok=False, detail="no proxy")
    assert advance(state, 0) == [op("restore", "t0")]
    do(state, "restore", "t0")
    do(state, "probe", "t0")
    assert advance(state, 0) == [op("shift", "t0", 1.0)]
    do(state, "shift", "t0", share=1.0)
    assert advance(state, 0) == [Ended(False, "somebody said so; put back to what ran before: t0")]


def test_a_target_that_was_empty_gets_no_traffic_back() -> None:
    state = begin(1, shifting=True)
    do(state, "observe", "t0", state={"release": None, "data": {}})
    do(state, "shift", "t0", share=0.0)
    do(state, "apply", "t0", ok=False, detail="disk full")

    assert advance(state, 0) == [op("restore", "t0")]
    do(state, "restore", "t0")
    assert isinstance(advance(state, 0)[0], Ended)


def test_blue_green_switches_all_traffic_at_once_and_back_again() -> None:
    state = begin(4, shifting=True, strategy="blue-green", pause=60)
    do(state, "observe", "t0", "t1", "t2", "t3")
    for kind, share in (("shift", 0.0), ("apply", 1.0), ("probe", 1.0)):
        do(state, kind, "t0", share=share)  # type: ignore[arg-type]
    assert advance(state, 0) == [op("shift", "t1", 0.0)]  # the healthy one waits for the other
    for kind, share in (("shift", 0.0), ("apply", 1.0), ("probe", 1.0)):
        do(state, kind, "t1", share=share)  # type: ignore[arg-type]
    assert advance(state, 0) == [op("shift", "t0", 1.0), op("shift", "t1", 1.0)]
    do(state, "shift", "t0", "t1", share=1.0)
    assert advance(state, 0) == [op("shift", "t2", 0.0), op("shift", "t3", 0.0)]
    for name in ("t2", "t3"):
        do(state, "shift", name, share=0.0, now=10)

    assert advance(state, 10) == [WakeAt(70)]
    assert advance(state, 70) == [op("apply", "t2"), op("apply", "t3")]
    assert not any(state.targets[name].touched for name in ("t2", "t3"))

    state.fail("somebody said so")
    assert advance(state, 70) == [op("shift", "t2", 1.0), op("shift", "t3", 1.0)]
    do(state, "shift", "t2", "t3", share=1.0)
    assert advance(state, 70) == [op("shift", "t1", 0.0), op("shift", "t0", 0.0)]


def test_a_canary_gets_its_share_until_the_next_wave_is_there() -> None:
    waves = [{"targets": 1, "share": "5%"}, {"targets": 1, "share": "50%"}, "100%"]
    state = begin(2, shifting=True, strategy="canary", waves=waves, pause=60)
    do(state, "observe", "t0", "t1")
    do(state, "shift", "t0", share=0.0)
    do(state, "apply", "t0")
    do(state, "probe", "t0")
    assert advance(state, 0) == [op("shift", "t0", 0.05)]
    do(state, "shift", "t0", share=0.05)
    assert advance(state, 0) == [WakeAt(60)]
    assert advance(state, 60) == [op("shift", "t0", 0.5)]
    do(state, "shift", "t0", share=0.5, now=60)
    assert advance(state, 60) == [WakeAt(120)]
    assert advance(state, 120) == [op("shift", "t1", 0.0)]
    for kind, share in (("shift", 0.0), ("apply", 1.0), ("probe", 1.0), ("shift", 1.0)):
        do(state, kind, "t1", share=share, now=120)  # type: ignore[arg-type]
    assert advance(state, 120) == [op("shift", "t0", 1.0)]
    do(state, "shift", "t0", share=1.0, now=120)
    assert advance(state, 120) == [Ended(True)]


def test_jobs_come_one_by_one_before_and_after_all_changes() -> None:
    state = begin(1, jobs={"migrate": "before", "warm": "after", "check": "before"})
    assert advance(state, 0) == [op("observe", "t0")]
    do(state, "observe", "t0")
    assert advance(state, 0) == [op("job", "migrate")]
    state.started("migrate", "job", 0)
    assert advance(state, 0) == []
    state.cut(1)
    assert advance(state, 1) == [op("job", "migrate")]  # who knows how far it came
    do(state, "job", "migrate")
    assert advance(state, 0) == [op("job", "check")]
    do(state, "job", "check")
    do(state, "apply", "t0")
    do(state, "probe", "t0")
    assert not state.through
    assert advance(state, 0) == [op("job", "warm")]
    do(state, "job", "warm")
    assert advance(state, 0) == [Ended(True)]


def test_a_job_that_fails_before_leaves_all_as_it_was_and_one_after_puts_all_back() -> None:
    before = begin(1, jobs={"migrate": "before"})
    do(before, "observe", "t0")
    do(before, "job", "migrate", ok=False, detail="no such table")
    assert advance(before, 0) == [Ended(False, "the job migrate failed: no such table; nothing was changed")]

    after = begin(1, jobs={"t0": "after"})  # a job may be called as a target is
    do(after, "observe", "t0")
    do(after, "apply", "t0")
    do(after, "probe", "t0")
    do(after, "job", "t0", ok=False, detail="exit 1")
    assert advance(after, 0) == [op("restore", "t0")]


def judged(**options: Any) -> RolloutState:
    """A canary of which the first wave is through."""
    state = begin(2, strategy="canary", waves=[1, "100%"], judge=["verify.live", "verify.errors"], **options)
    do(state, "observe", "t0", "t1")
    do(state, "apply", "t0")
    do(state, "probe", "t0")
    return state


def test_judges_are_asked_between_waves_after_the_pause() -> None:
    state = judged(pause=5)

    assert advance(state, 0) == [WakeAt(5)]
    assert advance(state, 5) == [op("judge", "verify.live"), op("judge", "verify.errors")]
    do(state, "judge", "verify.errors")
    assert advance(state, 5) == [op("judge", "verify.live")]
    do(state, "judge", "verify.live")
    assert advance(state, 5) == [op("apply", "t1")]
    do(state, "apply", "t1")
    do(state, "probe", "t1")
    assert advance(state, 5) == [Ended(True)]


def test_a_canary_that_is_judged_bad_goes_back() -> None:
    state = judged()

    do(state, "judge", "verify.live", ok=False, outcome="failed", detail="2 of 5 failed")

    assert state.failure == "verify.live failed: 2 of 5 failed"
    assert advance(state, 0) == [op("restore", "t0")]


@pytest.mark.parametrize("outcome", ["error", "refused", "cancelled", ""])
def test_a_canary_that_can_not_be_judged_holds_until_somebody_says(outcome: str) -> None:
    state = judged()
    do(state, "judge", "verify.errors")
    do(state, "judge", "verify.live", ok=False, outcome=outcome, detail="no data")

    for now in (0.0, 1e9):
        assert advance(state, now) == [Hold("verify.live can't judge: no data")]
    state.judge_again()
    assert advance(state, 0) == [op("judge", "verify.live")]
    do(state, "judge", "verify.live", ok=False, outcome=outcome, detail="no data")
    state.go_on("ana")
    assert advance(state, 0) == [op("apply", "t1")]


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
    share: float = 1.0

    def change(self, to: list[str], count: int) -> None:
        self.parts[:count] = to[:count]


@dataclass
class Faults:
    observe: float = 0.0
    apply: float = 0.0
    probe: float = 0.0
    restore: float = 0.0
    shift: float = 0.0
    job: float = 0.0
    judge: float = 0.0
    sick: float = 0.0
    slow: float = 0.0
    lost: float = 0.0
    crash: float = 0.0


class Simulation:
    """Plays the engine, the targets and the people, and checks after each move that the rules were kept."""

    def __init__(
        self,
        count: int,
        options: dict[str, Any],
        faults: Faults,
        seed: int,
        slots: int,
        killed_at: int | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.faults, self.slots, self.options, self.killed_at = faults, slots, options, killed_at
        chance = self.random.random
        self.machines = {
            f"t{n}": Machine(
                sick=chance() < faults.sick, slow=chance() < faults.slow, lost=chance() < faults.lost
            )
            for n in range(count)
        }
        self.state = self.begun()
        self.most = max(len(wave.names) for wave in self.state.waves)
        self.dark = any(wave.share == 0.0 for wave in self.state.waves)
        self.log: list[Callable[[RolloutState], None]] = []
        self.now = 0.0
        self.under_way: list[Operation] = []
        self.crashes = 0
        self.jobs_done: list[str] = []
        self.allowed: set[int] = set()
        """The waves that were judged well, or that somebody let on."""

    def begun(self) -> RolloutState:
        return begin(list(self.machines), **self.options)

    def run(self) -> Ended:
        while True:
            moves = advance(self.state, self.now)
            self.check(moves)
            if moves and isinstance(moves[0], Ended):
                assert len(moves) == 1
                return moves[0]
            if moves and isinstance(moves[0], Hold):
                self.say()
                continue
            self.begin_some([move for move in moves if isinstance(move, Operation)])
            if self.crashes < 100 and (self.chance() < self.faults.crash or len(self.log) == self.killed_at):
                self.crash()
            elif self.under_way:
                self.end(self.under_way.pop(self.random.randrange(len(self.under_way))))
            else:
                self.now = min(move.time for move in moves if isinstance(move, WakeAt))

    def chance(self) -> float:
        return self.random.random() if self.faults.crash else 1.0

    def write(self, change: Callable[[RolloutState], None]) -> None:
        self.log.append(change)
        change(self.state)

    def say(self) -> None:
        """Nobody could judge: somebody does, or has it judged again."""
        assert not self.under_way
        said = self.random.choice(["go on", "go back", "again"])
        if said == "go on":
            self.allowed.add(self.state.current)
            self.write(lambda state: state.go_on("ana"))
        elif said == "again":
            self.write(lambda state: state.judge_again())
        else:
            self.write(lambda state: state.fail("rejected"))

    def begin_some(self, operations: list[Operation]) -> None:
        for operation in operations[: self.slots - len(self.under_way)]:
            now = self.now
            if operation.kind == "apply":
                self.may_apply(operation.target)
            self.write(
                lambda state, o=operation, now=now: state.started(o.target, o.kind, now, o.share)  # type: ignore[misc]
            )
            self.under_way.append(operation)

    def may_apply(self, name: str) -> None:
        state = self.state
        assert "before" not in state.jobs.values(), "the jobs before come first"
        assert all(target.before is not None for target in state.targets.values())
        assert self.machines[name].share == 0.0 or not state.targets[name].shifts
        if state.current:
            assert self.now >= state.batch_done_at + state.settings.pause
            assert not state.settings.judge or state.current in self.allowed, "nobody said that it may go on"

    def end(self, operation: Operation) -> None:
        self.now += self.random.random()
        name, kind, now = operation.target, operation.kind, self.now
        data = self.answer(operation)
        self.write(lambda state: state.ended(name, kind, data, now))

    def answer(self, operation: Operation) -> dict[str, Any]:
        kind = operation.kind
        bad = self.random.random() < getattr(self.faults, kind)
        if kind == "job":
            self.jobs_done += [] if bad else [operation.target]
            return {"ok": not bad, "detail": "odd"}
        if kind == "judge":
            if not bad:
                self.allowed.add(self.state.current)
            return {"ok": not bad, "outcome": self.random.choice(["failed", "error"]), "detail": "odd"}
        machine = self.machines[operation.target]
        bad = bad or (kind == "restore" and machine.lost)
        if kind in ("apply", "restore"):
            self.change(operation, self.random.randrange(PARTS) if bad else PARTS)
        if bad:
            return {"ok": False, "detail": "odd"}
        if kind == "observe":
            return {"ok": True, "state": {"release": A, "data": {"parts": list(machine.parts)}}}
        if kind == "probe":
            return {"ok": True, "health": self.health(operation.target, machine)}
        if kind == "shift":
            whole = machine.parts in (["old"] * PARTS, ["new"] * PARTS)
            assert operation.share == 0 or whole, "traffic goes to what is whole alone"
            machine.share = operation.share
        return {"ok": True}

    def health(self, name: str, machine: Machine) -> str:
        wanted = "old" if self.state.targets[name].back else "new"
        assert machine.parts == [wanted] * PARTS, "what is probed was applied, or restored, to its end"
        if wanted == "old":
            return self.random.choice(["healthy", "unknown", "unhealthy"])
        return "unhealthy" if machine.sick else "unknown" if machine.slow else "healthy"

    def change(self, operation: Operation, count: int) -> None:
        machine = self.machines[operation.target]
        before: Any = self.state.targets[operation.target].before
        to = ["new"] * PARTS if operation.kind == "apply" else before["data"]["parts"]
        machine.change(to, count)

    def crash(self) -> None:
        """Everything stops, somewhere; what was under way may have done something, or all, or nothing."""
        self.crashes += 1
        self.killed_at = None
        for operation in self.under_way:
            if operation.kind in ("apply", "restore"):
                self.change(operation, self.random.randint(0, PARTS))
            if operation.kind == "shift" and self.random.random() < 0.5:
                self.machines[operation.target].share = operation.share
        self.under_way.clear()
        again = self.begun()
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
        busy = self.state.busy.values()
        assert not (restores and any(not each.back for each in busy)), "it goes back or forward"
        assert not restores or self.state.failure is not None
        started = [
            move for move in moves if isinstance(move, Operation) and move.kind in ("apply", "job", "judge")
        ]
        assert not started or self.state.failure is None, "once it has failed it only goes back"
        few = len(self.machines) < 50
        some = self.machines if few else [o.target for o in self.under_way if o.target in self.machines]
        out = [name for name in some if self.is_out(name)]
        assert len(out) <= self.most, "never more than a batch is out"

    def is_out(self, name: str) -> bool:
        """Whether a target serves nobody now; what can't be put back at once does not count."""
        target = self.state.targets[name]
        if target.restores or target.undrained:
            return False
        changing = target.touched and target.state in ("observed", "applied")
        going_back = self.state.failure is not None and target.touched and target.state == "returned"
        asked = target.state == "healthy" and self.dark
        drained = target.shifts and self.machines[name].share == 0.0 and not asked
        return changing or going_back or drained

    def verdict(self, ended: Ended) -> None:
        """Every target is what it was or what it should be, or it was said that it is not."""
        stuck = {name for name, target in self.state.targets.items() if target.state == "stuck"}
        for name, machine in self.machines.items():
            if name in stuck:
                continue
            assert machine.parts == (["new"] if ended.passed else ["old"]) * PARTS
            assert machine.share == 1.0, "it has all its traffic again"
        if ended.passed:
            assert not any(machine.sick or machine.slow for machine in self.machines.values())
            assert ended.reason == ""
            assert set(self.jobs_done) == set(self.options.get("jobs") or ())
        elif stuck:
            assert "COULD NOT BE PUT BACK" in ended.reason
        else:
            touched = any(target.touched for target in self.state.targets.values())
            assert ("put back to what ran before" if touched else "nothing was changed") in ended.reason
        for name in stuck:
            assert self.state.targets[name].restores == RESTORE_TRIES
        if not self.crashes:
            assert len(self.jobs_done) == len(set(self.jobs_done)), "each job once"


RATE = st.sampled_from([0.0, 0.0, 0.02, 0.2])
FAULTS = st.builds(
    Faults,
    observe=st.sampled_from([0.0, 0.0, 0.0, 0.1]),
    apply=RATE,
    probe=RATE,
    restore=st.sampled_from([0.0, 0.3, 0.8]),
    shift=st.sampled_from([0.0, 0.0, 0.05]),
    job=RATE,
    judge=st.sampled_from([0.0, 0.2, 0.8]),
    sick=RATE,
    slow=RATE,
    lost=st.sampled_from([0.0, 0.0, 0.3]),
    crash=st.sampled_from([0.0, 0.1, 0.4]),
)
JUDGE = st.sampled_from([[], ["verify.live"]])
BATCH = st.sampled_from([1, 2, 3, 50, "10%", "34%", "100%"])
SHARE = st.sampled_from(["0%", "5%", "50%", "100%"])
STRATEGY = st.one_of(
    st.just({"strategy": "all-at-once"}),
    st.fixed_dictionaries({"strategy": st.just("rolling"), "batch": BATCH, "judge": JUDGE}),
    st.fixed_dictionaries(
        {
            "strategy": st.just("canary"),
            "waves": st.sampled_from([[], ["10%", "50%", "100%"], [1, 2, 3], ["1%", "100%"], ["100%"]]),
            "judge": JUDGE,
        }
    ),
    st.builds(
        lambda shares, judge: {
            "strategy": "canary",
            "waves": [*({"targets": n + 1, "share": share} for n, share in enumerate(shares)), "100%"],
            "judge": judge,
            "shifting": True,
        },
        st.lists(SHARE, max_size=4),
        JUDGE,
    ),
    st.fixed_dictionaries({"strategy": st.just("blue-green"), "judge": JUDGE, "shifting": st.just(True)}),
)
JOBS = st.sampled_from([{}, {}, {"migrate": "before"}, {"t0": "after", "migrate": "before", "t1": "before"}])
OPTIONS = st.builds(
    lambda strategy, shifting, rest: {"shifting": shifting, **rest, **strategy},
    STRATEGY,
    st.booleans(),
    st.fixed_dictionaries(
        {
            "pause": st.sampled_from([0, 30]),
            "healthy_within": st.sampled_from([0, 5, 60]),
            "interval": st.just(1),
            "jobs": JOBS,
        }
    ),
)


@given(st.integers(2, 12), OPTIONS, FAULTS, st.integers(0, 2**32), st.sampled_from([1, 2, 20]))
@settings(max_examples=400, deadline=None)
def test_no_target_is_left_neither_old_nor_new(
    count: int, options: dict[str, Any], faults: Faults, seed: int, slots: int
) -> None:
    simulation = Simulation(count, options, faults, seed, slots)

    simulation.verdict(simulation.run())


@given(st.integers(2, 6), OPTIONS, st.sampled_from([0.0, 0.3]), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_a_rollout_that_is_cut_off_after_any_event_comes_to_the_same_end(
    count: int, options: dict[str, Any], sick: float, seed: int
) -> None:
    faults = Faults(sick=sick)
    whole = Simulation(count, options, faults, seed, 4)
    wanted = whole.run().passed
    ends = {name: (machine.parts, machine.share) for name, machine in whole.machines.items()}

    for event in range(1, len(whole.log) + 1):
        cut = Simulation(count, options, faults, seed, 4, killed_at=event)
        ended = cut.run()
        cut.verdict(ended)
        assert ended.passed == wanted
        assert {name: (machine.parts, machine.share) for name, machine in cut.machines.items()} == ends


THOUSAND = Faults(apply=0.0005, restore=0.2, sick=0.0005, crash=0.001)


@pytest.mark.parametrize("faults", [Faults(crash=0.001), THOUSAND], ids=["well", "with failures"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strategy": "rolling", "batch": "10%"},
        {"strategy": "rolling", "batch": 7, "pause": 5},
        {"strategy": "canary", "shifting": True, "judge": ["verify.live"]},
    ],
    ids=["all at once", "tenths", "sevens", "canary"],
)
def test_a_thousand_targets(options: dict[str, Any], faults: Faults) -> None:
    simulation = Simulation(1000, options, faults, 1, 200)
    ended = simulation.run()

    simulation.verdict(ended)
    assert simulation.crashes
    assert ended.passed or faults is THOUSAND


def test_a_hundred_targets_take_milliseconds() -> None:
    state = begin(100, shifting=True, strategy="canary", jobs={"migrate": "before"}, judge=["verify.live"])
    operations, began = 0, time.process_time()

    while not isinstance((moves := advance(state, 0))[0], Ended):
        for move in moves:
            assert isinstance(move, Operation)
            do(state, move.kind, move.target, share=move.share)
            operations += 1

    assert moves == [Ended(True)]
    assert operations == 100 * len(("observe", "drain", "apply", "probe", "give back")) + 1 + 2
    assert time.process_time() - began < 1, "some milliseconds, on a machine that does nothing else"
