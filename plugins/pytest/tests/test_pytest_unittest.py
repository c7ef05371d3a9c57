"""Suites that are unittest's own, run without pytest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from penstock import StepFailed

MAIN = "thing/__init__.py"
SUITE = """\
import unittest
import thing

class Base(unittest.TestCase):
    def test_of_no_use_alone(self):
        self.assertEqual(self.thing, 42)

class Good(Base):
    thing = thing.answer

    @unittest.skip("not today")
    def test_skipped(self): pass

    @unittest.expectedFailure
    def test_expected(self): self.fail("really")

    def test_subtests(self):
        for number in range(3):
            with self.subTest(number=number):
                if number == 1: self.skipTest("one")
"""
SCRIPT = f"""{SUITE}
def suite():
    return unittest.defaultTestLoader.loadTestsFromTestCase(Good)

if __name__ == "__main__":
    import sys
    sys.exit(not unittest.TextTestRunner().run(suite()).wasSuccessful())
"""
DISCOVER = (
    "[testenv]\ncommands = coverage run --source=thing -m unittest discover {toxinidir}/tests {posargs}\n"
)
LOADED = """\
import unittest

class Case(unittest.TestCase):
    def test_one(self): pass

def load_tests(loader, tests, pattern):
    tests.addTest(unittest.FunctionTestCase(lambda: None))
    return tests
"""


@pytest.fixture
def wheel(make_wheel: Callable[..., Path]) -> Path:
    return make_wheel("thing", {MAIN: "answer = 42\n"})


def test_a_script_of_tests_that_tox_runs(
    bench: Any, wheel: Path, outcomes: Callable[..., dict[str, str]]
) -> None:
    tox = "[testenv]\ncommands =\n    coverage run --parallel-mode tests.py\n    coverage report\n"
    report = bench({MAIN: "answer = 0\n", "tests.py": SCRIPT, "tox.ini": tox}, wheel)
    assert report.tool.startswith("unittest of Python 3.")
    assert outcomes(report) == {
        "__main__.Good.test_of_no_use_alone": "passed",
        "__main__.Good.test_skipped": "skipped",
        "__main__.Good.test_expected": "skipped",
        "__main__.Good.test_subtests": "passed",
    }
    assert {case.file for case in report.cases} == {"tests.py"}
    assert "With unittest: tests.py\n" in bench.log


def test_unittest_s_discovery_with_load_tests(
    bench: Any, wheel: Path, outcomes: Callable[..., dict[str, str]]
) -> None:
    report = bench({MAIN: "", "tests/test_it.py": LOADED, "tox.ini": DISCOVER}, wheel)
    assert (
        outcomes(report)
        == {
            "test_it.Case.test_one": "passed",
            "unittest.case.FunctionTestCase.runTest": "passed",
        }
        or len(report.cases) == 2
    )  # the name of a function's case is Python's affair


def test_a_program_that_runs_when_it_is_imported(
    bench: Any, wheel: Path, outcomes: Callable[..., dict[str, str]]
) -> None:
    text = f"{LOADED.partition('def load')[0]}\nopen('data')\nunittest.main()\n"
    report = bench({MAIN: "", "test/testit.py": text, "test/data": ""}, wheel)
    assert outcomes(report) == {"__main__.Case.test_one": "passed"}
    assert report.cases[0].file == "test/testit.py"


FAILS = """\
import os, sys, unittest

class It(unittest.TestCase):
    def test_it(self): {body}
"""


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        pytest.param(
            FAILS.format(body="self.assertEqual(1, 2)"), "test_it.It.test_it", "1 != 2", id="a failure"
        ),
        pytest.param(FAILS.format(body="1 / 0"), "test_it.It.test_it", "ZeroDivisionError", id="an error"),
        pytest.param(
            FAILS.format(body="os._exit(0)"), "test_it.It.test_it", "the process ended here", id="a crash"
        ),
        pytest.param("import nothing\n", "unittest.loader._FailedTest.test_it", "nothing", id="an import"),
        pytest.param(
            FAILS.format(body="pass").replace("    def", "    def setUpClass(): 1 / 0\n    def"),
            "setUpClass (test_it.It)",
            "ZeroDivisionError",
            id="a class",
        ),
    ],
)
def test_a_failure_of_unittest_s(bench: Any, wheel: Path, text: str, name: str, message: str) -> None:
    report = bench({MAIN: "", "tests/test_it.py": text, "tox.ini": DISCOVER}, wheel)
    [case] = [case for case in report.cases if case.outcome == "failed"]
    assert case.name == name
    assert message in (case.message or "")
    assert report.advice is not None
    assert "deselect" in report.advice


def test_a_test_is_left_out_of_unittest_s(
    bench: Any, wheel: Path, outcomes: Callable[..., dict[str, str]]
) -> None:
    files = {MAIN: "", "tests/test_it.py": FAILS.format(body="1 / 0"), "tox.ini": DISCOVER}
    report = bench(files, wheel, deselect=["test_it.It.test_it"])
    assert outcomes(report) == {"test_it.It.test_it": "skipped"}


def test_a_project_s_own_result_is_told_too(
    bench: Any, wheel: Path, outcomes: Callable[..., dict[str, str]]
) -> None:
    text = """
import unittest, sys

class Own(unittest.TextTestResult):
    def addSuccess(self, test):
        print("its own word:", test.id())
        super().addSuccess(test)

class It(unittest.TestCase):
    def test_it(self): pass

suite = unittest.defaultTestLoader.loadTestsFromTestCase(It)
unittest.TextTestRunner(resultclass=Own).run(suite)
"""
    tox = "[testenv]\ncommands = {envpython} -m tests.all\n"
    report = bench({MAIN: "", "tests/all.py": text, "tests/test_x.py": FAILS, "tox.ini": tox}, wheel)
    assert outcomes(report) == {"__main__.It.test_it": "passed"}
    assert "its own word: __main__.It.test_it" in bench.log


def test_no_test_of_unittest_s_is_no_case(bench: Any, wheel: Path) -> None:
    assert (
        bench({MAIN: "", "tests/test_it.py": "", "tox.ini": DISCOVER}, wheel, runner="unittest").cases == ()
    )


def test_the_tree_is_not_tested_by_unittest_either(bench: Any, wheel: Path) -> None:
    text = "import sys\nsys.path.insert(0, 'lib/inner')\nimport thing\n" + FAILS.format(body="pass")
    files = {"lib/inner/thing/__init__.py": "answer = 1\n", "tests/test_it.py": text, "tox.ini": DISCOVER}
    with pytest.raises(StepFailed, match="the tests imported the tree"):
        bench(files, wheel)


def test_the_section_chooses_the_runner(bench: Any, wheel: Path) -> None:
    files = {MAIN: "", "tests/__init__.py": "", "tests/test_it.py": FAILS.format(body="pass")}
    assert bench(files, wheel).tool.startswith("pytest ")
    report = bench(files, wheel, runner="unittest")
    assert report.tool.startswith("unittest ")
    assert [case.name for case in report.cases] == ["tests.test_it.It.test_it"]
