"""Has the plugins remove what steps left outside their process trees, when nobody was there to clean up.

What could not be removed is noted in `.penstock/unreaped`, for the next run to try again.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from penstock.errors import PenstockError, PluginError, in_words
from penstock.home import Home
from penstock.plugins import Plugins
from penstock.request import Request

HOOK = "penstock_reap"
PATIENCE = 60.0
"""Seconds that the plugins have."""
_LAST_MOMENT = 2.0
"""Seconds after which one that was interrupted and still goes on ends its worker."""


def needed(plugins: Plugins) -> bool:
    """Whether an enabled plugin has anything to reap at all."""
    return any(plugins.has(name, HOOK) for name in plugins.modules)


def unreaped(home: Home) -> list[int]:
    """The runs of which something may be left."""
    with contextlib.suppress(OSError):
        return sorted(int(path.name) for path in home.unreaped.iterdir() if path.name.isdigit())
    return []


def reap(plugins: Plugins, home: Home, request: Request) -> None:
    """Ask every plugin. Raises PluginError with all that went wrong, once each was asked."""
    wrong: list[str] = []
    step = None if request.runs else request.step.name
    with _bounded():
        for run in request.runs or (request.info.run,):
            note = home.unreaped / str(run)
            known = note.exists()
            note.parent.mkdir(exist_ok=True)
            note.touch()  # before: this may be cut off, too
            found = _asked(plugins, run, step, home)
            if not found and (step is None or not known):
                note.unlink(missing_ok=True)
            wrong += found
    if wrong:
        raise PluginError("; ".join(dict.fromkeys(wrong)))


def _asked(plugins: Plugins, run: int, step: str | None, home: Home) -> list[str]:
    wrong = []
    for name in plugins.modules:
        if plugins.has(name, HOOK):
            try:
                plugins.call(name, HOOK, run=run, step_name=step, home=home.root)
            except PenstockError as error:
                wrong.append(str(error))
            except Exception as error:
                wrong.append(f'the plugin "{name}" failed in {HOOK}: {in_words(error)}')
    return wrong


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """A plugin that hangs is interrupted, and ends this process if it goes on: nobody may hang with it."""

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        raise PluginError(f"that took longer than {PATIENCE:g} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE, _LAST_MOMENT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
