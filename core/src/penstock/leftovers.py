"""What killed processes left behind, and nobody holds: removed before the next run begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from penstock import reaping
from penstock.executor import Done, Executor
from penstock.home import Home, Lock
from penstock.journal import Events
from penstock.plan import PlanStep
from penstock.plugins import Plugins
from penstock.request import Request, Response, make_request
from penstock.signals import SOCKET
from penstock.state import RunState
from penstock.workspace import Workspace

_TICKET = "what earlier runs left"
_NEWEST = 2
"""Runs that are looked at also when they are over: one's own, and the one before."""


def sweep(home: Home, journal: Events) -> None:
    """Clean up after workers and engines that were killed. Never fails: what can't be removed stays.

    What it costs grows with the runs that were cut off, not with all that there were.
    """
    home.store.sweep()
    with suppress(OSError):
        for place in home.workspaces.iterdir():
            _sweep_workspace(home, place)
    cut_off = {line.run for line in journal.runs(unfinished=True) if line.state == "running"}
    # The newest may have been killed when their end was on record, and before they had left in order.
    for run in cut_off.union(line.run for line in journal.runs(_NEWEST)):
        sweep_run(home, run)


def reap(
    home: Home, journal: Events, state: RunState, plugins: Plugins, executor: Executor, *, resumed: bool
) -> str:
    """Have removed what runs left outside their process trees that were cut off, before any step begins.

    Why that could not be done, or nothing.
    """
    if not reaping.needed(plugins):
        return ""
    with _cut_off(home, journal, state.run) as others:
        runs = (*((state.run,) if resumed else ()), *others)
        if not runs:
            return ""
        response = _asked(executor, _request(state, runs))
    return "" if response.outcome == "passed" else response.reason


@contextmanager
def _cut_off(home: Home, journal: Events, this: int) -> Iterator[list[int]]:
    """Runs that nobody works on, and nobody begins to while this lasts."""
    running = (line.run for line in journal.runs(unfinished=True) if line.state == "running")
    found = []
    with ExitStack() as held:
        for run in sorted({*running, *reaping.unreaped(home)} - {this}):
            lock = home.engine_lock(run)
            if lock.take():
                held.callback(lock.release)
                found.append(run)
        yield found


def _request(state: RunState, runs: tuple[int, ...]) -> Request:
    made = make_request(state.plan, state, state.plan.steps[0].name, "reap", runs=runs)
    own = {"name": "reap", "attempt": 1, "secrets": {}, "env": {}, "builds": {}, "inside": None}
    step = PlanStep(name="reap", phase="test", uses=None)
    return made.model_copy(update={"step": step, "info": made.info.model_copy(update=own)})


def _asked(executor: Executor, request: Request) -> Response:
    executor.submit(_TICKET, request)
    while True:
        for news in executor.wait(None):
            if isinstance(news, Done) and news.ticket == _TICKET:
                return news.response


def _sweep_workspace(home: Home, place: Path) -> None:
    lock = Lock(place / "lock")
    with suppress(OSError):
        if lock.path.exists() and lock.take():
            try:
                Workspace(place, home.store).sweep()
            finally:
                lock.release()


def sweep_run(home: Home, run: int) -> None:
    """Remove a socket that nobody listens to any more, and notes that were not written to their end."""
    place, lock = home.run(run), home.engine_lock(run)
    with suppress(OSError):
        if not lock.path.exists() or not lock.take():
            return
        try:
            (place / SOCKET).unlink(missing_ok=True)
            for note in place.glob("*.new"):
                note.unlink(missing_ok=True)
        finally:
            lock.release()
