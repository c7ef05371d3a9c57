"""An engine whose workers are processes of this machine."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from penstock.engine import Display, Engine, Observer
from penstock.executor import LocalPool
from penstock.home import Home, Lock
from penstock.journal import Events
from penstock.observers import Observers
from penstock.plugins import Plugins
from penstock.state import RunState
from penstock.worker import Worker


def local_engine(
    project: Path,
    home: Home,
    journal: Events,
    state: RunState,
    plugins: Plugins,
    observer: Observer,
    locks: tuple[Lock, Lock],
    slots: int,
    after: int,
    display: Display | None = None,
) -> Engine:
    """An engine with worker processes on this machine; plugins that watch see the events after `after`."""
    if state.plan.environments:  # before anything that is installed meanwhile could take its place
        import_module("penstock.rollout")
    watchers = Observers(
        plugins,
        home,
        state.run,
        after,
        in_child=locks[0].drop,
        sections=state.plan.observers,
        project=state.plan.name,
    )

    def in_child() -> None:
        locks[0].drop()
        watchers.forget()

    pool = LocalPool(lambda: Worker(project, plugins, home), in_child=in_child)
    return Engine(
        project, home, journal, state.plan, plugins, state, pool, observer, slots, watchers, display
    )
