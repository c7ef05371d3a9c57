from __future__ import annotations

import json
import os
import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from penstock import Proposal, StepFailed, StepRefused, TestReport
from penstock_tox import Tox, listing, penstock_propose, penstock_tools, program, project, results, workdir
from penstock_tox.listing import Environment
from penstock_tox.tree import Tree
from pydantic import ValidationError

DIGEST = "sha256:" + "ab" * 32
PASSED: dict[str, Any] = {
    "python": {"version": "3.11.7"},
    "installpkg": {"basename": "demo.whl", "sha256": "ab" * 32},
    "result": {"success": True, "exit_code": 0, "duration": 1.5, "skipped": False},
    "setup": [{"command": ["/w/a/bin/python", "-m", "pip"], "retcode": 0, "run_id": "install_package"}],
    "test": [
        {"command": ["/w/a/bin/pytest"], "retcode": 0, "run_id": "commands[0]", "output": "", "err": ""}
    ],
}
FAILED: dict[str, Any] = {
    **PASSED,
    "result": {"success": False, "exit_code": 1, "duration": 2, "skipped": False},
    "test": [{"command": ["/w/a/bin/pytest", "-k", "x y"], "retcode": 1, "output": "out\n", "err": "err\n"}],
}
SKIPPED: dict[str, Any] = {"result": {"success": True, "exit_code": 0, "duration": 0.1, "skipped": True}}


def document(**environments: Any) -> str:
    return json.dumps({"reportversion": "1", "toxversion": "4.67.0", "testenvs": environments})


def judge(text: str, status: int = 0, *names: str, **more: Any) -> TestReport:
    expected = [Environment(name=name, **more) for name in names or ("a",)]
    return results.judge(text, status, expected, package=DIGEST, mask=lambda text: text)


# --- results ---


@pytest.mark.parametrize(
    ("found", "outcome", "message"),
    [
        (PASSED, "passed", None),
        (FAILED, "failed", "`pytest -k 'x y'` ended with 1\nout\nerr"),
        (SKIPPED, "skipped", "tox skipped it: the log says why"),
        # Older releases of tox don't say that an environment was skipped: it must not look like a success.
        (
            {"result": {"success": True, "exit_code": 0, "duration": 0.1}},
            "skipped",
            "tox skipped it: the log",
        ),
        ({**PASSED, "test": []}, "skipped", "it has no commands"),
        ({**PASSED, "test": [{"run_id": "commands_pre[0]", "retcode": 0}]}, "skipped", "it has no commands"),
        ({}, "failed", "tox says nothing of it: it did not run to its end"),
        (None, "failed", "tox says nothing of it"),
        ([], "failed", "tox says nothing of it"),
        ({"result": None}, "failed", "tox says nothing of it"),
        ({**PASSED, "result": {"success": "yes"}}, "failed", "it failed with None, before any command"),
        ({**PASSED, "result": {"success": 1}}, "failed", "it failed with None"),
        (
            {**SKIPPED, "result": {"success": False, "skipped": True, "exit_code": -2}},
            "failed",
            "it failed with -2",
        ),
        (
            {**PASSED, "installpkg": {"sha256": "cd" * 32}},
            "failed",
            f"nothing was proved about {DIGEST}: it inst",
        ),
        (
            {**PASSED, "installpkg": None},
            "failed",
            f"nothing was proved about {DIGEST}: tox does not say that",
        ),
        ({**FAILED, "test": [{"command": [], "retcode": -9}]}, "failed", "`a command` was ended by signal 9"),
        ({**FAILED, "test": "what"}, "failed", "it failed with 1, before any command"),
    ],
)
def test_what_tox_says_of_an_environment(found: Any, outcome: str, message: str | None) -> None:
    [case] = judge(document(a=found), 0 if outcome != "failed" else 1).cases
    assert case.outcome == outcome
    assert (case.message or "").startswith(message or "")
    assert (case.message is None) == (message is None)


def test_the_output_of_the_commands_that_failed() -> None:
    [case] = judge(document(a=FAILED), 1).cases
    assert case.output == "out\nerr"
    long = {**FAILED, "test": [{**FAILED["test"][0], "output": "x" * 20_000 + "\ud800 end", "err": ""}]}
    [case] = judge(document(a=long), 1).cases
    assert case.output is not None
    assert case.output.endswith("x\\ud800 end")
    assert len(case.output) < 10_100


def test_an_environment_without_a_package_may_run_on_the_tree() -> None:
    assert judge(document(a={**PASSED, "installpkg": None}), installs=False).cases[0].outcome == "passed"


