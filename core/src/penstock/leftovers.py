"""What killed processes left behind in `.penstock/`, and nobody holds: removed before the next run begins."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from penstock.home import Home, Lock
from penstock.journal import Events
from penstock.signals import SOCKET
from penstock.workspace import Workspace


def sweep(home: Home, journal: Events) -> None:
    """Clean up after workers and engines that were killed. Never fails: what can't be removed stays.

    What it costs grows with the runs that were cut off, not with all that there were.
    """
    home.store.sweep()
    with suppress(OSError):
        for place in home.workspaces.iterdir():
            _sweep_workspace(home, place)
    for line in journal.runs(unfinished=True):
        if line.state == "running":  # one that waits was left in order
            _sweep_run(home, line.run)


def _sweep_workspace(home: Home, place: Path) -> None:
    lock = Lock(place / "lock")
    with suppress(OSError):
        if lock.path.exists() and lock.take():
            try:
                Workspace(place, home.store).sweep()
            finally:
                lock.release()


def _sweep_run(home: Home, run: int) -> None:
    """A socket that nobody listens to any more, and notes that were not written to their end."""
    place, lock = home.run(run), home.engine_lock(run)
    with suppress(OSError):
        if not lock.path.exists() or lock.is_held():
            return
        (place / SOCKET).unlink(missing_ok=True)
        for note in place.glob("*.new"):
            note.unlink(missing_ok=True)
