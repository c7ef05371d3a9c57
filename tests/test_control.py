"""How steps are controlled: conditions, parameters, shared keys, labels and retries, as a user sees them."""

from __future__ import annotations

import json

from tests.projects import Project

HEAD = """
[penstock]
plugins = ["git", "shell", "sigstore", "local"]

[parameters]
deploy = { default = "no", choices = ["yes", "no"] }
times = 2
"""
BUILD = """
[build.box]
uses = "shell"
run = "echo $PENSTOCK_PARAM_DEPLOY $PENSTOCK_PARAM_TIMES > box.txt; cat src.txt >> box.txt"
artifacts = ["box.txt"]
"""


def a_test(name: str, when: str = "", run: str = "true") -> str:
    condition = f"when = '{when}'\n" if when else ""
    return f'[test.{name}]\nuses = "shell"\nrun = "{run}"\n{condition}'


def deploy(project: Project, *environments: str, when: str = "") -> str:
    project.deployed = []
    condition = f"when = '{when}'\n" if when else ""
    return "".join(
        f'[deploy.{name}]\nuses = "local"\ndirectory = "{project.root.parent / name}"\n{condition}'
        for name in environments
    )


def pipeline(project: Project, *sections: str) -> Project:
    project.commit({"penstock.toml": HEAD + "\n".join(sections), "src.txt": "one\n"})
    return project


def released(project: Project, environment: str) -> bool:
    return (project.root.parent / environment / "current").exists()


# --- conditions ---


def test_what_a_condition_leaves_out_is_skipped_and_says_why(project: Project) -> None:
    pipeline(
        project,
        BUILD,
        a_test("src", 'changed("src.txt")'),
        a_test("docs", 'not changed_only("docs/**")'),
        deploy(project, "live", when='ref == "main" and param.deploy == "yes"'),
        '[verify.live]\nuses = "shell"\nrun = "true"\n',
    )
    first = project.passes("run").out
    assert '– deploy.live  not started: when: param.deploy == "yes" is false (param.deploy is "no")' in first
    assert "– verify.live  not started: deploy.live was skipped" in first
    project.commit({"docs/index.md": "new"})

    second = project.passes("run", "--set", "deploy=yes").out

    assert '– test.src     not started: when: changed("src.txt") is false, since run 1' in second
    assert project.states() == {
        "source": "passed",
        "build.box": "passed",
        "test.src": "skipped",
        "test.docs": "skipped",
        "deploy.live": "passed",
        "verify.live": "passed",
    }
    assert project.step("deploy.live")["summary"].endswith("healthy")
    assert '    ! without test.src: skipped, when: changed("src.txt") is false, since run 1' in second
    assert released(project, "live")
    project.commit({"src.txt": "two\n"})
    project.passes("run", "--only", "test.src")
    assert project.states()["test.src"] == "passed"


def test_an_unsigned_release_is_not_deployed_whatever_was_left_out(project: Project) -> None:
    sign = '[sign.it]\nuses = "sigstore"\nwhen = \'param.deploy == "yes"\'\n'
    pipeline(project, BUILD, a_test("unit"), sign, deploy(project, "live"))

    done = project.run("run")

    assert done.code == 1
    assert "deploy.live  refused: the provenance of build.box is not signed (the default policy)" in done.out
    assert not released(project, "live")


def test_what_a_policy_names_is_asked_for_though_its_condition_left_it_out(project: Project) -> None:
    policy = '[policy.live]\nrequire = ["provenance", "test.slow"]\n'
    slow = a_test("slow", 'param.deploy == "yes"')
    pipeline(project, BUILD, a_test("unit"), slow, deploy(project, "live"), policy)

    done = project.run("run")

    assert done.code == 1
    reason = project.step("deploy.live")["reason"]
    assert reason.endswith(
        'is on record: it was skipped, when: param.deploy == "yes" is false (param.deploy is "no") (policy.live). '
        "Have it run, or give the deploy step the same condition."
    )
    assert not released(project, "live")
    project.passes("run", "--set", "deploy=yes")
    assert released(project, "live")


def test_a_policy_that_asks_for_tests_is_not_content_with_none(project: Project) -> None:
    policy = '[policy.live]\nrequire = ["tests"]\n'
    tests = [a_test("fast", 'env("FAST") == "yes"'), a_test("slow", 'env("SLOW") == "yes"')]
    pipeline(project, BUILD, *tests, deploy(project, "live"), policy)

    assert project.run("run").code == 1
    assert project.step("deploy.live")["state"] == "refused"
    assert not released(project, "live")
    project.passes("run", env={"FAST": "yes"})
    assert project.states()["test.slow"] == "skipped"
    assert released(project, "live")


def test_an_environment_without_its_approval_is_left_alone(project: Project) -> None:
    approve = "[approve.live]\nwhen = 'ref == \"release\"'\n"
    pipeline(project, BUILD, approve, deploy(project, "live"))

    project.passes("run")

    assert project.states()["approve.live"] == "skipped"
    assert project.step("deploy.live")["reason"] == "approve.live was skipped"
    assert not released(project, "live")


