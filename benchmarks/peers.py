"""The tools that are measured: Penstock, the floor and those of Unix; the others have their own modules."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from benchmarks import ci_peers, python_peers
from benchmarks.tools import COMMAND, ROOT, SLOTS, Tool, count, lines, number
from benchmarks.workloads import Graph


def all_tools() -> dict[str, Tool]:
    """Every tool by name, Penstock before all."""
    found = (PENSTOCK, FLOOR, MAKE, NINJA, *python_peers.TOOLS, *ci_peers.TOOLS)
    return {tool.name: tool for tool in found}


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def write_penstock(project: Path, graph: Graph) -> None:
    text = lines(
        "[penstock]",
        'plugins = ["git", "shell"]',
        (
            f'\n[test.{name}]\nuses = "shell"\nrun = ["{COMMAND}"]\ncache = true\n'
            f"needs = [{_quoted(f'test.{need}' for need in needs)}]"
            for name, needs in graph.items()
        ),
    )
    (project / "penstock.toml").write_text(text)
    git = [
        "git",
        "-c",
        "user.name=Bench",
        "-c",
        "user.email=bench@example.com",
        "-c",
        "init.defaultBranch=main",
    ]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "Bench"]):
        subprocess.run([*git, *arguments], cwd=project, check=True)


PENSTOCK = Tool(
    name="penstock",
    write=write_penstock,
    run=("penstock", "run"),
    ran=count(r"^✓ test\."),
    cached=True,
    pip=(str(ROOT / "core"), str(ROOT / "plugins/git"), str(ROOT / "plugins/shell")),
    needs=("git",),
    note="journal durable, each step in a worker process, its evidence on record; in W6 each result is "
    "compared with its digests before it is taken over",
)


def write_floor(project: Path, graph: Graph) -> None:
    (project / "floor.py").write_text(
        f"""\
import os, subprocess
done, running, children = set(), {{}}, []
waiting = {graph!r}
while waiting or running:
    ready = [name for name, needs in waiting.items() if done.issuperset(needs)]
    for name in ready[: {SLOTS} - len(running)]:
        del waiting[name]
        children.append(subprocess.Popen(["{COMMAND}"]))
        running[children[-1].pid] = name
    pid, status = os.wait()
    assert status == 0
    done.add(running.pop(pid))
print("ran", len(done))
os._exit(0)
"""
    )


FLOOR = Tool(
    name="floor",
    write=write_floor,
    run=("python3", "-u", "floor.py"),
    ran=number(r"ran (\d+)"),
    version=("python3", "-c", "pass"),
    note="Python that starts the processes and does nothing else",
)


def write_make(project: Path, graph: Graph) -> None:
    rules = (f"{name}: {' '.join(needs)}\n\t{COMMAND}$(file >$@)" for name, needs in graph.items())
    (project / "Makefile").write_text(lines(f"all: {' '.join(graph)}", rules))


MAKE = Tool(
    name="make",
    write=write_make,
    run=("make", f"-j{SLOTS}"),
    ran=count(rf"^{COMMAND}$"),
    cached=True,
    needs=("make",),
)


def write_ninja(project: Path, graph: Graph) -> None:
    rules = (f"build {name}: step {' '.join(needs)}" for name, needs in graph.items())
    (project / "build.ninja").write_text(lines("rule step", f"  command = {COMMAND} && : > $out", rules))


NINJA = Tool(
    name="ninja",
    write=write_ninja,
    run=("ninja", "-v", "-j", str(SLOTS)),
    ran=count(r"^\[\d+/\d+\]"),
    cached=True,
    needs=("ninja",),
)
