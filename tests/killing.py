"""Kills at random moments while the example `orders` is deployed, and what has to be so when that is over."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.orders import Orders
from tests.projects import Done

WAYS = {
    'strategy = "canary"\nwaves = [1, 2, 3]': (0, 1, 2),
    'strategy = "rolling"\nbatch = 1': (0, 1, 2),
    'strategy = "blue-green"': (0, 0, 1),
}
"""Ways of a rollout over three hosts, and the wave of each."""
_STEP = "deploy.production"
_LATER = 0.5
"""Seconds after an event in which somebody is killed."""
_PATIENCE = 600.0


class Told(NamedTuple):
    """One event of a run."""

    type: str
    step: str | None
    data: dict[str, Any]


@dataclass
class Deployed:
    """A run that came to its end, whoever was killed before that."""

    run: int
    done: Done
    kills: list[str] = field(default_factory=list)


def deploy(orders: Orders, chance: random.Random, kills: int, *command: str) -> Deployed:
    """Run a command and resume it until its run is over, with so many kills, each after an event by chance."""
    before = newest(orders)
    usual = len(history(orders, before))
    killed: list[str] = []
    words = command
    while True:
        child, gone = orders.start(*words), False
        while len(killed) < kills and not gone:
            run = before + 1
            there = len(history(orders, run))
            after = there + chance.randrange(max(1, usual - there))
            if not _reached(orders, child, run, after):
                break  # it came to its end before
            time.sleep(chance.uniform(0, _LATER))
            what = chance.choice(("engine", "worker", "both"))
            if _kill(child.pid, what, chance):
                killed.append(f"{what} at event {len(history(orders, run))} of {words[0]}")
                gone = what != "worker"
        out, err = child.communicate(timeout=_PATIENCE)
        assert "Traceback" not in err, err
        if not gone:
            return Deployed(newest(orders), Done(child.returncode, out, err), killed)
        if newest(orders) > before:
            words = ("resume",)


def newest(orders: Orders) -> int:
    """The number of the last run; 0 where there is none."""
    return int(_rows(orders, "SELECT coalesce(max(run), 0) FROM events")[0][0])


def history(orders: Orders, run: int) -> list[Told]:
    """All events of a run, out of the journal."""
    rows = _rows(orders, "SELECT type, step, data FROM events WHERE run = ? ORDER BY id", run)
    return [Told(kind, step, json.loads(data)) for kind, step, data in rows]


def change_way(orders: Orders, way: str) -> None:
    """Have the next rollout go another way."""
    text = (orders.root / "penstock.toml").read_text()
    parts = re.fullmatch(r"(.*\[deploy\.production\.rollout\]\n).*?\n(healthy_within.*)", text, re.DOTALL)
    assert parts is not None
    orders.write({"penstock.toml": f"{parts[1]}{way}\n{parts[2]}"})


def check_journal(orders: Orders, run: int, waves: tuple[int, ...]) -> None:
    """Each host was changed in the order of the waves, and nothing was done again that had been done."""
    told = history(orders, run)
    finished = [event.step for event in told if event.type == "step.finished"]
    assert len(finished) == len(set(finished)), finished
    assert [event.type for event in told].count("run.finished") == 1
    under_way: set[tuple[str, str]] = set()
    applied: set[int] = set()
    healthy: set[int] = set()
    jobs = []
    for event in told:
        if event.type == "run.resumed":
            under_way.clear()
        if event.step != _STEP or event.type not in ("rollout.started", "rollout.ended"):
            continue
        what, name = str(event.data["op"]), str(event.data["target"])
        if event.type == "rollout.started":
            assert (what, name) not in under_way, f"{what} of {name} was begun twice"
            under_way.add((what, name))
        else:
            under_way.discard((what, name))
        if what == "job":
            jobs += [name] if event.data.get("ok") else []
            continue
        number = _number(orders, name)
        if what == "apply" and event.type == "rollout.started":
            assert number not in applied, f"{name} was changed again"
            assert all(at in healthy for at, wave in enumerate(waves) if wave < waves[number]), name
        if event.data.get("ok"):
            applied |= {number} if what == "apply" else set()
            healthy |= {number} if event.data.get("health") == "healthy" else set()
    assert len(jobs) == len(set(jobs)), jobs


def check_hosts(orders: Orders, image: str) -> None:
    """Every host runs this image and nothing else of ours, and `status` says what the engines say."""
    assert orders.runs() == {host.name: [image] for host in orders.parts.hosts}
    said = {target["release"] for target in orders.json("status", "production")["targets"]}
    labels = {
        host.docker("ps", "--format", '{{.Label "dev.penstock.release"}}').strip()
        for host in orders.parts.hosts
    }
    assert said == labels
    for host in orders.parts.hosts:
        assert host.docker("ps", "-aq", "-f", "status=created") == ""
        assert host.docker("volume", "ls", "-q") == ""
        assert set(host.docker("network", "ls", "--format", "{{.Name}}").split()) == {
            "bridge",
            "host",
            "none",
        }


def processes(orders: Orders) -> list[int]:
    """What was started here and goes on."""
    mark = f"XDG_DATA_HOME={orders.env['XDG_DATA_HOME']}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def until(look: Callable[[], bool]) -> None:
    """Wait for something that is about to be so."""
    deadline = time.monotonic() + 30
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _number(orders: Orders, target: str) -> int:
    return next(number for number, host in enumerate(orders.parts.hosts) if host.host in target)


def _reached(orders: Orders, child: subprocess.Popen[str], run: int, count: int) -> bool:
    """Wait until a run has so many events; False where its process ends before."""
    deadline = time.monotonic() + _PATIENCE
    while len(history(orders, run)) < count:
        if child.poll() is not None:
            return False
        assert time.monotonic() < deadline, history(orders, run)[-3:]
        time.sleep(0.01)
    return child.poll() is None


def _kill(engine: int, what: str, chance: random.Random) -> bool:
    workers = sorted(_workers(engine))
    chosen = [chance.choice(workers)] if workers else []
    done = False
    for process in {"engine": [engine], "worker": chosen, "both": [engine, *workers]}[what]:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
            done = True
    return done


def _workers(engine: int) -> list[int]:
    """Its children of its own program; what a step runs is none."""
    with suppress(OSError):
        below = Path(f"/proc/{engine}/task/{engine}/children").read_text().split()
        own = Path(f"/proc/{engine}/cmdline").read_bytes()
        return [int(one) for one in below if Path(f"/proc/{one}/cmdline").read_bytes() == own]
    return []


def _rows(orders: Orders, query: str, *values: object) -> list[tuple[Any, ...]]:
    journal = orders.root / ".penstock" / "journal.db"
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=10)) as db:
        return db.execute(query, values).fetchall()
