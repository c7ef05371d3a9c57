"""Measures tools on workloads, side by side: each once in every round, so that all see the same machine."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Sample, TooLongError, run
from benchmarks.tools import SLOTS, Tool, UnavailableError, environment, install
from benchmarks.workloads import Workload


@dataclass
class Results:
    """What was measured, and what could not be, and why."""

    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    """By workload and tool."""
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Tools that could not be installed."""


@dataclass(frozen=True)
class Bench:
    """How to measure."""

    cache: Path
    limit: float
    """Seconds that one run may take."""
    patience: float
    """Seconds that the installation of one tool may take."""

    def measure(self, tools: Sequence[Tool], workloads: Sequence[Workload], rounds: int) -> Results:
        """Measure each tool on each workload so many times."""
        results = Results()
        able = []
        for tool in tools:
            say(f"installing {tool.name}")
            try:
                install(self.cache, tool, self.patience)
                able.append(tool)
            except UnavailableError as error:
                results.missing[tool.name] = str(error)
                say(f"{tool.name} is left out: {error}")
        try:
            for number in range(rounds + 1):
                for workload in workloads:
                    round_ = f"round {number} of {rounds}, {workload.name}"
                    say(round_ if number else f"trying {workload.name}")
                    for tool in able:
                        self._once(tool, workload, results, counted=number > 0)
        finally:
            shutil.rmtree(self._aside, ignore_errors=True)
        return results

    @property
    def _aside(self) -> Path:
        """Where the files of earlier runs are until all is measured.

        To remove them burdens the next run: for minutes, a file system may look at each of the places that
        became free for every file that is made (ext4 without a journal does).
        """
        return self.cache / "aside"

    def _once(self, tool: Tool, workload: Workload, results: Results, *, counted: bool) -> None:
        """One run. The first of each is not counted: it fills caches, and shows who is too slow."""
        key = workload.name, tool.name
        if key in results.failed:
            return
        try:
            # What is kept from then on is made in the first run.
            limit = self.patience if tool.keeps and not counted else self.limit
            sample = self._run(tool, workload, limit)
        except TooLongError:
            results.failed[key] = f"over {self.limit:g} s"
        except (UnavailableError, OSError) as error:
            results.failed[key] = str(error)
        else:
            if counted:
                results.samples.setdefault(key, []).append(sample)
        if key in results.failed:
            say(f"{tool.name} {workload.name}: {results.failed[key]}")

    def _run(self, tool: Tool, workload: Workload, limit: float) -> Sample:
        project = self.cache / "projects" / tool.name / workload.name
        env = environment(self.cache, tool)
        if workload.start_only:
            project.mkdir(parents=True, exist_ok=True)
            program = tool.version if len(tool.version) > 1 else (tool.run[0], *tool.version)
            return self._checked(run(program, project, env, limit), tool, 0, 0)
        _prepare(project, tool, workload, self._aside)
        steps = len(workload.graph)
        if workload.again:
            self._checked(run(tool.run, project, env, limit), tool, steps, steps)
        least = 0 if workload.again and tool.cached else steps
        return self._checked(run(tool.run, project, env, limit), tool, least, steps)

    def _checked(self, sample: Sample, tool: Tool, least: int, most: int) -> Sample:
        """The sample of a run that did all its steps. Raises UnavailableError."""
        if sample.status != 0:
            lines = [line for line in sample.output.splitlines() if line.strip()] or ["it says nothing"]
            raise UnavailableError(f"it ended with {sample.status}: {lines[-1].strip()[:160]}")
        ran = tool.ran(sample.output) if most else 0
        if not (least <= ran <= most or (least == 0 and ran <= 0)):
            raise UnavailableError(f"its output tells of {ran} steps, and not of {most}")
        return sample


def _prepare(project: Path, tool: Tool, workload: Workload, aside: Path) -> None:
    """A project as nobody has run it yet, apart from environments that are made once."""
    project.mkdir(parents=True, exist_ok=True)
    aside.mkdir(exist_ok=True)
    before = Path(tempfile.mkdtemp(dir=aside))
    for path in project.iterdir():
        if path.name not in tool.keeps:
            path.rename(before / path.name)
    tool.write(project, workload.graph)


def say(what: str) -> None:
    """What is being done, for whoever waits."""
    print(what, file=sys.stderr, flush=True)


def describe(tools: Iterable[Tool]) -> list[str]:
    """What is to be known of the tools beside the figures."""
    return [f"{tool.name}: {tool.note}." for tool in tools if tool.note] + [
        f"At most {SLOTS} steps run side by side."
    ]
