"""How a run looks while it runs: a line a step when it is over, and on a terminal what runs below them."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from penstock.cli.lines import Look, end_lines, names_width, revision_lines, row, step_lines
from penstock.cli.lines import duration as duration
from penstock.cli.lines import sign as sign
from penstock.cli.screen import Screen
from penstock.cli.text import clean, cut, fill, lines_of
from penstock.executor import Progress
from penstock.home import Home
from penstock.model import Event
from penstock.state import RunState, StepState, waits_for

_LAST_LINES = 8
_TRACEBACK = "Traceback (most recent call last):"
_LAST_BYTES = 2**16
_REGION = 16
"""The most lines that the region takes, however high the terminal is."""
_FRAME = 0.05
"""Seconds between two drawings, at least: hundreds of steps may end in one of them."""
_QUIET = 60.0
"""Seconds without a line after which one says what is still running: a silent job looks like a dead one."""
_STUCK = 1.0


class Terminal:
    """Prints a run as it goes. It is told of each event, and where times tick also when nothing happens."""

    def __init__(
        self,
        home: Home,
        stream: TextIO,
        *,
        live: bool = True,
        past: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home = home
        self._clock = clock
        self._past = past
        self._screen = Screen(stream, live=live)
        self._shown: set[str] = set()
        self._names: int | None = None
        self._progress: dict[str, str] = {}
        self._lines: list[str] = []
        self._due: float | None = None
        self._drawn = 0.0
        self._heard = clock()
        self._printed = clock()
        self._before: signal.Handlers | Callable[..., object] | int | None = None
        if self._screen.live and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGWINCH, self._resized)
            signal.siginterrupt(signal.SIGWINCH, False)

    def __call__(self, event: Event | Progress, state: RunState) -> None:
        """See an event, or how far a step is."""
        self._heard = self._clock()
        if isinstance(event, Progress):
            part = f"{event.done}/{event.total} " if event.total else ""
            self._progress[event.ticket.partition("\0")[0]] = clean(part + event.what)
        else:
            self._on_event(event, state)
        over = state.state != "running"
        if self._screen.live and not over and self._heard - self._drawn < _FRAME:
            self._due = self._drawn + _FRAME
        else:
            self.tick(state)

    def due(self) -> float | None:
        """When it wants to draw again though nothing happens."""
        return self._due

    def tick(self, state: RunState) -> None:
        """Show what is new, times too."""
        now, look = self._clock(), self._screen.look()
        live = self._screen.live
        region = self._running(state, look, now) if live and state.state == "running" else []
        if not live and not self._lines and now - self._printed >= _QUIET:
            self._lines = self._still(state, now)
        lines, self._lines = self._lines, []
        if lines:
            self._printed = now
        self._drawn = now
        self._due = None
        if state.state == "running":
            self._due = now + 1 if live else self._printed + _QUIET
        self._screen.show(lines, region, look)

    def close(self) -> None:
        """Leave the terminal as it should be, whatever happened."""
        if self._before is not None:
            signal.signal(signal.SIGWINCH, self._before)
            self._before = None
        self._screen.close()

    def _resized(self, *_: object) -> None:
        self._due = 0.0  # the signal itself wakes whoever waits

    # --- what is over ---

    def _on_event(self, event: Event, state: RunState) -> None:
        look, names = self._screen.look(), self._column(state)
        if event.type == "step.finished":
            name = str(event.step)
            step = state.steps[name]
            self._progress.pop(name, None)
            if event.data.get("revision") and state.revision:
                self._lines += revision_lines(state.revision, look, [file.path for file in state.plan.files])
            self._lines += step_lines(name, step, names, look, last_words(self._home, state.run, name, step))
            self._shown.add(name)
        elif event.type in ("step.retried", "step.repeated"):
            self._lines += row(look, "again", str(event.step), names, f"again: {event.data['reason']}")
        elif event.type == "environment.wanted":
            for mark, words in _claim(event.data):
                self._lines += row(look, mark, str(event.step), names, words)
        elif event.type == "run.resumed":
            done = sum(step.state not in ("pending", "running", "waiting") for step in state.steps.values())
            self._lines.append(f"Run {state.run} goes on: {done} of {len(state.steps)} steps are done.")
        elif event.type == "run.cancelled":
            self._lines += _cancelled(str(event.data["reason"]), state, past=self._past)
        elif event.type in ("run.finished", "run.waiting"):
            self._left_over(state, names, look)

    def _left_over(self, state: RunState, names: int, look: Look) -> None:
        asked = state.options.get("selected")
        for name, step in state.steps.items():
            if step.state == "skipped" and name not in self._shown and (asked is None or name in asked):
                self._lines += step_lines(name, step, names, look)
                self._shown.add(name)
            elif step.state == "waiting":
                self._lines += row(look, "waiting", name, names, step.reason)

    # --- what is running ---

    def _running(self, state: RunState, look: Look, now: float) -> list[str]:
        names = list(state.running)
        room = max(1, min(_REGION, look.rows // 2))
        shown = names if len(names) <= room else names[: room - 1]
        column = self._column(state)
        lines = [self._one(name, state.steps[name], column, look, now) for name in shown]
        if len(shown) < len(names):
            done = sum(step.state not in ("pending", "running", "waiting") for step in state.steps.values())
            more = f"  and {len(names) - len(shown)} more running; {done} of {len(state.steps)} done"
            lines.append(cut(more, look.edge))
        if not names and now - self._heard >= _STUCK and (why := self._stuck(state, now)):
            lines.append(f"{look.sign('waiting')} {cut(why, look.edge - 2)}")
        return lines

    def _column(self, state: RunState) -> int:
        """The width of the column of names, which thousands of events ask for."""
        if self._names is None:
            self._names = names_width(state.steps)
        return self._names

    def _one(self, name: str, step: StepState, column: int, look: Look, now: float) -> str:
        time_ = duration_so_far(now - (step.tried_since or now))
        room = look.edge - 2 - len(time_) - 1
        said = clean(name)
        if what := self._progress.get(name):
            said = f"{fill(said, column)} {what}"
        said = cut(said, room)
        return f"{look.sign('running')} {fill(said, room)} {time_}"

    def _stuck(self, state: RunState, now: float) -> str:
        """Why nothing runs although something could."""
        for name in state.ready:
            step, plan_step = state.steps[name], state.plan.by_name[name]
            if step.not_before > now:
                return f"{clean(name)} again in {duration_so_far(step.not_before - now)}"
            if plan_step.phase == "deploy":
                where = clean(str(plan_step.environment))
                why = step.reason or f"waits: another run deploys to {where}"
                return f"{clean(name)} {clean(why)}"
        return ""

    def _still(self, state: RunState, now: float) -> list[str]:
        """For a log that somebody watches: that it is alive, and what it is at."""
        running = [
            f"{clean(name)} {duration_so_far(now - (state.steps[name].tried_since or now))}"
            for name in state.running
        ]
        more = f" and {len(running) - 3} more" if len(running) > 3 else ""
        if running:
            return [f"… still running: {', '.join(running[:3])}{more}"]
        why = self._stuck(state, now)
        return [f"… {why}"] if why else []


def last_words(home: Home, run: int, name: str, step: StepState) -> list[str]:
    """The end of what a failed step printed, where nothing else says more than that it failed."""
    if step.state != "failed" or step.notes or "\n" in step.reason:
        return []
    try:
        with home.log(run, name, step.attempts).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LAST_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    if step.fault and _TRACEBACK in text:  # that of the plugin is for its author: it stays in the log
        text = text.rpartition(_TRACEBACK)[0]
    lines = [line for line in lines_of(text) if line.strip() and not line.startswith("$ ")]
    return lines[-_LAST_LINES:]


def ending(state: RunState, run: str, look: Look) -> list[str]:
    """The last lines about a run, which is named so."""
    return end_lines(state, (state.finished or time.time()) - state.started, run, look)


def duration_so_far(seconds: float) -> str:
    """How long something has taken by now, in whole seconds."""
    whole = max(0, int(seconds))
    return f"{whole} s" if whole < 120 else duration(whole)


def _claim(data: dict[str, Any]) -> list[tuple[str, str]]:
    """What is to be said of a run that came to an environment, each with the state whose mark it bears."""
    said = []
    if runs := data.get("supersedes"):
        many = "runs" if len(runs) > 1 else "run"
        said.append(("running", f"supersedes {many} {', '.join(map(str, runs))}, which waited"))
    if data.get("waits"):
        said.append(("waiting", waits_for(data)))
    elif data.get("over") is not None:
        said.append(("running", f"! goes over what run {data['over']} deployed, which is newer"))
    return said


def _sentence(reason: str) -> str:
    return clean(reason[:1].upper() + reason[1:])


def _cancelled(reason: str, state: RunState, *, past: bool) -> list[str]:
    if past:  # what is over does not say what it is about to do
        return [f"{_sentence(reason)}."]
    back = any(step.rollout and step.state == "running" for step in state.steps.values())
    doing = "ending what runs, putting back what is being deployed" if back else "ending what runs"
    lines = [f"{_sentence(reason)}: {doing}."]
    if reason.endswith("Ctrl-C"):
        lines.append("Ctrl-C again leaves at once" + (", and puts nothing back." if back else "."))
    return lines
