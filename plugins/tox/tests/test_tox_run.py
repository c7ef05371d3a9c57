"""The hook with the real tox. Its environments are Python's own, without any requirement: no network."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from penstock import StepFailed, StepRefused, TestReport
from penstock.testing import StepMaker
from penstock_tox import Tox, penstock_test, program, workdir

Outcomes = Callable[[TestReport], dict[str, str]]
MakeWheel = Callable[..., Path]

DEMO = {"demo/__init__.py": "def answer():\n    return 42\n"}


def ini(text: str, core: str = "env_list = a") -> dict[str, str]:
    """A tox.ini whose environments need nothing, and the toy project in a src layout."""
    head = f"[tox]\n{core}\n[testenv]\nbase_python = python3\npackage = wheel\n"
    return {"tox.ini": head + text, "src/demo/__init__.py": DEMO["demo/__init__.py"]}


def test_each_environment_is_a_case_and_installs_the_wheel_that_was_built(
    bench, make_wheel: MakeWheel, outcomes: Outcomes
) -> None:
    wheel = make_wheel({"demo/__init__.py": "def answer():\n    return 43\n"})
    files = ini(
        """
commands = python -c "import demo; print('got', demo.answer(), demo.__file__)"
[testenv:fails]
skip_install = true
commands =
    python -c "print('so far so good')"
    python -c "import sys; print('out'); print('a < b', file=sys.stderr); sys.exit(3)"
[testenv:dash]
skip_install = true
commands = - python -c "raise SystemExit(4)"
[testenv:ignored]
skip_install = true
ignore_outcome = true
commands = python -c "raise SystemExit(5)"
[testenv:empty]
skip_install = true
commands =
[testenv:missing]
base_python = python3.99
""",
        core="env_list = a, fails, dash, ignored, empty, missing",
    )

    report = bench(files, wheel)

    assert re.fullmatch(r"tox 4\.\d+\.\d+", report.tool)
    assert outcomes(report) == {
        "a": "passed",
        "fails": "failed",
        "dash": "passed",
        "ignored": "skipped",
        "empty": "skipped",
        "missing": "skipped",
    }
    cases = {case.name: case for case in report.cases}
    assert "got 43 " in bench.log
    assert "/site-packages/demo/__init__.py" in bench.log
    message = cases["fails"].message or ""
    assert message.startswith("`python -c 'import sys; ")
    assert message.endswith("` ended with 3\nout\na < b")
    assert cases["fails"].output == "out\na < b"
    assert cases["ignored"].message == (
        "`python -c 'raise SystemExit(5)'` ended with 5. ignore_outcome says that this does not count"
    )
    assert cases["empty"].message == "it has no commands"
    assert cases["missing"].message == "tox skipped it: no Python for python3.99 on this machine"
    assert cases["a"].seconds > 0


def test_the_environments_and_arguments_that_a_section_names(bench, outcomes: Outcomes) -> None:
    files = ini(
        """
skip_install = true
commands = python -c "import sys; print('given', sys.argv[1:])" {posargs:nothing}
""",
        core="env_list = a, other",
    )
    report = bench(files, environments=["a"], args=["-k", "two words"])
    assert outcomes(report) == {"a": "passed"}
    assert "given ['-k', 'two words']" in bench.log


def test_environments_side_by_side(bench, outcomes: Outcomes) -> None:
    files = ini(
        """
