"""Whole runs, simulated: the pure parts play a pipeline to its end, without a clock, a file or a process.

`Engine` does what the real one does: asks the scheduler, writes events, folds them, takes in what comes back.
What a step or a target does is drawn from a seed, so that it is the same however often the engine is killed.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import penstock
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from penstock import plan, scheduler
from penstock.config import Keys, Project, Section
from penstock.model import Event
from penstock.moves import WakeAt, place_of
from penstock.plan import Plan
from penstock.plugins import PHASES
from penstock.request import approval_of, make_request
from penstock.scheduler import (
    Approve,
    AskApproval,
    Attest,
    Conclude,
    Doubt,
    End,
    Finish,
    Judge,
    Operate,
    Start,
    Stop,
    TakeUp,
)
from penstock.state import RunState, fold

A = "sha256:" + "a" * 64
NEVER = float("inf")


class KilledError(Exception):
    """The engine was killed: what it wrote is all that is left of it."""


@dataclass(frozen=True)
class World:
    """What steps and targets do: the same for the same seed, however often it is asked."""

    seed: int
    fails: float = 0.0
    refuses: float = 0.0
    hangs: float = 0.0
    fails_first: float = 0.0
    targets: int = 2
    bad_target: float = 0.0
    doubts: float = 0.0
    """How often nobody can judge a canary."""
    shifts: bool = False
    jobs: dict[str, str] = field(default_factory=dict)
    holds: float = 0.5

    def chance(self, *about: object) -> float:
        return random.Random(f"{self.seed} {about}").random()

    def attempt(self, step: str, number: int) -> tuple[str, float]:
        """How an attempt ends, and after how many seconds."""
        takes = self.chance("time", step, number)
        if self.chance("fail", step) < self.fails:
            return "failed", takes
        if self.chance("refuse", step) < self.refuses:
            return "refused", takes
        if self.chance("hang", step) < self.hangs:
            return "passed", NEVER
        if number == 1 and self.chance("first", step) < self.fails_first:
            return "failed", takes
        return "passed", takes

    def operation(self, step: str, target: str, kind: str) -> dict[str, Any]:
        if kind == "judge":
            outcome = "error" if self.chance("doubt", step, target) < self.doubts else "passed"
            outcome = "failed" if self.chance("judge", step, target) < self.bad_target else outcome
            return {"ok": outcome == "passed", "outcome": outcome}
        if kind == "job":
            return {"ok": self.chance("job", step, target) >= self.bad_target / 2}
        bad = kind in ("apply", "probe") and self.chance("target", step, target, kind) < self.bad_target
        if kind == "observe":
            return {"ok": True, "state": {"release": None}}
        if kind == "probe":
            return {"ok": True, "health": "unhealthy" if bad else "healthy"}
        return {"ok": not bad}

    def approves(self, step: str) -> bool:
        return self.chance("approve", step) < 0.8


@dataclass
class Engine:
    """The loop, as the real engine's, over a world that answers at once but says how long it took."""

    plan: Plan
    world: World
    slots: int = 4
    killed_at: frozenset[int] = frozenset()
    events: list[Event] = field(default_factory=list)
    now: float = 1000.0
    requests: bool = True
    decisions: int = 0

    def __post_init__(self) -> None:
        self.state = RunState(self.plan, 1)
        # Each request names all artifacts behind it: a few builds make some, so that this is not what grows.
        self.builds = {step.name for step in self.plan.steps[:5] if step.phase == "build"}
        self.busy: dict[str, tuple[str, float, Callable[[], None]]] = {}
        self.ends: dict[str, End] = {}

    def run(self, **options: Any) -> RunState:
        """To the end; after each kill a new engine takes over, and people answer what they are asked."""
        killed = not self.began(**options)
        while killed or self.state.state in ("running", "waiting"):
            try:
                if killed:
                    self.take_over()
                if self.state.state == "waiting":
                    self.answer()
                    self.write("run.resumed")
                self.work()
                killed = False
            except KilledError:
                killed = True
        return self.state

    def began(self, **options: Any) -> bool:
        try:
            self.write("run.started", **options)
        except KilledError:
            return False
        return True

    def take_over(self) -> None:
        """All that was under way is gone; the state is made anew from what is on record."""
        self.busy.clear()
        self.ends.clear()
        self.now += 100
        again = fold(self.plan, 1, self.events)
        assert known(again) == known(self.state), "what is on record is all there is to know"
        self.state = again
        self.write("run.resumed")

    def write(self, kind: str, step: str | None = None, **data: Any) -> None:
        event = Event(id=len(self.events) + 1, run=1, time=self.now, type=kind, step=step, data=data)
        self.events.append(event)
        self.state.apply(event)
        if len(self.events) in self.killed_at:
            raise KilledError

    def work(self) -> None:
        while self.state.state == "running":
            written = len(self.events)
            wake = NEVER
            for action in self.decide():
                if isinstance(action, WakeAt):
                    wake = min(wake, action.time)
                elif isinstance(action, Judge):
                    self.judge(action.step)
                else:
                    self.act(action)
            if len(self.events) == written:
                self.wait(wake)

    def decide(self) -> list[scheduler.Action]:
        self.decisions += 1
        busy = {step for step, _, _ in self.busy.values()}
        return scheduler.decide(self.state, self.now, busy=busy, slots=self.slots - len(self.busy))

    def wait(self, wake: float) -> None:
        first = min(self.busy, key=lambda ticket: self.busy[ticket][1], default=None)
        due = NEVER if first is None else self.busy[first][1]
        assert min(wake, due) < NEVER, "the run hangs: nothing is under way and nothing wakes it"
        self.now = max(self.now, min(wake, due))
        if first is not None and due <= wake:
            self.busy.pop(first)[2]()

    def act(self, action: scheduler.Action) -> None:
        if isinstance(action, TakeUp):
            kind = "rollout.failed" if action.fault else "rollout.approved"
            self.write(kind, action.step, reason=action.fault, by=action.by)
        else:
            self.act_on(action)

    def act_on(self, action: scheduler.Action) -> None:
        if isinstance(action, Start):
            self.start(action.step)
        elif isinstance(action, Operate):
            self.operate(action)
        elif isinstance(action, AskApproval | Doubt):
            self.write("approval.requested", action.step, reason=action.reason)
        elif isinstance(action, Approve):
            self.submit(action.step, action.step, 0.5, lambda: self.approve(action.step))
        elif isinstance(action, Attest):
            self.submit(action.step, action.step, 0.5, lambda: self.finish(action.step, "passed"))
        elif isinstance(action, Finish):
            self.finish(action.step, action.state, action.reason)
        elif isinstance(action, End):
            self.end(action)
        elif isinstance(action, Stop):
            self.stop(action)
        elif isinstance(action, Conclude):
            self.write("run.waiting" if action.state == "waiting" else "run.finished", state=action.state)

    def submit(self, ticket: str, step: str, takes: float, then: Callable[[], None]) -> None:
        if self.requests:
            make_request(self.plan, self.state, step, "hook")
        self.busy[ticket] = (step, self.now + takes, then)

    def start(self, name: str) -> None:
        number = self.state.steps[name].attempts + 1
        self.write("step.started", name, attempt=number)
        outcome, takes = self.world.attempt(name, number)
        self.submit(name, name, takes, lambda: self.settle(name, outcome))

    def settle(self, name: str, outcome: str) -> None:
        step = self.plan.by_name[name]
        if outcome == "passed" and step.phase == "deploy":
            targets = [f"t{number}" for number in range(self.world.targets)]
            release = {
                "digest": A,
                "artifacts": [],
                "revision": {},
                "run": 1,
                "environment": step.environment,
            }
            more = {"shifting": targets if self.world.shifts else [], "jobs": self.world.jobs}
            self.write("rollout.began", name, targets=targets, release=release, **more)
        elif outcome == "failed" and (
            again := scheduler.retry(step, self.state.steps[name].attempts, self.now)
        ):
            self.write("step.retried", name, reason="odd", not_before=again)
        else:
            self.finish(name, outcome)

    def judge(self, name: str) -> None:
        assert self.state.steps[name].holds is None, f"{name} was asked twice"
        if self.world.chance("when", name) < self.world.holds:
            self.write("condition.held", name)
        else:
            self.write("step.finished", name, state="skipped", reason="when: it is false", condition={})

    def finish(self, name: str, state: str, reason: str = "") -> None:
        self.ends.pop(name, None)
        data: dict[str, Any] = {}
        if name in self.builds and state == "passed":
            data["artifacts"] = [{"name": name, "kind": "file", "digest": A}]
        self.write("step.finished", name, state=state, reason=reason, **data)

    def end(self, action: End) -> None:
        self.busy.pop(action.step, None)
        self.write("step.finished", action.step, state=action.state, reason=action.reason)

    def stop(self, action: Stop) -> None:
        self.busy.pop(f"{action.step} {action.place}")
        kind = self.state.steps[action.step].rollout.busy[action.place].kind  # type: ignore[union-attr]
        about = {"op": kind, "target": action.place.name}
        self.write("rollout.ended", action.step, **about, ok=False, detail=action.reason)

    def operate(self, action: Operate) -> None:
        about = {"op": action.kind, "target": action.target, "share": action.share}
        self.write("rollout.started", action.step, **about)
        data = self.world.operation(action.step, action.target, action.kind)
        takes = self.world.chance("op", action.step, action.target, action.kind)

        def then() -> None:
            self.write("rollout.ended", action.step, op=action.kind, target=action.target, **data)
            if action.kind == "apply" and data["ok"]:
                self.let_on(action.step)

        self.submit(f"{action.step} {place_of(action.kind, action.target)}", action.step, takes, then)

    def let_on(self, name: str) -> None:
        """What the next wave was applied after: those that judge have said yes, or a person has."""
        rollout = self.state.steps[name].rollout
        assert rollout is not None
        if not rollout.current or not rollout.settings.judge:
            return
        by_person = any(event.type == "rollout.approved" and event.step == name for event in self.events)
        yes = [
            event
            for event in self.events
            if event.type == "rollout.ended" and event.data["op"] == "judge" and event.step == name
        ]
        assert by_person or any(event.data["ok"] for event in yes)

    def approve(self, name: str) -> None:
        given = approval_of(self.state, name, "ana", "", self.now)
        self.write("approval.given", name, approval=given.model_dump(mode="json"), identities=["ana"])

    def answer(self) -> None:
        for name in list(self.state.asked):
            if name in self.state.approvals or name in self.state.rejections:
                continue
            if self.world.approves(name):
                self.approve(name)
            else:
                self.write("approval.rejected", name, by="bo")


