"""How a run looks while it runs: a line a step, on a terminal with what is running below them."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TextIO

from penstock.executor import Progress
from penstock.home import Home
from penstock.model import Event
from penstock.state import RunState, StepState

_SIGN = {
    "passed": "✓",
    "failed": "✗",
    "refused": "✗",
    "skipped": "–",
    "cancelled": "–",
    "waiting": "…",
    "running": "›",
    "pending": " ",
}
_COLOUR = {"passed": "32", "failed": "31", "refused": "31", "waiting": "33"}


_LAST_LINES = 8
_TRACEBACK = "Traceback (most recent call last):"
_WIDEST = 200


def sign(state: str) -> str:
    """The mark of a state, in colour where that is wanted."""
    return paint(_SIGN.get(state, " "), _COLOUR.get(state, ""))


def paint(text: str, colour: str) -> str:
    """A text in colour, on a terminal and without NO_COLOR."""
    if not colour or os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"


def step_lines(name: str, step: StepState, width: int) -> list[str]:
    """A finished step: its line, and notes below it."""
    if step.state == "skipped":
        return [f"{sign('skipped')} {name:<{width}} not started: {step.reason}"]
    said = step.summary if step.state == "passed" else (step.reason or step.summary)
    lines = said.splitlines() or [""]
    took = f"{step.seconds:.1f} s" if step.seconds >= 0.05 else ""
    first = f"{sign(step.state)} {name:<{width}} {lines[0]:<42} {took:>7}".rstrip()
    below = [*lines[1:], *step.notes]
    return [first, *(f"    {' ' * (width - 1) if step.state == 'passed' else ''}{line}" for line in below)]


class Terminal:
    """Prints a run as it goes."""

    def __init__(self, home: Home, stream: TextIO | None = None) -> None:
        self._home = home
        self._out = stream or sys.stdout
        self._live = self._out.isatty()
        self._shown: set[str] = set()
        self._progress: dict[str, str] = {}

    def __call__(self, event: Event | Progress, state: RunState) -> None:
        """See an event or how far a step is."""
        if isinstance(event, Progress):
            part = f" {event.done}/{event.total}" if event.total else ""
            self._progress[event.ticket.partition("\0")[0]] = f"{part} {event.what}".rstrip()
        else:
            self._on_event(event, state)
        self._running(state)

    def _on_event(self, event: Event, state: RunState) -> None:
        width = self.width(state)
        if event.type == "step.finished":
            name = str(event.step)
            step = state.steps[name]
            self._print([*step_lines(name, step, width), *self._last_words(state, name, step)])
            self._shown.add(name)
        elif event.type == "step.retried":
            self._print([f"↻ {event.step:<{width}} again: {event.data['reason']}"])
        elif event.type == "run.cancelled":
            self._print([f"Cancelling: {event.data['reason']}"])
        elif event.type in ("run.finished", "run.waiting"):
            for name, step in state.steps.items():
                asked = state.options.get("selected")
                if step.state == "skipped" and name not in self._shown and (asked is None or name in asked):
                    self._print(step_lines(name, step, width))
                elif step.state == "waiting":
                    self._print([f"{sign('waiting')} {name:<{width}} {step.reason}"])

    def _last_words(self, state: RunState, name: str, step: StepState) -> list[str]:
        """The end of what a failed step printed, where nothing else says more than that it failed."""
        if step.state != "failed" or step.notes or "\n" in step.reason:
            return []
        try:
            text = self._home.log(state.run, name, step.attempts).read_text(errors="replace")
        except OSError:
            return []
        if step.fault and _TRACEBACK in text:  # that of the plugin is for its author: it stays in the log
            text = text.rpartition(_TRACEBACK)[0]
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("$ ")]
        return [f"    {line[:_WIDEST]}" for line in lines[-_LAST_LINES:]]

    def width(self, state: RunState) -> int:
        """The width of the column of names."""
        return min(28, max(len(name) for name in state.steps) + 1)

    def _running(self, state: RunState) -> None:
        if not self._live or not state.running:
            return
        now = time.time()
        parts = [
            f"{name}{self._progress.get(name, '')} {max(0, now - (state.steps[name].started or now)):.0f} s"
            for name in state.running
        ]
        columns = shutil.get_terminal_size().columns
        line = f"› {', '.join(parts)}"
        self._write("\r\x1b[K" + line[: max(10, columns - 1)])

    def _print(self, lines: list[str]) -> None:
        self._write(("\r\x1b[K" if self._live else "") + "\n".join(lines) + "\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def duration(seconds: float) -> str:
    """How long something took, as people say it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
