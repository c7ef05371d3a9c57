"""Runs a unittest suite and writes down what happens, one record a test. PYTEST_DONT_REWRITE

A copy of this file is put beside the reporter's, under the same rules: the standard library alone, and any
Python since 3.8. What a project runs is run as it stands: `unittest` with arguments, or a script of its own.
"""

# ruff: noqa: D102, N802 - the names and meanings of `Result`'s methods are unittest's
from __future__ import annotations

import inspect
import os
import runpy
import sys
import time
import unittest
from typing import Any

NAME = "_penstock_unittest"
_NOTHING = 5  # what pytest, and unittest since 3.12, end with where there was no test
_START = os.getcwd()  # noqa: PTH109
_LEFT_OUT = "left out by `deselect`"


def run(commands: list[list[str]], deselect: list[str], journal: Any) -> int:
    """Run one command after the other; 0 where all went well, as pytest's status has it."""
    journal.write(kind="begin", tool=f"unittest of Python {sys.version.split()[0]}")
    books = Books(journal)
    _keep_books(books, tuple(deselect))
    statuses = [_one(command) for command in commands]
    journal.write(kind="collected", count=None if books.held else books.counted, again={})
    bad = any(status not in (0, _NOTHING) for status in statuses) or books.failed
    return 1 if bad else 0 if books.began else _NOTHING


class Books:
    """What was counted, begun and failed over all commands."""

    def __init__(self, journal: Any) -> None:
        self.journal = journal
        self.counted = 0
        self.began = 0
        self.failed = False
        self.held = False
        """Whether a class or a module held its tests back: they never begin, and that is no cut."""
        self._names: dict[str, int] = {}

    def name(self, test: Any) -> str:
        """A test's own name, with a number where another has it too."""
        name = str(test.id())
        number = self._names[name] = self._names.get(name, 0) + 1
        return name if number == 1 else f"{name} ({number})"

    def case(self, name: str, test: Any, outcome: str, message: str | None, seconds: float) -> None:
        """One test came to its end."""
        self.failed = self.failed or outcome == "failed"
        file, line = _place(test)
        self.journal.write(
            kind="case", name=name, outcome=outcome, message=message, seconds=seconds, file=file, line=line
        )


def _keep_books(books: Books, deselect: tuple[str, ...]) -> None:
    """Every runner of unittest's kind reports to the books, whoever starts it."""
    original = unittest.TextTestRunner.run

    def run_and_count(self: Any, test: Any) -> Any:
        books.counted += test.countTestCases()
        if deselect:
            _leave_out(test, deselect)
        own = self.resultclass
        if isinstance(own, type) and not issubclass(own, Result):  # a project's own: both are told
            self.resultclass = type("Result", (Result, own), {})
        return original(self, test)

    Result.books = books
    unittest.TextTestRunner.run = run_and_count  # type: ignore[method-assign]
    unittest.TextTestRunner.resultclass = Result  # type: ignore[assignment]


class Result(unittest.TextTestResult):
    """Writes down each test's worst."""

    books: Books

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self.books.began += 1
        self._name = self.books.name(test)
        self._outcome = "passed"
        self._message: str | None = None
        self._since = time.perf_counter()
        self.books.journal.write(kind="start", name=self._name)

    def stopTest(self, test: Any) -> None:
        super().stopTest(test)
        seconds = time.perf_counter() - self._since
        self.books.case(self._name, test, self._outcome, self._message, seconds)
        del self._name

    def _note(self, test: Any, outcome: str, message: str | None) -> None:
        if not hasattr(self, "_name"):  # of a class or module as a whole
            self.books.held = True
            self.books.case(self.books.name(test), test, outcome, message, 0.0)
        elif outcome == "failed" or self._outcome == "passed":
            self._outcome, self._message = outcome, message

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self._note(test, "failed", _said(self.errors[-1][1]))

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self._note(test, "failed", _said(self.failures[-1][1]))

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failed", f"{subtest}\n{_said(self._exc_info_to_string(err, test))}")  # type: ignore[attr-defined]

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        if not hasattr(test, "test_case"):  # of a subtest: the others count
            self._note(test, "skipped", reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._note(test, "skipped", "failed, as expected")

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self._note(test, "failed", "passed, although it was expected to fail")


def _leave_out(suite: Any, names: tuple[str, ...]) -> None:
    for test in suite if isinstance(suite, unittest.TestSuite) else [suite]:
        if isinstance(test, unittest.TestSuite):
            _leave_out(test, names)
        elif test is not None and test.id().startswith(names):
            setattr(test, test._testMethodName, unittest.skip(_LEFT_OUT)(lambda: None))


def _one(command: list[str]) -> int:
    """Run `-m unittest …`, `-m MODULE …` or `SCRIPT …` in this process; after `-C DIRECTORY`, there."""
    try:
        if command[0] == "-C":
            os.chdir(command[1] or ".")
            command = command[2:]
        directory = os.getcwd()  # noqa: PTH109 - as a string, which `sys.path` wants
        if command[:2] == ["-m", "unittest"]:
            sys.path.insert(0, directory)
            sys.argv = ["python -m unittest", *command[2:]]
            unittest.main(module=None)
        elif command[0] == "-m":
            sys.path.insert(0, directory)
            sys.argv = list(command[1:])
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, os.path.dirname(os.path.abspath(command[0])))  # noqa: PTH100, PTH120
            sys.argv = list(command)
            runpy.run_path(command[0], run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        os.chdir(_START)
    return 0


def _said(traceback: str) -> str:
    """The end of what unittest prints about a failure: the line, and what was wrong with it."""
    lines = [line for line in traceback.partition("\nStdout:")[0].splitlines() if line.strip()]
    last = max((n for n, line in enumerate(lines) if line.startswith("  File ")), default=0)
    return "\n".join(line.strip() for line in lines[last:][-12:])


def _place(test: Any) -> tuple[str | None, int | None]:
    try:
        method = inspect.unwrap(getattr(type(test), test._testMethodName))
        file = os.path.relpath(inspect.getsourcefile(method) or "", _START)
        return file, inspect.getsourcelines(method)[1]
    except (AttributeError, OSError, TypeError, ValueError):
        return None, None
