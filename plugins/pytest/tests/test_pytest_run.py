"""The hook over toy projects: real environments, real wheels, real pytest."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from penstock import ConfigError, StepFailed, TestReport
from penstock.testing import StepMaker
from penstock_pytest import Pytest, environment, installer, penstock_test, python, wheels
from penstock_pytest.requirements import Wanted

pytestmark = pytest.mark.real

Outcomes = Callable[[TestReport], dict[str, str]]

TREE = "WHERE = 'tree'\n"
WHEEL = "WHERE = 'wheel'\n"
ASKS = "from thing import WHERE\ndef test_where():\n    assert WHERE == 'wheel'\n"
INI = "[tool.pytest.ini_options]\n"


@pytest.fixture
def thing(make_wheel: Callable[..., Path]) -> Path:
    return make_wheel("thing", {"thing/__init__.py": WHEEL, "thing/part.py": "TWO = 2\n"})


PACKAGE = {"thing/__init__.py": TREE, "thing/part.py": "TWO = 2\n"}
SRC = {f"src/{name}": text for name, text in PACKAGE.items()}


@pytest.mark.parametrize(
    ("files", "settings"),
    [
        pytest.param({**PACKAGE, "test_it.py": ASKS}, {}, id="flat, test beside the package"),
        pytest.param(
            {**PACKAGE, "tests/__init__.py": "", "tests/test_it.py": ASKS}, {}, id="flat, tests a package"
        ),
        pytest.param(
            {**PACKAGE, "tests/test_it.py": ASKS, "conftest.py": ""}, {}, id="flat, conftest at the root"
        ),
        pytest.param(
            {**PACKAGE, "tests/test_it.py": ASKS, "pyproject.toml": f'{INI}pythonpath = ["."]\n'},
            {},
            id="flat, pythonpath",
        ),
        pytest.param(
            {**SRC, "tests/test_it.py": ASKS, "pyproject.toml": f'{INI}pythonpath = ["src"]\n'},
            {},
            id="src, pythonpath",
        ),
        pytest.param(
            {
                **SRC,
                "tests/test_it.py": ASKS,
                "tests/conftest.py": "import sys, os\n"
                "sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../src'))\n",
            },
            {},
            id="src, conftest leads there",
        ),
        pytest.param(
            {**SRC, "tests/test_it.py": ASKS}, {"args": ("--import-mode=importlib",)}, id="importlib"
        ),
        pytest.param(
            {**PACKAGE, "tests/test_it.py": ASKS}, {"args": ("-p", "no:cacheprovider")}, id="no cache"
        ),
        pytest.param({**PACKAGE, "thing/tests/test_it.py": ASKS}, {}, id="tests inside, not in the wheel"),
        pytest.param(
            {
                **PACKAGE,
                "thing/tests/__init__.py": "",
                "thing/tests/test_it.py": "from .data import D\nfrom .. import WHERE\n"
                "def test_where(): assert WHERE == 'wheel'\n",
                "thing/tests/data.py": "D = 1\n",
            },
            {"paths": ("thing/tests",)},
            id="tests inside, a package, named by path",
        ),
        pytest.param(
            {f"sub/{k}": v for k, v in {**PACKAGE, "t/test_it.py": ASKS}.items()},
            {"directory": "sub"},
            id="directory",
        ),
    ],
)
def test_what_is_imported_is_the_wheel(
    bench: Any, thing: Path, files: dict[str, str], settings: dict[str, Any]
) -> None:
    report = bench(files, thing, **settings)
    assert [case.outcome for case in report.cases] == ["passed"], report.cases
    assert report.tool.startswith("pytest ")


def test_tests_that_the_wheel_carries_are_run_from_the_wheel(
    bench: Any, make_wheel: Callable[..., Path], outcomes: Outcomes
) -> None:
    wheel = make_wheel(
        "thing", {"thing/__init__.py": WHEEL, "thing/tests/__init__.py": "", "thing/tests/test_it.py": ASKS}
    )
    files = {
        **PACKAGE,
        "thing/tests/__init__.py": "",
        "thing/tests/test_it.py": "def test_of_the_tree(): pass\n",
    }
    assert outcomes(bench(files, wheel)) == {"thing/tests/test_it.py::test_where": "passed"}


def test_a_single_module(bench: Any, make_wheel: Callable[..., Path], outcomes: Outcomes) -> None:
    report = bench({"thing.py": TREE, "test_thing.py": ASKS}, make_wheel("thing", {"thing.py": WHEEL}))
    assert outcomes(report) == {"test_thing.py::test_where": "passed"}


@pytest.mark.parametrize(
    "settings", [{}, {"requirements": ("pytest-xdist",), "args": ("-n", "1")}], ids=["alone", "xdist"]
)
def test_tests_without_init_import_each_other_by_the_root(
    bench: Any, thing: Path, outcomes: Outcomes, settings: dict[str, Any]
) -> None:
    """As under `python -m pytest`; what else stands at the root stays unseen, since the wheel lacks it."""
    text = (
        "from tests.helpers import WHERE\ndef test_where(): assert WHERE == 'wheel'\n"
        "def test_forgotten():\n    import forgotten\n"
    )
    files = {**PACKAGE, "forgotten.py": "", "tests/conftest.py": "import tests.helpers\n"}
    files |= {"tests/helpers.py": "from thing import WHERE\n", "tests/test_it.py": text}
    report = bench(files, thing, **settings)
    assert outcomes(report) == {
        "tests/test_it.py::test_where": "passed",
        "tests/test_it.py::test_forgotten": "failed",
    }
    assert '"forgotten" is forgotten.py in the tree' in (report.advice or "")


def test_a_subtest_that_passes_is_a_part_of_its_test(bench: Any, thing: Path) -> None:
    """The counts are pytest's own."""
    text = "import unittest\nclass TestSub(unittest.TestCase):\n    def test_sub(self):\n"
    text += "        for i in range(3):\n            with self.subTest(i=i):\n                assert i < {}\n"
    files = {"pyproject.toml": "", "tests/test_good.py": text.format(3), "tests/test_bad.py": text.format(2)}
    report = bench(files, thing, requirements=("pytest>=9",))
    names = [case.name for case in report.cases if case.name.startswith("tests/test_good.py")]
    assert names == ["tests/test_good.py::TestSub::test_sub"]
    [failed] = [case.name for case in report.cases if case.outcome == "failed"]
    assert failed.startswith("tests/test_bad.py::TestSub::test_sub (i=")


