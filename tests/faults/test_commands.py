"""Every command that changes something, killed at random moments: what it was at is whole, or goes on."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from penstock import processes
from penstock.journal import Journal, RunLine

from tests.broken.place import PLAIN, Place
from tests.faults.conftest import Ended, Killer
from tests.faults.pipeline import is_free
from tests.faults.test_kills import SEED

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("PENSTOCK_COMMAND_KILLS", "1"))
"""How often each command is killed."""
CONFIG = """
[source.it]
uses = "plain"
[build.it]
uses = "plain"
[test.it]
uses = "plain"
[sign.release]
uses = "sigstore"
[approve.live]
[deploy.live]
uses = "plain"
place = "{here}/place"
"""
_LONGEST = 0.5
"""Seconds until a kill, at most: about as long as the longest of them takes."""


class Small:
    """A pipeline that releases something else each time."""

    def __init__(self, base: Path) -> None:
        base.mkdir()
        self.place = Place.make(base, None)  # type: ignore[arg-type]  # the killer starts its commands
        assert '.write_text("box")' in PLAIN
        self.place.plugin("plain", PLAIN.replace('.write_text("box")', ".write_text(str(step.number))"))
        self.place.toml(CONFIG, ("plain", "sigstore"))
        self.killer = Killer(self)  # type: ignore[arg-type]  # it asks for the place alone
        self.out = base / "written"

    @property
    def home(self) -> Path:
        return self.place.root / ".penstock"

    def run(self, *words: str, codes: tuple[int, ...] = (0,)) -> Ended:
        ended = self.killer.run(*words, settle=True)
        assert ended.code in codes, f"{words}: {ended}"
        assert ended.left == [], words
        return ended

    def release(self) -> None:
        self.run("run", "--approve", "live")

    def wait(self) -> None:
        self.run("run", codes=(3,))

    def empty(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        shutil.rmtree(self.place.root / "penstock-thing", ignore_errors=True)

    def files(self) -> dict[str, bytes]:
        places = (self.out, self.place.root / "penstock-thing")
        found = [path for place in places for path in place.rglob("*") if path.is_file()]
        # What is on its way is not in its place yet; that it goes, too, is checked after the next command.
        return {path.name: path.read_bytes() for path in found if ".penstock-new-" not in str(path)}

    def go_on(self) -> None:
        """Bring all that was begun to its end."""
        for line in reversed(self.runs()):
            if line.state == "running":
                self.run("resume", str(line.run), codes=(0, 1, 3, 130))
            if line.state == "waiting":
                self.run("cancel", str(line.run))
        # Killed between the end of a run and its seal, `audit` asks for just that.
        self.run("resume", codes=(0, 1, 130))

    def runs(self) -> list[RunLine]:
        journal = Journal(self.home / "journal.db")
        try:
            return journal.runs()
        finally:
            journal.close()

    def check(self) -> None:
        """Nothing is left, nothing was done twice, and what runs is what is said to run."""
        journal = Journal(self.home / "journal.db")
        try:
            assert journal.check()[2] is None
            finished = [(event.run, event.step) for event in journal.find("step.finished")]
        finally:
            journal.close()
        assert len(finished) == len(set(finished))
        self.run("status")  # it ends with 1 where a target runs something else
        self.run("audit")
        assert processes.marked(f"{self.home}/") == []
        assert all(is_free(lock) for lock in self.home.rglob("*.lock"))
        assert list(self.place.base.rglob(".penstock-new-*")) == []
        assert [*self.home.rglob("*.new"), *self.home.glob("workspaces/shell-*")] == []
        assert list((self.home / "artifacts" / "incoming").iterdir()) == []
        assert list((self.place.base / "tmp").iterdir()) == []


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    made = Small(tmp_path_factory.mktemp("small") / "it")
    try:
        made.release()
        yield made
    finally:
        made.killer.close()


class Command(NamedTuple):
    """One that is killed, what comes before it, and how the same again may end."""

    words: tuple[str, ...]
    before: Callable[[Small], None]
    codes: tuple[int, ...] = (0,)
    writes: bool = False
    """Whether it writes files, which are the same each time."""


COMMANDS = {
    "approve": Command(("approve",), Small.wait, (0, 2)),
    "reject": Command(("reject",), Small.wait, (1, 2)),
    "cancel": Command(("cancel",), Small.wait, (0, 2)),
    "rollback": Command(("rollback", "live"), Small.release, (0, 2)),
    "rerun": Command(("rerun", "--from", "test.it", "--approve", "live"), Small.release, (0, 2)),
    "shell": Command(("shell", "1", "test.it", "--", "sh", "-c", "sleep 0.2"), Small.empty, (0, 2)),
    "get": Command(("get", "1", "box.txt", "-o", "../written/box", "--force"), Small.empty, (0, 2), True),
    "report": Command(
        ("report", "1", "--junit", "../written/j", "--sarif", "../written/s"), Small.empty, (0, 2), True
    ),
    "plugins new": Command(("plugins", "new", "thing", "--phase", "test"), Small.empty, (0, 2), True),
    "prune": Command(("prune", "--keep", "1"), Small.release),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_killed_leaves_nothing_that_the_next_one_minds(name: str, small: Small) -> None:
    command, chance = COMMANDS[name], random.Random(f"{SEED} {name}")
    whole: dict[str, bytes] = {}
    if command.writes:
        command.before(small)
        small.run(*command.words)
        whole = small.files()
        assert whole
    for number in range(KILLS):
        command.before(small)
        whole = whole if command.writes else small.files()
        after = chance.uniform(0, _LONGEST / 5 if command.writes else _LONGEST)
        try:
            ended = small.killer.run(*command.words, after=after, settle=True)
            assert ended.left == []
            assert ended.killed or ended.code in (0, 1), ended
            assert ended.code != -signal.SIGKILL or ended.killed
            for path, data in small.files().items():
                assert whole.get(path) == data, f"{path} is there in part"
            again = small.run(*command.words, codes=command.codes)
            if again.code == 2:
                assert len(again.said.splitlines()) <= 2, again
            assert small.files() == whole
            small.go_on()
            small.check()
        except BaseException as error:
            error.add_note(f"kill {number}, after {after:.3f} s. Again: PENSTOCK_KILLS_SEED={SEED}")
            raise
