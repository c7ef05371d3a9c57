"""Plugins that watch: a process that follows the journal and hands each event to `penstock_event`.

It has no way to hurt a run: an observer that raises is passed over, one that stalls is left behind and
ended soon after the run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from penstock.journal import Journal
from penstock.plugins import Plugins

PATIENCE = 5.0
"""Seconds that observers have for what is left when the run is over."""
HOOK = "penstock_event"


class Observers:
    """The observers of one run. Does nothing where no enabled plugin watches."""

    def __init__(
        self, plugins: Plugins, journal: Path, run: int, after: int, *, in_child: Callable[[], None]
    ) -> None:
        self._plugins = plugins
        self._journal = journal
        self._run = run
        self._after = after
        self._in_child = in_child
        self._pid: int | None = None
        self._call = -1

    def start(self) -> None:
        """Begin to follow the run, with the event after `after`."""
        if not any(self._plugins.has(name, HOOK) for name in self._plugins.modules):
            return
        reader, self._call = os.pipe()
        os.set_blocking(self._call, False)
        self._pid = os.fork()
        if self._pid:
            os.close(reader)
            return
        try:
            os.close(self._call)
            self._in_child()
            os.setsid()  # Ctrl-C is not for it: it tells of what Ctrl-C led to
            self._follow(reader)
        finally:
            os._exit(0)

    def tell(self) -> None:
        """Say that the journal has something new. Never waits."""
        if self._pid is not None:
            with contextlib.suppress(OSError):  # full: it will read all there is; closed: it is gone
                os.write(self._call, b"!")

    def forget(self) -> None:
        """Let go of it in a process that was forked from here."""
        if self._pid is not None:
            os.close(self._call)
            self._pid = None

    def close(self) -> None:
        """Let it finish, for a while."""
        if self._pid is None:
            return
        os.close(self._call)
        deadline = time.monotonic() + PATIENCE
        while os.waitpid(self._pid, os.WNOHANG)[0] == 0:
            if time.monotonic() >= deadline:
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
                break
            time.sleep(0.01)  # a pidfd would be the event to wait for, and is Linux's alone
        self._pid = None

    def _follow(self, reader: int) -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1):
            os.dup2(null, descriptor)  # standard output is for results
        journal = Journal(self._journal)
        more = True
        while more:
            more = bool(os.read(reader, 4096))
            for event in journal.events(self._run, self._after):
                self._after = event.id
                for name in self._plugins.modules:
                    if self._plugins.has(name, HOOK):
                        with contextlib.suppress(Exception, SystemExit):  # its own trouble
                            self._plugins.call(name, HOOK, event=event)
