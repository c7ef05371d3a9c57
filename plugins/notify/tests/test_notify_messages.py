from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import COMMIT, DIGEST, Record, revision

RELEASE = {"digest": DIGEST, "environment": "production", "revision": revision("main"), "artifacts": []}


def ended(record: Record, state: str, ref: str | None = "main", step: str = "test.unit", **data: Any) -> int:
    run = record.began(ref, **data)
    reason = "" if state == "passed" else "1 of 212 failed\nE assert"
    record.tell(run, "step.finished", step, state=state, reason=reason)
    record.tell(run, "run.finished", state=state)
    return run


def test_a_failure_says_what_failed_and_where_to_look(record: Record) -> None:
    ended(record, "failed")

    [message] = record.about()

    assert json.loads(message.as_json) == {
        "id": message.id,
        "kind": "failure",
        "project": "shop",
        "run": 1,
        "time": 4.0,
        "title": "shop: run 1 failed at test.unit",
        "look": "penstock show 1",
        "ref": "main",
        "commit": COMMIT,
        "author": "Ana <ana@example.com>",
        "subject": "Fix the refund",
        "environment": None,
        "step": "test.unit",
        "reason": "1 of 212 failed",
        "text": "revision: 4f2c1e9 main, Fix the refund, Ana <ana@example.com>\n"
        "step: test.unit\nreason: 1 of 212 failed\nlook: penstock show 1",
    }


def test_the_same_event_has_the_same_id_and_another_another(record: Record) -> None:
    ended(record, "failed")
    first, again = record.about(), record.about()
    ended(record, "failed")
    [other] = record.about()

    assert first == again
    assert other.id != first[0].id
    assert len(other.id) == 32


BEFORE: dict[str, tuple[list[tuple[str, str | None]], list[str]]] = {
    "it failed": ([("failed", "main")], ["recovery"]),
    "it was refused": ([("refused", "main")], ["recovery"]),
    "it passed": ([("failed", "main"), ("passed", "main")], []),
    "there was none": ([], []),
    "another branch failed": ([("failed", "dev")], []),
    "it failed, then was cancelled": ([("failed", "main"), ("cancelled", "main")], ["recovery"]),
    "it failed, and another branch passed": ([("failed", "main"), ("passed", "dev")], ["recovery"]),
    "without a branch it failed": ([("failed", None)], []),
}
PARTS: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "another step failed": ([{"state": "failed", "step": "test.e2e"}], []),
    "it failed, then another part passed": (
        [{"state": "failed"}, {"state": "passed", "step": "test.e2e"}],
        ["recovery"],
    ),
    "it failed, then a rollback passed": (
        [{"state": "failed"}, {"state": "passed", "release": RELEASE}],
        ["recovery"],
    ),
    "it failed, then that part passed": ([{"state": "failed"}, {"state": "passed"}], []),
}


@pytest.mark.parametrize("case", PARTS)
def test_a_run_of_some_steps_says_nothing_about_the_others(record: Record, case: str) -> None:
    earlier, kinds = PARTS[case]
    for each in earlier:
        ended(record, **each)
    ended(record, "passed")

    assert [message.kind for message in record.about()] == kinds


def test_a_rollback_is_no_recovery(record: Record) -> None:
    ended(record, "failed")
    ended(record, "passed", release=RELEASE)
    assert record.about() == []


@pytest.mark.parametrize("case", BEFORE)
def test_a_recovery_is_the_first_pass_after_a_failure_on_the_branch(record: Record, case: str) -> None:
    earlier, kinds = BEFORE[case]
    for state, ref in earlier:
        ended(record, state, ref)
    run = ended(record, "passed")

    found = record.about()

    assert [message.kind for message in found] == kinds
    if found:
        assert found[0].title == f"shop: run {run} passed: it works again on main"


@pytest.mark.parametrize("state", ["cancelled", "passed"])
def test_other_ends_are_not_told(record: Record, state: str) -> None:
    ended(record, state)
    assert record.about() == []


def test_waiting_is_told_once_however_often_the_run_is_resumed(record: Record) -> None:
    run = record.began()
    record.tell(run, "approval.requested", "approve.production", reason="r")
    record.tell(run, "run.waiting", state="waiting")
    [message] = record.about()
    assert (message.kind, message.environment, message.step) == (
        "waiting",
        "production",
        "approve.production",
    )
    assert message.title == "shop: run 1 waits for approval: approve.production"
    assert message.look == "penstock approve 1"

    record.tell(run, "run.resumed", steps=[])
    record.tell(run, "run.waiting", state="waiting")
    assert record.about() == []

    record.tell(run, "approval.given", "approve.production", approval={})
    record.tell(run, "step.finished", "approve.production", state="passed")
    record.tell(run, "approval.requested", "approve.abroad", reason="r")
    record.tell(run, "run.waiting", state="waiting")
    assert [message.step for message in record.about()] == ["approve.abroad"]


def deploy(record: Record, state: str, *, restored: bool | None = None, **data: Any) -> None:
    run = record.began(**data)
    record.tell(run, "rollout.began", "deploy.production", release=RELEASE, targets=["web-1"])
    if restored is not None:
        record.tell(run, "rollout.ended", "deploy.production", op="restore", target="web-1", ok=restored)
    record.tell(
        run,
        "step.finished",
        "deploy.production",
        state=state,
        reason="web-1 is unhealthy" * (state != "passed"),
    )


@pytest.mark.parametrize(
    ("given", "kind", "title"),
    [
        ({"state": "passed"}, "deployed", "shop: run 1: 9b1f9b1f9b1f deployed to production"),
        (
            {"state": "passed", "release": RELEASE},
            "rolled back",
            "shop: run 1: production rolled back to 9b1f9b1f9b1f",
        ),
        (
            {"state": "failed", "restored": True},
            "rolled back",
            "shop: run 1: production was put back: deploying 9b1f9b1f9b1f failed",
        ),
        ({"state": "failed", "restored": False}, None, None),
        ({"state": "failed"}, None, None),
    ],
    ids=["deployed", "rolled back", "put back", "not put back", "failed before anything was changed"],
)
def test_what_became_of_a_deployment(
    record: Record, given: dict[str, Any], kind: str | None, title: str | None
) -> None:
    deploy(record, **given)

    found = record.about()

    assert [(message.kind, message.title) for message in found] == ([] if kind is None else [(kind, title)])
    assert all(message.environment == "production" and message.commit == COMMIT for message in found)


def test_a_deploy_step_that_was_refused_at_the_gate_has_changed_nothing(record: Record) -> None:
    run = record.began()
    record.tell(run, "step.finished", "deploy.production", state="refused", reason="no scan")
    assert record.about() == []


def test_a_commit_that_watch_could_not_run(record: Record) -> None:
    record.tell(0, "change.refused", ref="main", commit=COMMIT, reason="penstock.toml:3: wrong\nmore")

    [message] = record.about()

    assert (message.kind, message.run, message.title) == (
        "failure",
        None,
        "shop: 4f2c1e9 of main can't be run",
    )
    assert message.text == (
        "revision: 4f2c1e9 main\nreason: penstock.toml:3: wrong\nlook: penstock run --rev 4f2c1e900000"
    )
