"""Steps inside of what another has built: the edge, what is refused, and what a worker does with a launcher."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from penstock import insides, plan
from penstock.config import Keys, Project, Section
from penstock.errors import ConfigError
from penstock.model import Inside
from penstock.plugins import Plugins
from penstock.request import Request, Response
from pydantic import ValidationError

from core.tests.lab import Lab
from core.tests.lab import ask as answered

LAUNCHER = """
    import subprocess
    from penstock import Launcher, Settings, StepRefused

    class Local(Launcher):
        def __init__(self, artifact, limits, step):
            self.step, self.limits = step, limits

        def run(self, command, out, err, timeout):
            if "raise" in command.argv:
                raise ValueError("no such thing")
            if "refuse" in command.argv:
                raise StepRefused("another digest")
            assert all(place.is_absolute() for place in command.places)
            env = {"PATH": "/usr/bin:/bin", "FROM": "artifact", **command.env}
            done = subprocess.run(command.argv, cwd=command.cwd, env=env, capture_output=True)
            out(done.stdout)
            err(done.stderr)
            return done.returncode

        def close(self):
            self.step.log(f"closed, with {self.limits.memory} bytes")

    @hookimpl
    def penstock_launcher(artifact, limits, step):
        return Local(artifact, limits, step) if artifact.kind == "image" else None
"""
STEP = """
    from penstock import Settings, TestCase, TestReport

    class Do(Settings):
        run: tuple[str, ...] = ()
        here: tuple[str, ...] = ()

    @hookimpl
    def penstock_test(settings: Do, step):
        if settings.here:
            step.run(settings.here, outside=True)
        if settings.run:
            step.run(settings.run)
        return TestReport(tool="x", cases=(TestCase(name="a", outcome="passed"),))
