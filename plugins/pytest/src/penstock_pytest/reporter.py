"""Runs pytest and writes down what happens, one JSON record a line. PYTEST_DONT_REWRITE

A copy of this file is put beside the wheel under test, so it runs in the project's Python, which may be
as old as 3.8, next to any pytest since 6: it imports the standard library alone, and pytest late.
"""

from __future__ import annotations

import functools
import importlib.machinery
import json
import os
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

NAME = "_penstock_reporter"
_SITE = Path(__file__).parent
_SETTINGS = _SITE / f"{NAME}.json"
# Characters, far more than are shown: a secret that is cut in two is found by no mask, so whoever masks cuts.
TEXT = 10_000  # of a message
OUTPUT = 20_000  # of what a failed test printed
_TAIL = 2000  # of standard error
_LINES = 12  # lines of an explanation


def main(argv: list[str]) -> int:
    """Run pytest with these arguments; its status, as the last record says it too."""
    settings = json.loads(_SETTINGS.read_text(encoding="utf-8"))
    _prepare(settings["bin"], settings["epoch"])
    journal = Journal(settings["results"])
    errors = _Tail(sys.stderr)
    sys.stderr = errors
    try:
        status = _run(argv, settings, journal)
    except BaseException as error:
        journal.write(
            kind="crash", why=_cut("".join(traceback.format_exception_only(type(error), error)).strip())
        )
        raise
    journal.write(kind="end", status=status, errors=errors.text())
    return status


def _run(argv: list[str], settings: dict[str, Any], journal: Journal) -> int:
    # Before pytest, whose plugins may import the wheel.
    measuring = _measuring(settings) if settings["coverage"] else None
    status = _unittest(settings, journal) if settings["unittest"] else _pytest(argv, journal)
    if measuring is not None:
        journal.write(kind="coverage", **measuring.report())
    return status


def _pytest(argv: list[str], journal: Journal) -> int:
    import pytest

    journal.write(kind="begin", tool=f"pytest {pytest.__version__}")
    return int(pytest.main(argv, plugins=[Reporter(journal)]))


def _unittest(settings: dict[str, Any], journal: Journal) -> int:
    import _penstock_unittest  # type: ignore[import-not-found]  # beside this file, where it is copied to

    status = _penstock_unittest.run(settings["unittest"], settings["deselect"], journal)
    journal.write(kind="modules", **_origins(settings["modules"], settings["tree"]))
    return int(status)


def _prepare(bin_directory: str | None, epoch: str) -> None:
    sys.path.pop(0)  # the launcher's own directory
    if bin_directory is not None:  # what runs inside of an image has that one's programs
        os.environ["PATH"] = os.pathsep.join([bin_directory, os.environ.get("PATH", os.defpath)])
        os.environ["VIRTUAL_ENV"] = str(Path(bin_directory).parent)
    # Penstock's own, for builds: tests of tools that build would find themselves in another time.
    if os.environ.get("SOURCE_DATE_EPOCH") == epoch:
        del os.environ["SOURCE_DATE_EPOCH"]


class Journal:
    """The file of records. A process that a test forked writes nothing."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._owner = os.getpid()

    def write(self, **record: Any) -> None:
        """Append one record. The file is opened each time: a test may close what it has not opened."""
        if os.getpid() != self._owner:
            return
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            data = memoryview(json.dumps(record).encode() + b"\n")
            while data:
                data = data[os.write(handle, data) :]
        finally:
            os.close(handle)


class Reporter:
    """The pytest plugin: puts the phases of each test together."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._open: dict[str, list[Any]] = {}
        self._again: set[str] = set()
        self._failed_before: dict[str, str] = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins: known, in case it ends the process."""
        self._open.setdefault(nodeid, [])
        self._journal.write(kind="start", name=nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """One phase of a test ended."""
        if report.outcome not in ("passed", "failed", "skipped"):
            self._again.add(report.nodeid)  # it will be run once more, and the last time counts
            self._failed_before.setdefault(report.nodeid, explain(_text(report)) if report.longrepr else "")
            return
        if hasattr(report, "context"):
            # pytest counts no subtest that passes: it is a part of its test.
            if report.outcome == "passed":
                return
            self._journal.write(kind="case", **_case(report.nodeid + _subtest(report.context), [report]))
            return
        phases = self._open.setdefault(report.nodeid, [])
        if report.nodeid in self._again and report.when != "call":
            self._again.discard(report.nodeid)
            phases.clear()
            if report.when == "teardown":
                return  # of the time before; some plugins report it and some don't
        phases.append(report)
        if report.when in ("setup", "call"):
            return
        del self._open[report.nodeid]
        case = _case(report.nodeid, phases)
        before = self._failed_before.pop(report.nodeid, None)
        if before is not None and case["outcome"] == "passed":
            case["flaky"] = _cut(_said(before)) or "failed when it was run first"
        self._journal.write(kind="case", **case)

    def pytest_collectreport(self, report: Any) -> None:
        """A file was read; one that can't be is a failed case, one that skips itself a skipped one."""
        if report.outcome != "passed":
            name = report.nodeid or "collection"
            self._journal.write(kind="case", **_case(name, [report]))

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        """The run was cut short, by `pytest.exit` for one."""
        self._journal.write(kind="interrupted", why=_cut(str(excinfo.value) or excinfo.typename))

    def pytest_internalerror(self, excrepr: Any) -> None:
        """pytest, or a plugin of it, failed."""
        self._journal.write(kind="internal", why=_cut(explain(str(excrepr))))

    def pytest_sessionfinish(self, session: Any) -> None:
        """All is done; what is still open never ended."""
        for name in self._open:
            self._journal.write(kind="unfinished", name=name)
        workers = session.config.pluginmanager.hasplugin("dsession")
        names = Counter(item.nodeid for item in getattr(session, "items", ()))
        # Two tests may have one name: both must have been run, which their beginnings tell.
        self._journal.write(
            kind="collected",
            count=None if workers else len(names),
            again={name: number for name, number in names.items() if number > 1},
        )


