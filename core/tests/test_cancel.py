"""Cancelled in any phase, by whatever way: nothing of what a step has started is left, however it resists."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from penstock.processes import alive

from core.tests.lab import Lab, until

# It ignores SIGTERM and SIGINT, forks twice, leaves its session, and lets go of every descriptor.
STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if os.fork():
    time.sleep(600)
os.setsid()
if os.fork():
    time.sleep(600)
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getppid()} {os.getpid()}\\n")
os.closerange(0, 64)
time.sleep(600)
"""
PLUGIN = """
class Hang(Settings):
    hang: bool = True
    fails: bool = False
    targets: int = 1

def hang(settings, step):
    if not settings.hang:
        return
    script, pids = step.project / "stubborn.py", step.project / "pids"
    for clean in ({}, None):  # one of them without the mark by which a step's processes are known
        subprocess.Popen([sys.executable, "-S", script, pids], env=clean, start_new_session=clean is None)
    while settings.fails:
        if pids.exists() and pids.read_text().count("\\n") >= 2:
            raise StepFailed("it fell over")
        time.sleep(0.01)
    if (step.project / "deaf").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    step.run([sys.executable, "-S", script, pids])

@hookimpl
def penstock_source(settings: Hang, step):
    (step.workspace / "a.txt").write_text("source")
    hang(settings, step)
    return Revision(commit="c0ffee" + "0" * 34, time=1)

@hookimpl
def penstock_build(settings: Hang, step):
    hang(settings, step)
    return [step.keep(step.workspace / "a.txt", "file")]

@hookimpl
def penstock_test(settings: Hang, step): hang(settings, step)
@hookimpl
def penstock_scan(settings: Hang, step): hang(settings, step)
@hookimpl
def penstock_sign(settings: Hang, step, statements): hang(settings, step)
@hookimpl
def penstock_publish(settings: Hang, step): hang(settings, step)
@hookimpl
def penstock_approve(settings: Hang, step): hang(settings, step)
@hookimpl
def penstock_verify(settings: Hang, step): hang(settings, step)

class Place(Target):
    settings: Hang
    def observe(self, step): return TargetState(release=None)
    def apply(self, release, step): (step.project / self.id).touch(); hang(self.settings, step)
    def probe(self, step): return Health(status="healthy")
    def restore(self, state, step): (step.project / self.id).unlink(missing_ok=True)

@hookimpl
def penstock_targets(settings: Hang, step):
    return [Place(id=f"place-{number}", settings=settings) for number in range(settings.targets)]
"""
LONGEST = 3.6
"""Seconds that a step which resists takes to be ended."""
BUILT = "[source.it]\nuses = 'hang'\nhang = false\n[build.it]\nuses = 'hang'\nhang = false\n"
DEPLOY = "[deploy.prod]\nuses = 'hang'\nhang = false\n"
TWO = "targets = 2\nrollout = { strategy = 'rolling', pause = '10m' }\n"


def has_started(lab: Lab, count: int = 3) -> bool:
    """Whether the programs that resist are all there."""
    path = lab.root / "pids"
    return path.exists() and path.read_text().count("\n") >= count


def has_event(kind: str, **data: object) -> Callable[[Lab], bool]:
    def look(lab: Lab) -> bool:
        if not lab.home.journal.exists():
            return False
        journal = lab.journal
        found = any(data.items() <= event.data.items() for event in journal.find(kind))
        journal.close()
        return found

    return look


CASES: dict[str, tuple[str, Callable[[Lab], bool]]] = {
    "source": ("[source.it]\nuses = 'hang'\n[build.it]\nuses = 'hang'\n", has_started),
    "build": (
        BUILT.replace("hang = false", "", 2).replace("'hang'\n", "'hang'\nhang = false\n", 1),
        has_started,
    ),
    **{
        phase: (f"{BUILT}[{phase}.it]\nuses = 'hang'\n", has_started)
        for phase in ("test", "scan", "sign", "publish")
    },
    "approve": (f"{BUILT}[approve.prod]\nuses = 'hang'\n{DEPLOY}", has_started),
    "deploy": (f"{BUILT}[deploy.prod]\nuses = 'hang'\n", has_started),
    "verify": (f"{BUILT}{DEPLOY}[verify.prod]\nuses = 'hang'\n", has_started),
    "before another try": (
        f"{BUILT}[test.it]\nuses = 'hang'\nfails = true\nretries = 9\n",
        has_event("step.retried"),
    ),
    "waiting for the environment": (f"{BUILT}{DEPLOY}", has_event("environment.wanted", waits=True)),
    "between two batches": (f"{BUILT}{DEPLOY}{TWO}", has_event("rollout.ended", health="healthy")),
}


