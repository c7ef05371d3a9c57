"""The results as Markdown and as JSON: medians of this run, and what counts, the ratios between them."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.measure import Cost, medians
from benchmarks.runner import Results, describe
from benchmarks.tools import Tool
from benchmarks.workloads import Workload

OURS = "penstock"


def costs(results: Results) -> dict[tuple[str, str], Cost]:
    """What each tool took on each workload, in the middle."""
    return {key: medians(samples) for key, samples in results.samples.items()}


def markdown(results: Results, tools: Sequence[Tool], workloads: Sequence[Workload], load: str) -> str:
    """Tables for people."""
    found = costs(results)
    able = [tool for tool in tools if tool.name not in results.missing]

    def table(title: str, cell: Callable[[Cost, Cost | None], str], rows: Sequence[Tool]) -> list[str]:
        head = " | ".join(f"{workload.name} {workload.title}" for workload in workloads)
        lines = [f"### {title}", "", f"| tool | {head} |", "| --- |" + " --- |" * len(workloads)]
        for tool in rows:
            cells = []
            for workload in workloads:
                cost, ours = found.get((workload.name, tool.name)), found.get((workload.name, OURS))
                why = results.failed.get((workload.name, tool.name), "")
                cells.append(cell(cost, ours) if cost else why.split(":")[0] or "–")
            lines.append(f"| {tool.name} | {' | '.join(cells)} |")
        return [*lines, ""]

    peers = [tool for tool in able if tool.name != OURS]
    parts = [
        *table("Penstock's wall time in shares of each tool's", _ratio(lambda cost: cost.wall), peers),
        *table("Penstock's processor time in shares of each tool's", _ratio(lambda cost: cost.cpu), peers),
        *table("Wall time here, ms", lambda cost, _: f"{cost.wall * 1000:.0f}", able),
        *table("Processor time here, ms", lambda cost, _: f"{cost.cpu * 1000:.0f}", able),
        *table("Memory of the largest process, MiB", lambda cost, _: f"{cost.peak:.0f}", able),
    ]
    rounds = max((cost.runs for cost in found.values()), default=0)
    notes = [
        f"Medians of {rounds} rounds, all tools in turn in each. {machine()}. Load: {load}.",
        "Below 1 Penstock is ahead. Figures of another machine, or another hour, differ; ratios much less.",
        *describe(able),
        *(f"{name} is missing: {why}." for name, why in results.missing.items()),
        *(f"{tool} on {workload}: {why}." for (workload, tool), why in results.failed.items()),
    ]
    return "\n".join([*parts, *(f"- {note}" for note in notes), ""])


def _ratio(part: Callable[[Cost], float]) -> Callable[[Cost, Cost | None], str]:
    return lambda cost, ours: f"{part(ours) / part(cost):.2f}" if ours and part(cost) else "–"


def as_json(results: Results, workloads: Sequence[Workload], load: str) -> dict[str, Any]:
    """Everything, for programs."""
    found = costs(results)
    return {
        "machine": machine(),
        "load": load,
        "workloads": {w.name: {"title": w.title, "steps": len(w.graph)} for w in workloads},
        "medians": [
            {
                "workload": workload,
                "tool": tool,
                "wall": cost.wall,
                "cpu": cost.cpu,
                "peak_mib": cost.peak,
                "runs": cost.runs,
                "ratio_wall": found[workload, OURS].wall / cost.wall if (workload, OURS) in found else None,
                "ratio_cpu": found[workload, OURS].cpu / cost.cpu if (workload, OURS) in found else None,
            }
            for (workload, tool), cost in found.items()
        ],
        "failed": [
            {"workload": workload, "tool": tool, "why": why}
            for (workload, tool), why in results.failed.items()
        ],
        "missing": results.missing,
    }


def machine() -> str:
    """What it was measured on."""
    return f"{os.cpu_count()} processors, {platform.system()}, Python {platform.python_version()}"
