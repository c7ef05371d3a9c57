from __future__ import annotations

from typing import Any

import pytest
from penstock import plan, scheduler
from penstock.config import Keys, Project, Section
from penstock.model import Event
from penstock.moves import Place, WakeAt
from penstock.plan import Plan
from penstock.scheduler import (
    Action,
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
from penstock.state import RunState

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
ARTIFACT = {"name": "x", "kind": "file", "digest": A}
RELEASE = {"digest": A, "artifacts": [ARTIFACT], "revision": {}, "run": 1, "environment": "live"}


def section(
    name: str, *, uses: str | None = "shell", settings: dict[str, Any] | None = None, **keys: Any
) -> Section:
    phase, _, own = name.partition(".")
    made = Keys.model_validate({"uses": uses, **keys})
    environment = own if phase in ("approve", "deploy", "verify") else made.environment
    return Section(
        name=name, phase=phase, keys=made, plugin=uses, settings=settings or {}, environment=environment
    )


def make(*sections: Section | str, **more: Any) -> Plan:
    made = [entry if isinstance(entry, Section) else section(entry) for entry in ("source", *sections)]
    return plan.make(Project(name="shop", root="/", digest=B, plugins=(), sections=tuple(made), **more), {})


class Actions(list[Action]):
    """What to do, which is the same only if it is of the same kind: as tuples, some would be equal."""

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, list)
        return [(type(action), action) for action in self] == [(type(action), action) for action in other]

    __hash__ = None  # type: ignore[assignment]  # as a list has none


class Run:
    """A run that is told what happened."""

    def __init__(self, *sections: Section | str, options: dict[str, Any] | None = None, **more: Any) -> None:
        self.state = RunState(make(*sections, **more), 1)
        self.events = 0
        self.tell("run.started", None, **(options or {}))

    def tell(self, kind: str, step: str | None = None, at: float = 0.0, **data: Any) -> None:
        self.events += 1
        self.state.apply(Event(id=self.events, run=1, time=at, type=kind, step=step, data=data))

    def leave_out(self, *steps: str, by_condition: bool = True) -> None:
        for step in steps:
            self.tell("step.finished", step, state="skipped", **({"condition": {}} if by_condition else {}))

    def finish(self, *steps: str, state: str = "passed", at: float = 0.0, **data: Any) -> None:
        for step in steps:
            if step.startswith("build"):
                data["artifacts"] = [ARTIFACT]
            self.tell("step.started", step, at)
            self.tell("step.finished", step, at, state=state, **data)

    def decide(
        self, now: float = 0.0, *, busy: tuple[str, ...] = (), slots: int = 9, **taken: float
    ) -> Actions:
        return Actions(scheduler.decide(self.state, now, busy=set(busy), slots=slots, taken=taken))


# --- what begins ---


def test_a_run_begins_with_the_source() -> None:
    assert Run("build.a").decide() == [Start("source")]


def test_all_that_is_ready_begins_while_there_are_slots() -> None:
    run = Run("build.a", "build.b", "build.c")
    run.finish("source")

    assert run.decide() == [Start("build.a"), Start("build.b"), Start("build.c")]
    assert run.decide(slots=2) == [Start("build.a"), Start("build.b")]
    assert run.decide(slots=0, busy=("build.x",)) == []


def test_a_step_that_is_running_does_not_begin_again() -> None:
    run = Run("build.a", "build.b")
    run.finish("source")
    run.tell("step.started", "build.a")

    assert run.decide(busy=("build.a",)) == [WakeAt(3600), Start("build.b")]


def test_a_retry_waits_and_lets_others_go_first() -> None:
    run = Run("build.a", "build.b")
    run.finish("source")
    run.tell("step.started", "build.a")
    run.tell("step.retried", "build.a", reason="odd", not_before=10.0)

    assert run.decide(now=9.9) == [Start("build.b"), WakeAt(10.0)]
    assert run.decide(now=10) == [Start("build.b"), Start("build.a")]


