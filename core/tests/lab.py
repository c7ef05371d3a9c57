"""A project with plugins that are written in a test, for the core's own parts and for its command line."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from penstock import process, processes
from penstock.executor import Done, LocalPool, Progress
from penstock.home import Home
from penstock.journal import Journal
from penstock.model import Event, Revision
from penstock.plan import PlanStep
from penstock.plugins import Installed, Plugins
from penstock.request import Request, Response
from penstock.stepinfo import StepInfo
from penstock.worker import Worker

PLAN = "sha256:" + "0" * 64
_HEADER = """
import os, signal, subprocess, sys, time
from pathlib import Path
from penstock import *
from penstock import Target, TargetState, Health, Revision, TestReport, TestCase, StepFailed, hookimpl
PASSED = TestReport(tool="fake 1", cases=(TestCase(name="one", outcome="passed"),))
"""
ONE_FILE = """
@hookimpl
def penstock_source(settings: Settings, step):
    (step.workspace / "a.txt").write_text("source")
    return Revision()

@hookimpl
def penstock_build(settings: Settings, step):
    return [step.keep(step.workspace / "a.txt", "file")]

"""
"""Of a plugin: a source of one file, and a build that keeps it."""
_numbers = itertools.count(1)


def until(condition: Callable[[], Any], within: float = 10.0) -> Any:
    """Wait until a condition holds; what it came to."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within} s: {condition}"
        time.sleep(0.01)
    return found


@contextlib.contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """The database, as somebody who changes the past would open it."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


HANGS_UP = (
    "import os, signal; signal.signal(signal.SIGHUP, getattr(signal, os.environ.get('HUP', 'SIG_DFL')))"
)
"""However the tests themselves were started: what a terminal that closes is to a program that they start."""


def gone(pid: int) -> bool:
    return not processes.alive(pid)


def number_in(path: Path) -> Callable[[], int | None]:
    """What a process has written, once all of it is there."""

    def look() -> int | None:
        text = path.read_text() if path.exists() else ""
        return int(text) if text.endswith("\n") else None

    return look


@dataclass
class Lab:
    """A project in a directory of its own."""

    root: Path
    site: Path
    made: list[subprocess.Popen[str]] = field(default_factory=list)
    pools: list[LocalPool] = field(default_factory=list)

    @classmethod
    def make(cls, place: Path) -> Lab:
        lab = cls(place / "project", place / "site")
        lab.root.mkdir()
        lab.site.mkdir()
        return lab

    @property
    def home(self) -> Home:
        return Home.of(self.root)

    @property
    def journal(self) -> Journal:
        return Journal(self.home.journal)

    # --- plugins ---

    def plugin(self, name: str, source: str) -> Installed:
        """Write a plugin and install it for the command line."""
        module = f"penstock_{name}_{next(_numbers)}"
        (self.site / f"{module}.py").write_text(_HEADER + textwrap.dedent(source))
        info = self.site / f"penstock_{name}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: penstock-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[penstock]\n{name} = {module}\n")
        return Installed(name, f"penstock-{name}", "1.0", EntryPoint(name, module, "penstock"))

    def load(self, **sources: str) -> Plugins:
        """Write plugins and load them into this process."""
        available = {name: self.plugin(name, source) for name, source in sources.items()}
        sys.path.insert(0, str(self.site))
        try:
            plugins = Plugins.load(available, available)
        finally:
            sys.path.remove(str(self.site))
        assert not plugins.broken, plugins.broken
        return plugins

    # --- one request ---

    def worker(self, plugins: Plugins) -> Worker:
        return Worker(self.root, plugins, self.home)

    def pool(self, plugins: Plugins) -> LocalPool:
        pool = LocalPool(lambda: self.worker(plugins), in_child=lambda: None)
        self.pools.append(pool)
        return pool

    def request(
        self, name: str = "test.unit", uses: str = "fake", kind: str = "hook", **more: Any
    ) -> Request:
        phase = name.partition(".")[0]
        own = ("attempt", "secrets", "env", "revision")
        info = {"revision": Revision(), **{key: more.pop(key) for key in own if key in more}}
        step = PlanStep(name=name, phase=phase, uses=uses, settings=more.pop("settings", {}))
        return Request(
            kind=kind,  # type: ignore[arg-type]  # checked by the model
            step=step,
            info=StepInfo(name=name, phase=phase, run=1, plan=PLAN, **info),
            pipeline="lab",
            config=PLAN,
            plugins={},
            **more,
        )

    def log(self, name: str = "test.unit", run: int = 1, attempt: int = 1) -> str:
        return self.home.log(run, name, attempt).read_text(errors="replace")

    # --- whole runs, through the command line ---

    def toml(self, text: str, plugins: tuple[str, ...]) -> None:
        head = f"[penstock]\nplugins = {json.dumps(plugins)}\n"
        (self.root / "penstock.toml").write_text(head + textwrap.dedent(text))

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start `penstock` as a user would, in a session of its own."""
        child = subprocess.Popen(
            [sys.executable, "-c", f"{HANGS_UP}; from penstock.cli import main; main()", *arguments],
            cwd=self.root,
            env={
                **os.environ,
                "PYTHONPATH": str(self.site),
                "NO_COLOR": "1",
                "PENSTOCK_TRACEBACK": "1",
                **env,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.made.append(child)
        return child

    def run(self, *arguments: str, within: float = 30, **env: str) -> tuple[int, str]:
        """Run `penstock` to its end; its exit code and all that it said."""
        child = self.start(*arguments, **env)
        said, _ = child.communicate(timeout=within)
        assert "Traceback" not in said, said
        return child.returncode, said

    def events(self, run: int = 1) -> list[Event]:
        return self.journal.events(run)

    def states(self, run: int = 1) -> dict[str, str]:
        return {
            str(event.step): event.data["state"]
            for event in self.events(run)
            if event.type == "step.finished"
        }

    def reason(self, step: str, run: int = 1) -> str:
        return next(
            str(event.data["reason"])
            for event in self.events(run)
            if event.type == "step.finished" and event.step == step
        )

    def leftovers(self) -> list[int]:
        """Processes that belong to a step, or hold what belongs to a run."""
        locks = (self.home.root / "runs").glob("*/workers.lock")
        return sorted({*processes.marked(f"{self.home.root}/"), *processes.holders(*locks)})

    def close(self) -> None:
        for child in self.made:
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
            child.wait()
            if child.stdout:
                child.stdout.close()
        for pool in self.pools:
            pool.close()
        if not (left := self.leftovers()):
            return
        process.end(self.leftovers, grace=0)
        # One that is being ended lets go of all that it is known by a moment before it is gone.
        until(lambda: all(gone(pid) for pid in left))


def ask(pool: LocalPool, request: Request, within: float = 20.0) -> Response:
    """Have one request worked on; how it ended."""
    pool.submit("ask", request)
    return answer(pool, "ask", within)


def answer(pool: LocalPool, ticket: str, within: float = 20.0) -> Response:
    for news in heard(pool, within):
        if isinstance(news, Done) and news.ticket == ticket:
            return news.response
    raise AssertionError(f"no answer within {within} s")


def heard(pool: LocalPool, within: float = 20.0) -> Iterator[Done | Progress]:
    """What becomes known, as it does."""
    deadline = time.monotonic() + within
    while (left := deadline - time.monotonic()) > 0:
        yield from pool.wait(left)
