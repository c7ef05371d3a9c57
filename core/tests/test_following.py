from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from penstock.following import Follower
from penstock.home import Home
from penstock.journal import Journal, New
from penstock.observe import Observe
from penstock.plugins import Plugins

PLUGIN = """
import os, signal
from pathlib import Path
from penstock import Event, Observed, Settings, StepFailed, TryLater, hookimpl

class Tell(Settings):
    place: str

@hookimpl
def penstock_event(settings: Tell, event: Event, observed: Observed) -> None:
    place = Path(settings.place)
    with place.joinpath("told").open("a") as file:
        file.write(f"{event.id} {event.run} {observed.key(event)}\\n")
    what = event.data.get("do")
    if what == "later" and not place.joinpath("up").exists():
        raise TryLater("nobody is there")
    if what == "raise":
        raise ValueError("mine")
    if what == "fail":
        raise StepFailed("it is no address")
    if what == "exit":
        os._exit(1)
    if what == "told to end":
        os.kill(os.getpid(), signal.SIGTERM)
        place.joinpath("done").touch()
"""


class Stand:
    """A journal, and somebody who follows it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "tell.py").write_text(PLUGIN)
        self.home = Home.of(root)
        self.journal = Journal(self.home.journal)
        self.plugins = Plugins.load(["./tell.py"], root=root)
        self.section = Observe(name="observe.chat", plugin="tell", settings={"place": str(root)})

    def happens(self, run: int, *what: str, at: float | None = None) -> None:
        at = time.time() if at is None else at
        self.journal.append(run, [New("note", None, {"do": each}, at) for each in what])

    def follow(self, after: int = 0) -> None:
        reader, writer = os.pipe()
        os.close(writer)
        Follower(self.home, self.plugins, self.section, "shop").follow(reader, after)
        os.close(reader)

    def apart(self) -> int:
        """Follow in a process of its own; its status."""
        pid = os.fork()
        if pid == 0:
            self.follow()
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    @property
    def told(self) -> list[int]:
        path = self.root / "told"
        return [int(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def keys(self) -> list[str]:
        return [line.split()[2] for line in (self.root / "told").read_text().splitlines()]

    @property
    def log(self) -> str:
        return (self.home.observer("observe.chat") / "log").read_text()


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    before = signal.getsignal(signal.SIGTERM)
    made = Stand(tmp_path)
    yield made
    signal.signal(signal.SIGTERM, before)
    made.journal.close()


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capfd.readouterr().err


def test_a_section_hears_of_all_runs_in_order_and_of_nothing_twice(stand: Stand) -> None:
    stand.happens(1, "", "")
    stand.happens(2, "")
    stand.follow(after=1)
    stand.happens(1, "")
    stand.happens(0, "")
    stand.follow()
    stand.follow()

    assert stand.told == [2, 3, 4, 5]
    assert len(set(stand.keys)) == 4


def test_what_can_t_be_told_is_told_later_and_what_follows_it_waits(
    stand: Stand, said: Callable[[], str]
) -> None:
    stand.happens(1, "", "later", "")
    stand.follow()
    assert set(stand.told) == {1, 2}
    assert said() == (
        "penstock: observe.chat: nobody is there. It is tried again, at the latest with the next run\n"
    )
    stand.happens(2, "")
    (stand.root / "up").touch()

    stand.follow()

    assert stand.told[-3:] == [2, 3, 4]
    assert len(set(stand.keys)) == 4, "the same event has the same key"
    assert said() == ""


@pytest.mark.parametrize(
    ("what", "reason"),
    [("raise", "ValueError: mine"), ("fail", "it is no address")],
    ids=["fault", "failure"],
)
def test_an_event_that_is_raised_for_is_passed_over_and_that_is_said(
    stand: Stand, said: Callable[[], str], what: str, reason: str
) -> None:
    stand.happens(1, what, "")

    stand.follow()

    assert stand.told == [1, 2]
    assert said() == f"penstock: observe.chat: event 1 (note) passed over: {reason}\n"
    assert stand.log.endswith(f" event 1 (note) passed over: {reason}\n")


def test_one_that_is_cut_off_is_repeated_and_not_for_ever(stand: Stand) -> None:
    stand.happens(1, "exit", "")

    ends = [stand.apart() for _ in range(6)]

    assert ends == [1, 1, 1, 1, 1, 0]
    assert stand.told == [1, 1, 1, 1, 1, 2]
    assert len(set(stand.keys)) == 2
    assert "event 1 (note) passed over: its process ended 5 times" in stand.log


def test_one_that_is_told_to_end_brings_what_it_is_at_to_its_end(stand: Stand) -> None:
    stand.happens(1, "told to end", "")

    stand.follow()

    assert stand.told == [1]
    assert (stand.root / "done").exists()
    stand.follow()
    assert stand.told == [1, 2]


def test_what_is_older_than_a_day_is_not_told(stand: Stand) -> None:
    stand.happens(1, "", at=time.time() - 90000)
    stand.happens(1, "")

    stand.follow()

    assert stand.told == [2]
