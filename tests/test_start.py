"""What a command imports before it does anything: a third of a second is lost fast, a module at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.projects import Project

PIPELINE = """\
[penstock]
plugins = ["git", "shell"]

[test.quick]
uses = "shell"
run = ["true"]
"""

PROGRAM = """\
import atexit, json, re, sys

compiled = []
really = re.compile

def noted(pattern, flags=0):
    compiled.append(sys._getframe(1).f_globals["__name__"])
    return really(pattern, flags)

re.compile = noted

def tell():
    from collections import Counter
    print(json.dumps([sorted(sys.modules), Counter(compiled)]), file=sys.stderr)

atexit.register(tell)
from penstock.__main__ import main
main()
"""

DEPLOYING = {"rollout", "progress", "waves"}
SOME = {"revisions", "terms", "conditions", "following", "observed", "again", "cli.committed"}
LOOKING_BACK = {"audit", "comparison", "changes", "pruning", "reports", "cli.look", "cli.begin", "cli.schema"}
WORKING = {"machine", "engine", "worker", "cache", "cachekey", "leftovers", "sealing", "holds", "cli.run"}
WORKED = {"target", "answers", "serving", "reported", "flaky", "tries", "admission", "proof", "reaping"}
ASKING = {"executor", "request", "evidence", "gates", "scheduler", "outcomes", "cli.asking", "cli.written"}

WITHOUT = {
    ("run",): DEPLOYING | SOME | LOOKING_BACK | {"cli.asking", "cli.written"},
    ("validate",): DEPLOYING
    | SOME - {"terms"}
    | LOOKING_BACK - {"cli.begin", "cli.schema"}
    | WORKING
    | WORKED
    | ASKING,
    ("runs",): DEPLOYING
    | SOME
    | LOOKING_BACK - {"cli.look"}
    | WORKING
    | WORKED
    | {"cli.asking", "cli.written"},
    ("show",): DEPLOYING
    | SOME
    | LOOKING_BACK - {"cli.look"}
    | WORKING
    | WORKED
    | {"cli.asking", "cli.written"},
}
"""Modules that a command has no need of, in a project of plain steps."""

NEVER = {
    *("asyncio", "concurrent", "difflib", "http", "logging", "multiprocessing", "queue", "ssl", "traceback"),
    *("unittest", "xml", "cryptography"),
}
"""Others' modules that are dear, or for what most commands don't have to say."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.make(tmp_path / "project", tmp_path / "data")
    made.commit({"penstock.toml": PIPELINE})
    return made


def started(project: Project, *arguments: str) -> tuple[set[str], dict[str, int]]:
    """What was imported in the end, and how many regular expressions each module had compiled."""
    env = {name: value for name, value in project.env.items() if "COVERAGE" not in name}  # it loads more
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=project.root,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    modules, compiled = json.loads(done.stderr.splitlines()[-1])
    return set(modules), compiled


@pytest.mark.parametrize("arguments", WITHOUT, ids=" ".join)
def test_a_command_imports_nothing_that_it_has_no_need_of(
    project: Project, arguments: tuple[str, ...]
) -> None:
    if arguments != ("run",):
        project.passes("run")

    modules, _ = started(project, *arguments)

    assert "penstock.config" in modules
    assert not modules & {f"penstock.{name}" for name in WITHOUT[arguments]}
    assert not {name.partition(".")[0] for name in modules} & NEVER


def test_the_names_of_what_is_not_imported_are_right() -> None:
    source = Path(__file__).parents[1] / "core" / "src" / "penstock"

    named = {name for names in WITHOUT.values() for name in names}

    assert {name for name in named if not (source / f"{name.replace('.', '/')}.py").is_file()} == set()


def test_a_run_makes_no_regular_expression_that_it_does_not_use(project: Project) -> None:
    _, compiled = started(project, "run")

    ours = {name: count for name, count in compiled.items() if name.startswith("penstock")}

    assert set(ours) <= {"penstock.words", "penstock_git.program", "penstock_git.repository"}
    assert sum(ours.values()) <= 4
