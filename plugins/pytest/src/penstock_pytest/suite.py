"""One run of a suite: the wheel, what the tests need, the tree, pytest, the verdict; in this order."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from penstock import ConfigError, Step, StepFailed, TestCase, TestReport

from penstock_pytest import (
    environment,
    installer,
    layout,
    measuring,
    python,
    reporter,
    results,
    scratch,
    unittests,
    wheels,
)
from penstock_pytest.advice import about
from penstock_pytest.environment import Environment
from penstock_pytest.inventory import Inventory
from penstock_pytest.requirements import Choice, Wanted

if TYPE_CHECKING:
    from penstock_pytest import Pytest

_MESSAGE = 2000  # characters
_OUTPUT = 4000
_LONGEST_SECRET = 4096
# What a machine's variables say to Python and pytest would make a run depend on who started it.
_MACHINE = (
    "PYTHONPATH",
    "PYTHONSAFEPATH",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
    "PYTEST_ADDOPTS",
    "PYTEST_PLUGINS",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD",
    "PYTEST_XDIST_WORKER",
    "PYTEST_XDIST_WORKER_COUNT",
    "PYTEST_CURRENT_TEST",
    "COVERAGE_FILE",
    "COVERAGE_PROCESS_START",
    "COVERAGE_RCFILE",
)


def run(settings: Pytest, step: Step) -> TestReport:
    """Run the suite and say what came of it."""
    project = project_directory(step.workspace, settings.directory)
    uv = installer.find_uv()
    tool = installer.choose(uv)
    interpreter = python.find(settings.python, lambda argv: _output(step, argv), uv)
    built = _wheels(step, interpreter)
    above = [place for place in project.parents if place.is_relative_to(step.workspace.resolve())]
    tests = Inventory(project, interpreter.version, built, above=above)
    wanted = wanted_by(settings, step, tests)
    commands = tests.unittests(settings, wanted)
    for command in commands:
        step.log(f"With unittest: {' '.join(command)}")
    more = [*([] if commands else ["pytest>=6"]), *(["coverage>=7.2"] if settings.measures else [])]
    base = environment.shared(step, interpreter, built, wanted, more, tool)
    env = environment.private(step, base, interpreter, built, tool)
    paths = () if commands else tests.chosen(settings, wanted, step.log)
    launch = Launch(settings, step, tests, env, paths, commands)
    launch.lay_out()
    status = launch.run()
    return launch.verdict(status)


def project_directory(workspace: Path, directory: str) -> Path:
    """Where the project stands in the revision."""
    project = (workspace / directory).resolve()
    if not project.is_relative_to(workspace.resolve()) or not project.is_dir():
        raise ConfigError(f'`directory`: the revision has no directory "{directory}"')
    return project


def _output(step: Step, argv: list[str]) -> str | None:
    try:
        done = step.run(argv, capture=True, quiet=True, check=False)
    except StepFailed:
        return None
    return done.stdout if done.returncode == 0 else None


def _wheels(step: Step, interpreter: python.Interpreter) -> list[wheels.Wheel]:
    paths = [step.fetch(artifact) for artifact in step.artifacts if artifact.kind == "wheel"]
    if not paths:
        step.log("No wheel among the artifacts: the tree itself is tested, as it stands")
    same = interpreter.release == python.own().release
    found = [wheels.read(path) for path in wheels.choose(paths, interpreter.release, own=same)]
    for wheel in found:
        wheels.check_python(wheel, interpreter.version)
        step.log(f"Testing {wheel.path.name}")
        for line in wheel.from_paths:
            step.log(f"It needs what the wheel of that name alone can bring, the path being gone: {line}")
    return found


def wanted_by(settings: Pytest, step: Step, tests: Inventory) -> Wanted:
    """What the suite needs, and in the log where that was read."""
    choice = Choice(
        groups=settings.groups,
        extras=settings.extras,
        requirements_files=settings.requirements_files,
        locked=settings.locked,
    )
    wanted = tests.wanted(choice)
    step.log(f"What the tests need: {wanted.origin}")
    for line in wanted.left_out:
        step.log(f"Left out, since it would install from a path or an address: {line}")
    if wanted.guessed:
        why = "So" if wanted.origin == Wanted().origin else "Since the tests import what they bring,"
        step.log(f"{why} the wheel's extras come along: {', '.join(wanted.guessed)}")
    if wanted.lock.file:
        step.log(f"In the versions of {wanted.lock.file}")
    for need in wanted.added:
        step.log(f"Nothing asks for {need.distribution}, which is needed ({need.because}): installed as well")
    return wanted.model_copy(update={"lines": (*wanted.lines, *settings.requirements)})


class Launch:
    """pytest's start, over a prepared tree, and its end."""

    tested = "the wheel"

    def __init__(
        self,
        settings: Pytest,
        step: Step,
        tests: Inventory,
        env: Environment,
        paths: Sequence[str],
        unittests: Sequence[Sequence[str]],
    ) -> None:
        self._settings = settings
        self._step = step
        self._project = tests.root
        self._env = env
        self._paths = paths
        self._unittests = unittests
        self._place = step.tmp / "penstock-pytest"
        self._results = self._place / "results.jsonl"
        self._built = bool(tests.wheels)
        self._units = tuple(unit for wheel in tests.wheels for unit in wheel.units)
        self._laid: list[str] = []
        self._places: dict[str, list[str]] = {}
        self._shown: dict[str, str] = {}
        self._config = tests.config
        self._beside = tests.files.beside(tests.root)

    def lay_out(self) -> None:
        """Let the wheel take the tree's place; without a wheel, put the tree on the import path."""
        if not self._built:
            roots = [path for path in (self._project, self._project / "src") if path.is_dir()]
            (self._env.site / "_penstock_tree.pth").write_text("".join(f"{path}\n" for path in roots))
            return
        paths = self._paths or self._config.testpaths
        for replaced in layout.replace(
            self._project, self._env.site, self._units, self._place / "aside", tests=paths
        ):
            self._step.log(f"{replaced.path}: the wheel's in place of the tree's")
            self._places[replaced.path] = [
                str(self._env.site / replaced.unit),
                str(self._project / replaced.path),
            ]
            installed = self._env.site / f"{replaced.unit}{PurePosixPath(replaced.path).suffix}"
            self._shown[str(installed)] = replaced.path
            if replaced.tests:
                self._step.log(
                    f"{replaced.path}: {len(replaced.tests)} files of tests laid beside the wheel's"
                )
                self._laid += [f"*/{replaced.path.rpartition('/')[2]}/{test}" for test in replaced.tests]

    def run(self) -> int:
        """Run pytest to its end, whatever that is; its status."""
        self._write_reporter()
        launcher = self._place / "bin" / "pytest"
        launcher.parent.mkdir()
        launcher.write_text(
            f"import sys\n{self.first}from {reporter.NAME} import main\nif __name__ == '__main__':\n"
            "    sys.exit(main(sys.argv[1:]))\n"
        )
        argv = [str(self._env.python), str(launcher), *self._arguments()]
        with self.temporary() as temporary:
            env = {**dict.fromkeys(_MACHINE), "TMPDIR": str(temporary)}
            return self._step.run(argv, cwd=self._project, env=env, check=False).returncode

    @property
    def first(self) -> str:
        """Lines of Python with which the launcher begins."""
        return ""

    @property
    def programs(self) -> str | None:
        """What comes first in the tests' PATH."""
        return str(self._env.bin)

    def temporary(self) -> AbstractContextManager[Path]:
        """Where the tests' temporary files lie."""
        return scratch.short(self._step.tmp)

    def verdict(self, status: int) -> TestReport:
        """What the records and the status come to."""
        text = self._results.read_text(encoding="utf-8", errors="replace") if self._results.exists() else ""
        records = results.parse(text)
        strangers = results.strangers(records)
        if strangers:
            some = ", ".join(f"{name} ({file})" for name, file in sorted(strangers.items())[:5])
            raise StepFailed(
                f"the tests imported the tree and not {self.tested}: {some}. Nothing was proved about "
                f"{self.tested}. "
                "Look for a sys.path or `pythonpath` that leads there"
            )
        report = results.judge(records, status)
        if self._units and not results.imported(records):
            self._step.log(f"No test imported anything of {self.tested}")
        if self._settings.measures and report.coverage is None:
            self._step.log("Coverage: no line of the wheel was measured")
        cases = report.cases
        for name in self._settings.deselect:
            if (self._project / name).exists():
                said = "left out by `deselect`"
                cases += (TestCase(name=name, outcome="skipped", file=name, message=said),)
            elif not any(case.name.startswith(name) for case in cases):
                self._step.log(f'`deselect` names "{name}", and no test is called so')
        tested = any(
            case.outcome != "skipped" for case in cases
        )  # a case of ours must not hide that none was
        if self._settings.coverage_minimum is not None and tested:
            cases += (results.coverage_case(report, self._settings.coverage_minimum),)
        masked = tuple(self._masked(case) for case in cases)
        where = partial(layout.where, self._project)
        advice = about(masked, self._step.name, root=os.geteuid() == 0, where=where)
        return report.model_copy(update={"cases": masked, "advice": advice})

    def _arguments(self) -> list[str]:
        # Without a configuration of its own, pytest would look for one above the workspace.
        argv = ["-p", reporter.NAME, "--color=no", f"--rootdir={self._project}"]
        if self._config.file is None:
            empty = self._place / "pytest.ini"
            empty.write_text("[pytest]\n")
            argv += ["-c", str(empty)]
        # Coverage is this plugin's setting: a limit that pytest-cov finds broken would speak of other paths.
        if (self._env.base / "pytest_cov").is_dir() and not any(
            a.startswith("--cov") for a in self._settings.args
        ):
            argv.append("--no-cov")
        argv += [self._without(name) for name in self._settings.deselect]
        return [*argv, *self._settings.args, *self._paths]

    def _without(self, name: str) -> str:
        # A whole file, such as one that can't be imported here, must not even be read.
        return f"--ignore={name}" if (self._project / name).exists() else f"--deselect={name}"

    def _write_reporter(self) -> None:
        coverage = self._place / "coverage"
        coverage.mkdir()
        settings = {
            "results": str(self._results),
            "modules": [unit.replace("/", ".") for unit in self._units],
            "tree": str(self._step.workspace.resolve()),
            "bin": self.programs,
            "epoch": str(self._step.stamp.time),
            "coverage": str(coverage) if self._settings.measures else None,
            "omit": self._laid,
            "beside": {name: str(self._project) for name in self._beside},
            "shown": self._shown,
            "places": self._places,
            "unittest": [list(command) for command in self._unittests],
            "deselect": list(self._settings.deselect),
        }
        (self._env.site / f"{reporter.NAME}.json").write_text(json.dumps(settings))
        copied = {m.NAME: m.__file__ for m in (reporter, measuring, unittests)}
        for name, file in copied.items():
            source = Path(str(file)).read_text(encoding="utf-8")
            (self._env.site / f"{name}.py").write_text(source, encoding="utf-8")

    def _masked(self, case: TestCase) -> TestCase:
        """The case without secrets, and only then cut: half a secret is found by no mask."""
        texts = {key: getattr(case, key) for key in ("message", "output", "flaky")}
        cut = {
            key: (_end if key == "output" else _beginning)(self._step.mask(text), len(text))
            for key, text in texts.items()
            if text is not None
        }
        return case.model_copy(update=cut) if cut else case


def _beginning(text: str, whole: int) -> str:
    """Of a text that had so many characters before it was masked."""
    if whole > reporter.TEXT:  # it was cut there already, and may end in half a secret
        text = text[:-_LONGEST_SECRET]
    return text if len(text) <= _MESSAGE and whole <= reporter.TEXT else f"{text[:_MESSAGE]}…"


def _end(text: str, whole: int) -> str:
    return (text[_LONGEST_SECRET:] if whole >= reporter.OUTPUT else text)[-_OUTPUT:]