def known(state: RunState) -> dict[str, Any]:
    """All of a state but what it only remembers so as not to compute it again."""
    return {name: value for name, value in vars(state).items() if name != "_handed"}


# --- the rules that every run keeps ---


def keeps_the_rules(engine: Engine) -> None:
    made, state = engine.plan, engine.state
    attempts_left_on_record(engine)
    ended: dict[str, int] = {}
    let_through: dict[str, bool] = {}
    started: dict[str, list[int]] = {}
    for place, event in enumerate(engine.events):
        name = str(event.step)
        if event.type == "step.started":
            assert name not in ended, f"{name} ran again after it was over"
            started.setdefault(name, []).append(place)
        elif event.type == "step.finished":
            assert name not in ended, f"{name} was over twice"
            ended[name] = place
            passed = event.data["state"] in ("passed", "skipped")  # on record, that is by a condition
            let_through[name] = passed or made.by_name[name].keys.allow_failure
    # A barrier is behind when all before it are; a step that was not reached never is.
    for name in in_order(made):
        needs = made.waits_for[name]
        done = all(let_through.get(need, False) for need in needs)
        latest = max((ended[need] for need in needs if need in ended), default=-1)
        if name not in made.by_name:
            let_through[name], ended[name] = done, latest
            continue
        if started.get(name):
            assert done, f"{name} ran although something that it needs did not let it through"
            assert started[name][0] > latest, f"{name} ran before what it needs was over"
        elif not done and state.steps[name].state != "pending":
            assert state.steps[name].state == "skipped"
    nothing_is_deployed_by_accident(engine, started)
    assert state.state in ("passed", "failed", "refused")
    assert engine.events[-1].type == "run.finished"
    assert not engine.busy
    assert (
        all(step.state not in ("running", "waiting") for step in state.steps.values())
        or state.state != "passed"
    )


