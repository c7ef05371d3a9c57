"""Hands the journal's events to the plugin of an `[observe.NAME]` section: each in order, and none lost.

A section has a place in the journal that is its own, over all runs. It moves on when an event was handed
over; so what could not be is tried again, by whoever follows for it next. Only a plugin that was cut off in
the middle is handed the same event twice, and can tell that from its key.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from functools import partial
from pathlib import Path

from penstock.errors import PenstockError, TryLater, in_words
from penstock.home import Home, Lock
from penstock.journal import Journal
from penstock.model import Event
from penstock.observe import HOOK, Observe
from penstock.observed import Observed
from penstock.plugins import Plugins
from penstock.provisions import find

_OLD = 86400.0
"""Seconds after which an event is of no interest any more."""
_CUT_OFF = 5
"""How often an event is handed over that ends the process each time."""
_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_SLOW = 1.0
"""Who took longer than this not to get through is not tried once more when the run is over."""
_NOTE = "{:020d} {:020d} {:04d}\n"
_LENGTH = len(_NOTE.format(0, 0, 0))


class Follower:
    """Follows the journal for one section. It may not be alone at that: a lock says whose turn it is."""

    def __init__(self, home: Home, plugins: Plugins, section: Observe, project: str) -> None:
        self._home = home
        self._plugins = plugins
        self._section = section
        self._place = home.observer(section.name)
        self._journal = Journal(home.journal)
        self._observed = Observed(
            section.name, project, home.root.parent, self._journal, partial(find, plugins)
        )
        self._first = 0
        self._failures = 0
        self._took = 0.0
        self._waits = ""
        self._passed_over = ""
        self._told_to_end = False
        self._handing = False

    def follow(self, reader: int, after: int) -> None:
        """Hand over what there is, whenever `reader` says that there is more, until its end.

        A section that is new begins after the event `after`.
        """
        self._first = after
        signal.signal(signal.SIGTERM, self._on_term)
        if not self._note.exists():
            self._place.mkdir(parents=True, exist_ok=True)
            with self._turn(), contextlib.suppress(FileExistsError):
                self._write(after, flags=os.O_EXCL)
        more = True
        while more and not self._told_to_end:
            pause = self._hand_over()
            ready, _, _ = select.select([reader], [], [], pause)
            more = not ready or bool(os.read(reader, 4096))
        if not self._told_to_end and self._took < _SLOW:
            self._hand_over()
        for trouble in filter(None, (self._passed_over, self._waits)):
            with contextlib.suppress(OSError):
                os.write(2, f"penstock: {self._section.name}: {trouble}\n".encode(errors="replace"))

    @property
    def _note(self) -> Path:
        return self._place / "place"

    def _turn(self) -> contextlib.AbstractContextManager[object]:
        lock = Lock(self._place / "lock")
        lock.take(wait=True)
        return contextlib.closing(_Held(lock))

    def _hand_over(self) -> float | None:
        """Hand over all that there is; the time to wait, where some of it has to be tried again."""
        with self._turn():
            after, cut, times = self._read()
            for event in self._journal.since(after):
                if event.id == cut and times >= _CUT_OFF:
                    self._say(event, f"passed over: its process ended {times} times")
                elif event.time > time.time() - _OLD:
                    self._write(after, event.id, times + 1 if event.id == cut else 1)
                    began = time.monotonic()
                    why = self._handed(event)
                    self._took = time.monotonic() - began if why else 0.0
                    if why is not None:
                        self._write(after)
                        return self._later(why)
                    self._failures, self._waits = 0, ""
                after = event.id
                self._write(after)
                if self._told_to_end:
                    break
        return None

    def _handed(self, event: Event) -> str | None:
        """Hand one event over; why it has to be tried again, if so."""
        name = self._section.plugin
        self._handing = True
        try:
            settings = self._plugins.settings(name, HOOK, self._section.settings)
            self._plugins.call(name, HOOK, settings=settings, event=event, observed=self._observed)
        except TryLater as error:
            return str(error)
        except BaseException as error:  # its own trouble: what follows may go better
            said = str(error) if isinstance(error, PenstockError) else in_words(error)
            self._say(event, f"passed over: {said}")
        finally:
            self._handing = False
        return None

    def _later(self, why: str) -> float:
        self._waits = f"{why}. It is tried again, at the latest with the next run"
        self._failures += 1
        return min(_PAUSE * 2.0 ** min(self._failures, 20), _LONGEST_PAUSE)

    def _say(self, event: Event, words: str) -> None:
        self._passed_over = f"event {event.id} ({event.type}) {words}"
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {self._passed_over}\n"
        with contextlib.suppress(OSError), (self._place / "log").open("a", encoding="utf-8") as file:
            file.write(line)

    def _on_term(self, *_: object) -> None:
        # What is being handed over is brought to its end: its receiver has it, or not, and this is noted.
        self._told_to_end = True
        if not self._handing:
            os._exit(0)

    def _read(self) -> tuple[int, int, int]:
        try:
            after, cut, times = map(int, self._note.read_text().split())
        except (OSError, ValueError):  # it was removed, or somebody else wrote there
            return self._first, 0, 0
        return after, cut, times

    def _write(self, after: int, trying: int = 0, times: int = 0, *, flags: int = 0) -> None:
        # One line of one length, written in one piece: there is no moment at which it is not whole.
        file = os.open(self._note, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o644)
        try:
            os.pwrite(file, _NOTE.format(after, trying, times).encode(), 0)
        finally:
            os.close(file)


class _Held:
    """A lock that is held until it is closed."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    def close(self) -> None:
        self._lock.release()
