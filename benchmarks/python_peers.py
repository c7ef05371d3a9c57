"""Tools of the Python world that run steps, each with the plainest project that says what a graph says."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks.tools import COMMAND, SLOTS, Tool, count, lines, number
from benchmarks.workloads import Graph


def write_doit(project: Path, graph: Graph) -> None:
    tasks = (
        f"\ndef task_{name}():\n"
        f'    return {{"actions": [["{COMMAND}"]], "task_dep": {list(needs)!r}, "uptodate": [run_once]}}'
        for name, needs in graph.items()
    )
    (project / "dodo.py").write_text(lines("from doit.tools import run_once", tasks))


DOIT = Tool(
    name="doit",
    write=write_doit,
    run=("doit", "run", "-n", str(SLOTS), "-P", "thread"),
    ran=count(r"^\.  \w+"),
    pip=("doit==0.37.*",),
    cached=True,
)


def write_nox(project: Path, graph: Graph) -> None:
    sessions = (
        f"\n@nox.session(python=False, requires={list(needs)!r})\n"
        f'def {name}(session):\n    session.run("{COMMAND}", external=True)'
        for name, needs in graph.items()
    )
    (project / "noxfile.py").write_text(lines("import nox", sessions))


NOX = Tool(
    name="nox",
    write=write_nox,
    run=("nox",),
    ran=count(r"Session \S+ was successful"),
    pip=("nox",),
    note="one step at a time; no cache",
)


def write_luigi(project: Path, graph: Graph) -> None:
    tasks = (
        f"\nclass {name}(Step):\n    def requires(self):\n        return {_calls(needs)}"
        for name, needs in graph.items()
    )
    head = f"""\
import subprocess
import luigi

class Step(luigi.Task):
    def run(self):
        subprocess.run(["{COMMAND}"], check=True)
        self.output().open("w").close()

    def output(self):
        return luigi.LocalTarget(type(self).__name__ + ".done")
"""
    every = f"\nclass All(luigi.WrapperTask):\n    def requires(self):\n        return {_calls(graph)}"
    (project / "steps.py").write_text(lines(head, tasks, every))


def _calls(names: Iterable[str]) -> str:
    return f"[{', '.join(f'{name}()' for name in names)}]"


LUIGI = Tool(
    name="luigi",
    write=write_luigi,
    run=("luigi", "--module", "steps", "All", "--local-scheduler", "--workers", str(SLOTS)),
    ran=lambda output: number(r"\* (\d+) ran successfully")(output) - 1,  # without All
    pip=("luigi", "setuptools<81"),
    version=("--help",),
    cached=True,
    env={"PYTHONPATH": "."},
    note="`--help` for W1: it has no `--version`",
)


def write_tox(project: Path, graph: Graph) -> None:
    sections = (f"\n[testenv:{name}]\ndepends = {', '.join(needs)}" for name, needs in graph.items())
    head = f"""\
[tox]
no_package = true
env_list = {", ".join(graph)}

[testenv]
commands = {COMMAND}
allowlist_externals = {COMMAND}
"""
    (project / "tox.ini").write_text(lines(head, sections))


TOX = Tool(
    name="tox",
    write=write_tox,
    run=("tox", "run-parallel", "--parallel", str(SLOTS), "--parallel-no-spinner"),
    ran=count(r"^  \w+: OK"),
    pip=("tox",),
    keeps=(".tox",),
    env={"VIRTUALENV_NO_PIP": "1"},
    note="an environment a step, made beforehand; no cache",
)


def write_snakemake(project: Path, graph: Graph) -> None:
    rules = (
        f"\nrule {name}:\n    input: {[f'{need}.done' for need in needs]!r}\n"
        f'    output: touch("{name}.done")\n    shell: "{COMMAND}"'
        for name, needs in graph.items()
    )
    every = f"rule every:\n    input: {[f'{name}.done' for name in graph]!r}"
    (project / "Snakefile").write_text(lines(every, rules))


SNAKEMAKE = Tool(
    name="snakemake",
    write=write_snakemake,
    run=("snakemake", "--cores", str(SLOTS)),
    ran=lambda output: number(r"(\d+) of \d+ steps \(100%\) done")(output) - 1,  # without every
    pip=("snakemake",),
    cached=True,
)


def write_pytask(project: Path, graph: Graph) -> None:
    tasks = (
        f"\n@task(kwargs={{'needs': paths({list(needs)!r}), 'produces': Path('{name}.done')}})\n"
        f"def task_{name}(needs, produces):\n"
        f"    subprocess.run(['{COMMAND}'], check=True)\n    produces.touch()"
        for name, needs in graph.items()
    )
    head = """\
import subprocess
from pathlib import Path
from pytask import task

def paths(names):
    return [Path(name + ".done") for name in names]
"""
    (project / "task_steps.py").write_text(lines(head, tasks))
    # Its root, where it writes what it did, is the nearest directory with this.
    (project / "pyproject.toml").write_text("[tool.pytask.ini_options]\n")


PYTASK = Tool(
    name="pytask",
    write=write_pytask,
    run=("pytask",),
    ran=number(r"(\d+)\s+Succeeded"),
    pip=("pytask",),
    cached=True,
    note="one step at a time",
)


def write_prefect(project: Path, graph: Graph) -> None:
    (project / "flow.py").write_text(
        f"""\
import subprocess
from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner

@task
def step(name):
    subprocess.run(["{COMMAND}"], check=True)

@flow(task_runner=ThreadPoolTaskRunner(max_workers={SLOTS}))
def bench():
    futures = {{}}
    for name, needs in {graph!r}.items():
        futures[name] = step.submit(name, wait_for=[futures[need] for need in needs])
    for future in futures.values():
        future.result()
    print("ran", len(futures))

bench()
"""
    )


PREFECT = Tool(
    name="prefect",
    write=write_prefect,
    run=("python", "flow.py"),
    ran=number(r"ran (\d+)"),
    pip=("prefect>=3.4,<4", "fastapi<0.120"),
    version=("prefect", "--version"),
    env={
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    },
    note="with the server that it starts for the run; no cache",
)

TOOLS = (DOIT, NOX, LUIGI, TOX, SNAKEMAKE, PYTASK, PREFECT)