def nothing_is_deployed_by_accident(engine: Engine, started: dict[str, list[int]]) -> None:
    """Whatever conditions left out: no deployment without its approval, none of nothing, no look at none."""
    made, state = engine.plan, engine.state
    for name in started if state.left_out else ():
        step = made.by_name[name]
        behind = [made.by_name[n] for n in made.closure([name], made.waits_for) - {name} if n in made.by_name]
        states = {
            phase: [state.steps[s.name].state for s in behind if s.phase == phase and s.environment == place]
            for phase, place in (("build", None), ("approve", step.environment), ("deploy", step.environment))
        }
        if step.phase == "deploy":
            assert set(states["approve"]) <= {"passed"}
        if step.phase == "publish":
            assert all(state.steps[s.name].state != "skipped" for s in behind if s.phase == "sign")
        if step.phase in ("deploy", "approve", "publish") and states["build"]:
            assert set(states["build"]) != {"skipped"}
        if step.environment and step.phase in ("verify", "test") and states["deploy"]:
            assert set(states["deploy"]) != {"skipped"}


def attempts_left_on_record(engine: Engine) -> None:
    """No step runs more often than its retries allow, but for the attempts that a kill cut off."""
    attempts: dict[str, int] = {}
    for event in engine.events:
        name = str(event.step)
        if event.type == "step.started":
            attempts[name] = attempts.get(name, 0) + 1
        elif event.type == "run.resumed":
            attempts = {}
        elif event.type == "step.retried":
            assert attempts.get(name, 1) <= engine.plan.by_name[name].keys.retries.times
    for name, step in engine.state.steps.items():
        assert step.attempts <= engine.plan.by_name[name].keys.retries.times + 1


