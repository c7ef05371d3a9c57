"""`python -m benchmarks.large_plans`: what each further step costs as plans grow.

Nothing may grow faster than the plan: not the time of a run or of a command that only looks, not memory.
What is reported are ratios: 1.0 means that a step of the largest plan costs what one of the smallest does.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.__main__ import CACHE
from benchmarks.measure import Sample, run
from benchmarks.peers import PENSTOCK
from benchmarks.runner import say
from benchmarks.tools import environment, install, place
from benchmarks.workloads import Graph, chain, layers, wide

SHAPES: dict[str, Callable[[int], Graph]] = {
    "chain": chain,
    "wide": lambda size: wide(size - 1),
    "layered": lambda size: layers(size // 10, 10),
}
COMMANDS = (("validate",), ("plan",), ("run",), ("show", "--json"))
"""In this order: the last one shows what the run before it did."""


class Growth(NamedTuple):
    """One command on plans of one shape, by their size."""

    command: str
    shape: str
    samples: dict[int, Sample]

    def cpu(self, size: int, empty: Sample) -> float:
        """Milliseconds of processor time for each step, without what the command takes for one step."""
        return max(0.0, self.samples[size].cpu - empty.cpu) * 1000 / size

    def memory(self, size: int, empty: Sample) -> float:
        """KiB of the largest process for each step, without what one step takes."""
        return max(0.0, self.samples[size].peak - empty.peak) * 1024 / size


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    cache = options.cache.resolve()
    install(cache, PENSTOCK, options.patience)
    empty = measure(cache, "chain", 1, options.limit)
    print("| command | plan | " + " | ".join(f"{size:,} steps" for size in options.sizes) + " | growth |")
    print("|" + " --- |" * (len(options.sizes) + 3))
    for shape in SHAPES:
        found: dict[int, dict[str, Sample]] = {}
        for size in options.sizes:
            say(f"{shape}, {size:,} steps")
            found[size] = measure(cache, shape, size, options.limit)
        for words in COMMANDS:
            name = words[0]
            growth = Growth(name, shape, {size: samples[name] for size, samples in found.items()})
            print(line(growth, empty[name]), flush=True)
    print("\nPer step: processor time, memory of the largest process. Growth: the last by the last but one.")
    return 0


def line(growth: Growth, empty: Sample) -> str:
    """One row: what a step costs in each plan, and what the largest plan makes of it."""
    sizes = sorted(growth.samples)
    cells = [f"{growth.cpu(size, empty):.2f} ms, {growth.memory(size, empty):.0f} KiB" for size in sizes]
    # The smallest one tells little: what there is to share out is mostly the start.
    reference = sizes[-2] if len(sizes) > 1 else sizes[-1]
    before, after = growth.cpu(reference, empty), growth.cpu(sizes[-1], empty)
    ratio = f"{after / before:.2f}" if before else "–"
    return f"| {growth.command} | {growth.shape} | {' | '.join(cells)} | {ratio} |"


def measure(cache: Path, shape: str, size: int, limit: float) -> dict[str, Sample]:
    """Every command once, on a plan of this shape and size. Raises SystemExit where one of them fails."""
    project = cache / "projects" / "growth" / f"{shape}-{size}"
    shutil.rmtree(project, ignore_errors=True)
    project.mkdir(parents=True)
    PENSTOCK.write(project, SHAPES[shape](size) if size > 1 else chain(1))
    program = str(place(cache, PENSTOCK) / "penstock")
    found = {}
    for words in COMMANDS:
        sample = run([program, *words], project, environment(cache, PENSTOCK), limit)
        if sample.status != 0:
            end = sample.output[-2000:]
            raise SystemExit(f"penstock {' '.join(words)} ended with {sample.status}:\n{end}")
        found[words[0]] = sample
    return found


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_plans", description=__doc__)
    parser.add_argument(
        "--sizes",
        type=lambda text: sorted(int(part) for part in text.split(",")),
        default=[100, 1000, 10_000],
        metavar="N,N",
        help="how many steps the plans have (100,1000,10000)",
    )
    parser.add_argument("--limit", type=float, default=900, help="seconds that one command may take")
    parser.add_argument("--patience", type=float, default=600, help="seconds to install Penstock")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where Penstock and projects are kept")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
