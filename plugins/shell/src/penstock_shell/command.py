"""The command itself: its argv, its name for people, and how it ended."""

from __future__ import annotations

import signal
from collections.abc import Sequence

_LONGEST_NAME = 60
_HINTS = {
    126: " (a program in it may not be executed)",
    127: " (a program in it was not found)",
}


def argv(run: str | Sequence[str]) -> list[str]:
    """The program and its arguments: a string is a script that stops at the first error."""
    return ["sh", "-eu", "-c", run] if isinstance(run, str) else list(run)


def name(run: str | Sequence[str]) -> str:
    """A command as people recognise it: one line, not too long."""
    if not isinstance(run, str):
        return _short(" ".join(run))
    lines = [line.strip() for line in run.splitlines() if line.strip() and not line.strip().startswith("#")]
    first = lines[0] if lines else run.strip()
    return _short(first + (" …" if len(lines) > 1 and not first.endswith("…") else ""))


def shown(run: str | Sequence[str]) -> str:
    """A command as the log shows it: whole, each further line of a script indented."""
    text = run.strip() if isinstance(run, str) else " ".join(run)
    return "$ " + text.replace("\n", "\n  ")


def ending(returncode: int) -> str:
    """How it ended, in words that follow its name."""
    if returncode >= 0:
        return f"ended with status {returncode}{_HINTS.get(returncode, '')}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_NAME else line[: _LONGEST_NAME - 1] + "…"