def in_order(made: Plan) -> list[str]:
    """Steps and barriers, each after all that it waits for."""
    missing = {name: len(needs) for name, needs in made.waits_for.items()}
    queue = [name for name, count in missing.items() if not count]
    for name in queue:
        for dependent in made.dependents[name]:
            missing[dependent] -= 1
            if not missing[dependent]:
                queue.append(dependent)
    return queue


def outcome(state: RunState) -> tuple[str, dict[str, str]]:
    return state.state, {name: step.state for name, step in state.steps.items()}


# --- plans ---


def section(name: str, **keys: Any) -> Section:
    phase, _, own = name.partition(".")
    made = Keys.model_validate({"uses": None if phase == "approve" else "shell", **keys})
    environment = made.environment or (own if phase in ("approve", "deploy", "verify") else None)
    return Section(name=name, phase=phase, keys=made, plugin=made.uses, settings={}, environment=environment)


def make(sections: list[Section]) -> Plan:
    ordered = sorted([section("source"), *sections], key=lambda s: PHASES.index(s.phase))
    return plan.make(Project(name="shop", root="/", digest=A, plugins=(), sections=tuple(ordered)), {})


ROLLOUTS: list[dict[str, Any]] = [
    {"strategy": "all-at-once"},
    {"strategy": "rolling", "pause": 3},
    {"strategy": "canary", "waves": [1, "100%"], "pause": 3},
    {"strategy": "blue-green", "pause": 3},
]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    environments = draw(st.lists(st.sampled_from("ab"), unique=True, max_size=2))
    names = draw(
        st.lists(
            st.sampled_from(
                [f"{phase}.{n}" for phase in ("build", "test", "scan", "sign", "publish") for n in "xy"]
                + [f"{phase}.{name}" for phase in ("approve", "verify") for name in environments]
            ),
            unique=True,
            max_size=12,
        )
    )
    names = draw(st.permutations([*names, *(f"deploy.{name}" for name in environments)]))
    sections = []
    for place, name in enumerate(names):
        keys: dict[str, Any] = {"retries": draw(st.sampled_from([0, 0, 1, 3]))}
        if not name.startswith(("approve", "deploy")):
            keys["allow_failure"] = draw(st.sampled_from([False, False, False, True]))
        if draw(st.integers(0, 3)) == 0:
            keys["needs"] = draw(st.lists(st.sampled_from(["source", *names[:place]]), max_size=3))
        if name.startswith("deploy"):
            keys["rollout"] = draw(st.sampled_from(ROLLOUTS))
            judge = name.replace("deploy", "verify")
            if judge in names and keys["rollout"]["strategy"] != "all-at-once" and draw(st.booleans()):
                keys["rollout"] = {**keys["rollout"], "judge": [judge]}
        if name.startswith("test") and environments and draw(st.booleans()):
            keys["environment"] = draw(st.sampled_from(environments))
        if draw(st.integers(0, 3)) == 0:
            keys["when"] = "dirty"
        sections.append(section(name, timeout=draw(st.sampled_from([None, "20s"])), **keys))
    return make(sections)