def test_a_failure_that_does_not_count() -> None:
    [case] = judge(document(a=FAILED), ignored=True).cases
    assert case.outcome == "skipped"
    assert case.message == "`pytest -k 'x y'` ended with 1. ignore_outcome says that this does not count"


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("", 254, "tox ended with 254 and left no results. The step's log says why"),
        ("  \n", -9, "tox was ended by signal 9 and left no results. The step's log says why"),
        (
            document(a=PASSED)[:-20],
            0,
            "tox ended with 0 and left results that can't be read. The step's log says why",
        ),
        ("[" * 100_000, 0, "tox ended with 0 and left results that can't be read. The step's log says why"),
        ("[]", 0, "tox ended with 0, and its results name no environment. The step's log says why"),
        (document(), 0, "tox ended with 0, and its results name no environment. The step's log says why"),
        (
            '{"testenvs": []}',
            0,
            "tox ended with 0, and its results name no environment. The step's log says why",
        ),
    ],
    ids=["empty", "blank", "truncated", "deep", "list", "no-environments", "wrong-type"],
)
def test_results_that_prove_nothing(text: str, status: int, message: str) -> None:
    with pytest.raises(StepFailed) as caught:
        judge(text, status)
    assert str(caught.value) == message


@pytest.mark.parametrize("status", [1, 255, -15])
def test_a_status_that_the_environments_do_not_explain_is_a_failure(status: int) -> None:
    cases = judge(document(a=PASSED), status).cases
    assert [(case.name, case.outcome) for case in cases] == [("a", "passed"), ("tox", "failed")]


def test_what_nobody_asked_for_is_no_case() -> None:
    report = judge(document(a=PASSED, b=FAILED, **{".pkg": {}}))
    assert [case.name for case in report.cases] == ["a"]
    assert report.tool == "tox 4.67.0"


def test_all_skipped_names_a_few() -> None:
    names = [f"e{number}" for number in range(7)]
    report = judge(document(**dict.fromkeys(names, SKIPPED)), 1, *names)
    with pytest.raises(StepRefused, match=r"\(e0: tox skipped it: .*; e4: .*; and 2 more\)"):
        results.refuse_skipped(report)


# --- the listing ---


def test_what_tox_config_prints() -> None:
    output = (
        "ROOT: will run in automatically provisioned tox\n"
        "[testenv:py311]\npackage = wheel\nbase_python = py311\nplatform = \nignore_outcome = False\n\n"
        "[testenv:x-{y}]\npackage = skip\nbase_python = \n  python3.12\n  python3.13\n"
        "platform = win32\nignore_outcome = True\n# !!! unused: a = b\n"
    )
    assert listing.parse(output) == [
        Environment(name="py311", python="py311"),
        Environment(
            name="x-{y}", installs=False, python="python3.12 python3.13", platform="win32", ignored=True
        ),
    ]
    assert listing.parse("") == []


def test_why_an_environment_is_skipped() -> None:
    both = Environment(name="a", python="py39", platform="win32")
    assert both.why_skipped == (
        'tox skipped it: no Python for py39 on this machine or the platform is not "win32"'
    )


# --- command lines ---


def test_the_command_lines() -> None:
    config, work = Path("/p/tox.ini"), Path("/w")
    begin = ["--colored", "no", "--conf", "/p/tox.ini", "--workdir", "/w"]
    assert program.ask(config, work, None) == ["config", *begin, "-k", *program.KEYS]
    assert program.ask(config, work, ["a", "b"]) == ["config", *begin, "-e", "a,b", "-k", *program.KEYS]
    more: dict[str, Any] = {"results": Path("/r.json"), "recreate": False, "args": ()}
    assert program.run(
        config, work, ["a"], package=None, skip_missing=True, parallel=1, **more
    ) == ["run", *begin, "-e", "a", "--result-json", "/r.json", "--skip-missing-interpreters", "true"]  # fmt: skip
    more |= {"recreate": True, "args": ["-x", "--"]}
    assert program.run(
        config, work, ["a"], package=Path("/d.whl"), skip_missing=False, parallel=3, **more
    ) == [
        *("run-parallel", "--parallel-no-spinner", "--parallel-live", *begin, "-e", "a"),
        *("--result-json", "/r.json", "--skip-missing-interpreters", "false", "--parallel", "3"),
        *("--installpkg", "/d.whl", "--recreate", "--", "-x", "--"),
    ]


def test_variables_that_lead_tox_away_are_taken_out() -> None:
    assert program.clean({"PATH": "/bin", "TOXIC": "1"}) == []
    machine = {"TOX_SKIP_ENV": "x", "TOXENV": "y", program.USER_CONFIG: "w"}
    assert program.clean(machine) == ["env", "-u", "TOXENV", "-u", "TOX_SKIP_ENV"]


