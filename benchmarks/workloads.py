"""The workloads: graphs of steps that do nothing, so that what is measured is the tool."""

from __future__ import annotations

from dataclasses import dataclass

Graph = dict[str, tuple[str, ...]]
"""Each step with the steps that it waits for, in an order in which they could run."""


@dataclass(frozen=True)
class Workload:
    """One thing to measure."""

    name: str
    title: str
    graph: Graph
    again: bool = False
    """Measure the second run in a row: nothing has changed since the first."""
    start_only: bool = False
    """Measure `--version`, and no run."""


def chain(length: int) -> Graph:
    """Steps that wait for each other."""
    return {f"s{n}": (f"s{n - 1}",) if n else () for n in range(length)}


def wide(width: int) -> Graph:
    """Steps that wait for nothing, and a last one that waits for all of them."""
    side_by_side: Graph = {f"s{n}": () for n in range(width)}
    return {**side_by_side, "last": tuple(side_by_side)}


def layers(depth: int, width: int) -> Graph:
    """Layers of steps, each of which waits for all of the layer before."""
    return {
        f"l{layer}n{n}": tuple(f"l{layer - 1}n{other}" for other in range(width)) if layer else ()
        for layer in range(depth)
        for n in range(width)
    }


def workloads(*, quick: bool = False) -> dict[str, Workload]:
    """All of them by name; quick ones are as many, but smaller."""
    many, long, deep = (20, 5, 3) if quick else (200, 50, 10)
    found = (
        Workload("W1", "`--version`", {}, start_only=True),
        Workload("W2", "one step", chain(1)),
        Workload("W3", f"chain of {long}", chain(long)),
        Workload("W4", f"{many} wide and 1", wide(many)),
        Workload("W5", f"{deep} layers of {deep}", layers(deep, deep)),
        Workload("W6", "W4 again, nothing changed", wide(many), again=True),
    )
    return {workload.name: workload for workload in found}