RATE = st.sampled_from([0.0, 0.0, 0.1, 0.4])
WORLDS = st.builds(
    World,
    seed=st.integers(0, 2**32),
    fails=RATE,
    refuses=RATE,
    hangs=RATE,
    fails_first=RATE,
    targets=st.integers(1, 4),
    bad_target=RATE,
    doubts=st.sampled_from([0.0, 0.5]),
    shifts=st.booleans(),
    jobs=st.sampled_from([{}, {"migrate": "before", "warm": "after"}]),
    holds=st.sampled_from([0.0, 0.5, 1.0]),
)


@given(plans(), WORLDS, st.integers(1, 6))
@settings(max_examples=250, deadline=None)
def test_every_run_ends_and_every_step_ran_after_its_needs(made: Plan, world: World, slots: int) -> None:
    engine = Engine(made, world, slots)

    engine.run()

    keeps_the_rules(engine)


@given(plans(), WORLDS, st.integers(1, 6), st.sets(st.integers(1, 120), max_size=6))
@settings(max_examples=250, deadline=None)
def test_a_run_that_is_killed_anywhere_comes_to_the_same_end(
    made: Plan, world: World, slots: int, kills: set[int]
) -> None:
    wanted = outcome(Engine(made, world, slots).run())
    engine = Engine(made, world, slots, frozenset(kills))

    assert outcome(engine.run()) == wanted
    keeps_the_rules(engine)


def test_a_run_comes_to_the_same_end_whichever_event_it_is_killed_after() -> None:
    """A whole pipeline, with a retry, a step that hangs, an approval and a rollout that goes back."""
    made = make(
        [
            *(section(f"build.{name}", retries=2) for name in "ab"),
            section("test.unit"),
            section("test.hangs", allow_failure=True, timeout="5s"),
            section("sign.it"),
            section("deploy.staging", rollout={"strategy": "rolling"}),
            section("verify.staging"),
            section("approve.live"),
            section("deploy.live"),
            section("verify.live"),
        ]
    )
    worlds = (World(seed, hangs=0.1, fails_first=0.3, bad_target=0.15, targets=3) for seed in range(10_000))
    world = next(
        w
        for w in worlds
        if w.approves("approve.live")
        and outcome(Engine(made, w).run())[1]
        == {
            **{step.name: "passed" for step in made.steps},
            "test.hangs": "failed",
            "deploy.live": "failed",
            "verify.live": "skipped",
        }
    )
    whole = Engine(made, world)
    wanted = outcome(whole.run())
    kinds = {event.type for event in whole.events}
    assert kinds >= {"approval.given", "rollout.ended", "run.waiting"}

    for event in range(1, len(whole.events) + 1):
        engine = Engine(made, world, killed_at=frozenset([event]))
        assert outcome(engine.run()) == wanted
        keeps_the_rules(engine)


@given(plans(), WORLDS, st.data())
@settings(max_examples=100, deadline=None)
def test_the_state_after_any_number_of_events_is_what_folding_them_gives(
    made: Plan, world: World, data: st.DataObject
) -> None:
    engine = Engine(made, world)
    seen: dict[int, tuple[str, dict[str, str], list[str], list[str]]] = {}

    def picture(state: RunState) -> tuple[str, dict[str, str], list[str], list[str]]:
        return *outcome(state), list(state.ready), list(state.running)

    write = engine.write

    def watched(kind: str, step: str | None = None, **more: Any) -> None:
        write(kind, step, **more)
        seen[len(engine.events)] = picture(engine.state)

    engine.write = watched  # type: ignore[method-assign]
    engine.run()

    count = data.draw(st.integers(1, len(engine.events)))
    events = [Event.model_validate_json(event.model_dump_json()) for event in engine.events[:count]]
    assert picture(fold(made, 1, events)) == seen[count]