@pytest.mark.parametrize(
    ("retries", "attempts", "at"),
    [(0, 1, None), (1, 1, 101), (1, 2, None), (9, 2, 102), (9, 3, 104), (9, 7, 160), (100, 100, 160)],
)
def test_when_to_try_again(retries: int, attempts: int, at: float | None) -> None:
    step = make(section("build.a", retries=retries)).by_name["build.a"]

    assert scheduler.retry(step, attempts, now=100) == at


RETRIES: dict[str, tuple[dict[str, Any], int, Any, float | None]] = {
    "a number is about failures alone": ({}, 1, "timeout", None),
    "also when the plugin failed": ({}, 1, "error", None),
    "where it is asked for": ({"on": ["failed", "timeout"]}, 1, "timeout", 101),
    "and only there": ({"on": ["error"]}, 1, "failed", None),
    "when the plugin failed": ({"on": ["error"]}, 1, "error", 101),
    "the first wait": ({"backoff": "10s"}, 1, "failed", 110),
    "the second": ({"backoff": "10s"}, 2, "failed", 120),
    "longer by another factor": ({"backoff": "5s", "factor": 3}, 3, "failed", 145),
    "all of one length": ({"backoff": "10s", "factor": 1}, 5, "failed", 110),
    "not longer than": ({"backoff": "10s", "longest": "25s"}, 3, "failed", 125),
    "the longest of all": ({"backoff": "10s", "factor": 100, "times": 100}, 100, "failed", 160),
    "a long wait is as long as it says": ({"backoff": "5m"}, 2, "failed", 400),
    "as often as it says": ({"times": 2}, 3, "failed", None),
}


@pytest.mark.parametrize(("retries", "attempts", "failure", "at"), RETRIES.values(), ids=RETRIES)
def test_when_to_try_again_by_a_table(
    retries: dict[str, Any], attempts: int, failure: Any, at: float | None
) -> None:
    step = make(section("build.a", retries={"times": 9, **retries})).by_name["build.a"]

    assert scheduler.retry(step, attempts, 100, failure) == at


# --- conditions ---


def test_a_condition_is_asked_when_its_step_could_start_and_once() -> None:
    run = Run(section("build.a", when="dirty"), "test.unit")
    assert run.decide() == [Start("source")]
    run.finish("source")

    assert run.decide() == [Judge("build.a")]
    run.tell("condition.held", "build.a")
    assert run.decide() == [Start("build.a")]
    run.tell("step.started", "build.a")
    run.tell("step.retried", "build.a", reason="odd", not_before=0.0)
    assert run.decide() == [Start("build.a")]
    run.tell("step.started", "build.a")
    run.tell("run.resumed")
    assert run.decide() == [Start("build.a")]


def test_nobody_is_asked_to_approve_before_the_condition_holds() -> None:
    run = Run("build.a", section("approve.live", uses=None, when="dirty"), "deploy.live")
    run.finish("source", "build.a")

    assert run.decide() == [Judge("approve.live")]
    run.tell("condition.held", "approve.live")
    assert run.decide() == [AskApproval("approve.live", "waits for approval")]


def test_what_goes_back_asks_no_condition() -> None:
    options = {"release": RELEASE, "selected": ["deploy.live", "verify.live"]}
    run = Run(
        "build.a",
        section("deploy.live", when="dirty"),
        section("verify.live", when="dirty"),
        options=options,
    )

    assert run.decide() == [Start("deploy.live")]


def test_what_waits_for_a_step_that_was_left_out_goes_on() -> None:
    run = Run(section("build.a", when="dirty"), "test.unit", "sign.it")
    run.finish("source")
    run.leave_out("build.a")

    assert run.decide() == [Start("test.unit")]
    assert run.state.steps["build.a"].state == "skipped"
    run.finish("test.unit", "sign.it")
    assert run.decide() == [Conclude("passed")]


