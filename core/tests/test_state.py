from __future__ import annotations

from typing import Any

import pytest
from penstock import plan
from penstock.config import Keys, Project, Section
from penstock.model import Event
from penstock.plan import Plan
from penstock.state import RunState, fold

A, B, C = ("sha256:" + letter * 64 for letter in "abc")


def section(name: str, **keys: Any) -> Section:
    phase, _, own = name.partition(".")
    environment = own if phase in ("approve", "deploy", "verify") else None
    made = Keys.model_validate({"uses": "shell", **keys})
    return Section(name=name, phase=phase, keys=made, plugin=made.uses, settings={}, environment=environment)


def make(*sections: Section | str) -> Plan:
    made = [entry if isinstance(entry, Section) else section(entry) for entry in ("source", *sections)]
    return plan.make(Project(name="shop", root="/", digest=A, plugins=(), sections=tuple(made)), {})


class Run:
    def __init__(self, *sections: Section | str, **options: Any) -> None:
        self.state = RunState(make(*sections), 1)
        self.events: list[Event] = []
        self.tell("run.started", **options)

    def tell(self, kind: str, step: str | None = None, at: float = 1.0, **data: Any) -> None:
        event = Event(id=len(self.events) + 1, run=1, time=at, type=kind, step=step, data=data)
        self.events.append(event)
        self.state.apply(event)

    def finish(self, *steps: str, state: str = "passed", **data: Any) -> None:
        for step in steps:
            self.tell("step.started", step)
            self.tell("step.finished", step, state=state, **data)

    def states(self) -> dict[str, str]:
        return {name: step.state for name, step in self.state.steps.items()}


def artifact(name: str, digest: str = A) -> dict[str, Any]:
    return {"name": name, "kind": "file", "digest": digest}


def test_a_step_is_ready_when_all_that_it_waits_for_has_passed() -> None:
    run = Run("build.a", "build.b", "test.unit")

    assert list(run.state.ready) == ["source"]
    run.finish("source")
    assert list(run.state.ready) == ["build.a", "build.b"]
    run.finish("build.a")
    assert list(run.state.ready) == ["build.b"]
    run.finish("build.b")
    assert list(run.state.ready) == ["test.unit"]


def test_a_result_that_was_taken_over_lets_on_as_one_that_was_made() -> None:
    run = Run("build.a", "test.unit")
    run.finish("source")
    run.tell(
        "step.finished", "build.a", state="cached", origin={"run": 3, "why": ""}, artifacts=[artifact("a")]
    )

    assert list(run.state.ready) == ["test.unit"]
    assert [made.digest for made in run.state.artifacts_for("test.unit")] == [A]
    assert run.state.steps["build.a"].origin == {"run": 3, "why": ""}


def test_what_waits_for_a_step_that_failed_is_skipped_and_says_why() -> None:
    run = Run(
        "build.a",
        section("build.b", needs=["source"]),
        section("test.b", needs=["build.b"]),
        "test.a",
        "sign.it",
    )
    run.finish("source")
    run.finish("build.a", state="failed")

    assert run.states() == {
        "source": "passed",
        "build.a": "failed",
        "build.b": "pending",
        "test.b": "pending",
        "test.a": "skipped",
        "sign.it": "skipped",
    }
    assert {run.state.steps[name].reason for name in ("test.a", "sign.it")} == {"build.a failed"}
    run.finish("build.b", "test.b")
    assert run.states()["test.b"] == "passed"
    assert not run.state.ready


def test_the_first_reason_to_skip_a_step_stays() -> None:
    run = Run(
        "build.a", "build.b", "test.unit", "sign.it", selected=["source", "build.a", "build.b", "sign.it"]
    )
    run.finish("source")
    run.finish("build.a", state="failed")
    run.finish("build.b", state="failed")

    assert run.state.steps["test.unit"].reason == "not asked for in this run"
    run = Run("build.a", "build.b", "test.unit")
    run.finish("source")
    run.finish("build.a", state="failed")
    run.finish("build.b", state="refused")
    assert run.state.steps["test.unit"].reason == "build.a failed"


@pytest.mark.parametrize("state", ["failed", "refused", "cancelled"])
def test_what_may_fail_does_not_hold_anything_up(state: str) -> None:
    run = Run("build.a", section("test.flaky", allow_failure=True), "sign.it")
    run.finish("source", "build.a")
    run.finish("test.flaky", state=state)

    assert run.states()["test.flaky"] == state
    assert list(run.state.ready) == ["sign.it"]


