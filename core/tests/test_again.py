"""What a new run of the same revision takes over, and why: the rules, on plans of every shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import plan as plans
from penstock.again import Choice, choose
from penstock.config import Keys, Project, Section
from penstock.model import Event
from penstock.plan import Plan
from penstock.state import RunState

DIGEST = "sha256:" + "b" * 64
UNCHANGED = "and neither it nor what it waits for has changed"
PIPELINE = ("build.app", "test.unit", "scan.app", "sign.it", "deploy.live")


def section(name: str, *, settings: dict[str, Any] | None = None, **keys: Any) -> Section:
    phase, _, own = name.partition(".")
    made = Keys.model_validate({"uses": None if phase == "approve" else "shell", **keys})
    environment = own if phase in ("approve", "deploy", "verify") else made.environment
    return Section(
        name=name, phase=phase, keys=made, plugin=made.uses, settings=settings or {}, environment=environment
    )


def make(*sections: Section | str, version: str = "1") -> Plan:
    made = [entry if isinstance(entry, Section) else section(entry) for entry in ("source", *sections)]
    project = Project(name="shop", root="/", digest=DIGEST, plugins=("shell",), sections=tuple(made))
    return plans.make(project, {"shell": version})


def run(plan: Plan, states: dict[str, str] | None = None, **options: Any) -> RunState:
    """Run 3 of a plan: all steps passed, but those that `states` names."""
    state = RunState(plan, 3)
    ends = {step.name: {"state": (states or {}).get(step.name, "passed")} for step in plan.steps}
    events: list[tuple[str, str | None, dict[str, Any]]] = [("run.started", None, options)]
    events += [("step.finished", name, data) for name, data in ends.items()]
    for number, (kind, name, data) in enumerate(events, 1):
        state.apply(Event(id=number, run=3, time=float(number), type=kind, step=name, data=data))
    return state


def chosen(
    plan: Plan, before: RunState, *start: str, lacking: dict[str, str] | None = None
) -> dict[str, tuple[str, str]]:
    found = choose(plan, before, start, lambda name: (lacking or {}).get(name, ""))
    return {name: (choice.fate, choice.why) for name, choice in found.items()}


def test_from_a_step_on_all_that_waits_for_it_runs_again() -> None:
    plan = make(*PIPELINE)

    assert chosen(plan, run(plan), "test.unit") == {
        "source": ("kept", "the same files as in run 3"),
        "build.app": ("kept", f"passed in run 3, {UNCHANGED}"),
        "test.unit": ("again", "asked for"),
        "scan.app": ("kept", f"passed in run 3, {UNCHANGED}"),
        "sign.it": ("again", "waits for test.unit, which runs again"),
        "deploy.live": ("again", "waits for sign.it, which runs again"),
    }


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("failed", "failed in run 3"),
        ("refused", "was refused in run 3"),
        ("cancelled", "was cancelled in run 3"),
        ("skipped", "was skipped in run 3"),
    ],
)
def test_what_did_not_pass_runs_again(state: str, why: str) -> None:
    plan = make(*PIPELINE)

    found = chosen(plan, run(plan, {"test.unit": state}))

    assert found["test.unit"] == ("again", why)
    assert found["scan.app"][0] == "kept"


def test_what_was_cut_off_or_never_began_runs_again() -> None:
    plan = make("build.app", "test.a", "test.b")
    before = RunState(plan, 3)
    for number, (kind, name) in enumerate((("run.started", None), ("step.started", "test.a")), 1):
        before.apply(Event(id=number, run=3, time=1.0, type=kind, step=name, data={}))

    found = chosen(plan, before)

    assert found["source"] == ("again", "had not begun in run 3")
    before.steps["source"].state = before.steps["build.app"].state = "passed"
    found = chosen(plan, before)
    assert found["test.a"] == ("again", "was cut off in run 3")
    assert found["test.b"] == ("again", "had not begun in run 3")


def test_a_failure_that_was_allowed_is_no_result_to_keep() -> None:
    plan = make("build.app", section("scan.app", allow_failure=True), "sign.it")

    found = chosen(plan, run(plan, {"scan.app": "failed"}), "sign.it")

    assert found["scan.app"] == ("again", "failed in run 3")


OTHER = {
    "a key of the core": (
        section("build.app", timeout=5),
        "build.app",
        "its section changed since run 3: timeout",
    ),
    "a setting": (
        section("build.app", settings={"run": "true"}),
        "build.app",
        "its section changed since run 3: run",
    ),
    "another plugin": (
        section("build.app", uses="other"),
        "build.app",
        "its section changed since run 3: uses",
    ),
    "many keys": (
        section("build.app", settings=dict.fromkeys("abcdef", 1)),
        "build.app",
        "its section changed since run 3: a, b, c, d and 2 more",
    ),
}


@pytest.mark.parametrize(("changed", "name", "why"), OTHER.values(), ids=OTHER)
def test_what_changed_in_the_configuration_runs_again(changed: Section, name: str, why: str) -> None:
    plan = make(changed, *PIPELINE[1:])

    found = chosen(plan, run(make(*PIPELINE)), "deploy.live")

    assert found[name] == ("again", why)
    assert found["test.unit"] == ("again", f"waits for {name}, which runs again")


def test_another_version_of_the_plugin_keeps_nothing_of_it() -> None:
    found = chosen(make(*PIPELINE, version="2"), run(make(*PIPELINE)), "deploy.live")

    assert found["source"][0] == "kept"
    assert found["build.app"] == ("again", "the plugin shell has another version than in run 3")


@pytest.mark.parametrize(
    ("name", "told", "why"),
    [
        ("test.unit", {"tests": {"quarantined": 1}}, "a test failed, in quarantine"),
        ("scan.app", {"exempted": True}, "a finding passed until a day only"),
    ],
)
def test_what_passed_until_a_day_only_runs_again(name: str, told: dict[str, Any], why: str) -> None:
    plan = make(*PIPELINE)
    before = run(plan)
    data = {"state": "passed", **told}
    before.apply(Event(id=99, run=3, time=99.0, type="step.finished", step=name, data=data))

    assert chosen(plan, before, "deploy.live")[name] == ("again", why)


def test_a_step_that_is_new_runs_and_so_does_what_waits_for_it() -> None:
    found = chosen(make("build.app", "build.more", "test.unit"), run(make("build.app", "test.unit")))

    assert found["build.more"] == ("again", "new since run 3")
    assert found["build.app"][0] == "kept"
    assert found["test.unit"] == ("again", "waits for build.more, which runs again")


def test_what_waited_for_a_step_that_is_gone_runs_again() -> None:
    found = chosen(make("build.app", "test.unit"), run(make("build.app", "build.more", "test.unit")))

    assert found["build.app"][0] == "kept"
    assert found["test.unit"] == ("again", "waits for other steps than in run 3")


def test_what_the_store_lacks_is_made_again() -> None:
    plan = make(*PIPELINE)

    found = chosen(plan, run(plan), "deploy.live", lacking={"scan.app": "its report is gone"})

    assert found["scan.app"] == ("again", "its report is gone")
    assert found["test.unit"][0] == "kept"


STAGED = ("build.app", "approve.a", "deploy.a", "verify.a", "approve.b", "deploy.b", "verify.b")


def test_nothing_of_an_environment_is_taken_over() -> None:
    plan = make(*STAGED)

    assert chosen(plan, run(plan), "deploy.b") == {
        "source": ("kept", "the same files as in run 3"),
        "build.app": ("kept", f"passed in run 3, {UNCHANGED}"),
        "approve.a": ("again", "an approval is good for one run"),
        "deploy.a": ("again", "what runs in a may have changed since run 3"),
        "verify.a": ("again", "says how a is now, not how it was in run 3"),
        "approve.b": ("again", "an approval is good for one run"),
        "deploy.b": ("again", "asked for"),
        "verify.b": ("again", "waits for deploy.b, which runs again"),
    }


def test_an_environment_is_left_out_where_nothing_before_or_behind_it_runs_again() -> None:
    after = section("scan.e2e", needs=["deploy.a"])
    plan = make("build.app", section("deploy.a", needs=["build.app"]), after, section("test.aside", needs=[]))
    # The default policy has the deployment wait for every test, and so for that one.
    bare = plan.model_copy(
        update={
            "steps": tuple(
                step.model_copy(update={"needs": step.needs[:1]}) if step.phase == "deploy" else step
                for step in plan.steps
            )
        }
    )
    bare = Plan(**{name: getattr(bare, name) for name in Plan.model_fields})

    found = chosen(bare, run(bare), "test.aside")

    assert found["test.aside"] == ("again", "asked for")
    assert found["build.app"][0] == "kept"
    assert found["deploy.a"] == ("left out", "nothing that it belongs to runs again")
    assert found["scan.e2e"] == ("left out", "nothing that it belongs to runs again")


def test_what_was_not_asked_for_is_not_asked_for_again() -> None:
    plan = make(*PIPELINE)
    selected = ["source", "build.app", "test.unit"]
    before = run(plan, dict.fromkeys(PIPELINE[2:], "skipped"), selected=selected)

    found = chosen(plan, before, "test.unit")

    assert [name for name, (fate, _) in found.items() if fate != "left out"] == selected
    assert found["sign.it"] == ("left out", "not asked for in run 3")


def test_what_was_kept_before_says_where_it_comes_from() -> None:
    plan = make(*PIPELINE)
    before = run(plan)
    before.steps["build.app"].state = "cached"
    before.steps["build.app"].origin = {"run": 1, "why": "…"}

    found = chosen(plan, before, "deploy.live")

    assert found["build.app"] == ("kept", f"passed in run 1, kept in run 3, {UNCHANGED}")


# --- whatever the plan ---


@st.composite
def cases(draw: st.DrawFn) -> tuple[Plan, RunState, list[str]]:
    """A plan, a run of perhaps another plan that it became, and the steps to run again."""
    phases = st.sampled_from(("build", "test", "scan", "sign", "publish", "approve", "deploy", "verify"))
    names = draw(st.lists(st.tuples(phases, st.sampled_from("abc")), min_size=1, max_size=9, unique=True))
    named = [f"{phase}.{name}" for phase, name in names]
    deployed = {name for phase, name in names if phase == "deploy"}
    kept = [n for n in named if not n.startswith(("approve", "verify")) or n[-1] in deployed]
    now: list[Section | str] = []
    then: list[Section | str] = []
    for at, name in enumerate(kept):
        needs = (
            draw(st.none() | st.lists(st.sampled_from(kept[:at]), max_size=2, unique=True)) if at else None
        )
        made = section(name, needs=needs)
        fate = draw(st.sampled_from(("same",) * 5 + ("changed", "new", "gone")))
        if fate != "gone" or any(
            name in (other.keys.needs or ()) for other in now if isinstance(other, Section)
        ):
            now.append(made)
        if fate == "changed":
            made = section(name, needs=needs, timeout=7)
        if fate != "new":
            then.append(made)
    try:
        plan, before = make(*now), make(*then)
    except Exception:
        plan = before = make("build.a", "test.a")
    states = {
        step.name: draw(st.sampled_from(("passed",) * 4 + ("failed", "skipped")))
        for step in before.steps
        if step.phase != "source"
    }
    start = draw(st.lists(st.sampled_from([step.name for step in plan.steps][1:] or ["source"]), max_size=2))
    return plan, run(before, states), start


@given(cases())
def test_what_is_kept_rests_on_nothing_but_what_is_kept_and_is_as_it_was(
    case: tuple[Plan, RunState, list[str]],
) -> None:
    plan, before, start = case

    found = choose(plan, before, start, lambda _: "")

    kept = {name for name, choice in found.items() if choice.fate == "kept"}
    for name in kept:
        behind = plan.closure([name], plan.waits_for) & plan.by_name.keys()
        assert behind <= kept
        assert behind == before.plan.closure([name], before.plan.waits_for) & before.plan.by_name.keys()
        assert before.steps[name].state == "passed"
        assert plan.by_name[name].phase not in ("approve", "deploy", "verify")
        assert plan.by_name[name].keys == before.plan.by_name[name].keys
    assert kept.isdisjoint(plan.closure(start, plan.dependents))


@given(cases())
def test_what_runs_again_has_all_that_it_needs(case: tuple[Plan, RunState, list[str]]) -> None:
    plan, before, start = case

    found = choose(plan, before, start, lambda _: "")

    again = [name for name, choice in found.items() if choice.fate == "again"]
    for name in plan.closure(again, plan.waits_for) & plan.by_name.keys():
        assert found[name].fate != "left out"
    assert set(start) <= set(again)
    assert all(isinstance(choice, Choice) and choice.why for choice in found.values())


def test_ten_thousand_steps_are_decided_on_at_once() -> None:
    plan = make(*(f"build.b{n}" for n in range(5000)), *(f"test.t{n}" for n in range(5000)))
    asked: list[str] = []

    def lacking(name: str) -> str:
        asked.append(name)
        return ""

    found = choose(plan, run(plan, {"test.t7": "failed"}), (), lacking)

    assert sum(choice.fate == "kept" for choice in found.values()) == 10000
    assert len(asked) == 9999