POINTLESS: dict[str, tuple[tuple[Section | str, ...], tuple[str, ...], str, str]] = {
    "a deployment without its approval": (
        ("build.a", section("approve.live", when="dirty"), "deploy.live"),
        ("approve.live",),
        "deploy.live",
        "approve.live was skipped",
    ),
    "but not without another's": (
        ("build.a", section("approve.stage", when="dirty"), "deploy.stage", "deploy.live"),
        ("approve.stage",),
        "deploy.live",
        "",
    ),
    "a look at what was not deployed": (
        ("build.a", section("deploy.live", when="dirty"), "verify.live"),
        ("deploy.live",),
        "verify.live",
        "deploy.live was skipped",
    ),
    "but not at what was deployed in part": (
        (
            "build.a",
            section("deploy.live", when="dirty"),
            section("deploy.also")._replace(environment="live"),
            "verify.live",
        ),
        ("deploy.live",),
        "verify.live",
        "",
    ),
    "a test of what was not deployed": (
        ("build.a", section("deploy.live", when="dirty"), section("test.e2e", environment="live")),
        ("deploy.live",),
        "test.e2e",
        "deploy.live was skipped",
    ),
    "a test that needs what was not deployed": (
        ("build.a", section("deploy.live", when="dirty"), section("test.e2e", needs=["deploy.live"])),
        ("deploy.live",),
        "test.e2e",
        "deploy.live was skipped",
    ),
    "a test that needs a look at what was not deployed": (
        (
            "build.a",
            section("deploy.live", when="dirty"),
            "verify.live",
            section("test.e2e", needs=["verify.live"]),
        ),
        ("deploy.live", "verify.live"),
        "test.e2e",
        "verify.live was skipped",
    ),
    "but not where the look alone was left out": (
        (
            "build.a",
            "deploy.live",
            section("verify.live", when="dirty"),
            section("test.e2e", needs=["verify.live"]),
        ),
        ("verify.live",),
        "test.e2e",
        "",
    ),
    "a deployment of nothing": (
        (section("build.a", when="dirty"), section("build.b", when="dirty"), "deploy.live"),
        ("build.a", "build.b"),
        "deploy.live",
        "nothing was built: build.a was skipped",
    ),
    "an approval of nothing": (
        (section("build.a", when="dirty"), "approve.live", "deploy.live"),
        ("build.a",),
        "approve.live",
        "nothing was built: build.a was skipped",
    ),
    "a publication of nothing": (
        (section("build.a", when="dirty"), "publish.it"),
        ("build.a",),
        "publish.it",
        "nothing was built: build.a was skipped",
    ),
    "a publication without a signature": (
        ("build.a", section("sign.it", when="dirty"), "publish.it"),
        ("sign.it",),
        "publish.it",
        "sign.it was skipped",
    ),
    "but not of something": (
        (section("build.a", when="dirty"), "build.b", "publish.it"),
        ("build.a",),
        "publish.it",
        "",
    ),
    "a signature is never pointless": (
        (section("build.a", when="dirty"), "sign.it"),
        ("build.a",),
        "sign.it",
        "",
    ),
    "a test of a source alone": (
        (section("build.a", when="dirty"), "test.a"),
        ("build.a",),
        "test.a",
        "",
    ),
}


@pytest.mark.parametrize(("sections", "left_out", "name", "reason"), POINTLESS.values(), ids=POINTLESS)
def test_what_has_no_purpose_is_skipped(
    sections: tuple[Section | str, ...], left_out: tuple[str, ...], name: str, reason: str
) -> None:
    run = Run(*sections)
    for step in run.state.plan.steps:
        if step.name == name:
            break
        if step.name in left_out:
            run.leave_out(step.name, by_condition=step.keys.when is not None)
        else:
            run.finish(step.name)

    expected = Finish(name, "skipped", reason) if reason else None
    found = [action for action in run.decide() if getattr(action, "step", None) == name]
    if expected:
        assert found == [expected]
    else:
        assert [type(action) for action in found] in ([Start], [AskApproval])