def test_the_tool_is_on_record(tmp_path: Path) -> None:
    [tool] = penstock_tools(settings=Tox())
    assert (tool.name, len(tool.sha256 or "")) == ("tox", 64)
    assert Path(tool.path).name == "__main__.py"
    assert penstock_tools(settings=Tox(path=str(tmp_path / "none"))) == []
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\n")
    mute.chmod(0o755)
    assert penstock_tools(settings=Tox(path=str(mute))) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"environments": []},
        {"environments": ["a,b"]},
        {"environments": ["-r"]},
        {"parallel": 0},
        {"nosuch": 1},
    ],
)
def test_settings_that_are_refused(settings: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Tox.model_validate(settings)


# --- configuration ---


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {
                "tox.ini": "[tox]\nenvlist = py{39,310}-x, lint\n[testenv]\ncommands =\n  pytest\n  # no\n[testenv:lint]\n"
            },
            ("tox.ini", ("py{39,310}-x", "lint"), ("pytest",)),
        ),
        (
            {
                "tox.ini": "[pytest]\n",
                "tox.toml": 'env_list = ["a"]\n[env_run_base]\ncommands = [["pytest", "-q"]]\n',
            },
            ("tox.toml", ("a",), ("pytest -q",)),
        ),
        (
            {
                "pyproject.toml": '[tool.tox]\nenv_list = ["a", {product = []}]\n[tool.tox.env.b]\ncommands = [["x"]]\n'
            },
            ("pyproject.toml", ("a", "b"), ("x",)),
        ),
        (
            {
                "pyproject.toml": "[tool.tox]\nlegacy_tox_ini = '''\n[tox]\nenv_list = a\n[testenv]\ncommands = x\n'''\n"
            },
            ("pyproject.toml", ("a",), ("x",)),
        ),
        ({"setup.cfg": "[tox:tox]\nenvlist = a\n[testenv]\ncommands = x\n"}, ("setup.cfg", ("a",), ("x",))),
        ({"setup.cfg": "[metadata]\n", "pyproject.toml": "[project]\n"}, None),
        ({"tox.ini": "[tox\n"}, None),
        ({"tox.toml": "env_list = [\n"}, None),
        ({"pyproject.toml": "[tool]\ntox = 3\n"}, None),
        ({}, None),
    ],
)
def test_configurations_are_read(
    tmp_path: Path, files: dict[str, str], expected: tuple[str, tuple[str, ...], tuple[str, ...]] | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = project.read(tmp_path)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert (found.path.name, found.environments, found.commands) == expected


TOX = "[tox]\nenv_list = lint, py3{9,11,12,13,14,15}-{a,b}, docs, x, y\n[testenv]\ncommands = python -m unittest\n"
HERE = f"py{sys.version_info[0]}{sys.version_info[1]}"


def test_init_proposes_an_environment_where_a_project_is_tested_by_tox_alone(tmp_path: Path) -> None:
    (tmp_path / "tox.ini").write_text(TOX.replace("python -m unittest", "./check"))
    for name in ("tests/__init__.py", "tests/data.txt", "venv/test_x.py", ".tox/test_x.py", "src/shop.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert penstock_propose(root=tmp_path, add=None) == Proposal(
        saw="tox.ini: lint, py3{9,11,12,13,14,15}-{a,b}, docs, x, …; added as test.tox",
        sections={"test.tox": {"environments": [f"{HERE}-a"]}},
    )


@pytest.mark.parametrize(
    "place",
    [
        *("tests/test_a.py", "test_a.py", "tests.py", "pkg/tests/x.py", "src/pkg/tests/x.py"),
        *("pkg/test/x.py", "src/ns/pkg/tests/x.py", "pkg/inner/x_test.py"),
    ],
)
def test_init_leaves_a_suite_alone_that_another_plugin_proposes_to_run(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).touch()
    (tmp_path / "tox.ini").write_text(TOX)
    proposal = penstock_propose(root=tmp_path, add=None)
    assert proposal is not None
    assert (proposal.sections, proposal.enable) == ({}, False)
    assert re.fullmatch(
        r"not added, since \S+ is tested already: penstock init --add test\.tox adds it", proposal.unsure[0]
    )


def test_init_names_the_suite_and_not_a_module_that_is_called_like_one(tmp_path: Path) -> None:
    for name in ("src/pkg/testing.py", "tests/test_a.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "tox.ini").write_text(TOX)
    proposal = penstock_propose(root=tmp_path, add=None)
    assert proposal is not None
    assert "since tests/ is tested already" in proposal.unsure[0]


def test_init_does_not_run_tests_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "tox.ini").write_text(
        "[tox]\nenv_list = py\n[testenv]\ncommands = python -m pytest {posargs}\n"
    )
    proposal = penstock_propose(root=tmp_path, add=None)
    assert proposal is not None
    assert (proposal.sections, proposal.enable) == ({}, False)
    assert proposal.unsure[0].startswith("not added, since there is no test here that it could run: ")


def test_init_does_not_guess_which_environment_runs_here(tmp_path: Path) -> None:
    (tmp_path / "tox.ini").write_text("[tox]\nenv_list = lint, docs\n[testenv]\ncommands = x\n")
    proposal = penstock_propose(root=tmp_path, add=None)
    assert proposal is not None
    assert (proposal.sections, proposal.enable) == ({}, False)


@pytest.mark.parametrize(
    ("add", "environments"),
    [
        ("test.tox", f"{HERE}-a"),
        ("test.lint", "lint"),
        ("test.py39-b", "py39-b"),
        ("test.other", None),
        ("scan.lint", None),
    ],
)
def test_a_section_that_init_is_asked_for(tmp_path: Path, add: str, environments: str | None) -> None:
    (tmp_path / "tox.ini").write_text(TOX)
    (tmp_path / "tests").mkdir()
    proposal = penstock_propose(root=tmp_path, add=add)
    found = proposal.sections if proposal else None
    assert found == ({add: {"environments": [environments]}} if environments else None)


@pytest.mark.parametrize("text", ["[tox]\nenv_list = a\n", "[pytest]\n", "[tox\n"])
def test_init_is_told_nothing_where_no_environment_runs_anything(tmp_path: Path, text: str) -> None:
    (tmp_path / "tox.ini").write_text(text)
    assert penstock_propose(root=tmp_path, add=None) is None


# --- work directories ---


def test_a_work_directory_is_kept_and_is_nobody_elses(tmp_path: Path) -> None:
    with workdir.taken(tmp_path, "a") as first:
        (first / "kept").touch()
        with workdir.taken(tmp_path, "a") as second, workdir.taken(tmp_path, "b") as other:
            assert len({first, second, other}) == 3
    with workdir.taken(tmp_path, "a") as again:
        assert again == first
        assert (again / "kept").exists()


def test_a_failure_leaves_the_environments_and_a_kill_does_not(tmp_path: Path) -> None:
    with workdir.taken(tmp_path, "a") as work:
        (work / "kept").touch()
    with pytest.raises(StepFailed), workdir.taken(tmp_path, "a"):
        raise StepFailed("tox refuses")
    with workdir.taken(tmp_path, "a") as work:
        assert (work / "kept").exists()
    with pytest.raises(KeyboardInterrupt), workdir.taken(tmp_path, "a"):
        raise KeyboardInterrupt
    with workdir.taken(tmp_path, "a") as work:
        assert not (work / "kept").exists()


def test_what_was_not_used_for_long_is_removed(tmp_path: Path) -> None:
    with workdir.taken(tmp_path, "old") as old:
        pass
    with workdir.taken(tmp_path, "held") as held:
        for work in (old, held):
            os.utime(work.with_name(f"{work.name}.lock"), (0, 0))
        with workdir.taken(tmp_path, "new"):
            assert not old.exists()
            assert held.exists()


# --- the tree ---


def test_what_was_imported_from_the_tree(tmp_path: Path) -> None:
    wheel = tmp_path / "demo.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("demo/__init__.py", "demo/same.py", "demo-1.0.dist-info/METADATA"):
            archive.writestr(name, "same\n")
        archive.writestr("demo-1.0.data/purelib/moved/__init__.py", "same\n")
    tree_root = tmp_path / "project"

    def imported(file: str, text: str) -> None:
        path = tree_root / file
        (path.parent / "__pycache__").mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc").touch()

    imported("demo/old.py", "compiled before the tests\n")
    tree = Tree(tree_root)
    for file, text in {
        "src/demo/__init__.py": "other\n",
        "demo/same.py": "same\n",
        "demo/tests/helper.py": "x\n",
        "demo/test_it.py": "x\n",
        "lib/demo/extra.py": "x\n",
        "moved/__init__.py": "other\n",
        "setup.py": "x\n",
        "tests/demo/conftest.py": "x\n",
        ".tox/a/demo/new.py": "x\n",
    }.items():
        imported(file, text)
    (tree_root / "demo" / "__pycache__" / "gone.cpython-313.pyc").touch()
    assert tree.strangers(wheel) == [
        "lib/demo/extra.py is not in the wheel",
        "moved/__init__.py is not what the wheel has",
        "src/demo/__init__.py is not what the wheel has",
    ]
    wheel.write_bytes(b"no zip")
    with pytest.raises(StepFailed, match=r"demo.whl is not a wheel that can be read"):
        tree.strangers(wheel)