skip_install = true
commands = python -c "print('hello from {env_name}')"
[testenv:b]
commands = python -c "raise SystemExit('no')"
""",
        core="env_list = a, b",
    )
    report = bench(files, parallel=2)
    assert outcomes(report) == {"a": "passed", "b": "failed"}
    assert report.cases[1].output == "no"
    assert "hello from a" in bench.log


def test_nothing_but_skipped_environments_closes_the_gate_and_says_what_opens_it(bench) -> None:
    with pytest.raises(StepRefused) as caught:
        bench(ini("[testenv:a]\nbase_python = python3.99\n"))
    assert str(caught.value) == (
        "nothing was tested, since no environment ran its commands (a: tox skipped it: no Python for python3.99 "
        "on this machine). Install what is missing, or name environments that can run here: "
        'environments = ["…"]'
    )


def test_a_missing_python_fails_where_the_section_says_so(bench, outcomes: Outcomes) -> None:
    report = bench(ini("[testenv:a]\nbase_python = python3.99\n"), skip_missing=False)
    assert outcomes(report) == {"a": "failed"}


def test_an_environment_that_there_is_not(bench) -> None:
    files = ini("[testenv:docs]\nskip_install = true\ncommands = python -c 1\n")
    with pytest.raises(StepFailed) as caught:
        bench(files, environments=["dcos"])
    assert str(caught.value) == (
        "tox can't work with tox.ini: provided environments not found in configuration file:\n"
        "dcos - did you mean docs?"
    )


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"tox.ini": "[tox\nenv_list = a\n"},
            "ToxIni failed loading tox.ini due to File contains no section",
        ),
        ({"tox.ini": "[tox]\nenv_list = a\n[testenv\n"}, "failed loading"),
        ({"tox.toml": "env_list = [\n"}, "TomlTox failed loading"),
        ({"tox.toml": "env_list = 3\n"}, "env_list must be a list"),
        ({"setup.cfg": "[metadata]\nname = x\n", "pyproject.toml": "[project]\n"}, "there is no tox config"),
        ({}, 'there is no tox configuration in "."'),
    ],
    ids=["no-section", "broken-ini", "broken-toml", "wrong-type", "none-for-tox", "nothing"],
)
def test_a_configuration_that_tox_refuses(bench, files: dict[str, str], said: str) -> None:
    with pytest.raises(StepFailed, match=re.escape(said)):
        bench(files)


def test_a_configuration_above_the_project_is_not_taken(bench, make_step: StepMaker) -> None:
    (make_step.root / "tox.ini").write_text(
        "[tox]\nenv_list = a\n[testenv]\nskip_install=true\ncommands=true\n"
    )
    with pytest.raises(StepFailed, match="there is no tox configuration"):
        bench({"README": ""})


def test_what_the_user_keeps_for_tox_at_home_decides_nothing(
    bench, outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = ini("skip_install = true\ncommands = python -c 1\n")
    options = tmp_path / "options.ini"
    options.write_text("[tox]\nskip_env = .*\nfail_fast = true\n")
    for name, value in {
        "TOX_USER_CONFIG_FILE": str(options),
        "TOX_SKIP_ENV": ".*",
        "TOXENV": "nothing",
        "TOX_OVERRIDE": "testenv.commands=false",
        "TOX_WORK_DIR": str(tmp_path / "elsewhere"),
    }.items():
        monkeypatch.setenv(name, value)
    files["tox.py"] = "raise SystemExit('not this one')\n"
    report = bench(files)
    assert outcomes(report) == {"a": "passed"}
    assert not (tmp_path / "elsewhere").exists()


def test_a_tox_that_is_killed_proves_nothing_and_leaves_no_environment(bench, cache: Path) -> None:
    files = ini('skip_install = true\ncommands = python -c "import os; os.kill(os.getppid(), 9)"\n')
    bench.make_step.root.joinpath("cache").unlink()  # a cache of its own
    with pytest.raises(StepFailed) as caught:
        bench(files)
    assert str(caught.value) == "tox was ended by signal 9 and left no results. The step's log says why"
    assert not list((bench.step.cache / "work").glob("*-0/*"))


def test_another_run_at_the_same_time_has_a_directory_of_its_own(bench, outcomes: Outcomes) -> None:
    """Inside one run's tox another step starts, for the same project: as if two runs met there."""
    files = ini("skip_install = true\ncommands = python -c \"print('work', r'{work_dir}')\"\n")
    bench(files)
    [first] = re.findall(r"^work (.*)$", bench.log, re.MULTILINE)
    with workdir.taken(bench.step.cache / "work", ".", *program.find(None)) as ours:
        assert str(ours.resolve()) == first
        assert outcomes(bench(files)) == {"a": "passed"}
    [second] = re.findall(r"^work (.*)$", bench.log, re.MULTILINE)
    assert second != first
    bench(files)
    assert re.findall(r"^work (.*)$", bench.log, re.MULTILINE) == [first]


FLAT = 'commands = python -c "import demo, demo.more; print(demo.__file__)"\n'
MORE = {"demo/__init__.py": "a = 1\n", "demo/more.py": "b = 2\n"}