def test_an_environment_that_another_run_deploys_to_is_waited_for() -> None:
    run = Run("build.a", "deploy.live", "deploy.other")
    run.finish("source", "build.a")

    assert run.decide(now=1, live=5.0) == [WakeAt(5.0)]
    assert run.decide(now=5, live=5.0) == [Start("deploy.live")]
    assert run.decide(now=1, other=5.0) == [Start("deploy.live")]


# --- the end of a step ---


@pytest.mark.parametrize(("timeout", "limit"), [(None, 3600), ("30s", 30)])
def test_a_step_has_its_time_from_the_beginning_of_this_attempt(timeout: str | None, limit: float) -> None:
    run = Run(section("build.a", timeout=timeout, retries=1))
    run.finish("source")
    run.tell("step.started", "build.a", 100)
    run.tell("step.retried", "build.a", 110, reason="odd", not_before=110.0)
    run.tell("step.started", "build.a", 200)

    assert run.decide(now=200 + limit - 0.1, busy=("build.a",)) == [WakeAt(200 + limit)]
    assert run.decide(now=200 + limit, busy=("build.a",)) == [
        End("build.a", "failed", f"it took longer than {limit} s (timeout)", "timeout")
    ]


def test_cancel_ends_what_runs_and_begins_nothing() -> None:
    run = Run("build.a", "build.b", "build.c")
    run.finish("source")
    run.tell("step.started", "build.a")
    run.tell("step.started", "build.b")
    run.tell("run.cancelled", reason="cancelled by ana")

    assert run.decide(busy=("build.a", "build.b")) == [
        End("build.a", "cancelled", "cancelled by ana"),
        End("build.b", "cancelled", "cancelled by ana"),
    ]
    run.tell("step.finished", "build.a", state="cancelled", reason="cancelled by ana")
    assert run.decide(busy=("build.b",)) == [End("build.b", "cancelled", "cancelled by ana")]
    run.tell("step.finished", "build.b", state="cancelled", reason="cancelled by ana")
    assert run.decide() == [Conclude("cancelled")]


# --- how a run ends ---


def outcome(*ends: tuple[str, str], allow: bool = False) -> list[Action]:
    run = Run("build.a", section("build.b", allow_failure=allow))
    run.finish("source")
    for step, state in ends:
        run.finish(step, state=state)
    return run.decide()


ENDS: dict[str, tuple[tuple[tuple[str, str], ...], bool, str]] = {
    "all passed": ((("build.a", "passed"), ("build.b", "passed")), False, "passed"),
    "one failed": ((("build.a", "passed"), ("build.b", "failed")), False, "failed"),
    "one refused": ((("build.a", "passed"), ("build.b", "refused")), False, "refused"),
    "one failed, one refused": ((("build.a", "refused"), ("build.b", "failed")), False, "failed"),
    "one was cancelled on its own": ((("build.a", "passed"), ("build.b", "cancelled")), False, "cancelled"),
    "one failed and may": ((("build.a", "passed"), ("build.b", "failed")), True, "passed"),
    "the other one failed": ((("build.a", "failed"), ("build.b", "failed")), True, "failed"),
}


@pytest.mark.parametrize(("ends", "allow", "state"), ENDS.values(), ids=ENDS.keys())
def test_how_a_run_ends(ends: tuple[tuple[str, str], ...], allow: bool, state: str) -> None:
    assert outcome(*ends, allow=allow) == [Conclude(state)]  # type: ignore[arg-type]


def test_a_run_is_not_over_while_something_is_under_way() -> None:
    run = Run("build.a")
    run.finish("source", "build.a")

    assert run.decide(busy=("build.a",)) == []
    assert run.decide() == [Conclude("passed")]


# --- approvals ---

MANUAL = section("approve.live", uses=None, settings={"by": ["managers"], "expires": 60})