@given(plans(), WORLDS, st.integers(1, 4), st.integers(2, 80))
@settings(max_examples=150, deadline=None)
def test_a_run_that_is_cancelled_ends_and_leaves_nothing_half_done(
    made: Plan, world: World, slots: int, at: int
) -> None:
    engine = Engine(made, world, slots)
    write = engine.write

    def watched(kind: str, step: str | None = None, **more: Any) -> None:
        write(kind, step, **more)
        if len(engine.events) == at and engine.state.state == "running":
            write("run.cancelled", reason="by ana")

    decide, heard = engine.decide, []

    def watched_decide() -> list[scheduler.Action]:
        if engine.state.cancelled is not None:
            heard.append(len(engine.events))
        return decide()

    engine.write, engine.decide = watched, watched_decide  # type: ignore[method-assign]
    state = engine.run()

    if state.cancelled is None:
        return
    assert state.state == "cancelled"
    assert not {step.state for step in state.steps.values()} & {"pending", "running", "waiting"}
    assert "step.started" not in {event.type for event in engine.events[heard[0] :]}
    for step in state.steps.values():
        if step.rollout is not None:
            done = {target.state for target in step.rollout.targets.values() if target.touched}
            assert done in ({"healthy"}, {"restored"}, set())


# --- size ---


def layered(count: int) -> Plan:
    """Wide and deep: a tenth a chain of builds, the rest side by side, in five environments at the end."""
    deep, wide = count // 10, (count - 20) * 9 // 10
    builds = [
        section(f"build.c{n}", needs=[f"build.c{n - 1}" if n else "source"], retries=1) for n in range(deep)
    ]
    tests = [section(f"test.t{n}", retries=1) for n in range(wide // 2)]
    more = [section(f"scan.s{n}", needs=[f"test.t{n}"], retries=1) for n in range(wide // 4)]
    last = [section(f"publish.p{n}", retries=1) for n in range(wide - wide // 2 - wide // 4)]
    ends = [
        section(f"{phase}.e{n}", retries=1) for n in range(5) for phase in ("approve", "deploy", "verify")
    ]
    rest = [section(f"test.x{n}", retries=1) for n in range(count - 1 - deep - wide - len(ends))]
    return make([*builds, *tests, *more, *last, *ends, *rest])


@given(st.integers(0, 2**32), st.sampled_from([1, 4, 32]), st.sampled_from([0.0, 0.0002]))
@settings(max_examples=2, deadline=None, derandomize=True, phases=[Phase.generate])
def test_ten_thousand_steps_are_planned_and_run_to_their_end(seed: int, slots: int, fails: float) -> None:
    made = layered(10_000)
    engine = Engine(made, World(seed, fails_first=0.1, fails=fails), slots, requests=False)

    state = engine.run()

    assert len(made.steps) == 10_000
    keeps_the_rules(engine)
    if not fails and all(engine.world.approves(f"approve.e{n}") for n in range(5)):
        assert {step.state for step in state.steps.values()} == {"passed"}


class Count:
    """Counts the lines of the core that are run: work, and not time, which depends on the machine."""

    def __init__(self) -> None:
        self.lines = 0
        self._core = str(Path(penstock.__file__).parent)

    def __enter__(self) -> Count:
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(self._core) else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        self.lines += event == "line"
        return self._line


def work(count: int, task: str) -> int:
    """How many lines it takes to plan, or to run, so many steps."""
    with Count() as planned:
        made = layered(count)
    if task == "plan":
        return planned.lines
    selected = [step.name for step in made.steps] if task == "run a selection of" else None
    world = World(1, fails_first=0.1)
    with Count() as run:
        Engine(made, world).run(selected=selected)
    return run.lines


@pytest.mark.parametrize("task", ["plan", "run", "run a selection of"])
def test_the_work_grows_in_proportion_to_the_steps(task: str) -> None:
    few, many = work(400, task), work(4000, task)

    assert many / few < 11