def test_a_mistake_in_the_package_is_shown_where_it_stands_in_the_tree(
    bench: Any, make_wheel: Callable[..., Path]
) -> None:
    wheel = make_wheel("thing", {"thing/__init__.py": "", "thing/part.py": "def broken(:\n"})
    files = {"src/thing/__init__.py": "", "src/thing/part.py": "def broken(:\n"}
    report = bench({**files, "tests/test_it.py": "import thing.part\n"}, wheel)
    assert 'File "src/thing/part.py", line 1' in report.cases[0].message


def test_a_module_that_the_wheel_lacks_is_missing(bench: Any, thing: Path, outcomes: Outcomes) -> None:
    files = {**PACKAGE, "thing/forgotten.py": "", "test_it.py": "def test_f():\n    import thing.forgotten\n"}
    report = bench(files, thing)
    assert outcomes(report) == {"test_it.py::test_f": "failed"}
    assert (
        report.cases[0].message
        == "> import thing.forgotten\nE ModuleNotFoundError: No module named 'thing.forgotten'"
    )


def test_a_tree_that_is_imported_all_the_same_fails_the_step(bench: Any, thing: Path) -> None:
    files = {
        "deep/down/here/thing/__init__.py": TREE,
        "conftest.py": "import sys, os\nsys.path.insert(0, os.path.abspath('deep/down/here'))\n",
        "test_it.py": "import thing\ndef test_it(): pass\n",
    }
    with pytest.raises(
        StepFailed, match=r"imported the tree and not the wheel: thing \(deep/down/here/thing/__init__.py\)"
    ):
        bench(files, thing)


def test_without_a_wheel_the_tree_is_tested_and_the_log_says_so(bench: Any, outcomes: Outcomes) -> None:
    files = {**SRC, "tests/test_it.py": "from thing import WHERE\ndef test_where(): assert WHERE == 'tree'\n"}
    assert outcomes(bench(files)) == {"tests/test_it.py::test_where": "passed"}
    assert "No wheel among the artifacts" in bench.log


