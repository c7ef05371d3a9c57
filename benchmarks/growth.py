"""What ten thousand past runs cost: each command with them, as a ratio to the same command without.

python -m benchmarks.growth [--runs 10000] [--times 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from penstock.home import Home
from penstock.journal import Journal, New

COMMANDS = (("runs",), ("run",), ("show",), ("status", "live"), ("resume",), ("audit",))
CONFIG = """
[penstock]
plugins = ["./ours.py"]

[source.it]
uses = "ours"

[build.box]
uses = "ours"

[deploy.live]
uses = "ours"
place = "{place}"
"""
PLUGIN = """
from pathlib import Path
from penstock import Health, Revision, Settings, Target, TargetState, hookimpl

@hookimpl
def penstock_source(step):
    (step.workspace / "a").write_text("a")
    return Revision(commit="c0ffee0" + "0" * 33)

@hookimpl
def penstock_build(step):
    return [step.keep(step.workspace / "a", "file")]

class Place(Target):
    def observe(self, step):
        path = Path(self.id)
        return TargetState(release=path.read_text() if path.exists() else None)
    def apply(self, release, step):
        Path(self.id).write_text(release.digest)
    def probe(self, step):
        return Health(status="healthy")
    def restore(self, state, step):
        pass

class Places(Settings):
    place: str

@hookimpl
def penstock_targets(settings: Places, step):
    return [Place(id=settings.place)]
"""
PENSTOCK = Path(sys.executable).with_name("penstock")


def project(place: Path) -> Path:
    """A project that has run once."""
    root = place / "project"
    root.mkdir(parents=True)
    (root / "ours.py").write_text(PLUGIN)
    (root / "penstock.toml").write_text(CONFIG.format(place=place / "live"))
    subprocess.run([PENSTOCK, "run"], cwd=root, check=True, stdout=subprocess.DEVNULL)
    return root


def fill(root: Path, runs: int) -> None:
    """The run that is there, so many times over."""
    journal = Journal(Home.of(root).journal)
    [first] = journal.runs(1)
    events = [New(event.type, event.step, event.data, event.time) for event in journal.events(first.run)]
    journal._db.execute("PRAGMA synchronous=OFF")  # it is made for this once
    for _ in range(runs):
        run, _ = journal.begin(events[:1])
        journal.append(run, events[1:])
    journal.close()


def seconds(root: Path, command: tuple[str, ...], times: int) -> float:
    """The median duration of a command."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        done = subprocess.run([PENSTOCK, *command], cwd=root, capture_output=True, text=True, check=False)
        found.append(time.perf_counter() - began)
        assert done.returncode == 0, done.stderr
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        few, many = project(Path(place) / "few"), project(Path(place) / "many")
        fill(many, options.runs)
        print(f"{'':14}{'1 run':>10}{f'{options.runs} runs':>14}{'ratio':>8}")
        for command in COMMANDS:
            one, other = (seconds(root, command, options.times) for root in (few, many))
            print(f"{' '.join(command):14}{one * 1000:8.0f} ms{other * 1000:11.0f} ms{other / one:8.2f}")


if __name__ == "__main__":
    main()
