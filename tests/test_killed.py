"""Killed with SIGKILL at any moment and resumed, the example ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.projects import Project, Shop

pytestmark = [pytest.mark.real, pytest.mark.slow]

KILLS = 20
LONGEST = 2.5  # seconds until the kill; the steps take up to about so long


def killed(project: Project, after: float, *arguments: str) -> int | None:
    """Run a command and kill its process, not its workers, after some seconds; its code if it was faster."""
    child = project.start(*arguments)
    try:
        child.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        return None
    return child.returncode


def run_with_kills(shop: Shop, seed: int) -> tuple[str, int]:
    """A run that is killed again and again; its number and how often it was."""
    chance = random.Random(seed)  # moments, not secrets
    before = len(shop.json("runs"))
    kills = 0
    code = killed(shop, chance.uniform(0.1, LONGEST), "run", "--approve", "production")
    while len(shop.json("runs")) == before and code is None:  # killed before the run was on record
        kills += 1
        code = killed(shop, chance.uniform(0.1, LONGEST), "run", "--approve", "production")
    number = str(before + 1)
    while code is None:
        kills += 1
        # The longer it goes on, the longer it may: a run must not be killed in its slowest step for ever.
        code = killed(shop, chance.uniform(0.05, LONGEST + kills / 4), "resume", number)
    assert code == 0, shop.run("show", number).out
    return number, kills


def outline(shop: Shop, number: str) -> dict[str, Any]:
    """What a run came to, without times and numbers."""
    return {
        step["name"]: (
            step["state"],
            step.get("tests"),
            [(artifact["name"], artifact["digest"]) for artifact in step["artifacts"]],
            step["evidence"],
        )
        for step in shop.json("show", number)["steps"]
    }


def finished_steps(shop: Shop, number: str) -> Counter[str]:
    """How often each step of a run was finished, from the journal."""
    import sqlite3

    with sqlite3.connect(f"file:{shop.root}/.penstock/journal.db?mode=ro", uri=True) as db:
        rows = db.execute(
            "SELECT step FROM events WHERE run = ? AND type = 'step.finished'", (int(number),)
        ).fetchall()
    return Counter(step for (step,) in rows)


def marked_processes(shop: Shop) -> list[int]:
    """What is left of any step of this project, deployed services aside."""
    mark = f"PENSTOCK_STEP_MARK={shop.root}/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_the_example_survives_twenty_kills(make_shop: Callable[[], Shop]) -> None:
    undisturbed = make_shop()
    undisturbed.passes("run", "--approve", "production")
    wanted = outline(undisturbed, "1")

    shop = make_shop()
    kills = 0
    while kills < KILLS:
        number, more = run_with_kills(shop, seed=kills)
        kills += more
        outcome = outline(shop, number)
        # The configuration differs in the ports, and so do the digests of the two shops' wheels not.
        assert outcome == wanted
        assert set(finished_steps(shop, number).values()) == {1}
        for environment in shop.ports:
            assert shop.get(environment)[0] == 200
            assert shop.release(environment) == shop.digest(run=number)
        assert "All signatures verify" in shop.passes("verify", shop.digest(run=number)).out
        assert marked_processes(shop) == []
