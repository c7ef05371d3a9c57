"""The worker is killed at any moment; the same call again must end in a good state."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from penstock import Release, TargetState
from penstock_local import releases
from penstock_local.target import Directory

if TYPE_CHECKING:
    from conftest import Deployer

pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


def start_worker(deployer: Deployer, target: Directory, what: Release | TargetState) -> int:
    """Begin one operation in a process of its own, as a worker does it."""
    step = deployer.step()
    pid = os.fork()
    if pid:
        return pid
    try:
        if isinstance(what, Release):
            target.apply(what, step)
        else:
            target.restore(what, step)
        os._exit(0)
    finally:
        os._exit(1)


def cut_off(deployer: Deployer, target: Directory, what: Release | TargetState, after: float) -> bool:
    """Kill an operation after so many seconds; whether that came before its end."""
    pid = start_worker(deployer, target, what)
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def test_apply_and_restore_end_well_however_often_they_are_killed(deployer: Deployer) -> None:
    settings = deployer.service(keep=2)
    target = deployer.target(settings)
    made = [deployer.toy(f"{n}.0") for n in range(3)]
    assert deployer.deploy(target, made[0]).status == "healthy"
    chance = random.Random(20)
    cut = 0
    for turn in range(8):
        before = target.observe(deployer.step())
        release = made[(turn + 1) % 3]
        for _ in range(chance.randrange(1, 4)):
            cut += cut_off(deployer, target, release, chance.uniform(0, 0.25))
        if turn % 2:
            target.apply(release, deployer.step())
            expected = release.digest
        else:
            cut += cut_off(deployer, target, before, chance.uniform(0, 0.25))
            target.restore(before, deployer.step())
            assert before.release is not None
            expected = before.release
        assert deployer.settled(target).status == "healthy"
        state = target.observe(deployer.step())
        assert state.release == expected
        assert state.data["drift"] == []
        assert deployer.get(settings) == f"{[r.digest for r in made].index(expected)}.0"
        assert services_of(deployer) == 1
    assert cut >= 5
    target.restore(TargetState(), deployer.step())
    assert services_of(deployer) == 0


def test_what_killed_steps_had_begun_to_write_is_not_left_for_good(deployer: Deployer) -> None:
    """Killed each time just before a file or link is put in its place, once at every such moment."""
    target = deployer.target(deployer.service())
    assert deployer.deploy(target, deployer.toy("1.0")).status == "healthy"
    release, moments = deployer.toy("2.0"), 0
    while cut_off_before_rename(deployer, target, release, moments):
        moments += 1
    assert moments >= 4  # the marker, the note, the link and the order to start

    assert deployer.deploy(target, deployer.toy("3.0")).status == "healthy"

    root = Path(target.root)
    left = [path for place in (root, root / "run") for path in place.glob(".*") if path != root / ".lock"]
    assert left == []
    assert list((root / "releases").glob("*/.*.new")) == []
    target.restore(TargetState(), deployer.step())


def cut_off_before_rename(deployer: Deployer, target: Directory, release: Release, number: int) -> bool:
    """Kill an operation in place of its rename of this number; whether it has so many."""
    step, count = deployer.step(), itertools.count()
    pid = os.fork()
    if pid == 0:
        rename = Path.replace

        def counted(path: Path, place: Path) -> Path:
            if next(count) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(path, place)

        Path.replace = counted  # type: ignore[method-assign,assignment]  # in this process alone
        try:
            target.apply(release, step)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8])
def test_a_first_deployment_that_was_killed_can_be_taken_back(deployer: Deployer, moment: float) -> None:
    target = deployer.target(deployer.service())
    before = target.observe(deployer.step())
    cut_off(deployer, target, deployer.toy_wheel("1.0"), moment)
    target.restore(before, deployer.step())
    assert target.observe(deployer.step()) == before
    assert services_of(deployer) == 0


def test_two_steps_at_once_change_a_directory_one_after_the_other(deployer: Deployer) -> None:
    settings = deployer.service()
    target = deployer.target(settings)
    made = [deployer.toy(f"{n}.0") for n in range(4)]
    workers = [start_worker(deployer, target, release) for release in made]
    assert [os.waitpid(pid, 0)[1] for pid in workers] == [0, 0, 0, 0]
    assert deployer.settled(target).status == "healthy"
    state = target.observe(deployer.step())
    assert state.data["drift"] == []
    assert deployer.get(settings) == f"{[r.digest for r in made].index(str(state.release))}.0"
    assert services_of(deployer) == 1
    assert len(releases.complete(deployer.directory)) == 4


def services_of(deployer: Deployer) -> int:
    """How many processes run out of the directory, supervisors aside."""
    found = 0
    for pid in (name for name in os.listdir("/proc") if name.isdigit()):
        try:
            words = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        found += f"PENSTOCK_LOCAL_SERVICE={deployer.directory}#".encode() in words
    return found