def test_what_a_finished_step_leaves_on_record() -> None:
    run = Run("build.a", "test.unit")
    run.tell("step.started", "source", 10)
    run.tell("step.finished", "source", 12.5, state="passed", revision={"commit": "4f2c1e9"})
    run.tell("step.started", "build.a", 20)
    run.tell(
        "step.finished",
        "build.a",
        23.0,
        state="passed",
        summary="one file",
        notes=["a", "b"],
        artifacts=[artifact("x")],
        evidence=[{"step": "build.a"}],
    )
    run.tell("step.started", "test.unit", 30)
    run.tell(
        "step.finished",
        "test.unit",
        31.0,
        state="failed",
        reason="1 of 2 failed",
        fault=True,
        tests={"failed": 1},
    )

    assert run.state.revision is not None
    assert run.state.revision.commit == "4f2c1e9"
    build, test = run.state.steps["build.a"], run.state.steps["test.unit"]
    assert (build.summary, build.notes, build.started, build.seconds) == ("one file", ("a", "b"), 20, 3.0)
    assert [entry.name for entry in build.artifacts] == ["x"]
    assert build.evidence == ({"step": "build.a"},)
    assert (test.reason, test.fault, test.tests, test.seconds) == ("1 of 2 failed", True, {"failed": 1}, 1.0)


def test_a_retried_step_is_ready_again_and_counts_its_attempts() -> None:
    run = Run("build.a")
    run.finish("source")
    run.tell("step.started", "build.a", 10)
    run.tell("step.retried", "build.a", 11, reason="odd", not_before=12.0)

    step = run.state.steps["build.a"]
    assert (step.state, step.attempts, step.reason, step.not_before) == ("pending", 1, "odd", 12.0)
    assert list(run.state.ready) == ["build.a"]
    assert not run.state.running
    run.tell("step.started", "build.a", 12)
    run.tell("step.finished", "build.a", 15, state="passed")
    assert (step.attempts, step.started, step.seconds) == (2, 10, 5.0)


# --- what a step is handed ---


def test_a_step_is_handed_what_the_builds_behind_it_left_however_far_back() -> None:
    run = Run("build.a", "build.b", section("test.a", needs=["build.a"]), "test.b", "sign.it")
    run.finish("source")
    run.finish("build.a", artifacts=[artifact("a", A)])
    run.finish("build.b", artifacts=[artifact("b", B)])
    run.finish("test.a", artifacts=[artifact("report", C)])

    def names(step: str) -> list[str]:
        return [entry.name for entry in run.state.artifacts_for(step)]

    assert names("test.a") == ["a"]
    assert names("test.b") == ["a", "b"]
    run.finish("test.b")
    assert names("sign.it") == ["a", "b"]
    assert names("source") == names("build.a") == []


def test_the_same_artifact_over_two_ways_is_handed_once() -> None:
    run = Run(
        "build.a", section("build.b", needs=["build.a"]), section("build.c", needs=["build.a"]), "test.unit"
    )
    run.finish("source")
    run.finish("build.a", artifacts=[artifact("a"), artifact("copy of a")])
    run.finish("build.b", artifacts=[artifact("b", B)])
    run.finish("build.c", artifacts=[artifact("c", C)])

    assert [a.name for a in run.state.artifacts_for("build.b")] == ["a", "copy of a"]
    assert [a.name for a in run.state.artifacts_for("test.unit")] == ["a", "copy of a", "b", "c"]


# --- selections ---


def test_what_was_not_asked_for_is_skipped() -> None:
    run = Run("build.a", "build.b", "test.unit", selected=["source", "build.a"])

    assert list(run.state.ready) == ["source"]
    run.finish("source")
    assert list(run.state.ready) == ["build.a"]
    run.finish("build.a")
    assert not run.state.ready
    assert run.states() == {
        "source": "passed",
        "build.a": "passed",
        "build.b": "skipped",
        "test.unit": "skipped",
    }
    assert run.state.steps["test.unit"].reason == "not asked for in this run"


GIVEN = {
    "digest": B,
    "artifacts": [artifact("old", B)],
    "revision": {"commit": "0ld"},
    "run": 3,
    "environment": "live",
}


def test_a_release_that_is_there_already_needs_nothing_of_what_made_it() -> None:
    run = Run(
        *("build.a", "test.unit", "sign.it", "deploy.live", "verify.live", "deploy.far", "verify.far"),
        selected=["deploy.live", "verify.live"],
        release=GIVEN,
    )

    assert list(run.state.ready) == ["deploy.live"]
    assert [entry.name for entry in run.state.artifacts_for("deploy.live")] == ["old"]
    assert run.state.revision is not None
    assert run.state.revision.commit == "0ld"
    run.finish("deploy.live")
    assert list(run.state.ready) == ["verify.live"]
    run.finish("verify.live")
    assert not run.state.ready
    assert run.states()["deploy.far"] == "skipped"


