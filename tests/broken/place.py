"""A project in which something is wrong, the plugins that a test writes for it, and what must hold anyway.

Whatever a command was given: no traceback, no process and no temporary file left, the configuration as it
was. Each command is checked for that as it is run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.projects import IDENTITY, PENSTOCK, ROOT

_HEADER = """
import os, signal, subprocess, sys, time
from pathlib import Path
from penstock import *
from penstock import Target, TargetState, Health, Revision, TestReport, TestCase, Settings, hookimpl
PASSED = TestReport(tool="fake 1", cases=(TestCase(name="one", outcome="passed"),))
"""
PLAIN = """
@hookimpl
def penstock_source(step):
    (step.workspace / "source.txt").write_text("source")
    return Revision(commit="c0ffee0" + "0" * 33)

@hookimpl
def penstock_build(step):
    (step.workspace / "box.txt").write_text("box")
    return [step.keep(step.workspace / "box.txt", "file")]

@hookimpl
def penstock_test(step):
    return PASSED

class Place(Target):
    path: str
    def observe(self, step):
        there = Path(self.path)
        return TargetState(release=there.read_text() if there.exists() else None)
    def apply(self, release, step):
        Path(self.path).write_text(release.digest)
    def probe(self, step):
        return Health(status="healthy")
    def restore(self, state, step):
        Path(self.path).write_text(state.release or "")

class Places(Settings):
    place: str

@hookimpl
def penstock_targets(settings: Places, step):
    return [Place(id="here", path=settings.place)]
"""
"""A plugin that does nothing wrong."""


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said, with paths and durations made the same everywhere."""

    code: int
    out: str
    err: str


class Warm:
    """Runs commands in a process that has imported Penstock already."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.broken.warm"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, order: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate(timeout=30)


@dataclass
class Place:
    """A directory with a project, a home, and plugins of its own."""

    base: Path
    warm: Warm
    env: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, base: Path, warm: Warm) -> Self:
        for name in ("project", "site", "home", "tmp"):
            (base / name).mkdir()
        env = {
            **IDENTITY,
            "PATH": os.environ["PATH"],
            "HOME": str(base / "home"),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "PYTHONPATH": str(base / "site"),
            "TMPDIR": str(base / "tmp"),
            "XDG_DATA_HOME": str(base / "data"),
        }
        place = cls(base, warm, env)
        place.plugin("plain", PLAIN)
        return place

    @property
    def root(self) -> Path:
        return self.base / "project"

    @property
    def config(self) -> Path:
        return self.root / "penstock.toml"

    # --- what is there ---

    def plugin(self, name: str, source: str, *, header: str = _HEADER) -> None:
        """Write a plugin and install it."""
        module = f"penstock_{name}"
        (self.base / "site" / f"{module}.py").write_text(header + textwrap.dedent(source))
        info = self.base / "site" / f"penstock_{name}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: penstock-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[penstock]\n{name} = {module}\n")

    def toml(self, text: str, plugins: tuple[str, ...] = ("plain",)) -> None:
        """Write the configuration; {here} in it is the directory that the test may write to."""
        text = textwrap.dedent(text).replace("{here}", str(self.base))
        self.config.write_text(f"[penstock]\nplugins = {json.dumps(plugins)}\n\n{text}")

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.root, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def commit(self) -> None:
        self.git("init", "-q", "-b", "main")
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", "A change")

    # --- what is done ---

    def run(
        self,
        *words: str,
        cwd: Path | None = None,
        env: Mapping[str, str | None] | None = None,
        argv: list[str] | None = None,
        within: float = 60,
    ) -> Said:
        """Run a command: forked from the warm process, or with `argv` started as it stands."""
        streams = [self.base / name for name in ("out", "err")]
        given = {**self.env, **(env or {})}
        before = self._state()
        answer = self.warm.run(
            {
                "words": words,
                "argv": argv or [],
                "env": {name: value for name, value in given.items() if value is not None},
                "cwd": str(cwd or self.root),
                "site": str(self.base / "site"),
                "out": str(streams[0]),
                "err": str(streams[1]),
                "within": within,
            }
        )
        out, err = (self.same(stream.read_bytes().decode(errors="backslashreplace")) for stream in streams)
        assert answer["code"] is not None, f"not within {within} s:\n{out}{err}"
        assert "Traceback" not in out + err, out + err
        assert answer["left"] == []
        assert list((self.base / "tmp").iterdir()) == []
        assert list(self.root.glob(".penstock/artifacts/incoming/*")) == []
        assert self._state() == before
        return Said(answer["code"], out, err)

    def fresh(self, *words: str, **more: Any) -> Said:
        """Run a command as a user's shell would: the whole program, from its start."""
        return self.run(argv=[str(PENSTOCK), *words], **more)

    def _state(self) -> bytes | None:
        return self.config.read_bytes() if self.config.is_file() else None

    def same(self, text: str) -> str:
        """A text with what differs from place to place and run to run made the same."""
        text = text.replace(str(self.base), "")
        text = re.sub(r" +\d+(\.\d+)? s$", "", text, flags=re.MULTILINE)  # a quick step has none
        return re.sub(r"\b\d+(\.\d+)? s\b", "N s", text)

    # --- what came of it ---

    def json(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        return json.loads(done.out)

    def runs(self) -> int:
        """How many runs are on record."""
        return len(self.json("runs"))

    def step(self, name: str, run: str = "last") -> dict[str, Any]:
        found: dict[str, Any] = self.json("show", run, name)
        return found

    def states(self, run: str = "last") -> dict[str, str]:
        return {step["name"]: step["state"] for step in self.json("show", run)["steps"]}

    def reason(self, name: str, run: str = "last") -> str:
        return self.same(str(self.step(name, run)["reason"]))
