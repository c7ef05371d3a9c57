"""A run → the lines that a person reads: its revision, its steps, its end. Pure, but for `Look.of`."""

import os
import sys
from collections.abc import Iterable
from typing import NamedTuple, Self, TextIO

from penstock.cli.text import clean, fill, lines_of, width, wrap
from penstock.model import Revision
from penstock.state import LETS_ON, RunState, StepState

_SIGN = {
    "passed": "✓",
    "failed": "✗",
    "refused": "✗",
    "cached": "=",
    "skipped": "–",
    "cancelled": "–",
    "waiting": "…",
    "running": "›",
    "again": "↻",
}
_PLAIN_SIGN = {"✓": "+", "✗": "x", "–": "-", "…": ".", "›": ">", "↻": "~"}
_COLOUR = {"passed": "32", "cached": "32", "failed": "31", "refused": "31", "waiting": "33", "again": "33"}
_EDGE = 72
"""The column that the times of steps end at, where there is room for it."""
_NAMES = 28
_TIME = 9
_INDENT = "    "
_LEAST = 20
"""The columns that a step's own words need beside its name; with fewer they go below it."""
_NARROWEST = 20
_NAMED = 2
_HINTS = 3
_ENTERED = ("build", "test", "scan")
"""Phases whose steps depend on their files and variables alone: a shell with these shows what they saw."""
_TARGETS = 12


class Look(NamedTuple):
    """What the reader's side can show."""

    columns: int | None = None
    """How wide a line may be; none in a pipe or a file, where nothing is broken up."""
    rows: int = 24
    colour: bool = False
    plain: bool = False
    """Whether its encoding lacks the signs."""

    @classmethod
    def of(cls, stream: TextIO) -> Self:
        """The look of a stream: of a terminal its size, now, and colours unless NO_COLOR is set."""
        try:
            "✓✗–…›↻".encode(stream.encoding or "utf-8")
            plain = False
        except (UnicodeError, LookupError):
            plain = True
        if not stream.isatty():
            return cls(plain=plain)
        colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        columns, rows = _size(stream)
        return cls(columns, rows, colour, plain)

    def sign(self, state: str) -> str:
        """The mark of a state."""
        found = _SIGN.get(state, " ")
        return self.paint(_PLAIN_SIGN.get(found, found) if self.plain else found, _COLOUR.get(state, ""))

    def paint(self, text: str, colour: str) -> str:
        """A text in colour, where that is wanted."""
        return f"\x1b[{colour}m{text}\x1b[0m" if colour and self.colour else text

    def inside(self, indent: int) -> Self:
        """The look of what stands behind an indent."""
        return self if self.columns is None else self._replace(columns=self.columns - indent)

    @property
    def edge(self) -> int:
        """The column that times end at."""
        return _EDGE if self.columns is None else min(_EDGE, self.columns - 1)


def _size(stream: TextIO) -> tuple[int, int]:
    """Columns and rows. COLUMNS counts, but not for more than there is: what is drawn must not be broken."""
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns, rows = 0, 0
    said = os.environ.get("COLUMNS", "")
    wanted = int(said) if said.isascii() and said.isdigit() and len(said) < 6 else 0
    found = min((number for number in (wanted, columns) if number), default=80)
    return max(found, _NARROWEST), rows or 24


def sign(state: str) -> str:
    """The mark of a state, for standard output."""
    return Look.of(sys.stdout).sign(state)


def names_width(names: Iterable[str]) -> int:
    """The width of the column of names."""
    return min(_NAMES, max(width(clean(name)) for name in names) + 1)


def row(look: Look, state: str, name: str, names: int, words: str, time: str = "") -> list[str]:
    """A step's line: its state and name, what there is to say, and a time. More than one where it is long."""
    mark, name = look.sign(state), clean(name)
    begin = 2 + max(names, width(name)) + 1
    room = (look.edge - _TIME if time or look.columns is None else look.columns - 1) - begin
    if look.columns is None:
        first, *rest = lines_of(words)
    elif look.edge - _TIME - begin >= _LEAST:  # also without a time: how long it took decides no layout
        first, *rest = [line for part in lines_of(words) for line in wrap(part, room)]
    else:
        return _narrow_row(look, mark, name, words, time)
    line = f"{mark} {fill(name, names)} {fill(first, room)}{time:>{_TIME}}" if time else ""
    return [line or f"{mark} {fill(name, names)} {first}".rstrip(), *(" " * begin + line for line in rest)]