def pytest_load_initial_conftests() -> None:
    """In every process, before any file of tests is read: these names lead to the project's root."""
    beside = json.loads(_SETTINGS.read_text(encoding="utf-8"))["beside"]
    if beside:
        sys.meta_path.append(Beside(beside))


class Beside:
    """Finds what stands at the project's root under a few names, and only where nothing else has found it.

    As `python -m pytest` would, which puts the whole root on the import path: that would hide what the wheel
    lacks.
    """

    def __init__(self, roots: dict[str, str]) -> None:
        self._roots = roots

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The module at the root, if it is one of the names."""
        if path is not None or name not in self._roots:
            return None
        return importlib.machinery.PathFinder.find_spec(name, [self._roots[name]], target)


def pytest_sessionfinish(session: Any) -> None:
    """In every process, pytest-xdist's workers too: say where the wheel's modules came from."""
    settings = json.loads(_SETTINGS.read_text(encoding="utf-8"))
    Journal(settings["results"]).write(kind="modules", **_origins(settings["modules"], settings["tree"]))
    if hasattr(session.config, "workerinput") and _WORKERS:
        _WORKERS[0].save()


def pytest_deselected(items: Any) -> None:
    """In the first process that collects: what the section leaves out counts as skipped."""
    if not items or getattr(items[0].config, "workerinput", {}).get("workerid", "gw0") != "gw0":
        return
    settings = json.loads(_SETTINGS.read_text(encoding="utf-8"))
    journal = Journal(settings["results"])
    for item in items:
        if item.nodeid.startswith(tuple(settings["deselect"])):
            file = item.nodeid.partition("::")[0]
            said = "left out by `deselect`"
            journal.write(kind="case", name=item.nodeid, outcome="skipped", file=file, message=said)


def _origins(modules: list[str], tree: str) -> dict[str, Any]:
    prefixes = tuple(f"{name}." for name in modules)
    imported = 0
    strangers = {}
    for name, module in list(sys.modules.items()):
        if name not in modules and not name.startswith(prefixes):
            continue
        file = getattr(module, "__file__", None)
        if not isinstance(file, str):
            continue
        imported += 1
        real = os.path.realpath(file)
        if real.startswith(tree + os.sep) and not _is_the_wheel_s(real, modules):
            strangers[name] = os.path.relpath(real, tree)
    return {"imported": imported, "strangers": strangers}


def _is_the_wheel_s(file: str, modules: list[str]) -> bool:
    """Whether a file of the tree is one that is installed, or has its bytes, or is none at all.

    A module that was made while it ran may say that it came from any file, or from one that never was.
    """
    if not os.path.isfile(file):  # noqa: PTH113 - paths are strings here
        return True
    base = os.path.basename(file)  # noqa: PTH119
    places = [_SITE / base]
    for module in modules:
        places += _SITE.joinpath(*module.split(".")).rglob(base)
    return any(place.is_file() and _is_same(place, Path(file)) for place in places)


def _is_same(one: Path, other: Path) -> bool:
    return one.samefile(other) or one.read_bytes() == other.read_bytes()


# --- what a report says ---


def _case(name: str, phases: list[Any]) -> dict[str, Any]:
    failed = [report for report in phases if report.outcome == "failed"]
    skipped = [report for report in phases if report.outcome == "skipped"]
    decisive = (failed or skipped or phases)[0]
    case = {
        "name": name,
        "outcome": decisive.outcome,
        "seconds": max(0.0, sum(getattr(report, "duration", 0.0) for report in phases)),
        "file": name.partition("::")[0] if "::" in name or name.endswith(".py") else None,
        "line": _line(decisive, name),
    }
    if failed:
        text = explain(_text(decisive))
        if decisive.when in ("setup", "teardown"):
            text = f"in {decisive.when}\n{text}"
        case["message"] = _cut(text)
        case["output"] = "\n".join(f"{title}:\n{text}" for title, text in decisive.sections)[-OUTPUT:] or None
    elif skipped:
        case["message"] = _cut(_reason(decisive))
    elif hasattr(phases[-1], "wasxfail") or any(hasattr(report, "wasxfail") for report in phases):
        case["message"] = "passed, although it was expected to fail"
    return case


def _text(report: Any) -> str:
    try:
        text = str(report.longreprtext)
    except AttributeError:
        text = str(report.longrepr)
    for installed, path in _shown().items():
        text = text.replace(installed, path)
    return text


@functools.lru_cache(maxsize=None)  # noqa: UP033 - `cache` is not in Python 3.8
def _shown() -> dict[str, str]:
    """Where the wheel's files lie that took the place of the tree's, and the paths that people know."""
    if not _SETTINGS.exists():
        return {}
    shown: dict[str, str] = json.loads(_SETTINGS.read_text(encoding="utf-8"))["shown"]
    return shown


def _reason(report: Any) -> str:
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return f"failed, as expected: {expected}" if expected else "failed, as expected"
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).partition("Skipped: ")[2] or str(report.longrepr[2])
    return explain(_text(report))


def _line(report: Any, name: str) -> int | None:
    """The line of the test's own file that failed, or else where the test begins."""
    own = Path(name.partition("::")[0]).name
    trace = getattr(report.longrepr, "reprtraceback", None)
    for entry in reversed(getattr(trace, "reprentries", None) or []):
        place = getattr(entry, "reprfileloc", None)
        if place is not None and Path(place.path).name == own and place.lineno > 0:
            return int(place.lineno)
    location = getattr(report, "location", None)
    if location and isinstance(location[1], int) and location[1] >= 0:
        return int(location[1]) + 1
    return None


