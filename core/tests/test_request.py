from __future__ import annotations

from typing import Any

import pytest
from penstock import plan, request
from penstock.config import Keys, Project, Section
from penstock.model import Event
from penstock.request import Request, make_request
from penstock.state import RunState

A, B, C = ("sha256:" + letter * 64 for letter in "abc")


def section(name: str, *, settings: dict[str, Any] | None = None, **keys: Any) -> Section:
    phase, _, own = name.partition(".")
    environment = own if phase in ("approve", "deploy", "verify") else None
    made = Keys.model_validate({"uses": "shell", **keys})
    return Section(
        name=name, phase=phase, keys=made, plugin=made.uses, settings=settings or {}, environment=environment
    )


SECTIONS = (
    section("source"),
    section("build.a", secrets={"TOKEN": "env:PYPI", "K": "file:/k"}, env={"X": "1"}),
    section("test.unit", secrets={"DB": "env:DB"}),
    section("sign.it", secrets={"PASS": "env:PASS"}),
    section("approve.live", uses=None, settings={"expires": 60}),
    section("deploy.live"),
)


class Run:
    def __init__(self, **options: Any) -> None:
        made = plan.make(Project(name="shop", root="/", digest=C, plugins=(), sections=SECTIONS), {})
        self.plan, self.state = made, RunState(made, 7)
        self.count = 0
        self.tell("run.started", **options)

    def tell(self, kind: str, step: str | None = None, **data: Any) -> None:
        self.count += 1
        self.state.apply(Event(id=self.count, run=7, time=1.0, type=kind, step=step, data=data))

    def finish(self, step: str, **data: Any) -> None:
        self.tell("step.started", step)
        self.tell("step.finished", step, state="passed", **data)

    def request(self, step: str, kind: str = "hook", **more: Any) -> Request:
        return make_request(self.plan, self.state, step, kind, **more)


def reference(step: str, statement: str = A, **more: Any) -> dict[str, Any]:
    return {"step": step, "predicate_type": "t", "statement": statement, **more}


BUILT = {
    "artifacts": [{"name": "x", "kind": "file", "digest": A}],
    "evidence": [reference("build.a")],
}


def signed() -> Run:
    run = Run()
    run.finish("source", revision={"commit": "4f2c1e9"})
    run.finish("build.a", **BUILT)
    run.finish("test.unit", evidence=[reference("test.unit", B)])
    bundles = {"bundles": ["b"], "signers": ["key:1"]}
    run.finish("sign.it", evidence=[reference("build.a", **bundles), reference("test.unit", B, **bundles)])
    return run


def test_a_request_says_all_that_a_worker_needs_to_know() -> None:
    run = Run()
    run.finish("source", revision={"commit": "4f2c1e9"})
    run.finish("build.a", **BUILT)
    run.tell("step.started", "test.unit")

    made = run.request("test.unit")

    assert (made.kind, made.step.name, made.pipeline, made.config) == ("hook", "test.unit", "shop", C)
    info = made.info
    assert (info.run, info.attempt, info.plan, info.environment) == (7, 1, run.plan.digest, None)
    assert info.revision.commit == "4f2c1e9"
    assert [artifact.name for artifact in info.artifacts] == ["x"]
    assert made.evidence == ()
    assert Request.model_validate_json(made.model_dump_json()) == made


def test_a_kind_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="kind"):
        Run().request("source", "anything")


def test_a_step_is_handed_its_own_secrets_and_those_of_others_are_hidden() -> None:
    run = Run()

    build, test = run.request("build.a").info, run.request("test.unit").info

    assert build.secrets == {"TOKEN": "env:PYPI", "K": "file:/k"}
    assert build.hidden == ("DB", "PASS")
    assert build.env == {"X": "1"}
    assert test.hidden == ("PASS", "PYPI")


def test_the_sign_step_is_asked_about_signatures_always_and_signs_once_it_has_passed() -> None:
    run = Run()
    assert run.request("build.a").signer is None
    trust = run.request("build.a").trust
    assert trust is not None
    assert trust.name == "sign.it"

    signer = signed().request("deploy.live").signer

    assert signer is not None
    assert signer.name == "sign.it"


def test_evidence_goes_where_it_is_judged_or_signed() -> None:
    run = signed()

    assert run.request("deploy.live").evidence == ()
    assert len(run.request("deploy.live", "admit").evidence) == 2
    assert len(run.request("sign.it").evidence) == 2


def test_the_signed_statement_takes_the_place_of_the_unsigned() -> None:
    run = signed()

    assert [(entry.step, entry.signers) for entry in request.evidence_so_far(run.plan, run.state)] == [
        ("build.a", ("key:1",)),
        ("test.unit", ("key:1",)),
    ]


def test_evidence_of_what_is_not_behind_a_step_is_left_out() -> None:
    run = Run()
    run.finish("source")
    run.finish("build.a", **BUILT)
    run.finish("test.unit", evidence=[reference("test.unit", B)])

    found = request.evidence_so_far(run.plan, run.state, "test.unit")

    assert [entry.step for entry in found] == ["build.a", "test.unit"]
    assert [entry.step for entry in request.evidence_so_far(run.plan, run.state, "build.a")] == ["build.a"]


def test_a_release_that_comes_back_needs_an_earlier_deployment_and_signatures_only() -> None:
    release = {"digest": B, "artifacts": [], "revision": {}, "run": 3, "environment": "live"}
    run = Run(selected=["deploy.live"], release=release, evidence=[reference("build.a", C)])

    made = run.request("deploy.live", "admit")

    assert made.step.requires == ("deployment", "signature")
    assert [entry.statement for entry in made.evidence] == [C]
    assert made.signer is not None


@pytest.mark.parametrize(
    ("digests", "known_as"),
    [([A], A), ([A, B], request.release_digest([B, A]))],
    ids=["one", "two in any order"],
)
def test_what_a_release_is_known_by(digests: list[str], known_as: str) -> None:
    assert request.release_digest(digests) == known_as
    assert request.release_digest([A, B]) not in (A, B, request.release_digest([A, C]))


def test_an_approval_is_bound_to_what_the_step_would_let_through() -> None:
    run = signed()

    given = request.approval_of(run.state, "approve.live", "ana", "good", 100.0)

    assert given.model_dump() == {
        "by": "ana",
        "proved": False,
        "why": "good",
        "environment": "live",
        "artifacts": (A,),
        "plan": run.plan.digest,
        "given": 100.0,
        "expires": 160.0,
    }