def waiting(*, options: dict[str, Any] | None = None, manual: Section = MANUAL) -> Run:
    run = Run("build.a", manual, "deploy.live", roles={"managers": ("ana", "key:1")}, options=options)
    run.finish("source", "build.a")
    return run


def approval(run: Run, **changes: Any) -> dict[str, Any]:
    fields = {
        "by": "ana",
        "environment": "live",
        "artifacts": [A],
        "plan": run.state.plan.digest,
        "given": 10.0,
        "expires": 70.0,
    }
    return {"approval": {**fields, **changes}, "identities": [changes.get("by", "ana")]}


def test_a_person_is_asked_and_waited_for() -> None:
    run = waiting()

    assert run.decide() == [AskApproval("approve.live", "waits for approval by managers")]
    run.tell("approval.requested", "approve.live", reason="waits for approval by managers")
    assert run.decide() == [Conclude("waiting")]
    assert run.state.steps["approve.live"].state == "waiting"


def test_an_approval_lets_the_step_pass() -> None:
    run = waiting()
    run.tell("approval.requested", "approve.live", reason="waits")
    run.tell("approval.given", "approve.live", **approval(run))

    assert run.decide(now=20) == [Finish("approve.live", "passed", "by ana")]
    run.tell("step.finished", "approve.live", state="passed")
    assert run.decide(now=20) == [Start("deploy.live")]


WORDS: dict[str, tuple[dict[str, Any], float, str]] = {
    "by somebody else": ({"by": "bo"}, 20, "bo may not approve: managers may"),
    "expired": ({}, 70, "the approval has expired"),
    "of another artifact": (
        {"artifacts": [B]},
        20,
        "the approval is for bbbb…bbbb, and what would be deployed is aaaa…aaaa",
    ),
    "of another plan": (
        {"plan": A},
        20,
        "the approval is for another plan: the configuration has changed since",
    ),
    "for another environment": ({"environment": "x"}, 20, "the approval is for x, not for live"),
}


@pytest.mark.parametrize(("changes", "now", "reason"), WORDS.values(), ids=WORDS.keys())
def test_an_approval_that_is_not_good(changes: dict[str, Any], now: float, reason: str) -> None:
    run = waiting()
    run.tell("approval.requested", "approve.live", reason="waits")
    run.tell("approval.given", "approve.live", **approval(run, **changes))

    assert run.decide(now=now) == [Finish("approve.live", "refused", reason)]


@pytest.mark.parametrize(
    ("why", "reason"), [("", "rejected by bo"), ("not on Friday", "rejected by bo: not on Friday")]
)
def test_a_rejection(why: str, reason: str) -> None:
    run = waiting()
    run.tell("approval.requested", "approve.live", reason="waits")
    run.tell("approval.rejected", "approve.live", by="bo", why=why)

    assert run.decide() == [Finish("approve.live", "refused", reason)]


def test_the_last_word_counts() -> None:
    run = waiting()
    run.tell("approval.requested", "approve.live", reason="waits")
    run.tell("approval.rejected", "approve.live", by="bo")
    run.tell("approval.given", "approve.live", **approval(run))
    assert run.decide(now=20) == [Finish("approve.live", "passed", "by ana")]

    run.tell("approval.rejected", "approve.live", by="bo")
    assert run.decide(now=20) == [Finish("approve.live", "refused", "rejected by bo")]


def test_an_approval_in_advance_is_given_once() -> None:
    run = waiting(options={"approve": ["live"]})
    run.tell("approval.requested", "approve.live", reason="waits")

    assert run.decide() == [Approve("approve.live")]
    assert run.decide(busy=("approve.live",)) == []


def test_an_approval_in_advance_is_for_its_environment_only() -> None:
    run = waiting(options={"approve": ["staging"]})
    run.tell("approval.requested", "approve.live", reason="waits")

    assert run.decide() == [Conclude("waiting")]