def _subtest(context: Any) -> str:
    words = [f"[{context.msg}]"] if context.msg else []
    words += (
        [f"({', '.join(f'{key}={value!r}' for key, value in context.kwargs.items())})"]
        if context.kwargs
        else []
    )
    return " " + (" ".join(words) or "(<subtest>)")


def explain(text: str) -> str:
    """The failing line and what pytest says about it; the end of the text where it is of another form."""
    lines = text.splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("E ") or line == "E"]
    if not errors:
        return "\n".join([line for line in lines if line.strip()][-_LINES:])
    first = errors[-1]
    while first - 1 in errors:
        first -= 1
    source = [line for line in lines[:first] if line.startswith(">")][-1:]
    said = [line for line in lines[first : errors[-1] + 1] if line != "E"]
    return "\n".join(" ".join(line.split(None, 1)) for line in source + said[: _LINES - 1])


def _said(text: str) -> str:
    """What an explanation says first, without the line of the source that stands before it."""
    lines = text.splitlines()
    return next((line[2:] for line in lines if line.startswith("E ")), lines[-1] if lines else "")


def _cut(text: str) -> str:
    return text if len(text) <= TEXT else text[:TEXT] + "…"


class _Tail:
    """Standard error, of which the end is remembered: it says why pytest refused to start."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._end = ""

    def write(self, text: str) -> Any:
        end = self._end + text
        # Whole lines: half of one may be half of a secret.
        self._end = end if len(end) <= _TAIL else end[-_TAIL:].partition("\n")[2]
        return self._stream.write(text)

    def text(self) -> str:
        return self._end.strip()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


# --- coverage ---


def _measuring(settings: dict[str, Any]) -> Any:
    import _penstock_measuring  # type: ignore[import-not-found]  # beside this file, where it is copied to

    return _penstock_measuring.Measuring(settings)


_WORKERS: list[Any] = []

if os.environ.get("PYTEST_XDIST_WORKER") and _SETTINGS.exists():
    _settings = json.loads(_SETTINGS.read_text(encoding="utf-8"))
    if _settings["coverage"]:
        _WORKERS.append(_measuring(_settings))