def test_entry_points_scripts_and_plugins_of_the_wheel_work(
    bench: Any, make_wheel: Callable[..., Path]
) -> None:
    wheel = make_wheel(
        "thing",
        {
            "thing/__init__.py": "def main(): print('said by the wheel')\n",
            "thing/plugin.py": "import pytest\n@pytest.fixture\ndef gift(): return 7\n",
        },
        entry_points="[console_scripts]\nthing = thing:main\n[pytest11]\nthing = thing.plugin\n",
    )
    tests = r"""
import os, subprocess, sys
from importlib.metadata import version
def test_gift(gift): assert gift == 7
def test_version(): assert version('thing') == '1.0'
def test_script():
    bare = {'PATH': os.environ['PATH']}
    assert subprocess.check_output(['thing'], env=bare) == b'said by the wheel\n'
    subprocess.check_output(['pytest', '--version'], env=bare)
def test_child():
    subprocess.run([sys.executable, '-I', '-c', 'import thing, pytest'], check=True)
"""
    report = bench({**PACKAGE, "tests/test_it.py": tests}, wheel)
    assert report.count("passed") == 4, report.cases


CASES = """
import pytest, unittest
def test_passes(): pass
def test_fails():
    order = {"status": 200}
    assert order["status"] == 409
@pytest.fixture
def broken(): raise RuntimeError("no database")
def test_setup(broken): pass
@pytest.fixture
def leaves():
    yield
    raise RuntimeError("left open")
def test_teardown(leaves): pass
@pytest.mark.skip(reason="not here")
def test_skipped(): pass
@pytest.mark.xfail(reason="known")
def test_xfail(): assert 0
@pytest.mark.xfail(strict=True)
def test_strict(): pass
@pytest.mark.xfail
def test_xpass(): pass
@pytest.mark.parametrize("x", [1, 2])
def test_many(x): print("printed", x); assert x == 1
def test_exits():
    import sys
    sys.exit(0)
class TestSub(unittest.TestCase):
    def test_sub(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertNotEqual(i, 1)
"""


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="newest"),
        pytest.param({"requirements": ("pytest-xdist",), "args": ("-n", "2")}, id="xdist"),
        pytest.param({"requirements": ("pytest==7.0.1", "setuptools")}, id="pytest 7.0"),
        pytest.param({"requirements": ("pytest==6.2.5",)}, id="pytest 6.2"),
        pytest.param({"args": ("--tb=short", "-q")}, id="short"),
    ],
)
def test_every_outcome(bench: Any, thing: Path, outcomes: Outcomes, settings: dict[str, Any]) -> None:
    report = bench({"tests/test_c.py": CASES}, thing, **settings)
    found = {name.partition("::")[2]: outcome for name, outcome in outcomes(report).items()}
    subtests = {name: found.pop(name) for name in list(found) if name.startswith("TestSub")}
    assert found == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_setup": "failed",
        "test_teardown": "failed",
        "test_skipped": "skipped",
        "test_xfail": "skipped",
        "test_strict": "failed",
        "test_xpass": "passed",
        "test_many[1]": "passed",
        "test_many[2]": "failed",
        "test_exits": "failed",
    }
    assert "failed" in subtests.values()
    cases = {case.name.partition("::")[2]: case for case in report.cases}
    assert cases["test_fails"].message.splitlines()[-2:][0].startswith(("> assert order", "E "))
    assert "assert 200 == 409" in cases["test_fails"].message
    assert (cases["test_fails"].file, cases["test_fails"].line) == ("tests/test_c.py", 6)
    assert cases["test_skipped"].message == "not here"
    assert cases["test_xfail"].message == "failed, as expected: known"
    assert "in setup" in cases["test_setup"].message
    assert "no database" in cases["test_setup"].message
    assert "printed 2" in (cases["test_many[2]"].output or "")