def _narrow_row(look: Look, mark: str, name: str, words: str, time: str) -> list[str]:
    """The same where beside the name there is room for the time alone: the words stand below."""
    *first, last = wrap(name, (look.columns or 80) - 3)
    left = look.edge - 2 - width(last)
    if len(time) < left:
        last = f"{last}{time:>{left}}"
    lines = [f"{mark if at == 0 else ' '} {part}".rstrip() for at, part in enumerate([*first, last])]
    return lines + [line for part in lines_of(words) if part for line in _indented(part, look, _INDENT)]


def _indented(text: str, look: Look, indent: str) -> list[str]:
    """A clean line behind an indent; more than one where it is too long for that."""
    if look.columns is None:
        return [(indent + text).rstrip()]
    body = text.lstrip()
    indent += " " * (len(text) - len(body))
    room = look.columns - 1 - len(indent)
    if width(body) <= room:
        return [(indent + body).rstrip()]
    first, *rest = wrap(body, room - 2)
    return [indent + first, *(f"{indent}  {line}" for line in rest)]


def step_lines(name: str, step: StepState, names: int, look: Look, tail: Iterable[str] = ()) -> list[str]:
    """A step that is over: its line, and notes below it."""
    if step.state == "skipped":
        return row(look, "skipped", name, names, f"not started: {step.reason}")
    time = duration(step.seconds) if step.seconds >= 0.05 else ""
    words = step.summary if step.state in LETS_ON else (_account(step) or step.summary)
    head, _, more = words.partition("\n")
    if step.state == "cached" and step.origin:
        head = f"{head}, from run {step.origin['run']}".removeprefix(", ")
    if step.state == "refused":
        head = f"refused: {head}"
    lines = row(look, step.state, name, names, head, time)
    beside = " " * (names + 3)
    for note in (*more.splitlines(), *step.notes, *tail):
        warned = note.startswith("! ") or step.state not in LETS_ON
        fits = not warned and (look.columns is None or look.columns - len(beside) > _LEAST)
        for line in lines_of(note):
            lines += _indented(line, look, beside if fits else _INDENT)
    return lines


def _account(step: StepState) -> str:
    """Why a step did not pass; of a deployment also what became of each target, in a line for it."""
    rollout = step.rollout
    if rollout is None or rollout.failure is None or step.state != "failed":
        return step.reason
    fate = {
        "returned": "put back to what ran before",
        "restored": "put back to what ran before",
        "stuck": "COULD NOT BE PUT BACK",
    }
    lines = [rollout.failure]
    touched = [(name, target) for name, target in rollout.targets.items() if target.touched]
    for name, target in sorted(touched, key=lambda each: each[1].state != "stuck")[:_TARGETS]:
        detail = f": {target.detail}" if target.state == "stuck" and target.detail else ""
        lines.append(f"{name}  {fate.get(target.state, target.state)}{detail}")
    if len(touched) > _TARGETS:
        lines.append(f"and {len(touched) - _TARGETS} more")
    return "\n".join(lines if touched else [*lines, "nothing was changed"])