def test_nobody_is_asked_once_the_run_is_cancelled() -> None:
    run = waiting(options={"approve": ["live"]})
    run.tell("approval.requested", "approve.live", reason="waits")
    run.tell("approval.given", "approve.live", **approval(run))
    run.tell("run.cancelled", reason="by ana")

    assert run.decide(now=20) == [Conclude("cancelled")]


def test_a_failure_elsewhere_ends_a_run_that_waits() -> None:
    run = Run("build.a", MANUAL, "deploy.live", section("test.slow", needs=["build.a"], environment="live"))
    run.finish("source", "build.a")
    run.tell("approval.requested", "approve.live", reason="waits")
    run.finish("test.slow", state="failed")

    assert run.decide() == [Conclude("failed")]


# --- rollouts ---


def deploying(targets: tuple[str, ...] = ("t0", "t1"), **keys: Any) -> Run:
    run = Run("build.a", section("deploy.live", **keys))
    run.finish("source", "build.a")
    run.tell("step.started", "deploy.live")
    run.tell("rollout.began", "deploy.live", release=RELEASE, targets=list(targets))
    return run


def operate(run: Run, kind: str, *targets: str, at: float = 0.0, **data: Any) -> None:
    answers: dict[str, dict[str, Any]] = {"observe": {"state": {}}, "probe": {"health": "healthy"}}
    for target in targets:
        run.tell("rollout.started", "deploy.live", at, op=kind, target=target)
        fields = {"ok": True, **answers.get(kind, {}), **data}
        run.tell("rollout.ended", "deploy.live", at, op=kind, target=target, **fields)


def test_a_rollout_asks_for_operations_as_there_are_slots() -> None:
    run = deploying()

    assert run.decide() == [Operate("deploy.live", "observe", "t0"), Operate("deploy.live", "observe", "t1")]
    assert run.decide(slots=1) == [Operate("deploy.live", "observe", "t0")]
    run.tell("rollout.started", "deploy.live", op="observe", target="t0")
    assert run.decide(busy=("deploy.live",), slots=1) == [
        WakeAt(3600),
        Operate("deploy.live", "observe", "t1"),
    ]


def test_operations_and_steps_share_the_slots() -> None:
    run = Run("build.a", "deploy.live", section("test.side", needs=["build.a"], environment="live"))
    run.finish("source", "build.a")
    run.tell("step.started", "deploy.live")
    run.tell("rollout.began", "deploy.live", release=RELEASE, targets=["t0", "t1"])

    kinds = [type(action) for action in run.decide(slots=2)]
    assert kinds == [Operate, Operate]
    assert [type(action) for action in run.decide(slots=3)] == [Operate, Operate, Start]


def test_each_operation_has_the_whole_time_of_the_step() -> None:
    run = deploying(timeout="30s")
    run.tell("rollout.started", "deploy.live", 100, op="observe", target="t0")
    run.tell("rollout.started", "deploy.live", 110, op="observe", target="t1")

    assert run.decide(now=129, busy=("deploy.live",)) == [WakeAt(130), WakeAt(140)]
    assert run.decide(now=130, busy=("deploy.live",)) == [
        Stop("deploy.live", Place("target", "t0"), "it took longer than 30 s (timeout)"),
        WakeAt(140),
    ]


def test_a_rollout_that_is_done_leaves_evidence_before_the_step_is_over() -> None:
    run = deploying()
    for kind in ("observe", "apply", "probe"):
        operate(run, kind, "t0", "t1")

    assert run.decide() == [Attest("deploy.live")]
    assert run.decide(busy=("deploy.live",)) == [WakeAt(3600)]