def test_the_message_is_the_failing_line_and_what_pytest_says(bench: Any, thing: Path) -> None:
    test = "def test_twice():\n    status = 200\n    assert status == 409\n"
    (case,) = bench({"tests/test_api.py": test}, thing).cases
    assert case.message == "> assert status == 409\nE assert 200 == 409"
    assert (case.file, case.line) == ("tests/test_api.py", 3)


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        pytest.param(
            "import os; os._exit(0)",
            "test_it.py::test_bad",
            "the process ended here, with status 0",
            id="_exit",
        ),
        pytest.param(
            f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})",
            "test_it.py::test_bad",
            "the process ended here, with signal 11",
            id="segfault",
        ),
        pytest.param(
            "import pytest; pytest.exit('enough', returncode=0)",
            "pytest",
            "the run was cut short: enough",
            id="pytest.exit",
        ),
        pytest.param("raise KeyboardInterrupt", "pytest", "the run was cut short", id="interrupt"),
        pytest.param(
            "import atexit, os; atexit.register(os._exit, 3)",
            "pytest",
            "the run came to its end, but then the process ended with status 3",
            id="at exit",
        ),
        pytest.param(
            "import os\n    if os.fork() == 0: os._exit(0)\n    os.wait(); os._exit(0)",
            "test_it.py::test_bad",
            "the process ended here",
            id="fork and _exit",
        ),
    ],
)
def test_a_run_that_is_cut_off_never_passes(
    bench: Any, thing: Path, code: str, name: str, message: str
) -> None:
    report = bench(
        {"test_it.py": f"def test_good(): pass\ndef test_bad():\n    {code}\ndef test_last(): pass\n"}, thing
    )
    failed = [case for case in report.cases if case.outcome == "failed"]
    assert [case.name for case in failed] == [name]
    assert message in (failed[0].message or "")
    assert report.cases[0].name == "test_it.py::test_good"


def test_a_worker_that_ends_is_a_failure(bench: Any, thing: Path, outcomes: Outcomes) -> None:
    tests = "import os\ndef test_bad(): os._exit(0)\ndef test_good(): pass\n"
    report = bench({"test_it.py": tests}, thing, requirements=("pytest-xdist",), args=("-n", "1"))
    assert outcomes(report) == {"test_it.py::test_bad": "failed", "test_it.py::test_good": "passed"}


def test_a_test_that_is_run_again_is_one_case(bench: Any, thing: Path, outcomes: Outcomes) -> None:
    tests = "seen = []\ndef test_flaky():\n    seen.append(1)\n    assert len(seen) == 2\n"
    report = bench(
        {"test_it.py": tests}, thing, requirements=("pytest-rerunfailures",), args=("--reruns", "2")
    )
    assert outcomes(report) == {"test_it.py::test_flaky": "passed"}
    assert report.cases[0].flaky == "assert 1 == 2"
    assert report.cut_short is None


@pytest.mark.parametrize(
    ("bad", "args", "why"),
    [
        pytest.param("os._exit(1)", (), "the process ended before all tests were run", id="exit"),
        pytest.param("assert False", ("-x",), "only 1 of 2 collected tests were run", id="-x"),
        pytest.param("pytest.exit('enough')", (), "the run was cut short: enough", id="pytest.exit"),
        pytest.param("assert False", (), None, id="to its end"),
    ],
)
def test_a_report_says_whether_others_may_stand_behind_a_failure(
    bench: Any, thing: Path, bad: str, args: tuple[str, ...], why: str | None
) -> None:
    tests = f"import os\nimport pytest\ndef test_bad():\n    {bad}\ndef test_good(): pass\n"

    report = bench({"test_it.py": tests}, thing, args=args)

    assert report.count("failed") == 1
    assert report.cut_short == why


def test_half_a_character_in_a_message(bench: Any, thing: Path) -> None:
    test = "def test_it():\n    print('\\udc80')\n    raise ValueError('\\ud800')\n"
    assert bench({"test_it.py": test}, thing).count("failed") == 1


def test_a_wheel_without_code_does_not_let_the_tree_in(bench: Any, make_wheel: Callable[..., Path]) -> None:
    (case,) = bench({**SRC, "test_it.py": "import thing"}, make_wheel("thing", {"data.json": ""})).cases
    assert (case.outcome, case.message) == ("failed", "E ModuleNotFoundError: No module named 'thing'")


def test_without_a_wheel_the_tree_is_measured(bench: Any) -> None:
    test = "from thing import WHERE\ndef test_it(): pass\n"
    assert bench({**SRC, "tests/test_it.py": test}, coverage=True).coverage is not None