def revision_lines(revision: Revision, look: Look, used: Iterable[str] = ()) -> list[str]:
    """What is said of a revision before the first step: what is not in it, and what nobody committed.

    `used` names files that are used as they stand, committed or not, as the configuration is.
    """
    left = revision.left_out
    if not left and not revision.dirty:
        return []
    about = f"Revision {revision.short}" + (f", {revision.ref}" if revision.ref else "")
    if revision.dirty:
        about += ", with what is not committed (--dirty)"
    if not left:
        return plain_lines(about, look)
    count = f"{len(left)}" if not left[-1].startswith("… and ") else f"over {len(left) - 1}"
    files = "file" if count == "1" else "files"
    which = f"{left[0]}" if len(left) == 1 else ", ".join(left[:_NAMED])
    if len(left) > _NAMED:
        which += f" and {len(left) - _NAMED} more"
    lines = plain_lines(f"{about}. NOT in this run: {count} uncommitted {files}", look)
    if revision.dirty:  # a repository inside this one
        return lines + _indented(clean(f"left out: {which}"), look, "  ")
    standing = ["penstock.toml", *(path for path in used if path in left)]
    said = "is used as it stands" if len(standing) == 1 else "are used as they stand"
    text = f"{' and '.join(standing)} {said}; --dirty takes {which} too"
    return lines + _indented(clean(text), look, "  ")


def plain_lines(text: str, look: Look) -> list[str]:
    """A line, clean, in as many as it takes."""
    return [clean(text)] if look.columns is None else wrap(clean(text), look.columns - 1)


def end_lines(state: RunState, took: float, run: str, look: Look) -> list[str]:
    """The end of a run, which is named `run`: how it went, what was not done, and what can be done now."""
    first = f"{state.state.capitalize()} in {duration(took)}. Run {state.run}."
    bad = [name for name, step in state.steps.items() if step.state in ("failed", "refused")]
    hints: list[tuple[str, str]] = []
    if state.state in ("failed", "refused"):
        first += _nothing_done(state)
        tried = [name for name in bad if state.steps[name].attempts]
        hints = [(f"penstock logs {run} {name}", "whole output") for name in tried]
        inside = [name for name in tried if state.plan.by_name[name].phase in _ENTERED]
        if inside:
            shell = (f"penstock shell {run} {inside[0]}", "a shell where it failed")
            hints = [*hints[: _HINTS - 1], shell]
    if state.state == "cancelled":
        first += _nothing_done(state)
    if state.state == "waiting":
        for name in state.asked:
            words = f"{state.run} {state.plan.by_name[name].environment}"
            hints.append((f"penstock approve {words}", f"or: penstock reject {words}"))
    hints = hints[:_HINTS] if state.pruned is None else []
    column = max((width(command) for command, _ in hints), default=0)
    lines = ["", *plain_lines(first, look)]
    for entry in needless(state):
        lines += plain_lines(f"[[quarantine]] names no test of this run: {entry}. Take it out.", look)
    for command, what in hints:
        line = clean(f"  {fill(command, column)}     {what}")
        narrow = look.columns is not None and width(line) >= look.columns
        lines += [clean(f"  {command}"), clean(f"    {what}")] if narrow else [line]
    return lines


def needless(state: RunState) -> list[str]:
    """The quarantine entries that named no test, where all steps that they are about came to a report."""
    about: dict[str, set[str]] = {}
    for step in state.plan.steps:
        for entry in step.quarantine:
            about.setdefault(entry.test, set()).add(step.name)
    return [
        test for test, steps in about.items() if all(test in state.steps[name].unmatched for name in steps)
    ]


def _nothing_done(state: RunState) -> str:
    """Which of the things that matter outside did not happen, as far as that is certain."""
    selected = state.options.get("selected")
    undone = []
    for phase, word in (("sign", "signed"), ("publish", "published"), ("deploy", "deployed")):
        names = [step.name for step in state.plan.steps if step.phase == phase]
        asked = [state.steps[name] for name in names if selected is None or name in selected]
        # A deploy step begins with its gate; what it changes, it changes after its rollout began.
        began = any(step.rollout if phase == "deploy" else step.attempts for step in asked)
        if asked and not began:
            undone.append(word)
    if not undone:
        return ""
    *most, last = undone
    return f" Nothing was {', '.join(most)} or {last}." if most else f" Nothing was {last}."


def duration(seconds: float) -> str:
    """How long something took, as people say it."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds) // 60
    if minutes < 120:
        return f"{minutes} min {round(seconds) % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"
