"""Runs in the journal and on this machine: begin one, take one up, hold it while it is worked on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from penstock import process
from penstock.errors import ConfigError, PluginError, StepRefused, in_words
from penstock.home import Home, Lock
from penstock.journal import Events, New
from penstock.model import Event
from penstock.plan import Plan
from penstock.signals import SOCKET
from penstock.state import RunState

_LEAVING = 15.0
"""Seconds that an engine may need to end its workers and observers after its run."""
_GLANCE = 0.5
"""Seconds for which somebody may hold the lock just to see whether an engine does."""


class WorkedOn(ConfigError):
    """Another process works on the run."""


def new_run(
    journal: Events, home: Home, plan: Plan, options: dict[str, Any], more: Iterable[New] = ()
) -> tuple[RunState, list[Event]]:
    """Open a run of this plan in the journal, together with `more` that its beginning means."""
    home.store.add_bytes(plan.canonical)
    data = {"plan": plan.digest, "config": plan.config, **options}
    run, events = journal.begin([New("run.started", None, data, time.time()), *more])
    state = RunState(plan, run)
    for event in events:
        state.apply(event)
    return state, events


def load_run(journal: Events, home: Home, run: int) -> RunState:
    """A run as the journal has it. Raises ConfigError where there is none of that number."""
    journal.run(run)
    events = journal.events(run)
    if not events or "plan" not in events[0].data:
        raise PluginError(f"the journal has no beginning of run {run}: it was changed")
    try:
        plan = Plan.model_validate_json(home.store.read(str(events[0].data["plan"])))
    except (StepRefused, ValueError) as error:
        raise PluginError(
            f"the plan of run {run} can't be had: {str(error).splitlines()[0]}. Without it the run can't be "
            "shown or gone on with; another can begin: penstock run"
        ) from None
    state = RunState(plan, run)
    try:
        for event in events:
            state.apply(event)
    except (LookupError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise PluginError(
            f"the journal was changed: an event of run {run} can't be understood ({in_words(error)}). "
            "Put back a copy of it, or move .penstock away and begin anew"
        ) from None
    return state


class Statements:
    """The statements of a run: its events hold them, and whoever reads them from the store finds them there
    once they were put there.

    No step needs those of all steps before it as files, and few need any.
    """

    def __init__(self, journal: Events, home: Home, run: int) -> None:
        self._journal = journal
        self._home = home
        self._run = run
        self._last = 0

    def restore(self) -> None:
        """Put those into the store that it lacks, and that are new since the last time.

        One that was changed there stays as it is, to be refused. Raises PluginError where the disk does not
        take them.
        """
        events = self._journal.events(self._run, self._last)
        texts = {
            digest: text for event in events for digest, text in event.data.get("statements", {}).items()
        }
        if lacks := [text for digest, text in texts.items() if not self._home.store.has(digest)]:
            self._home.store.add_all(text.encode() for text in lacks)
        if events:
            self._last = events[-1].id


@contextlib.contextmanager
def working_on(home: Home, run: int, *, clean: bool = False) -> Iterator[tuple[Lock, Lock]]:
    """Hold a run, so that no second engine works on it; with `clean`, end what a killed one left behind.

    Raises WorkedOn where another engine is at it.
    """
    engine, workers = home.engine_lock(run), home.workers_lock(run)
    if not _taken(engine, home.run(run) / SOCKET):
        raise WorkedOn(f"run {run} is being worked on by another process. Watch it: penstock logs -f {run}")
    try:
        if clean:
            process.end_marked(f"{home.run(run)}:", grace=1.0)
            process.end_holders(workers.path, grace=3.0)
        workers.take(wait=True)
        home.store.sweep()
        yield engine, workers
    finally:
        workers.drop()
        engine.drop()


def _taken(lock: Lock, listening: Path) -> bool:
    """Take a run's lock. An engine that listens no more is about to let go of it: that is waited for."""
    began = time.monotonic()
    while not lock.take():
        if time.monotonic() - began >= (_GLANCE if listening.exists() else _LEAVING):
            return False
        time.sleep(0.01)
    return True
