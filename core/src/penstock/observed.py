"""What an observer is handed beside an event: the record that it stands in, and the secrets that it needs."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from penstock.journal import Events
from penstock.model import Event, Revision


class Earlier(NamedTuple):
    """A run that is on record."""

    run: int
    state: str
    """How it ended, or `running` or `waiting`."""
    revision: Revision | None


class Observed:
    """The record around an event, as an observer may look at it."""

    def __init__(
        self, section: str, project: str, root: Path, journal: Events, find_secret: Callable[[str], str]
    ) -> None:
        self.section = section
        """The section that the observer works for, such as `observe.chat`; or the plugin's name."""
        self.project = project
        """The pipeline's name."""
        self.root = root
        """The project's directory."""
        self._journal = journal
        self._find_secret = find_secret

    def events(self, run: int) -> list[Event]:
        """All events of a run so far, in order."""
        return self._journal.events(run)

    def runs(self, before: int) -> Iterator[Earlier]:
        """The runs before one, the newest first."""
        for line in self._journal.runs():
            if line.run < before:
                yield Earlier(line.run, line.state, revision_of(self._journal.events(line.run)))

    def secret(self, reference: str) -> str:
        """The value behind a reference such as `env:NAME`. Raises ConfigError where there is none."""
        return self._find_secret(reference)

    def key(self, event: Event) -> str:
        """What a message about this event is known by: the same each time that the event is handed over."""
        whole = f"{self.project}\n{self.section}\n{event.run}\n{event.id}\n{event.time!r}\n{event.type}"
        return hashlib.sha256(whole.encode()).hexdigest()[:32]


def revision_of(events: list[Event]) -> Revision | None:
    """The revision that a run with these events is about, as far as they say."""
    for event in reversed(events):
        given = event.data.get("revision") if event.type in ("step.finished", "run.started") else None
        if event.type == "run.started" and not given:
            given = (event.data.get("release") or {}).get("revision")
        if given:
            return Revision.model_validate(given)
    return None
