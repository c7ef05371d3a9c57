"""What a run writes in one turn of its loop: folded at once, durable together, told and acted upon after.

Nobody hears of an event, and nothing that it stands for is begun, before the journal holds it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from penstock.journal import Events, New
from penstock.model import Event
from penstock.state import RunState


class Record:
    """The events of one run, on their way into the journal and into its state."""

    def __init__(self, journal: Events, state: RunState, tell: Callable[[list[Event]], None]) -> None:
        self._journal = journal
        self._state = state
        self._tell = tell
        self._new: list[New] = []
        self._told: list[Event] = []  # staged events, to be told of once they are durable
        self._effects: list[Callable[[], None]] = []

    def write(self, kind: str, step: str | None, data: dict[str, Any]) -> None:
        """Say what happened, now."""
        self._new.append(New(kind, step, data, time.time()))

    def after_commit(self, effect: Callable[[], None]) -> None:
        """Do this once all that was written until now is durable."""
        self._effects.append(effect)

    def stage(self) -> None:
        """Fold what is new; others hear of it when the turn is committed."""
        if not self._new:
            return
        new, self._new = self._new, []
        events = self._journal.stage(self._state.run, new)
        if events[0].id != self._state.last_event + 1:  # others wrote meanwhile, perhaps to this run
            events = self._journal.events(self._state.run, self._state.last_event)
        for event in events:
            self._state.apply(event)
        self._told += events

    def join(self) -> None:
        """Fold all that was written until now; from here to the commit nobody else writes."""
        self.stage()
        self._journal.stage(self._state.run, [])
        for event in self._journal.events(self._state.run, self._state.last_event):
            self._state.apply(event)
            self._told.append(event)

    def commit(self) -> None:
        """Make all that this turn led to durable, in one go; only then is it told, and acted upon."""
        self.stage()
        self._journal.commit()
        told, self._told = self._told, []
        effects, self._effects = self._effects, []
        try:
            for effect in effects:  # first: workers begin, while it is told
                effect()
        finally:
            self._tell(told)

    def catch_up(self) -> bool:
        """Fold what others have written; whether there was any."""
        events = self._journal.events(self._state.run, self._state.last_event)
        for event in events:
            self._state.apply(event)
        self._tell(events)
        return bool(events)