def test_a_forked_child_that_runs_on_reports_nothing(bench: Any, thing: Path, outcomes: Outcomes) -> None:
    test = "import os\ndef test_fork():\n    if os.fork():\n        os.wait()\ndef test_other(): pass\n"
    report = bench({"test_it.py": test}, thing)
    assert outcomes(report) == {"test_it.py::test_fork": "passed", "test_it.py::test_other": "passed"}


def test_a_file_that_skips_itself_is_no_success(bench: Any, thing: Path, outcomes: Outcomes) -> None:
    report = bench({"test_it.py": "import pytest\npytest.skip('not now', allow_module_level=True)\n"}, thing)
    assert outcomes(report) == {"test_it.py": "skipped", "pytest": "failed"}
    assert report.cases[0].message == "not now"


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        pytest.param(
            {"test_it.py": ""}, {"args": ("--nonsense",)}, "unrecognized arguments: --nonsense", id="argument"
        ),
        pytest.param({}, {"paths": ("nowhere",)}, "file or directory not found: nowhere", id="path"),
        pytest.param({"conftest.py": "import nothing_of_the_kind"}, {}, "nothing_of_the_kind", id="conftest"),
        pytest.param(
            {
                "conftest.py": "def pytest_collection_finish(): raise OSError('disk')",
                "test_it.py": "def test(): pass",
            },
            {},
            "disk",
            id="internal error",
        ),
        pytest.param(
            {"pyproject.toml": f'{INI}addopts = "--nobodys"\n', "test_it.py": "def test(): pass"},
            {},
            "requirements =",
            id="plugin missing",
        ),
    ],
)
def test_a_run_that_did_not_begin_fails(
    bench: Any, thing: Path, files: dict[str, str], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(StepFailed) as caught:
        bench(files, thing, **settings)
    assert message in str(caught.value)


def test_a_conftest_that_exits_does_not_pass(bench: Any, thing: Path) -> None:
    (case,) = bench({"conftest.py": "import sys; sys.exit(0)", "test_it.py": ASKS}, thing).cases
    message = "the process ended here, with status 0: SystemExit: 0"
    assert (case.name, case.outcome, case.message) == ("pytest", "failed", message)


def test_no_tests_are_no_cases(bench: Any, thing: Path) -> None:
    assert bench({"test_it.py": ""}, thing).cases == ()


def test_a_file_that_can_not_be_read_is_a_failed_case(bench: Any, thing: Path, outcomes: Outcomes) -> None:
    files = {"test_bad.py": "import nothing_there\n", "test_good.py": "def test_it(): pass\n"}
    report = bench(files, thing)
    assert outcomes(report) == {"test_bad.py": "failed"}
    assert "No module named 'nothing_there'" in (report.cases[0].message or "")


def test_a_status_without_a_failed_test_is_a_failure(bench: Any, thing: Path, outcomes: Outcomes) -> None:
    files = {
        "conftest.py": "def pytest_sessionfinish(session): session.exitstatus = 1\n",
        "test_it.py": "def test_it(): pass\n",
    }
    assert outcomes(bench(files, thing)) == {"test_it.py::test_it": "passed", "pytest": "failed"}


def test_a_status_that_hides_a_failed_test_does_not(bench: Any, thing: Path, outcomes: Outcomes) -> None:
    files = {
        "conftest.py": "def pytest_sessionfinish(session): session.exitstatus = 0\n",
        "test_it.py": "def test_it(): assert 0\n",
    }
    assert outcomes(bench(files, thing)) == {"test_it.py::test_it": "failed"}


@pytest.mark.parametrize("spread", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_coverage_of_the_wheel(
    bench: Any, make_wheel: Callable[..., Path], outcomes: Outcomes, spread: tuple[str, ...]
) -> None:
    code = "def f(x):\n    if x:\n        return 1\n    return 2\n"
    wheel = make_wheel("thing", {"thing/__init__.py": "from thing.a import f\n", "thing/a.py": code})
    files = {
        "thing/__init__.py": "",
        "thing/a.py": "",
        "tests/test_it.py": "from thing import f\ndef test_f(): assert f(1) == 1\n",
        "pyproject.toml": f'{INI}addopts = "--cov=src --cov-fail-under=100"\n',
    }
    more = ("pytest-cov", "pytest-xdist")
    report = bench(files, wheel, requirements=more, args=spread, coverage_minimum="80%")
    assert report.coverage == pytest.approx(0.8)
    assert outcomes(report)["coverage"] == "passed"
    report = bench(files, wheel, requirements=more, args=spread, coverage_minimum="81%")
    assert report.cases[-1].message == "80% of the wheel's lines were run; coverage_minimum asks for 81%"
    assert report.cases[-1].outcome == "failed"


def test_the_machine_has_no_say(
    bench: Any, thing: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "__init__.py").write_text(TREE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k nothing")
    tests = f"{ASKS}\ndef test_env():\n    import os; assert 'PYTEST_ADDOPTS' not in os.environ\n"
    assert bench({"test_it.py": tests}, thing).count("passed") == 2


def test_the_section_has_a_say_where_the_machine_has_none(
    bench: Any, thing: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k nothing")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    tests = "import os\ndef test_one(): assert 'PYTHONWARNINGS' not in os.environ\ndef test_other(): pass\n"
    report = bench({"test_it.py": tests}, thing, env={"PYTEST_ADDOPTS": "-k test_one"})
    assert [case.name for case in report.cases] == ["test_it.py::test_one"]
    assert report.count("passed") == 1


def test_no_configuration_above_the_workspace_is_read(bench: Any, thing: Path) -> None:
    (bench.make_step.root / "pytest.ini").write_text("[pytest]\naddopts = -k nothing\n")
    assert bench({"test_it.py": ASKS}, thing).count("passed") == 1


def test_a_section_s_own_variables_reach_the_tests(bench: Any, thing: Path) -> None:
    test = "import os\ndef test_url(): assert os.environ['SHOP_URL'] == 'http://x'\n"
    assert bench({"test_it.py": test}, thing, env={"SHOP_URL": "http://x"}).count("passed") == 1


def test_a_secret_in_a_failure_is_masked(bench: Any, thing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_TEST", "correct-horse-battery")
    test = "import os\ndef test_it():\n    print(os.environ['T'])\n    assert os.environ['T'] == 'x'\n"
    (case,) = bench({"test_it.py": test}, thing, secrets={"T": "env:TOKEN_OF_TEST"}).cases
    assert "correct-horse-battery" not in f"{case.message}{case.output}"


def test_no_half_of_a_secret_is_left_where_a_text_is_cut(
    bench: Any, thing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_OF_TEST", "correct-horse-battery")
    # Cut somewhere in the secret, wherever the limits are.
    tests = """
import os, pytest
@pytest.mark.parametrize("n", range(20))
def test_it(n):
    print("\\n" * (3980 - n), os.environ["T"] * 50)
    raise ValueError("x" * n + os.environ["T"] * 1000)
"""
    report = bench({"test_it.py": tests}, thing, secrets={"T": "env:TOKEN_OF_TEST"})
    assert report.count("failed") == 20
    for case in report.cases:
        assert not re.search("cor|orse|tery", f"{case.message}{case.output}")


def test_dependencies_and_extras_of_the_wheel_are_installed(
    bench: Any, make_wheel: Callable[..., Path]
) -> None:
    needs = ["Requires-Dist: six", "Provides-Extra: test", 'Requires-Dist: toolz; extra == "test"']
    wheel = make_wheel("thing", {"thing.py": "import six\n"}, metadata=needs)
    assert bench({"test_it.py": "import thing, toolz\ndef test_it(): pass\n"}, wheel).count("passed") == 1
    assert 'What the tests need: extra "test"' in bench.log


def test_an_environment_is_made_once(
    bench: Any, thing: Path, make_wheel: Callable[..., Path], cache: Path
) -> None:
    bench({"test_it.py": ASKS}, thing, requirements=("six==1.16.0",))
    assert "Making an environment" in bench.log
    changed = make_wheel("thing", {"thing/__init__.py": WHEEL + "NEW = 1\n"}, version="1.1")
    bench({"test_it.py": ASKS + "from thing import NEW\n"}, changed, requirements=("six==1.16.0",))
    assert "Making an environment" not in bench.log
    assert "six 1.16.0" in bench.log


def test_a_make_that_was_cut_off_does_not_count(bench: Any, thing: Path, cache: Path) -> None:
    bench({"test_it.py": ASKS}, thing, requirements=("six==1.15.0",))
    key = bench.log.partition("Environment ")[2].partition(",")[0]
    (cache / "environments" / key / "penstock-ready.json").unlink()
    (cache / "environments" / key / "half").touch()
    assert bench({"test_it.py": ASKS}, thing, requirements=("six==1.15.0",)).count("passed") == 1
    assert "Making an environment" in bench.log
    assert not (cache / "environments" / key / "half").exists()


def test_steps_at_once_make_one_environment(make_step: StepMaker, thing: Path) -> None:
    artifacts = [make_step("build.wheel").keep(thing, "wheel")]
    steps = [make_step(f"test.{i}", files={"test_it.py": ASKS}, artifacts=artifacts) for i in range(3)]
    reports: list[TestReport] = []
    threads = [
        threading.Thread(target=lambda s=step: reports.append(penstock_test(Pytest(), s))) for step in steps
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.count("passed") for report in reports] == [1, 1, 1]
    assert sum("Making an environment" in make_step.log_of(step) for step in steps) == 1


def test_requirements_that_can_not_be_met(bench: Any, thing: Path) -> None:
    with pytest.raises(StepFailed, match="the tests' environment can't be made") as caught:
        bench({"test_it.py": ASKS}, thing, requirements=("six==99.99",))
    assert "six" in str(caught.value)


def test_pip_serves_where_there_is_no_uv(make_step: StepMaker, thing: Path) -> None:
    step, interpreter, built = make_step(), python.own(), [wheels.read(thing)]
    tool = installer.choose(None)
    base = environment.shared(step, interpreter, built, Wanted(), ["pytest>=6"], tool)
    env = environment.private(step, base, interpreter, built, tool)
    code = "import pytest, thing; print(thing.WHERE, thing.__file__)"
    printed = step.run([env.python, "-I", "-c", code], capture=True).stdout.split()
    assert printed == ["wheel", str(env.site / "thing" / "__init__.py")]
    assert not (base.site / "thing").exists()


def test_a_python_that_is_not_there(bench: Any, thing: Path) -> None:
    with pytest.raises(ConfigError, match=r'`python` asks for "3\.3", and there is no such Python'):
        bench({"test_it.py": ASKS}, thing, python="3.3")


def test_another_python(bench: Any, thing: Path) -> None:
    if not os.access("/usr/bin/python3", os.X_OK):
        pytest.skip("this machine has one Python")
    test = "import sys\ndef test_it(): assert sys.base_prefix == '/usr'\n"
    assert bench({"test_it.py": test}, thing, python="/usr/bin/python3").count("passed") == 1


def test_the_wheel_s_python_is_respected(bench: Any, make_wheel: Callable[..., Path]) -> None:
    wheel = make_wheel("thing", {"thing.py": ""}, metadata=["Requires-Python: >=4"])
    with pytest.raises(StepFailed, match=r"needs Python >=4, and the tests would run on 3\."):
        bench({"test_it.py": ASKS}, wheel)


TWICE = """\
import pytest

def pytest_pycollect_makeitem(collector, name, obj):
    if name == "test":
        return [pytest.Function.from_parent(collector, name=name) for _ in range(2)]
"""


def test_two_tests_of_one_name_both_count(bench: Any, thing: Path) -> None:
    files = {"pyproject.toml": "", "conftest.py": TWICE, "test_it.py": "def test(): pass"}
    report = bench(files, thing)
    assert [(case.name, case.outcome) for case in report.cases] == [
        ("test_it.py::test", "passed"),
        ("test_it.py::test (2)", "passed"),
    ]


def test_an_option_brings_its_plugin(bench: Any, thing: Path) -> None:
    files = {"pyproject.toml": f'{INI}addopts = "--cov=thing"\n', "test_it.py": "def test(): pass"}
    assert bench(files, thing).count("passed") == 1
    assert "Nothing asks for pytest-cov, which is needed (--cov in addopts): installed as well" in bench.log


def test_a_test_is_left_out(bench: Any, thing: Path, outcomes: Callable[..., dict[str, str]]) -> None:
    files = {"pyproject.toml": "", "test_it.py": "def test_a(): pass\ndef test_b(): assert 0\n"}
    report = bench(files, thing, deselect=["test_it.py::test_b", "test_it.py::test_c"])
    assert outcomes(report) == {"test_it.py::test_a": "passed", "test_it.py::test_b": "skipped"}
    assert '`deselect` names "test_it.py::test_c", and no test is called so' in bench.log


def test_a_lock_that_can_not_be_kept_to(bench: Any, thing: Path) -> None:
    lock = '[[package]]\nname = "iniconfig"\nversion = "0.0.0.1"\n'
    files = {"pyproject.toml": "", "uv.lock": lock, "test_it.py": "def test(): pass"}
    assert bench(files, thing).count("passed") == 1
    assert "Once more: uv.lock can't be kept to here" in bench.log


def test_a_test_that_walks_over_the_package(bench: Any, thing: Path) -> None:
    text = "import os\ndef test():\n    assert 'thing' in [os.path.basename(d) for d, _, f in os.walk('.') if f]\n"
    assert bench({"pyproject.toml": "", "thing/__init__.py": "", "test_it.py": text}, thing).count("passed")


def test_temporary_files_have_short_paths_and_go(bench: Any, thing: Path) -> None:
    text = """
import socket, os
def test_socket(tmp_path):
    assert "SOURCE_DATE_EPOCH" not in os.environ
    print("in", tmp_path)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "a_name_of_a_socket_of_usual_length"))
    assert 0
"""
    [case] = bench({"pyproject.toml": "", "test_it.py": text}, thing).cases
    assert "assert 0" in (case.message or "")
    assert not Path((case.output or "").rpartition("in ")[2].strip()).exists()


def test_a_file_is_left_out(bench: Any, thing: Path, outcomes: Callable[..., dict[str, str]]) -> None:
    files = {"pyproject.toml": "", "test_a.py": "def test_a(): pass", "test_b.py": "assert 0"}
    report = bench(files, thing, deselect=["test_b.py"])
    assert outcomes(report) == {"test_a.py::test_a": "passed", "test_b.py": "skipped"}


def test_extras_of_the_wheel_come_along_where_nothing_says_what_is_needed(
    bench: Any, make_wheel: Callable[..., Path]
) -> None:
    metadata = [
        "Provides-Extra: more",
        'Requires-Dist: tomli_w; extra == "more"',
        "Provides-Extra: docs",
        'Requires-Dist: nothing-of-this-name-anywhere; extra == "docs"',
    ]
    wheel = make_wheel("thing", {"thing/__init__.py": ""}, metadata=metadata)
    files = {"pyproject.toml": "", "test_it.py": "def test():\n    import tomli_w\n"}
    assert bench(files, wheel).count("passed") == 1
    assert "So the wheel's extras come along: more" in bench.log


def test_what_a_wheel_needs_from_a_path_comes_from_the_other_wheel(
    bench: Any, make_wheel: Callable[..., Path]
) -> None:
    """As poetry-core writes it, of a directory that went with the build."""
    metadata = ["Requires-Dist: other @ file:///nowhere/other", "Provides-Extra: more"]
    metadata += ["Requires-Dist: tomli_w", 'Requires-Dist: nothing-of-this-name-anywhere; extra == "more"']
    wheels = make_wheel("thing", {"thing.py": ""}, metadata=metadata), make_wheel("other", {"other.py": ""})
    files = {"tests/test_it.py": "import other, thing, tomli_w\ndef test(): pass\n"}
    assert bench(files, *wheels, extras=()).count("passed") == 1
    assert "the path being gone: other @ file:///nowhere/other" in bench.log


def test_extras_that_nobody_asked_for_can_be_missing(bench: Any, make_wheel: Callable[..., Path]) -> None:
    metadata = ["Provides-Extra: more", 'Requires-Dist: nothing-of-this-name-anywhere; extra == "more"']
    wheel = make_wheel("thing", {"thing/__init__.py": ""}, metadata=metadata)
    assert bench({"pyproject.toml": "", "test_it.py": "def test(): pass"}, wheel).count("passed") == 1
    assert "Once more: the extras more can't be had here" in bench.log


def test_a_module_that_was_made_while_it_ran(bench: Any, thing: Path) -> None:
    text = """
import sys, types, thing
def test():
    for name, file in (("thing.virtual", "<virtual thing>"), ("thing.again", thing.__file__)):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__file__ = file
"""
    files = {"pyproject.toml": "", "thing/__init__.py": "", "tests/__init__.py": "", "tests/test_it.py": text}
    assert bench(files, thing).count("passed") == 1