"""


def image(name: str = "shop", kind: str = "image") -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "digest": "sha256:" + "1" * 64,
        "digests": {"image ID": "sha256:" + "2" * 64},
    }


def ask(lab: Lab, *made: dict[str, Any], secrets: dict[str, str] | None = None, **settings: Any) -> Response:
    inside = Inside.model_validate({"step": "build.image", "memory": "1MB"})
    request = lab.request(settings=settings, secrets=secrets or {})
    step = request.step.model_copy(update={"keys": Keys.model_validate({"inside": inside})})
    info = request.info.model_copy(update={"inside": inside})
    info = type(info).model_validate({**info.model_dump(), "candidates": made, "artifacts": made})
    whole = request.model_copy(update={"step": step, "info": info})
    plugins = lab.load(fake=STEP, launcher=LAUNCHER)
    # In a process of its own: at its end a worker ends all that runs below it.
    return answered(lab.pool(plugins), Request.model_validate(whole.model_dump()))


def statement(response: Response) -> dict[str, Any]:
    [reference] = response.data["evidence"]
    found: dict[str, Any] = json.loads(response.data["statements"][reference["statement"]])
    return found


# --- in a worker ---


def test_its_program_runs_there_and_the_evidence_names_what_it_ran_in(lab: Lab) -> None:
    script = "echo $FROM $PENSTOCK_STEP; echo to stderr >&2; pwd"

    response = ask(
        lab, image(), {**image("w", "wheel"), "digest": "sha256:" + "3" * 64}, run=["sh", "-c", script]
    )

    assert response.outcome == "passed", response.reason
    said = lab.log().splitlines()
    assert "artifact test.unit" in said
    assert "to stderr" in said
    assert said[-1] == "closed, with 1000000 bytes"
    inside = [each for each in statement(response)["predicate"]["configuration"] if "annotations" in each]
    assert inside == [
        {"name": "shop", "digest": {"sha256": "1" * 64}, "annotations": {"role": "inside"}},
        {"name": "shop (image ID)", "digest": {"sha256": "2" * 64}, "annotations": {"role": "inside"}},
    ]


def test_of_this_machine_s_environment_nothing_comes_along(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "yes")
    monkeypatch.setenv("TOKEN", "c0rrect horse")

    ask(lab, image(), run=["sh", "-c", 'echo "[$OURS]" "<$TOKEN>"'], secrets={"TOKEN": "env:TOKEN"})

    assert "[] <***>" in lab.log().splitlines()


def test_what_prepares_the_step_runs_here(lab: Lab) -> None:
    response = ask(lab, image(), here=["sh", "-c", 'test -z "$FROM"'], run=["sh", "-c", 'test -n "$FROM"'])

    assert response.outcome == "passed", response.reason


@pytest.mark.parametrize(
    ("made", "run", "outcome", "said"),
    [
        (
            [image()],
            [],
            "failed",
            r'\[test.unit\] inside = "build.image": its plugin has started no program there',
        ),
        ([image("w", "wheel")], ["true"], "failed", r"no enabled plugin can run .* which is w \(wheel\)"),
        ([], ["true"], "failed", "that step has made nothing in this run"),
        (
            [image("a"), image("b")],
            ["true"],
            "failed",
            "makes several things that a program can run inside of: a, b",
        ),
        ([image()], ["raise"], "error", "inside shop: ValueError: no such thing"),
        ([image()], ["refuse"], "refused", "another digest"),
        ([image()], ["false"], "failed", "false ended with status 1"),
    ],
)
def test_what_goes_wrong(
    lab: Lab, made: list[dict[str, Any]], run: list[str], outcome: str, said: str
) -> None:

    response = ask(lab, *made, run=run)

    assert response.outcome == outcome
    assert re.search(said, response.reason), response.reason
    if len(made) == 1 and made[0]["kind"] == "image" and run:
        assert "closed" in lab.log()


# --- in the plan ---


def section(name: str, **keys: Any) -> Section:
    made = Keys.model_validate({"uses": "shell", **keys})
    phase = name.partition(".")[0]
    return Section(name=name, phase=phase, keys=made, plugin="shell", settings={}, environment=None)


def made(*sections: Section) -> plan.Plan:
    project = Project(
        name="shop",
        root="/shop",
        digest="sha256:" + "0" * 64,
        plugins=("shell",),
        sections=(section("source"), *sections),
    )
    return plan.make(project, {"shell": "1"})


@pytest.mark.parametrize(
    ("keys", "needs"),
    [
        (
            {},
            {
                "after build (build.image, …)": "default order: test comes after",
                "build.image": "inside = build.image",
            },
        ),
        ({"needs": ["build.image"]}, {"build.image": "needs, inside = build.image"}),
        ({"needs": ["build.other"]}, {"build.other": "needs", "build.image": "inside = build.image"}),
        (
            {"needs": []},
            {
                "after source (source)": "every step starts from the source",
                "build.image": "inside = build.image",
            },
        ),
    ],
)
def test_the_step_waits_for_what_it_runs_in_and_the_plan_says_why(
    keys: dict[str, Any], needs: dict[str, str]
) -> None:
    found = made(
        section("build.image"), section("build.other"), section("test.a", inside="build.image", **keys)
    )

    assert {need.on: need.why for need in found.by_name["test.a"].needs} == needs


def test_a_build_step_may_run_in_what_another_makes() -> None:
    found = made(section("build.b", inside={"step": "build.a", "cpus": 2}), section("build.a"))

    assert [step.name for step in found.steps] == ["source", "build.a", "build.b"]


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            [section("test.a", inside="build.imag")],
            'there is no step "build.imag". Did you mean "build.image"?',
        ),
        (
            [section("test.a"), section("test.b", inside="test.a")],
            "test.a is no build step: it makes nothing that",
        ),
        (
            [section("build.b", inside="build.b")],
            "the step names itself, and runs before there is what it makes",
        ),
        (
            [section("build.b", inside="build.c"), section("build.c", inside="build.b")],
            "these steps wait for each other: build.b → build.c → build.b",
        ),
        (
            [section("build.b[py=1]"), section("build.b[py=2]"), section("test.a", inside="build.b")],
            "build.b is 2 steps, one of each variant. Name one of them, such as build.b[py=1]",
        ),
    ],
)
def test_what_can_not_be_meant(sections: list[Section], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(section("build.image"), *sections)

    assert said in str(caught.value)
    assert caught.value.key == "inside"


# --- in the configuration ---


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("512MB", 512_000_000),
        ("1.5GiB", 1_610_612_736),
        ("64m", 64_000_000),
        (" 8 KiB ", 8192),
        ("7", 7),
        (9, 9),
    ],
)
def test_amounts_of_memory(written: str | int, count: int) -> None:
    made = Inside.model_validate({"step": "build.a", "memory": written})

    assert made.memory == count
    assert Inside.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    "written", ["lots", "", "-1MB", "0", 0, -3, 1.5, True, "1XB", "9" * 40, 2**70, ["1MB"]]
)
def test_what_is_no_amount_of_memory(written: object) -> None:
    with pytest.raises(ValidationError, match="is not an amount of memory"):
        Inside.model_validate({"step": "build.a", "memory": written})


@pytest.mark.parametrize("written", [5, True, "", ["build.a"]])
def test_what_names_no_step(written: object) -> None:
    with pytest.raises(ValidationError, match="must be the name of a build step"):
        Keys.model_validate({"inside": written})


class Place:
    def error(self, section: str, key: str, message: str) -> str:
        return f"[{section}] {key}: {message}"


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        ("source", "has no place in this phase: nothing is built before there is a source. Leave it out"),
        ("sign", "has no place in this phase: evidence that comes later is signed"),
        ("approve", "has no place in this phase: a person's word needs no program"),
        ("deploy", "has no place in this phase: targets are changed from here"),
        (
            "verify",
            r"no enabled plugin can start a program inside of something that was built (enabled: none)",
        ),
    ],
)
def test_where_it_has_no_place(phase: str, said: str) -> None:
    errors: list[str] = []

    insides.check(Keys(inside=Inside(step="build.a")), f"{phase}.a", phase, Plugins(), Place(), errors)

    [error] = errors
    assert error.startswith(f"[{phase}.a] inside: {said}")