def test_a_decision_is_kept_when_the_run_goes_on(project: Project) -> None:
    """The journal has it: another environment variable, or another file, does not change it."""
    sections = [
        a_test("here", 'env("HERE") == "yes"'),
        "[approve.live]\n",
        deploy(project, "live"),
        '[verify.live]\nuses = "shell"\nrun = "test $PENSTOCK_PARAM_TIMES = 7"\nwhen = \'env("THERE") == "yes"\'\n',
    ]
    pipeline(project, BUILD, *sections)
    assert project.run("run", "--set", "times=7").code == 3
    assert project.states()["test.here"] == "skipped"

    project.passes("approve", env={"HERE": "yes", "THERE": "yes"})

    assert project.states()["test.here"] == "skipped"
    assert project.states()["verify.live"] == "passed"
    assert project.json("show")["parameters"] == {"deploy": "no", "times": 7}
    assert "Parameters: deploy = no, times = 7\n" in project.run("show").out


def test_each_variant_has_a_condition_of_its_own(project: Project) -> None:
    matrix = 'matrix = { "env.PY" = ["3.11", "3.12"], retries = [1, 2] }\n'
    when = "when = 'matrix.env.PY == \"3.12\" and matrix.retries != 1'\n"
    pipeline(project, f'[test.unit]\nuses = "shell"\nrun = "true"\n{matrix}{when}')

    project.passes("run")

    assert [name for name, state in project.states().items() if state == "passed"] == [
        "source",
        "test.unit[env.PY=3.12,retries=2]",
    ]


# --- parameters ---


def test_parameters_are_in_the_environment_in_the_plan_and_in_the_provenance(project: Project) -> None:
    pipeline(project, BUILD)

    project.passes("run", "--set", "deploy=yes", "--set", "times=-3")

    assert project.stored(project.digest("file")).read_text() == "yes -3\none\n"
    project.passes("verify", project.digest("file"))  # puts what it reads into the store
    started = json.loads(project.run("run", "--json", "--set", "deploy=yes").out.splitlines()[0])
    assert started["data"]["parameters"] == {"deploy": "yes", "times": 2}
    evidence = [
        json.loads(path.read_bytes())
        for path in (project.root / ".penstock" / "artifacts").glob("??/*")
        if b"slsa.dev/provenance" in path.read_bytes()
    ]
    given = [e["predicate"]["buildDefinition"]["externalParameters"]["parameters"] for e in evidence]
    assert {"deploy": "yes", "times": -3} in given
    assert project.json("plan")["digest"] != project.json("plan", "--set", "times=3")["digest"]
    assert "  times = 3\n" in project.run("plan", "--set", "times=3").out


# --- labels, retries, shared keys ---


def test_a_label_that_nothing_here_has_is_refused_before_anything_is_written(project: Project) -> None:
    pipeline(project, a_test("gpu") + 'labels = ["local", "gpu"]\n')

    done = project.run("run")

    assert done.code == 2
    line = 1 + (project.root / "penstock.toml").read_text().partition("labels")[0].count("\n")
    assert (
        f'penstock.toml:{line}: [test.gpu] labels: nothing that runs steps here offers "gpu". What is offered: '
        in (done.err)
    )
    assert project.json("runs") == []
    project.passes("validate")


def test_a_label_is_refused_at_its_step_where_a_condition_could_have_spared_it(project: Project) -> None:
    when = 'when = \'env("GPU") == "yes"\'\n'
    pipeline(
        project,
        a_test("gpu") + f'labels = {{ accelerator = "gpu" }}\n{when}',
        a_test("all") + 'labels = ["local"]\n',
    )

    project.passes("run")
    assert project.states()["test.gpu"] == "skipped"
    assert project.run("run", env={"GPU": "yes"}).code == 1
    assert project.step("test.gpu")["state"] == "refused"
    assert '"accelerator=gpu"' in project.step("test.gpu")["reason"]


def test_what_is_tried_again_and_after_what(project: Project) -> None:
    table = 'retries = { times = 1, backoff = "10ms", on = ["timeout"] }\n'
    sections = [
        a_test("slow", run="sleep 60") + f'timeout = "300ms"\n{table}',
        a_test("bad", run="false") + table,
        a_test("number", run="sleep 60") + 'timeout = "300ms"\nretries = 1\n',
    ]
    pipeline(project, *sections)

    assert project.run("run").code == 1
    attempts = {step["name"]: step["attempts"] for step in project.json("show")["steps"]}
    assert attempts == {"source": 1, "test.slow": 2, "test.bad": 1, "test.number": 1}


def test_steps_share_the_keys_of_their_phase(project: Project) -> None:
    shared = '[defaults.test]\nuses = "shell"\nenv = { A = "shared", B = "shared" }\n'
    own = "[test.own]\nrun = \"test $A$B = sharedown\"\nenv = { B = 'own' }\n"
    pipeline(project, shared, own, '[test.all]\nrun = "test $A$B = sharedshared"\n')

    project.passes("run")

    assert project.states() == {"source": "passed", "test.own": "passed", "test.all": "passed"}


def test_tab_offers_parameters(project: Project) -> None:
    pipeline(project, BUILD)
    env = {"_PENSTOCK_COMPLETE": "bash_complete", "COMP_WORDS": "penstock run --set ", "COMP_CWORD": "3"}

    assert project.run(env=env).out.splitlines() == ["plain,deploy=yes", "plain,deploy=no", "plain,times="]
