"""`python -m benchmarks`: Penstock beside other tools that run steps, in one go and in ratios."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.peers import all_tools
from benchmarks.runner import Bench, say
from benchmarks.tools import ROOT
from benchmarks.workloads import workloads

CACHE = ROOT / "build" / "benchmarks"


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    known, loads = all_tools(), workloads(quick=options.quick)
    for names, kind, wrong in (
        (options.tools, "tool", [name for name in options.tools if name not in known]),
        (options.workloads, "workload", [name for name in options.workloads if name not in loads]),
    ):
        if wrong:
            choices = ", ".join(known if names is options.tools else loads)
            print(f'there is no {kind} "{wrong[0]}". There are: {choices}', file=sys.stderr)
            return 2
    tools = [known[name] for name in (options.tools or known)]
    chosen = [loads[name] for name in (options.workloads or loads)]
    rounds = options.rounds or (1 if options.quick else 5)
    before = os.getloadavg()[0]
    results = Bench(options.cache.resolve(), options.limit, options.patience).measure(tools, chosen, rounds)
    load = f"{before:.1f} before, {os.getloadavg()[0]:.1f} after, over one minute"
    text = report.markdown(results, tools, chosen, load)
    print(text)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "benchmarks.md").write_text(text)
        data = report.as_json(results, chosen, load)
        (options.output / "benchmarks.json").write_text(json.dumps(data, indent=2) + "\n")
        say(f"written to {options.output}: benchmarks.md, benchmarks.json")
    return 0 if any(tool == report.OURS for _, tool in results.samples) else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = {"type": lambda text: [part for part in text.split(",") if part], "default": []}
    parser.add_argument("--tools", metavar="A,B", help="only these, by name", **names)  # type: ignore[arg-type]
    parser.add_argument("--workloads", metavar="W1,W2", help="only these", **names)  # type: ignore[arg-type]
    parser.add_argument("--rounds", type=int, default=0, help="how often each is measured (5, quick 1)")
    parser.add_argument("--quick", action="store_true", help="smaller workloads, one round")
    parser.add_argument("--limit", type=float, default=60, help="seconds that one run may take")
    parser.add_argument("--patience", type=float, default=600, help="seconds to install one tool")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where tools and projects are kept")
    parser.add_argument("--output", type=Path, help="also write benchmarks.md and benchmarks.json there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
