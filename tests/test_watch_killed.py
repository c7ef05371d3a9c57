"""`penstock watch`, killed again and again while commits arrive, misses none and repeats none."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock.journal import Journal
from penstock.model import Event

from tests.projects import Project
from tests.receiver import Receiver

KILLS = 20
COMMITS = 100
BRANCHES = ("main", "dev", "release/1")

CONFIG = """
[penstock]
plugins = ["git", "shell", "notify"]

[test.it]
uses = "shell"
run = "sleep 0.05; test ! -e bad"

[observe.receiver]
uses = "notify"
webhook = "URL"
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


class Commits:
    """Puts commits on branches behind the back of whoever works in the project."""

    def __init__(self, project: Project, chance: random.Random) -> None:
        self.project = project
        self.chance = chance
        self.made: dict[str, list[str]] = {branch: [] for branch in BRANCHES}
        project.commit({"penstock.toml": project.env["CONFIG"], "bad": ""}, "Bad")
        bad = project.git("rev-parse", "HEAD^{tree}").strip()
        project.git("rm", "-q", "bad")
        self.start = project.commit(message="Begin")
        self.trees = [project.git("rev-parse", "HEAD^{tree}").strip(), bad]
        for branch in BRANCHES[1:]:
            project.git("branch", branch)
        # Somebody works here at the same time, on something else.
        project.git("checkout", "-q", "-b", "desk")
        project.write({"draft": "half done", "staged": "x"})
        project.git("add", "staged")

    def arrive(self, count: int) -> None:
        for _ in range(count):
            branch = self.chance.choice(BRANCHES)
            parent = (self.made[branch] or [self.start])[-1]
            number = sum(map(len, self.made.values()))
            tree = self.chance.choice(self.trees)
            new = self.project.git("commit-tree", tree, "-p", parent, "-m", f"Change {number}").strip()
            self.project.git("update-ref", f"refs/heads/{branch}", new)
            self.made[branch].append(new)


def events_of(project: Project) -> list[Event]:
    journal = Journal(project.root / ".penstock" / "journal.db")
    try:
        assert journal.check()[2] is None
        return journal.since(0)
    finally:
        journal.close()


def begun(events: list[Event]) -> dict[int, dict[str, Any]]:
    """The runs, by number: what each was begun for, and how it ended."""
    runs = {
        event.run: {**event.data["trigger"], "ended": []} for event in events if event.type == "run.started"
    }
    for event in events:
        if event.type == "run.finished":
            runs[event.run]["ended"].append(event.data["state"])
    return runs


def settled(project: Project, wanted: dict[str, str]) -> bool:
    """Whether a run of the last commit of each branch is over."""
    with sqlite3.connect(f"file:{project.root}/.penstock/journal.db?mode=ro", uri=True) as db:
        over = {
            run for (run,) in db.execute("SELECT run FROM runs WHERE state NOT IN ('running', 'waiting')")
        }
    runs = begun(events_of(project))
    done = {(run["ref"], run["commit"]) for number, run in runs.items() if number in over}
    return set(wanted.items()) <= done


@pytest.mark.slow
def test_killed_twenty_times_it_runs_each_branch_s_last_commit_once(
    project: Project, receiver: Receiver
) -> None:
    chance = random.Random(5)  # moments, not secrets
    project.env["CONFIG"] = CONFIG.replace("URL", receiver.url)
    commits = Commits(project, chance)
    watch = ("watch", *(f"--branch={name}" for name in BRANCHES), "--every=0.1s")
    project.passes(*watch, "--from-now", "--once")
    desk = project.git("status", "--porcelain")
    index = (project.root / ".git" / "index").read_bytes()

    takes = 1.0  # seconds to start, on this machine and as busy as it is
    for number in range(KILLS):
        started = time.monotonic()
        child = project.start(*watch)
        commits.arrive(COMMITS // KILLS)
        if number % 5:  # the others are killed while they start
            assert child.stdout is not None
            assert "Watching" in child.stdout.readline()
            takes = time.monotonic() - started
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=chance.uniform(0.0, takes))
        child.send_signal(signal.SIGKILL)
        child.communicate()
    last = {branch: made[-1] for branch, made in commits.made.items()}
    child = project.start(*watch)
    assert child.stdout is not None
    assert "Watching" in child.stdout.readline()
    deadline = time.monotonic() + 120
    while not settled(project, last):
        assert time.monotonic() < deadline
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=0.1)
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=30) == 0
    child.communicate()

    events = events_of(project)
    runs = begun(events)
    tried = [(run["ref"], run["commit"]) for run in runs.values()]
    assert len(tried) == len(set(tried)), "none ran twice"
    assert all(len(run["ended"]) == 1 for run in runs.values()), "each run came to one end"
    superseded = {
        (event.data["ref"], event.data["commit"]): event.data["by"]
        for event in events
        if event.type == "change.superseded"
    }
    assert len(superseded) == sum(event.type == "change.superseded" for event in events)
    for branch, made in commits.made.items():
        ran = [commit for ref, commit in tried if ref == branch]
        assert ran == sorted(ran, key=made.index), "in the order in which they came"
        assert ran[-1] == made[-1]
        for commit in made:
            assert (commit in ran) != ((branch, commit) in superseded), "it ran, or is superseded"
        for commit in set(made) - set(ran):
            by = superseded[branch, commit]
            assert by == next(each for each in ran if made.index(each) > made.index(commit))
    told = [(message["kind"], message["run"]) for message in receiver.messages]
    assert sorted(told) == sorted(to_tell(runs)), "each was told once"
    assert len({message["id"] for message in receiver.messages}) == len(told)
    assert (project.root / ".git" / "index").read_bytes() == index
    assert project.git("status", "--porcelain") == desk
    assert left_of(project.root) == []


def to_tell(runs: dict[int, dict[str, Any]]) -> list[tuple[str, int]]:
    """What is worth telling of these runs."""
    found = []
    before: dict[str, str] = {}
    for number, run in sorted(runs.items()):
        [state] = run["ended"]
        if state == "failed":
            found.append(("failure", number))
        elif before.get(run["ref"]) == "failed":
            found.append(("recovery", number))
        before[run["ref"]] = state
    return found


def left_of(root: Path) -> list[str]:
    """Processes that still work in a project, or for it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(root):
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found