@pytest.mark.parametrize(
    ("wheel", "settings", "said"),
    [
        (MORE, {}, None),
        ({**MORE, "demo/more.py": "b = 3\n"}, {}, "demo/more.py is not what the wheel has"),
        ({"demo/__init__.py": "a = 1\n"}, {}, "demo/more.py is not in the wheel"),
        ({"demo/__init__.py": "a = 1\n"}, {"allow_tree": True}, None),
    ],
    ids=["same-bytes", "other-bytes", "missing", "allowed"],
)
def test_a_flat_project_may_import_its_tree_only_where_it_is_what_the_wheel_holds(
    bench, make_wheel: MakeWheel, wheel: dict[str, str], settings: dict[str, bool], said: str | None
) -> None:
    # `python -c` has the current directory on its import path, before the environment's packages.
    files = {"tox.ini": ini(FLAT)["tox.ini"], **MORE}
    report = bench(files, make_wheel(wheel), **settings)
    assert f"{bench.step.workspace}/demo/__init__.py" in bench.log
    messages = [case.message for case in report.cases if case.outcome == "failed"]
    assert len(messages) == (said is not None)
    for message in messages:
        assert message.startswith(
            "modules were imported from the tree that are other ones than those of demo-1.0"
        )
        assert f": {said}. Nothing was proved" in message


def test_without_anything_built_tox_builds_the_tree_and_the_log_says_so(bench, outcomes: Outcomes) -> None:
    report = bench(ini("skip_install = true\ncommands = python -c 1\n"))
    assert outcomes(report) == {"a": "passed"}
    assert "No wheel or sdist among the artifacts" in bench.log


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {},
            "there are 2 files that tox could install, and it installs one: demo-1.0-py3-none-any.whl, "
            'other-1.0-py3-none-any.whl. Say which: package = "demo-1.0-py3-none-any.whl", or name',
        ),
        ({"package": "shop-*"}, '`package`: nothing that was built matches "shop-*". Built: demo-1.0-'),
    ],
    ids=["two", "none"],
)
def test_the_file_to_install_must_be_clear(
    bench, make_wheel: MakeWheel, settings: dict[str, str], said: str
) -> None:
    wheels = make_wheel(DEMO), make_wheel({"other.py": ""}, name="other")
    with pytest.raises(StepFailed, match=re.escape(said)):
        bench(ini("commands = python -c 1\n"), *wheels, **settings)


def test_of_several_files_the_named_one_is_installed(
    bench, make_wheel: MakeWheel, outcomes: Outcomes
) -> None:
    wheels = make_wheel(DEMO), make_wheel({"other.py": "x = 'the other'\n"}, name="other")
    files = ini('commands = python -c "import other; print(other.x)"\n')
    assert outcomes(bench(files, *wheels, package="other-*")) == {"a": "passed"}
    assert "the other" in bench.log


def test_secrets_are_masked_in_cases_and_log(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter2-hunter2")
    files = ini(
        "skip_install = true\npass_env = TOKEN\n"
        "commands = python -c \"import os, sys; sys.exit('it is ' + os.environ['TOKEN'])\"\n"
    )
    report = bench(files, secrets={"TOKEN": "env:MY_TOKEN"})
    assert report.cases[0].output == "it is ***"
    assert "hunter2" not in bench.log


def test_a_tox_of_the_users_own(bench, outcomes: Outcomes, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="`path`: tox is not the absolute path of a program"):
        bench(ini(""), path="tox")
    own = tmp_path / "own tox"
    own.write_text(f'#!/bin/sh\necho own >&2\nexec {" ".join(program.find(None))} "$@"\n')
    own.chmod(0o755)
    report = bench(ini("skip_install = true\ncommands = python -c 1\n"), path=str(own))
    assert outcomes(report) == {"a": "passed"}
    assert "own" in bench.log.splitlines()


def test_the_project_in_a_directory(bench, outcomes: Outcomes) -> None:
    files = {
        f"sub/{name}": text for name, text in ini("skip_install = true\ncommands = python -c 1\n").items()
    }
    assert outcomes(bench(files, directory="sub")) == {"a": "passed"}
    for place in ("nowhere", "..", "sub/tox.ini"):
        with pytest.raises(StepFailed, match=r'the revision has no directory ".*"'):
            bench(files, directory=place)


def test_the_hook_takes_what_the_core_hands_over(make_step: StepMaker) -> None:
    with pytest.raises(StepFailed, match="there is no tox configuration"):
        penstock_test(settings=Tox(), step=make_step("test.tox"))
