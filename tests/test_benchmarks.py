"""Keeps the benchmark from rotting: what it writes can be read, what it counts is counted, a round works."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import large_plans, report
from benchmarks.measure import Sample, TooLongError, medians, run
from benchmarks.peers import all_tools
from benchmarks.runner import Bench, Results
from benchmarks.tools import Tool, UnavailableError, install
from benchmarks.workloads import Graph, workloads

TOOLS = all_tools()
LOADS = workloads(quick=True)
READERS = {".py": ast.parse, ".json": json.loads, ".toml": tomllib.loads}


@pytest.mark.parametrize("name", workloads())
def test_a_workload_names_each_step_before_those_that_wait_for_it(name: str) -> None:
    graph = workloads()[name].graph

    seen: set[str] = set()
    for step, needs in graph.items():
        assert seen.issuperset(needs)
        seen.add(step)


def test_workloads_are_as_large_as_their_titles_say() -> None:
    assert [len(load.graph) for load in workloads().values()] == [0, 1, 50, 201, 100, 201]
    assert sum(map(len, workloads()["W5"].graph.values())) == 900


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_a_project_names_every_step_and_every_need(tool: Tool, tmp_path: Path) -> None:
    project = tmp_path / "cache" / "projects" / tool.name / "W5"
    project.mkdir(parents=True)
    graph = LOADS["W5"].graph

    tool.write(project, graph)

    files = [path for path in project.rglob("*") if path.is_file() and ".git" not in path.parts]
    whole = "\n".join(path.read_text() for path in files)
    for step in graph:
        assert whole.count(step) >= 1 + sum(step in needs for needs in graph.values())
    for path in files:
        if path.suffix in READERS:
            READERS[path.suffix](path.read_text())


SAID = {
    "penstock": ("✓ source  snapshot\n✓ test.s0  true\n✓ test.s1\n✗ test.s2", 2),
    "floor": ("ran 17", 17),
    "make": ("/usr/bin/true\n/usr/bin/true\nmake: done", 2),
    "ninja": ("[1/2] /usr/bin/true\n[2/2] /usr/bin/true", 2),
    "doit": (".  s0\n.  s1\n-- s2", 2),
    "nox": ("nox > Session s0 was successful in 0 s.\nnox > Session s1 failed.", 1),
    "luigi": ("* 3 ran successfully:\n    - 1 All()", 2),
    "tox": ("  s0: OK (0.1 seconds)\n  s1: FAIL code 1\n  congratulations :)", 1),
    "snakemake": ("1 of 3 steps (33%) done\n3 of 3 steps (100%) done", 2),
    "pytask": ("│  5  Succeeded  (100.0%)  │", 5),
    "act": ("[bench.yml/s0] Job succeeded\n[bench.yml/s1] Job failed", 1),
    "gitlab-ci-local": (" PASS  s0\n FAIL  s1", 1),
    "turbo": (" Tasks:    5 successful, 5 total", 5),
    "nx": (" NX   Successfully ran target build for 9 projects", 9),
    "nx alone": (" NX   Successfully ran target build for project s0", 1),
    "prefect": ("ran 4", 4),
}


@pytest.mark.parametrize("name", SAID)
def test_what_a_tool_says_it_ran_is_counted(name: str) -> None:
    said, count = SAID[name]

    assert TOOLS[name.partition(" ")[0]].ran(said) == count


def test_every_tool_is_asked_what_it_ran() -> None:
    assert SAID.keys() >= TOOLS.keys()


def test_a_round_with_penstock_and_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path(sys.executable).parent
    monkeypatch.setenv("PATH", os.pathsep.join([str(here), os.environ["PATH"]]))
    tools = [dataclasses.replace(TOOLS["penstock"], pip=()), TOOLS["floor"]]
    chosen = [LOADS[name] for name in ("W1", "W2", "W3", "W6")]

    results = Bench(tmp_path, limit=120, patience=1).measure(tools, chosen, 1)

    assert results.failed == results.missing == {}
    assert {key: len(samples) for key, samples in results.samples.items()} == {
        (load.name, tool.name): 1 for load in chosen for tool in tools
    }
    text = report.markdown(results, tools, chosen, "0.0")
    assert "| floor |" in text.split("### Wall time here, ms")[0]
    found = report.as_json(results, chosen, "0.0")["medians"]
    assert {entry["ratio_cpu"] for entry in found if entry["tool"] == "penstock"} == {1.0}
    assert all(entry["wall"] > 0 and entry["cpu"] > 0 and entry["peak_mib"] > 0 for entry in found)


def lazy(project: Path, graph: Graph) -> None:
    (project / "steps").write_text("\n".join(graph))


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (("sh", "-c", "echo ran 0"), "its output tells of 0 steps, and not of 5"),
        (("sh", "-c", "echo ran 6"), "its output tells of 6 steps, and not of 5"),
        (("sh", "-c", "echo no disk >&2; exit 3"), "it ended with 3: no disk"),
        (("not-there-at-all",), "[Errno 2] No such file or directory: 'not-there-at-all'"),
        (("sleep", "60"), "over 0.3 s"),
    ],
    ids=["too few", "too many", "failed", "missing", "too slow"],
)
def test_a_run_that_did_not_do_its_steps_does_not_count(
    argv: tuple[str, ...], why: str, tmp_path: Path
) -> None:
    tool = Tool(name="lazy", write=lazy, run=argv, ran=TOOLS["floor"].ran)

    results = Bench(tmp_path, limit=0.3 if argv[0] == "sleep" else 60, patience=1).measure(
        [tool], [LOADS["W3"]], 1
    )

    assert results.samples == {}
    assert results.failed == {("W3", "lazy"): why}
    assert f"- lazy on W3: {why}." in report.markdown(results, [tool], [LOADS["W3"]], "0.0")


def looking(project: Path, graph: Graph) -> None:
    lazy(project, graph)
    with (project.parents[2] / "seen").open("a") as file:
        there = [path.name for path in (project.parents[2] / "aside").rglob("steps")]
        file.write(f"{sorted(path.name for path in project.iterdir())} {len(there)}\n")


def test_what_a_run_left_is_removed_when_all_is_measured(tmp_path: Path) -> None:
    tool = Tool(
        name="lazy", write=looking, run=("sh", "-c", "echo ran 1; touch left"), ran=TOOLS["floor"].ran
    )

    results = Bench(tmp_path, limit=60, patience=1).measure([tool], [LOADS["W2"]], 2)

    assert not results.failed
    assert (tmp_path / "seen").read_text() == "['steps'] 0\n['steps'] 1\n['steps'] 2\n"
    assert not (tmp_path / "aside").exists()


def test_a_tool_that_can_t_be_installed_is_named(tmp_path: Path) -> None:
    tool = dataclasses.replace(TOOLS["floor"], name="rare", needs=("not-there-at-all",))

    with pytest.raises(UnavailableError, match="not-there-at-all is not installed"):
        install(tmp_path, tool, 1)
    results = Bench(tmp_path, limit=1, patience=1).measure([tool], [LOADS["W2"]], 1)

    assert results == Results(missing={"rare": "not-there-at-all is not installed"})
    assert "- rare is missing: not-there-at-all is not installed." in report.markdown(
        results, [tool], [LOADS["W2"]], ""
    )


def test_a_run_is_measured_with_what_it_waited_for(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    busy = "import os\nif os.fork():\n    os.wait()\nelse:\n    sum(range(3_000_000))\n"

    samples = [run([sys.executable, "-c", busy], tmp_path / "here", dict(os.environ), 60) for _ in range(3)]

    cost = medians(samples)
    assert cost.runs == 3
    assert cost.cpu > 0.02
    assert cost.wall == sorted(sample.wall for sample in samples)[1]
    with pytest.raises(TooLongError):
        run(["sleep", "60"], tmp_path / "here", dict(os.environ), 0.1)


def test_growth_is_told_per_step_and_without_what_one_step_takes() -> None:
    empty = Sample(wall=1, cpu=0.2, peak=40, status=0, output="")
    samples = {
        100: dataclasses.replace(empty, cpu=0.4, peak=41),
        1000: dataclasses.replace(empty, cpu=2.2, peak=60),
        4000: dataclasses.replace(empty, cpu=20.2, peak=140),
    }

    row = large_plans.line(large_plans.Growth("run", "chain", samples), empty)

    assert row == "| run | chain | 2.00 ms, 10 KiB | 2.00 ms, 20 KiB | 5.00 ms, 26 KiB | 2.50 |"


@pytest.mark.parametrize("shape", large_plans.SHAPES)
def test_growth_is_measured_on_plans_of_the_size_that_is_told(shape: str) -> None:
    assert [len(large_plans.SHAPES[shape](size)) for size in (100, 1000)] == [100, 1000]


def test_an_unknown_name_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--tools", "penstok"]) == 2
    assert capsys.readouterr().err.startswith('there is no tool "penstok". There are: penstock, floor, make')
    assert command.main(["--workloads", "W9"]) == 2
    assert 'there is no workload "W9". There are: W1, W2' in capsys.readouterr().err