def test_a_given_release_does_not_take_one_barrier_for_two() -> None:
    """What is selected still waits for what is selected before it, also where `needs` changed the order."""
    run = Run(
        "build.a",
        section("deploy.live", needs=["build.a"]),
        "verify.live",
        selected=["deploy.live", "verify.live"],
        release=GIVEN,
    )

    assert list(run.state.ready) == ["deploy.live"]
    run.finish("deploy.live")
    assert list(run.state.ready) == ["verify.live"]


# --- crashes ---


def test_a_step_that_was_cut_off_begins_again_and_that_is_no_new_attempt() -> None:
    run = Run(section("build.a", retries=1), "build.b")
    run.finish("source")
    run.tell("step.started", "build.a")
    run.finish("build.b")
    run.tell("run.resumed")

    assert list(run.state.ready) == ["build.a"]
    assert not run.state.running
    assert run.state.steps["build.a"].attempts == 0
    assert run.states()["build.b"] == "passed"


def test_an_approval_by_a_plugin_is_asked_for_again_and_a_persons_is_not() -> None:
    run = Run("build.a", "approve.live", section("approve.far", uses=None), "deploy.live", "deploy.far")
    run.finish("source", "build.a")
    run.tell("approval.requested", "approve.live", reason="a ticket is open")
    run.tell("run.waiting")
    assert (run.state.state, list(run.state.asked)) == ("waiting", ["approve.live"])

    run.tell("run.resumed")

    assert (run.state.state, list(run.state.asked)) == ("running", [])
    assert list(run.state.ready) == ["approve.live"]
    run.finish("approve.live", "deploy.live")
    run.tell("approval.requested", "approve.far", reason="waits")
    run.tell("run.resumed")
    assert list(run.state.asked) == ["approve.far"]


def test_a_run_that_was_cancelled_leaves_nothing_pending() -> None:
    run = Run("build.a", "build.b", "test.unit")
    run.finish("source", "build.a")
    run.tell("run.cancelled", reason="by ana")
    run.tell("run.finished", state="cancelled")

    assert run.states() == {
        "source": "passed",
        "build.a": "passed",
        "build.b": "cancelled",
        "test.unit": "cancelled",
    }
    assert run.state.state == "cancelled"
    assert run.state.steps["build.b"].reason == "by ana"


def test_an_event_that_nobody_knows_changes_nothing() -> None:
    run = Run("build.a")
    before = vars(run.state).copy()
    run.tell("plugin.said", at=9, anything=1)

    assert run.state.last_event == 2
    assert {**vars(run.state), "last_event": 1} == before


def test_the_state_is_what_its_events_say_after_a_trip_through_json() -> None:
    run = Run("build.a", "deploy.live")
    run.finish("source")
    run.finish("build.a", artifacts=[artifact("x")])
    run.tell("step.started", "deploy.live")
    release = {**GIVEN, "digest": A, "artifacts": [artifact("x")]}
    run.tell("rollout.began", "deploy.live", release=release, targets=["t"])
    run.tell("rollout.started", "deploy.live", op="observe", target="t")
    run.tell("rollout.ended", "deploy.live", op="observe", target="t", ok=True, state={"data": {"x": 1}})

    again = fold(
        Plan.model_validate_json(run.state.plan.model_dump_json()),
        1,
        [Event.model_validate_json(event.model_dump_json()) for event in run.events],
    )

    assert vars(again) == vars(run.state)


def test_a_rollout_of_before_there_were_waves_folds_as_it_did() -> None:
    """Its events name neither traffic nor jobs, and nothing was looked at once it was put back."""
    run = Run("build.a", "deploy.live")
    run.finish("source", "build.a")
    run.tell("step.started", "deploy.live")
    release = {"digest": A, "artifacts": [], "revision": {}, "run": 1, "environment": "live"}
    run.tell("rollout.began", "deploy.live", release=release, targets=["t0", "t1"])
    for target in ("t0", "t1"):
        run.tell("rollout.started", "deploy.live", op="observe", target=target)
        run.tell("rollout.ended", "deploy.live", op="observe", target=target, ok=True, state={"release": A})
    for op, ok in (("apply", False), ("restore", True)):
        run.tell("rollout.started", "deploy.live", op=op, target="t0")
        run.tell("rollout.ended", "deploy.live", op=op, target="t0", ok=ok, detail="disk full")
    run.tell("step.finished", "deploy.live", state="failed", reason="t0 could not be changed: disk full")
    run.tell("run.finished", None, state="failed")

    rollout = run.state.steps["deploy.live"].rollout
    assert rollout is not None
    assert rollout.failure == "t0 could not be changed: disk full"
    assert rollout.targets["t0"].back
    assert not rollout.left_behind
    assert run.state.state == "failed"