def test_evidence_that_takes_too_long_fails_the_step() -> None:
    run = deploying(timeout="30s")
    for kind in ("observe", "apply", "probe"):
        operate(run, kind, "t0", "t1", at=100)

    assert run.decide(now=130, busy=("deploy.live",)) == [
        End("deploy.live", "failed", "its evidence took longer than 30 s (timeout)")
    ]
    run.tell("run.resumed", at=500)
    assert run.decide(now=510) == [  # what was healthy then may not be now
        Operate("deploy.live", "probe", "t0"),
        Operate("deploy.live", "probe", "t1"),
    ]


def test_a_rollout_that_failed_fails_the_step_when_all_is_back() -> None:
    run = deploying()
    operate(run, "observe", "t0", "t1")
    operate(run, "apply", "t0", ok=False, detail="disk full")

    assert run.decide() == [Operate("deploy.live", "restore", "t0")]
    operate(run, "restore", "t0")
    assert run.decide() == [
        Finish("deploy.live", "failed", "t0 could not be changed: disk full; put back to what ran before: t0")
    ]


def test_cancel_stops_what_is_under_way_and_puts_back_what_was_touched() -> None:
    run = deploying()
    operate(run, "observe", "t0", "t1")
    operate(run, "apply", "t0")
    run.tell("rollout.started", "deploy.live", op="apply", target="t1")
    run.tell("run.cancelled", reason="cancelled by ana")

    assert run.decide(busy=("deploy.live",)) == [
        Stop("deploy.live", Place("target", "t1"), "cancelled by ana")
    ]
    run.tell("rollout.ended", "deploy.live", op="apply", target="t1", ok=False, detail="cancelled by ana")
    assert run.decide() == [
        Operate("deploy.live", "restore", "t1"),
        Operate("deploy.live", "restore", "t0"),
    ]
    run.tell("rollout.started", "deploy.live", op="restore", target="t1")
    assert run.decide(busy=("deploy.live",)) == [
        WakeAt(3600),  # what puts back is not stopped
        Operate("deploy.live", "restore", "t0"),
    ]
    run.tell("rollout.ended", "deploy.live", op="restore", target="t1", ok=True)
    operate(run, "restore", "t0")
    assert run.decide() == [
        Finish("deploy.live", "failed", "the run was cancelled; put back to what ran before: t0, t1")
    ]


def test_cancel_while_the_evidence_is_being_made_leaves_the_new_release_where_it_is() -> None:
    run = deploying()
    for kind in ("observe", "apply", "probe"):
        operate(run, kind, "t0", "t1")
    run.tell("run.cancelled", reason="by ana")

    assert run.decide(busy=("deploy.live",)) == [WakeAt(3600)]
    assert run.decide() == [Attest("deploy.live")]


def test_cancel_before_the_rollout_began_changes_nothing() -> None:
    """The worker's answer may come in after somebody said cancel."""
    run = Run("build.a", "deploy.live")
    run.finish("source", "build.a")
    run.tell("step.started", "deploy.live")
    run.tell("run.cancelled", reason="by ana")
    run.tell("rollout.began", "deploy.live", release=RELEASE, targets=["t0"])

    assert run.decide() == [Finish("deploy.live", "failed", "the run was cancelled; nothing was changed")]


def test_a_rollout_goes_on_after_a_crash_with_what_was_cut_off() -> None:
    run = deploying()
    operate(run, "observe", "t0", "t1")
    operate(run, "apply", "t0")
    run.tell("rollout.started", "deploy.live", op="apply", target="t1")
    run.tell("run.resumed", at=50)

    assert run.decide(now=50) == [
        Operate("deploy.live", "probe", "t0"),
        Operate("deploy.live", "apply", "t1"),
    ]


def test_a_rollout_that_was_through_is_looked_at_again_after_a_cut() -> None:
    run = deploying()
    for kind in ("observe", "apply", "probe"):
        operate(run, kind, "t0", "t1", at=100)
    run.tell("run.resumed", at=500)

    operate(run, "probe", "t0", at=501)
    run.tell("rollout.started", "deploy.live", op="probe", target="t1")
    run.tell(
        "rollout.ended", "deploy.live", op="probe", target="t1", ok=True, health="unhealthy", detail="gone"
    )

    assert run.decide(now=502) == [
        Operate("deploy.live", "restore", "t1"),
        Operate("deploy.live", "restore", "t0"),
    ]


