"""Killed at random moments, engine, worker or both, and resumed each time: as if nothing had happened."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.conftest import Killer, started

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("PENSTOCK_KILLS", "200"))
SEED = int(os.environ.get("PENSTOCK_KILLS_SEED") or random.SystemRandom().randrange(10**6))
SHARES = 2
LONGEST = 0.3
"""Seconds until a kill, at most; the first steps end after some 0.05."""


def one_run(killer: Killer, chance: random.Random) -> int:
    """A run from its first start to its end; how often something in it was killed."""
    sixty = killer.sixty
    before, kills, tries = sixty.newest(), 0, 0
    command = ("run",)
    while True:
        tries += 1
        ended = killer.run(
            *command,
            # On a slow machine nothing would get done for ever: the more often, the longer.
            after=chance.uniform(0.0, LONGEST * (1 + tries / 10)),
            what=chance.choice(("engine", "engine", "worker", "both")),
            pick=chance.randrange(8),
        )
        kills += ended.killed
        run = sixty.newest()
        if run > before:
            command = ("resume",)
        if ended.code == 0:
            assert run == before + 1, f"run {run} after run {before}: {command}, {ended.said}"
            sixty.check_run(run)
            return kills
        assert ended.killed, f"ended by itself with {ended.code}:\n{ended.said}"
        assert ended.code == -9, f"with {ended.code}:\n{ended.said}"


def runs(place: Path, share: int, kills: int) -> int:
    """Runs of one project, one after another, until so many kills; how many there were."""
    killer, chance, done = started(place), random.Random(f"{SEED} {share}"), 0
    sixty = killer.sixty
    try:
        while done < kills:
            done += one_run(killer, chance)
            assert killer.run("runs", settle=True).left == []
            sixty.check_nothing_is_left()
        sixty.check_journal()
        audited = killer.run("audit", settle=True)
        assert audited.code == 0, audited.said
    except BaseException as error:
        error.add_note(f"after {done} kills. Again: PENSTOCK_KILLS_SEED={SEED}")
        raise
    finally:
        killer.close()
    return done


def test_every_finished_step_ran_exactly_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:  # what one waits for, another uses
        shares = [pool.submit(runs, tmp_path / str(n), n, KILLS // SHARES) for n in range(SHARES)]
        assert sum(share.result() for share in shares) >= KILLS