def pids(lab: Lab) -> list[int]:
    return [int(word) for word in (lab.root / "pids").read_text().split()] if has_started(lab, 1) else []


@pytest.fixture
def labs(tmp_path: Path) -> Iterator[dict[str, Lab]]:
    made = {}
    for name, (text, _) in CASES.items():
        place = tmp_path / name.replace(" ", "-")
        place.mkdir()
        lab = made[name] = Lab.make(place)
        lab.plugin("hang", PLUGIN)
        (lab.root / "stubborn.py").write_text(STUBBORN)
        lab.toml(text, ("hang",))
    yield made
    for lab in made.values():
        lab.close()


def interrupt(engine: subprocess.Popen[str]) -> None:
    """What a terminal does: all that is in the foreground gets it."""
    with contextlib.suppress(ProcessLookupError):  # it had nothing to end, and was faster
        os.killpg(engine.pid, signal.SIGINT)


@pytest.mark.parametrize("way", ["cancel", "Ctrl-C", "Ctrl-C twice"])
def test_nothing_is_left_of_a_step_in_whatever_phase_it_is_cancelled(way: str, labs: dict[str, Lab]) -> None:
    lock = labs["waiting for the environment"].home.environment_lock("prod")
    assert lock.take()
    for number, lab in enumerate(labs.values()):
        if (number + len(way)) % 2:  # each phase also with a worker that hears nothing
            (lab.root / "deaf").touch()
    cancelled_together(way, labs)
    lock.release()

    for name, lab in labs.items():
        state = lab.journal.run(1).state
        assert state in (("running", "cancelled") if way == "Ctrl-C twice" else ("cancelled",)), name
    if way == "Ctrl-C twice":
        code, said = labs["deploy"].run("resume")
        assert code == 130, said
    assert not (labs["deploy"].root / "place-0").exists()


def cancelled_together(way: str, labs: dict[str, Lab]) -> None:
    began = time.monotonic()
    engines = {name: lab.start("run") for name, lab in labs.items()}
    for name, lab in labs.items():
        until(lambda lab=lab, name=name: CASES[name][1](lab), 30)  # type: ignore[misc]  # bound early
    slowness = max(1.0, (time.monotonic() - began) / 6)  # of a machine that has other things to do
    left = {pid: name for name, lab in labs.items() for pid in pids(lab)}

    told = tell(way, labs, engines)

    took = {}
    while left:
        for pid, name in list(left.items()):
            took[name] = time.monotonic() - told[name]
            if not alive(pid):
                del left[pid]
            assert took[name] < 5 * slowness, f"{name}: {pid} is still there"
        time.sleep(0.01)
    said = {name: engine.communicate(timeout=30)[0] for name, engine in engines.items()}
    assert {name: engine.returncode for name, engine in engines.items()} == dict.fromkeys(labs, 130), said
    for name, lab in labs.items():
        assert lab.leftovers() == [], name


def tell(way: str, labs: dict[str, Lab], engines: dict[str, subprocess.Popen[str]]) -> dict[str, float]:
    """Cancel all of them; when each was told."""
    told = {}
    for name, lab in labs.items():
        if way == "cancel":
            lab.start("cancel")
        else:
            interrupt(engines[name])
    for name, lab in labs.items():
        until(lambda lab=lab: has_event("run.cancelled")(lab), 30)  # type: ignore[misc]  # bound early
        told[name] = time.monotonic()
    if way == "Ctrl-C twice":  # the second time at various moments of what the first one led to
        for number, (name, engine) in enumerate(engines.items()):
            at = told[name] + number * LONGEST / len(engines)
            until(lambda at=at: time.monotonic() >= at)  # type: ignore[misc]  # bound early
            interrupt(engine)
    return told