def doubtful() -> Run:
    """A canary of one target that nobody could judge."""
    more = {"settings": {"by": ["ops"]}, "uses": None}
    rollout = {"strategy": "canary", "waves": [1, "100%"], "judge": ["verify.live"]}
    run = Run(
        "build.a",
        section("approve.live", **more),  # type: ignore[arg-type]  # of several kinds
        section("deploy.live", rollout=rollout, timeout="30s"),
        section("verify.live", timeout="5s"),
        roles={"ops": ("ana",)},
    )
    run.finish("source", "build.a", "approve.live")
    run.tell("step.started", "deploy.live")
    run.tell("rollout.began", "deploy.live", release=RELEASE, targets=["t0", "t1"])
    for kind in ("observe", "apply", "probe"):
        operate(run, kind, *(("t0", "t1") if kind == "observe" else ("t0",)))
    return run


def say(run: Run, by: str, **more: Any) -> None:
    given = {"by": by, "environment": "live", "artifacts": [A], "plan": run.state.plan.digest}
    given |= {"given": 0, "expires": 100, **more}
    run.tell("approval.given", "deploy.live", approval=given, identities=[by])


def test_who_judges_has_the_time_of_its_own_step() -> None:
    run = doubtful()
    assert run.decide() == [Operate("deploy.live", "judge", "verify.live")]
    run.tell("rollout.started", "deploy.live", op="judge", target="verify.live")

    assert run.decide(now=4, busy=("deploy.live",)) == [WakeAt(5)]
    assert run.decide(now=5, busy=("deploy.live",)) == [
        Stop("deploy.live", Place("judge", "verify.live"), "it took longer than 5 s (timeout)")
    ]


def test_a_rollout_in_doubt_waits_and_holds_no_slot() -> None:
    run = doubtful()
    operate(run, "judge", "verify.live", ok=False, outcome="error", detail="no data")
    assert run.decide() == [Doubt("deploy.live", "verify.live can't judge: no data")]

    run.tell("approval.requested", "deploy.live", reason="verify.live can't judge: no data")

    assert run.state.steps["deploy.live"].state == "waiting"
    assert run.decide(now=1e9) == [Conclude("waiting")]


@pytest.mark.parametrize(
    ("by", "more", "fault"),
    [
        ("ana", {}, ""),
        ("bo", {}, "bo may not approve: ops may"),
        ("ana", {"expires": 1}, "the approval has expired"),
        ("ana", {"environment": "other"}, "the approval is for other, not for live"),
    ],
)
def test_who_may_approve_an_environment_lets_its_rollout_on(
    by: str, more: dict[str, Any], fault: str
) -> None:
    run = doubtful()
    operate(run, "judge", "verify.live", ok=False, outcome="error", detail="no data")
    run.tell("approval.requested", "deploy.live", reason="no data")
    say(run, by, **more)

    assert run.decide(now=50) == [TakeUp("deploy.live", by, fault)]
    if fault:
        run.tell("rollout.failed", "deploy.live", reason=fault)
        assert run.decide() == [Operate("deploy.live", "restore", "t0")]
    else:
        run.tell("rollout.approved", "deploy.live", by=by)
        assert run.decide() == [Operate("deploy.live", "apply", "t1")]
    assert run.state.steps["deploy.live"].state == "running"


def test_a_rollout_in_doubt_that_is_cancelled_goes_back() -> None:
    run = doubtful()
    operate(run, "judge", "verify.live", ok=False, outcome="error", detail="no data")
    run.tell("approval.requested", "deploy.live", reason="no data")
    run.tell("run.cancelled", reason="cancelled by ana")

    assert run.decide() == [Operate("deploy.live", "restore", "t0")]
