"""The pure parts: wheels, the tree, configuration, records, argument lists."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock import Settings, StepFailed, TestReport
from penstock_pytest import (
    Pytest,
    environment,
    installer,
    layout,
    penstock_tools,
    pytestconfig,
    python,
    results,
    scratch,
    wheels,
)
from penstock_pytest.reporter import explain
from penstock_pytest.requirements import Wanted
from pydantic import ValidationError

# --- wheels


@pytest.mark.parametrize(
    ("members", "found"),
    [
        pytest.param(["a/__init__.py", "a/b/__init__.py", "a/data.json"], ("a",), id="package"),
        pytest.param(["six.py"], ("six",), id="module"),
        pytest.param(["_c.cpython-311-x86_64-linux-gnu.so", "a/__init__.py"], ("_c", "a"), id="extension"),
        pytest.param(["ns/a/__init__.py", "ns/b/__init__.py"], ("ns/a", "ns/b"), id="namespace"),
        pytest.param(["ns/a/mod.py", "ns/a/deep/mod.py"], ("ns/a",), id="namespace without packages"),
        pytest.param(
            ["a/__init__.py", "tests/__init__.py", "test_a.py", "conftest.py"], ("a",), id="tests on top"
        ),
        pytest.param(
            ["a.data/purelib/b/__init__.py", "a.data/scripts/s.py", "a-1.dist-info/x.py"],
            ("b",),
            id="schemes",
        ),
        pytest.param([], (), id="nothing"),
    ],
)
def test_what_a_wheel_adds_to_the_import_path(
    make_wheel: Callable[..., Path], members: list[str], found: tuple[str, ...]
) -> None:
    assert wheels.read(make_wheel("a", dict.fromkeys(members, ""))).units == found


@given(st.lists(st.from_regex(r"([a-c]/){0,3}(__init__|[a-c])\.py", fullmatch=True), max_size=12))
def test_every_module_of_a_wheel_is_in_exactly_one_unit(files: list[str]) -> None:
    found = wheels.units(files)
    for file in files:
        module = file.removesuffix(".py").removesuffix("/__init__")
        if module != "__init__":
            assert sum(module == unit or module.startswith(f"{unit}/") for unit in found) >= 1


def test_the_wheel_that_fits_is_chosen(make_wheel: Callable[..., Path]) -> None:
    paths = [make_wheel("a", {}, tag=f"{tag}-{tag}-any") for tag in ("cp39", "cp311")] + [make_wheel("b", {})]
    plain = [make_wheel("a", {}, tag=f"{tag}-none-any") for tag in ("cp39", "cp312")]
    assert wheels.choose([*plain, paths[2]], (3, 12), own=False) == (plain[1], paths[2])
    assert wheels.choose([plain[0]], (3, 12), own=False) == (plain[0],)
    with pytest.raises(StepFailed, match=r"there are 2 wheels of a, and none of them fits Python 3\.8"):
        wheels.choose(plain, (3, 8), own=False)
    with pytest.raises(StepFailed, match="2 of them fit"):
        wheels.choose([plain[0], make_wheel("a", {}, version="2", tag="cp39-none-any")], (3, 9), own=False)


def test_what_is_no_wheel(tmp_path: Path) -> None:
    (tmp_path / "a-1-py3-none-any.whl").write_text("no")
    with pytest.raises(StepFailed, match="is not a wheel that can be tested"):
        wheels.read(tmp_path / "a-1-py3-none-any.whl")
    with pytest.raises(StepFailed, match="is not a wheel that can be tested"):
        wheels.choose([tmp_path / "what.whl"], (3, 11))


# --- the tree


def _tree(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(f"{root.name} {file}")
    return root


def test_the_wheel_takes_the_tree_s_place(tmp_path: Path) -> None:
    project = _tree(
        tmp_path / "project",
        "src/a/__init__.py",
        "src/a/gone.py",
        "src/a/tests/data.json",
        "src/a/test_x.py",
        "src/a/testing/helpers.py",
        "a/README",
        "docs/a/__init__.py",
        "tests/a/__init__.py",
    )
    site = _tree(tmp_path / "site", "a/__init__.py")
    replaced = layout.replace(project, site, ["a"], tmp_path / "aside")
    assert {entry.path: set(entry.tests) for entry in replaced} == {
        "src/a": {"tests/data.json", "test_x.py"},
    }
    assert (project / "src" / "a" / "__init__.py").samefile(site / "a" / "__init__.py")
    assert not (project / "src" / "a" / "gone.py").exists()
    assert not (project / "src" / "a" / "testing").exists()
    assert (project / "a" / "README").exists()
    assert not (project / "docs" / "a").is_symlink()
    assert not (project / "tests" / "a").is_symlink()


def test_a_module_that_became_a_package(tmp_path: Path) -> None:
    project = _tree(tmp_path / "project", "a.py", "ns/b/__init__.py")
    site = _tree(tmp_path / "site", "a/__init__.py", "ns/b/__init__.py")
    layout.replace(project, site, ["a", "ns/b"], tmp_path / "aside")
    assert sorted(entry.name for entry in project.iterdir()) == ["a", "ns"]
    assert (project / "a" / "__init__.py").samefile(site / "a" / "__init__.py")
    assert (project / "ns" / "b" / "__init__.py").samefile(site / "ns" / "b" / "__init__.py")


def test_a_package_of_the_same_name_inside_is_left_alone(tmp_path: Path) -> None:
    project = _tree(tmp_path / "project", "a/__init__.py", "a/a/__init__.py", "a/a/a.py")
    site = _tree(tmp_path / "site", "a/__init__.py", "a/a/__init__.py")
    (site / "a" / "a" / "__init__.py").write_text((site / "a" / "__init__.py").read_text())
    assert [entry.path for entry in layout.replace(project, site, ["a"], tmp_path / "aside")] == ["a"]
    assert not (site / "a" / "a").is_symlink()


def test_tests_that_a_setting_names_are_kept_whatever_their_names(tmp_path: Path) -> None:
    project = _tree(tmp_path / "project", "a/__init__.py", "a/checks/one.py", "a/other.py")
    layout.replace(
        project, _tree(tmp_path / "site", "a/__init__.py"), ["a"], tmp_path / "aside", tests=["./a/checks::x"]
    )
    assert (project / "a" / "checks" / "one.py").exists()
    assert not (project / "a" / "other.py").exists()


# --- configuration


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pytest.ini", "[pytest]\ntestpaths = a b\n"),
        ("tox.ini", "[pytest]\ntestpaths =\n  a\n  b\n"),
        ("setup.cfg", "[tool:pytest]\ntestpaths = a b\n"),
        ("pyproject.toml", '[tool.pytest.ini_options]\ntestpaths = ["a", "b"]\n'),
        ("pyproject.toml", '[tool.pytest]\ntestpaths = ["a", "b"]\n'),
        ("pytest.toml", '[pytest]\ntestpaths = ["a", "b"]\n'),
    ],
)
def test_pytest_s_configuration(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    found = pytestconfig.read(tmp_path)
    assert (found.file, found.testpaths) == (file, ("a", "b"))


@pytest.mark.parametrize("file", ["pyproject.toml", "tox.ini", "setup.cfg"])
@pytest.mark.parametrize("text", ["", "[other]\nx = 1\n", "[[[", "%"])
def test_no_configuration(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    assert pytestconfig.read(tmp_path).file is None


# --- records

BEGIN = {"kind": "begin", "tool": "pytest 9.0"}
START = {"kind": "start", "name": "t.py::a"}
CASE = {"kind": "case", "name": "t.py::a", "outcome": "passed", "seconds": 0.1, "file": "t.py", "line": 1}
COLLECTED = {"kind": "collected", "count": 1}
END = {"kind": "end", "status": 0, "errors": ""}
GOOD = [BEGIN, START, CASE, COLLECTED, END]


def _passes(report: TestReport) -> bool:
    return bool(report.cases) and not report.count("failed")


def test_a_good_run() -> None:
    report = results.judge(GOOD, 0)
    assert (report.tool, [case.name for case in report.cases], _passes(report)) == (
        "pytest 9.0",
        ["t.py::a"],
        True,
    )


@pytest.mark.parametrize(
    ("records", "status", "message"),
    [
        pytest.param(
            [BEGIN, START, CASE, COLLECTED], 0, "the process ended here, with status 0", id="no end"
        ),
        pytest.param(
            [BEGIN, START, {**COLLECTED, "count": 2}, CASE, END], 0, "only 1 of 2 collected", id="too few"
        ),
        pytest.param([BEGIN, START, CASE, END], 0, "nothing says how many", id="no count"),
        pytest.param([*GOOD[:-1], {**END, "status": 2}], 2, "the run was cut short", id="interrupted"),
        pytest.param([*GOOD[:-1], {**END, "status": 7}], 7, "something else did", id="a plugin's status"),
        pytest.param(GOOD, -11, "ended with signal 11", id="crash at exit"),
        pytest.param(
            [BEGIN, START, COLLECTED, {"kind": "unfinished", "name": "x"}, END],
            0,
            "never ended: x",
            id="open",
        ),
        pytest.param([*GOOD, {"kind": "interrupted", "why": "bye"}], 0, "cut short: bye", id="exit 0"),
    ],
)
def test_what_does_not_add_up_is_a_failure(records: list[dict[str, Any]], status: int, message: str) -> None:
    failed = [case for case in results.judge(records, status).cases if case.outcome == "failed"]
    assert len(failed) == 1
    assert message in (failed[0].message or "")


@given(st.integers(0, len(GOOD) - 1), st.integers(-15, 255), st.binary(max_size=20))
def test_no_results_file_that_was_cut_off_passes(kept: int, status: int, tail: bytes) -> None:
    text = "".join(json.dumps(record) + "\n" for record in GOOD[:kept])
    try:
        report = results.judge(results.parse(text + tail.decode("latin-1")), status)
    except StepFailed:
        return
    assert not _passes(report)


@given(st.integers(-15, 255).filter(bool), st.integers(0, 10))
def test_no_status_but_0_passes(status: int, recorded: int) -> None:
    with contextlib.suppress(StepFailed):
        assert not _passes(results.judge([*GOOD[:-1], {**END, "status": recorded}], status))


def test_names_are_made_unique() -> None:
    names = [case.name for case in results.judge([BEGIN, START, CASE, CASE, COLLECTED, END], 0).cases]
    assert names == ["t.py::a", "t.py::a (2)"]


@pytest.mark.parametrize(
    ("text", "explained"),
    [
        pytest.param(
            "def t():\n>   assert 1 == 2\nE   assert 1 == 2\n\nt.py:2: AssertionError",
            "> assert 1 == 2\nE assert 1 == 2",
            id="assert",
        ),
        pytest.param(
            ">   a()\nE   ValueError: x\n\nDuring…\n>   b()\nE   KeyError: y\nE   note",
            "> b()\nE KeyError: y\nE note",
            id="chained",
        ),
        pytest.param(
            "Traceback\n\n  File x\nValueError: y", "Traceback\n  File x\nValueError: y", id="native"
        ),
        pytest.param("", "", id="nothing"),
    ],
)
def test_a_failure_explained(text: str, explained: str) -> None:
    assert explain(text) == explained


@given(st.text())
def test_any_failure_is_explained_in_a_few_lines(text: str) -> None:
    assert len(explain(text).splitlines()) <= 13 * (1 + text.count("\x0b") + len(text))


# --- environments and programs


def _wheel(**values: Any) -> wheels.Wheel:
    return wheels.Wheel(**{"path": Path("a.whl"), "name": "a", "version": "1", **values})


def test_the_key_of_an_environment_holds_what_it_is_made_of() -> None:
    base = environment.key_of(python.own(), [_wheel()], Wanted(lines=("x",)), ["pytest"])
    assert base == environment.key_of(
        python.own(), [_wheel(version="2", path=Path("b.whl"))], Wanted(lines=("x",), origin="o"), ["pytest"]
    )
    other = python.Interpreter(Path("/x"), "3.12.1", (3, 12), "python3.12")
    changed = [
        environment.key_of(other, [_wheel()], Wanted(lines=("x",)), ["pytest"]),
        environment.key_of(python.own(), [_wheel(requires=("y",))], Wanted(lines=("x",)), ["pytest"]),
        environment.key_of(python.own(), [_wheel()], Wanted(lines=("y",)), ["pytest"]),
        environment.key_of(python.own(), [_wheel()], Wanted(lines=("x",), constraints=("y",)), ["pytest"]),
        environment.key_of(python.own(), [_wheel()], Wanted(lines=("x",), extras=("y",)), ["pytest"]),
        environment.key_of(python.own(), [_wheel()], Wanted(lines=("x",)), ["pytest", "coverage"]),
        environment.key_of(python.own(), [], Wanted(lines=("x",)), ["pytest"]),
    ]
    assert len({base, *changed}) == 8


def test_argument_lists() -> None:
    uv, pip = installer.choose(Path("/bin/uv")), installer.choose(None)
    assert (uv.name, pip.name) == ("uv", "pip")
    for tool in (uv, pip):
        install = tool.install(Path("/e/python"), Path("r"), Path("c"))
        assert install[-4:] == ["-r", "r", "-c", "c"]
        assert install[install.index("--python") + 1] == "/e/python"
        assert "-c" not in tool.install(Path("/e/python"), Path("r"), None)[2:]
        assert {"--no-deps", "--no-index"} < set(tool.install_wheels(Path("/e/python"), [Path("w")]))


@pytest.mark.parametrize(
    ("wanted", "version", "fits"),
    [
        ("3.11", "3.11.7", True),
        ("3.1", "3.11.7", False),
        ("3.11.7", "3.11.7", True),
        ("3.11.8", "3.11.7", False),
        ("3", "3.11.7", True),
        ("python3.11", "3.11.7", True),
        ("/opt/python", "3.11.7", True),
        ("pypy3.10", "3.10.2", True),
    ],
)
def test_whether_a_python_is_the_one_asked_for(wanted: str, version: str, fits: bool) -> None:
    assert python.fits(wanted, python.Interpreter(Path("/x"), version, (3, 11), "python3.11")) is fits


@pytest.mark.parametrize("output", ["", "x", "[]", "null", '["/p", "3.11"]', "{}"])
def test_a_program_that_is_no_python(output: str) -> None:
    assert python.read(output) is None


def test_the_tools_are_named() -> None:
    tool = penstock_tools(Pytest())[0]
    assert (tool.name, tool.version) == ("python", python.own().version)
    assert len(tool.sha256 or "") == 64
    assert "python" not in {tool.name for tool in penstock_tools(Pytest(python="/nowhere/python"))}


# --- settings


def test_settings_describe_themselves() -> None:
    assert issubclass(Pytest, Settings)
    assert all(field.description for field in Pytest.model_fields.values())
    assert Pytest(coverage_minimum="80%").measures
    with pytest.raises(ValidationError):
        Pytest(coverage_minimum="180%")


def test_the_plugin_is_discovered() -> None:
    (found,) = importlib.metadata.entry_points(group="penstock", name="pytest")
    assert found.value == "penstock_pytest"


# --- the directory for temporary files ---

HOLDER = """
import sys, time
from pathlib import Path
from penstock_pytest import scratch
with scratch.short(Path(sys.argv[1])) as place:
    (place / "file").write_text("x")
    print(place, flush=True)
    sys.stdin.read()
"""


def holding(place: Path) -> tuple[subprocess.Popen[str], Path]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    return child, Path(child.stdout.readline().strip())


def test_what_a_killed_step_left_is_removed_by_the_next_one_anywhere_and_nothing_else(tmp_path: Path) -> None:
    killed, left = holding(tmp_path / "a-long-directory-of-one-worker")
    alive, kept = holding(tmp_path / "a-long-directory-of-another-worker")
    try:
        killed.kill()
        killed.wait()
        assert (left / "file").exists()

        with scratch.short(tmp_path / "a-long-directory-of-a-third-worker") as third:
            assert third.is_dir()
            assert not left.exists()
            assert (kept / "file").exists()
        assert not third.exists()
    finally:
        alive.communicate()
        killed.communicate()
    assert not kept.exists()
