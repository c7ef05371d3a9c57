"""Plugins that watch: for each a process that follows the journal and hands events to `penstock_event`.

It has no way to hurt a run, or another plugin: an observer that raises is passed over, one that stalls is
left behind and ended soon after the run. What was handed over is noted, so that a run that is taken up
goes on with what was not.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

from penstock import process, processes
from penstock.home import Home
from penstock.journal import Journal
from penstock.observe import HOOK, Observe
from penstock.plugins import NoSettings, Plugins

PATIENCE = 5.0
"""Seconds that observers have for what is left when the run is over."""


class _Watcher(NamedTuple):
    pid: int
    call: int
    """The descriptor that tells it of something new, and by its end that nothing will follow."""


class Observers:
    """The observers of one run; of none, where it is 0, those of the sections alone.

    Does nothing where no enabled plugin watches.
    """

    def __init__(
        self,
        plugins: Plugins,
        home: Home,
        run: int,
        after: int,
        *,
        in_child: Callable[[], None],
        sections: Sequence[Observe] = (),
        project: str = "",
    ) -> None:
        self._plugins = plugins
        self._home = home
        self._run = run
        self._after = after
        self._in_child = in_child
        self._sections = sections
        self._project = project
        self._watchers: list[_Watcher] = []

    def start(self) -> None:
        """Begin to follow the run: after what was handed over, or for a plugin that is new, after `after`."""
        for name in self._plugins.modules if self._run else ():
            if self._plugins.has(name, HOOK) and not self._plugins.observes_by_section(name):
                self._watchers.append(self._start(partial(self._follow, name)))
        for section in self._sections:
            self._watchers.append(self._start(partial(self._follow_all, section)))

    def tell(self) -> None:
        """Say that the journal has something new. Never waits."""
        for watcher in self._watchers:
            with contextlib.suppress(OSError):  # full: it will read all there is; closed: it is gone
                os.write(watcher.call, b"!")

    def forget(self) -> None:
        """Let go of them in a process that was forked from here."""
        for watcher in self._watchers:
            os.close(watcher.call)
        self._watchers = []

    def close(self) -> None:
        """Let them finish, for a while."""
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            os.close(watcher.call)
        deadline = time.monotonic() + PATIENCE
        for watcher in watchers:
            if process.waited(watcher.pid, patience=deadline - time.monotonic()) is None:
                below = processes.descendants(watcher.pid)
                process.ended(watcher.pid, patience=0)
                process.end(lambda pids=below: [pid for pid in pids if processes.alive(pid)], grace=0)  # type: ignore[misc]  # bound early

    def _start(self, follow: Callable[[int], None]) -> _Watcher:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        engine = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            os.close(reader)
            return _Watcher(pid, writer)
        try:
            os.close(writer)
            self.forget()
            self._in_child()
            os.setsid()  # Ctrl-C is not for it: it tells of what Ctrl-C led to
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # nor what an engine makes of them
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGALRM, _end_with_all)
            signal.signal(signal.SIGUSR1, lambda *_: signal.setitimer(signal.ITIMER_REAL, PATIENCE))
            process.signal_at_death_of(engine, signal.SIGUSR1)
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1):
                os.dup2(null, descriptor)  # standard output is for results
            follow(reader)
        finally:
            os._exit(0)

    def _follow(self, name: str, reader: int) -> None:
        from penstock.observed import Observed
        from penstock.provisions import find

        journal = Journal(self._home.journal)
        observed = Observed(
            name, self._project, self._home.root.parent, journal, partial(find, self._plugins)
        )
        note = self._home.run(self._run) / f"observed.{name}"
        with contextlib.suppress(OSError, ValueError):
            self._after = int(note.read_text())
        more = True
        while more:
            more = bool(os.read(reader, 4096))
            for event in journal.events(self._run, self._after):
                # Noted before: one that ends this process is not handed over again.
                self._note(note, event.id)
                with contextlib.suppress(BaseException):  # its own trouble
                    self._plugins.call(name, HOOK, settings=NoSettings(), event=event, observed=observed)

    def _follow_all(self, section: Observe, reader: int) -> None:
        from penstock.following import Follower  # most projects have no such section

        after = self._after
        if self._run and not after:
            journal = Journal(self._home.journal)
            after = journal.events(self._run)[0].id - 1
            journal.close()
        Follower(self._home, self._plugins, section, self._project).follow(reader, after)

    def _note(self, path: Path, number: int) -> None:
        self._after = number
        new = path.with_name(path.name + ".new")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(str(number))
            new.replace(path)


def _end_with_all(*_: object) -> NoReturn:
    """End this observer, and what it has started: its engine was killed, and nobody else would."""
    process.end_descendants(grace=0)
    os._exit(0)
