"""A section with a matrix, through the command line: its variants run, are shown, needed and required by name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.projects import ROOT, Project

HEAD = '[penstock]\nplugins = ["git", "shell", "local"]\n'
BUILD = '[build.it]\nuses = "shell"\nrun = "echo it > it.txt"\nartifacts = ["it.txt"]\n'
UNIT = """
[test.unit]
uses = "shell"
run = 'echo "on $PY with $DB"; test "$PY" != "${FAILS:-}"'
matrix = { "env.PY" = ["3.11", "3.12"], "env.DB" = ["a/b", "none"], exclude = [{ "env.PY" = "3.11", "env.DB" = "none" }] }
"""
VARIANTS = [
    "test.unit[env.PY=3.11,env.DB=a_b]",
    "test.unit[env.PY=3.12,env.DB=a_b]",
    "test.unit[env.PY=3.12,env.DB=none]",
]


def pipeline(project: Project, *sections: str) -> Project:
    project.commit({"penstock.toml": HEAD + "\n".join(sections)})
    return project


def test_each_variant_is_a_step_with_log_and_evidence_of_its_own(project: Project) -> None:
    pipeline(project, BUILD, UNIT)

    project.passes("run")

    assert project.states() == dict.fromkeys(["source", "build.it", *VARIANTS], "passed")
    assert project.run("logs", "last", VARIANTS[1]).out.endswith("on 3.12 with a/b\n")
    every = project.run("logs", "last", "test.unit").out
    assert sorted(re.findall(r"^--- (.*)$", every, re.MULTILINE)) == VARIANTS
    assert sorted(re.findall(r"^on .*$", every, re.MULTILINE)) == [
        "on 3.11 with a/b",
        "on 3.12 with a/b",
        "on 3.12 with none",
    ]
    assert [step["name"] for step in project.json("show", "last", "test.unit")] == VARIANTS
    assert project.step(VARIANTS[2])["name"] == VARIANTS[2]
    verified = project.json("verify", project.digest("file"))
    assert {entry["step"] for entry in verified["evidence"]} == {"build.it", *VARIANTS}


@pytest.mark.parametrize(
    ("name", "runs"), [("test.unit", VARIANTS), (VARIANTS[1], [VARIANTS[1]])], ids=["all", "one"]
)
def test_only_runs_all_variants_or_the_one_that_is_named(
    project: Project, name: str, runs: list[str]
) -> None:
    pipeline(project, BUILD, UNIT)

    project.passes("run", "--only", name)

    assert [step for step, state in project.states().items() if state == "passed"] == [
        "source",
        "build.it",
        *runs,
    ]


def test_one_variant_may_fail_and_the_others_may_not(project: Project) -> None:
    text = '[test.unit]\nuses = "shell"\nrun = \'test "$PY" != "$FAILS"\'\nmatrix = { "env.PY" = ["3.14", "3.13"], include = [{ "env.PY" = "3.14", allow_failure = true }] }\n'
    pipeline(project, BUILD, text, '[test.after]\nuses = "shell"\nrun = "true"\nneeds = ["test.unit"]\n')

    project.passes("run", env={"FAILS": "3.14"})
    assert project.states()["test.unit[env.PY=3.14]"] == "failed"
    assert project.run("run", env={"FAILS": "3.13"}).code == 1
    assert project.states()["test.after"] == "skipped"


def test_a_deployment_waits_for_every_variant_that_its_policy_names(project: Project, tmp_path: Path) -> None:
    deploy = f'[deploy.live]\nuses = "local"\ndirectory = "{tmp_path / "live"}"\nrun = ["sleep", "60"]\n[policy.live]\nrequire = ["test.unit"]\n'
    pipeline(project, BUILD, UNIT, deploy)
    [step] = [step for step in project.json("plan")["steps"] if step["name"] == "deploy.live"]
    assert step["requires"] == VARIANTS

    assert project.run("run", env={"FAILS": "3.12"}).code == 1

    assert project.states()["deploy.live"] == "skipped"


def test_builds_that_give_one_name_to_two_files_are_not_deployed(project: Project, tmp_path: Path) -> None:
    build = '[build.it]\nuses = "shell"\nrun = "echo $N > it.txt"\nartifacts = ["it.txt"]\nmatrix = { "env.N" = ["1", "2"] }\n'
    unit = '[test.one]\nuses = "shell"\nrun = "true"\nneeds = ["build.it[env.N=2]"]\n'
    deploy = f'[deploy.live]\nuses = "local"\ndirectory = "{tmp_path / "live"}"\nrun = ["sleep", "60"]\n[policy.live]\nrequire = []\n'
    pipeline(project, build, unit, deploy)

    assert project.run("run").code == 1

    assert re.match(
        r"it\.txt was built twice, as \w+…\w+ and as \w+…\w+ \(one artifact of a name\)\.",
        project.step("deploy.live")["reason"],
    )
    about = [
        project.step(name)["artifacts"][0]["digest"] for name in ("build.it[env.N=1]", "build.it[env.N=2]")
    ]
    proofs = [{entry["step"] for entry in project.json("verify", digest)["evidence"]} for digest in about]
    assert ["test.one" in proof for proof in proofs] == [False, True]


FAULTS = {
    "no key": (
        '[test.unit]\nuses = "shell"\nmatrix = { rum = ["true"] }\nrun = "true"\n',
        'penstock.toml:5: [test.unit] matrix.rum: there is no such key. Did you mean "run"?',
    ),
    "not the key's value": (
        '[test.unit]\nuses = "shell"\nrun = "true"\n\n[test.unit.matrix]\nretries = [1]\ntimeout = [\n  "5 minutes",\n]\n',
        'penstock.toml:9: [test.unit] matrix.timeout: "5 minutes" is not a duration. Durations are such as',
    ),
    "no string for a variable": (
        '[test.unit]\nuses = "shell"\nrun = "true"\nmatrix."env.N" = [1]\n',
        "penstock.toml:6: [test.unit] matrix.env.N: must be a string, and not 1",
    ),
    "a key of another phase": (
        '[test.unit]\nuses = "shell"\nrun = "true"\nmatrix = { rollout = [1] }\n',
        "penstock.toml:6: [test.unit] matrix.rollout: belongs in a deploy section",
    ),
    "a fault of the section itself, once": (
        '[test.unit]\nuses = "shell"\nrum = "true"\nmatrix = { "env.N" = ["1", "2"], retries = [1, 2] }\n',
        "penstock.toml:5: [test.unit] rum: there is no such key.",
    ),
    "a phase without variants": (
        '[deploy.live]\nuses = "local"\nmatrix = { port = [1, 2] }\n',
        "penstock.toml:5: [deploy.live] matrix: has no place in this phase: what goes to several places has several",
    ),
    "too many": (
        f'[test.unit]\nuses = "shell"\nrun = "true"\nmatrix = {{ retries = {list(range(17))}, timeout = {list(range(1, 17))} }}\n',
        "penstock.toml:6: [test.unit] matrix: has 272 combinations; at most 256 are allowed",
    ),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_wrong_matrix_is_named_with_its_place(project: Project, text: str, message: str) -> None:
    done = pipeline(project, text).run("validate")

    assert done.code == 2
    assert done.err.startswith(f"penstock: {message}")
    assert done.err.count("rum: ") == message.count("rum: ")


def test_the_schema_completes_the_keys_of_a_matrix(project: Project) -> None:
    schema = json.loads(pipeline(project, BUILD).passes("schema").out)

    def choice(phase: str) -> Any:
        return schema["properties"][phase]["additionalProperties"]["oneOf"][0]

    own = choice("test")["properties"]["matrix"]["properties"]
    assert own["retries"] == {
        "type": "array",
        "minItems": 1,
        "items": choice("test")["properties"]["retries"],
    }
    assert {"run", "timeout", "include", "exclude"} <= set(own)
    assert "uses" not in own
    assert choice("test")["required"] == ["uses"]
    assert "matrix" not in choice("deploy")["properties"]


def test_the_page_about_it_is_right(project: Project) -> None:
    page = (ROOT / "docs" / "how-to" / "matrix.md").read_text()
    plugins = '[penstock]\nplugins = ["git", "python", "pytest", "local"]\n'
    for text in re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        project.write({"penstock.toml": plugins + text})
        named = {step["name"] for step in project.json("plan")["steps"]}
        told = re.findall(r"^# makes (.*)$", text, re.MULTILINE)
        assert told
        assert {name for line in told for name in line.split(" and ")} <= named
