"""The lines about a step that is over: of a deployment that failed, one for each target."""

from __future__ import annotations

from typing import Any

from penstock.cli.lines import Look, step_lines
from penstock.keys import Rollout
from penstock.model import Release
from penstock.progress import RESTORE_TRIES, RolloutState
from penstock.state import StepState

RELEASE = Release.model_validate(
    {"digest": "sha256:" + "a" * 64, "artifacts": [], "revision": {}, "run": 1, "environment": "live"}
)


def deployed(*targets: str, then: list[tuple[str, str, dict[str, Any]]]) -> StepState:
    """A deploy step that failed, by what happened to its targets."""
    rollout = RolloutState.begin(Rollout(), RELEASE, targets)
    for kind, target, data in then:
        rollout.started(target, kind, 0.0)  # type: ignore[arg-type]  # one of the four
        rollout.ended(target, kind, data, 0.0)  # type: ignore[arg-type]
    return StepState(state="failed", reason="in one line", rollout=rollout)


def observed(*targets: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [("observe", target, {"ok": True, "state": {}}) for target in targets]


def test_each_target_that_was_put_back_has_a_line() -> None:
    step = deployed(
        "web-1",
        "web-2",
        then=[
            *observed("web-1", "web-2"),
            ("apply", "web-1", {"ok": True}),
            ("apply", "web-2", {"ok": False, "detail": "the disk is full"}),
            *(("restore", "web-1", {"ok": False, "detail": "no route"}) for _ in range(RESTORE_TRIES)),
            ("restore", "web-2", {"ok": True}),
        ],
    )

    assert step_lines("deploy.live", step, 12, Look()) == [
        "✗ deploy.live  web-2 could not be changed: the disk is full",
        "    web-1  COULD NOT BE PUT BACK: no route",
        "    web-2  put back to what ran before",
    ]


def test_where_nothing_was_changed_it_says_so() -> None:
    step = deployed("web-1", then=[("observe", "web-1", {"ok": False, "detail": "no route"})])

    assert step_lines("deploy.live", step, 12, Look()) == [
        "✗ deploy.live  web-1 can't be observed: no route",
        "    nothing was changed",
    ]


def test_of_many_targets_some_are_named() -> None:
    names = [f"web-{number}" for number in range(20)]
    then = [*observed(*names), *(("apply", name, {"ok": False, "detail": "no"}) for name in names)]
    step = deployed(*names, then=[*then, *(("restore", name, {"ok": True}) for name in names)])

    lines = step_lines("deploy.live", step, 12, Look())

    assert len(lines) == 14
    assert lines[-1] == "    and 8 more"
