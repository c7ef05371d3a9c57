"""The chain of hashes that the journal's events form: how it is made, and where it breaks. Pure.

Each event's hash covers the event and the hash of the one before it, over all runs of a project. A chain
alone shows that an event was edited; that the whole was not made anew, only its signed heads show.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from penstock.errors import PenstockError

BreakKind = Literal["changed", "missing", "inserted", "reordered", "truncated", "made anew", "run line"]

_LONGEST_GAP = 1_000
"""How many events that are missing in a row are still told from one that was changed."""


class New(NamedTuple):
    """An event that is not in the journal yet."""

    type: str
    step: str | None
    data: dict[str, Any]
    time: float


class RunLine(NamedTuple):
    """One line of `penstock runs`: a projection of the run's events, kept for speed."""

    run: int
    plan: str
    started: float
    state: str
    finished: float | None
    revision: str | None


class Row(NamedTuple):
    """An event as the journal keeps it: `data` is JSON, `hash` covers all else and the hash before it."""

    id: int
    run: int
    time: float
    type: str
    step: str | None
    data: str
    hash: bytes


class Break(NamedTuple):
    """Where the journal is not as it was written."""

    kind: BreakKind
    event: int
    detail: str
    run: int | None = None
    step: str | None = None
    time: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Walked:
    """What a walk along the whole chain came to."""

    count: int
    """How many events there are, up to the break where there is one."""
    head: bytes
    """The hash of the last of them."""
    broken: Break | None
    lines: dict[int, tuple[RunLine, int]]
    """What the events say of each run, and which of them had the last word."""


_UNREADABLE = (PenstockError, ValueError, LookupError, TypeError, AttributeError)
encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode
_encode_fields = json.JSONEncoder(separators=(",", ":"), default=repr, check_circular=False).encode


def link(previous: bytes, *fields: object) -> bytes:
    """The hash of an event: of `Row`'s fields without its hash."""
    return hashlib.sha256(previous + _encode_fields(fields).encode()).digest()


def stands(rows: Iterable[Row], previous: bytes, count: int) -> bool:
    """Whether rows follow each other in the chain, the first one event `count`, whose hash is `previous`."""
    try:
        for row in rows:
            if row.id != count + 1 or link(previous, *row[:-1]) != row.hash:
                return False
            count, previous = row.id, row.hash
    except _UNREADABLE:
        return False
    return True


def walk(rows: Iterable[Row], previous: bytes = b"", count: int = 0) -> Walked:
    """Follow the chain from its beginning, or from event `count`, up to where it breaks.

    What can't even be read counts as changed.
    """
    lines: dict[int, tuple[RunLine, int]] = {}
    broken = None
    before = b""
    left = iter(rows)
    try:
        for row in left:
            if row.id != count + 1 or link(previous, *row[:-1]) != row.hash:
                broken = _judge((before, previous), count + 1, row, list(_readable(left)))
                break
            count, before, previous = row.id, previous, row.hash
            event = New(row.type, row.step, json.loads(row.data), row.time)
            if tells(event):
                line = lines.get(row.run)
                lines[row.run] = told(line[0] if line else None, row.run, event), row.id
    except _UNREADABLE:
        broken = Break("changed", count + 1, "it can't be read")
    return Walked(count, previous, broken, lines)


def wrong_lines(walked: Walked, kept: Iterable[RunLine]) -> list[Break]:
    """Where the line of a run is not what its events say, in the order of the events."""
    found = []
    there = {line.run: line for line in kept}
    for run, (line, event) in walked.lines.items():
        if there.get(run) != line:
            said = f"is missing: its events say {line.state}"
            if run in there:
                said = f"says {_differs(there[run], line)}"
            found.append(Break("run line", event, f"the line of run {run} in the list of runs {said}", run))
    if walked.broken is None:
        found += [
            Break("truncated", walked.count, f"run {run} is in the list of runs and has no event", run)
            for run in sorted(there.keys() - walked.lines.keys())
        ]
    return sorted(found, key=lambda each: each.event)


def _differs(kept: RunLine, said: RunLine) -> str:
    for name in RunLine._fields:
        one, other = getattr(kept, name), getattr(said, name)
        if one != other:
            return f"{name} {one}, its events say {other}"
    return ""


def _readable(rows: Iterator[Row]) -> Iterator[Row]:
    try:
        yield from rows
    except _UNREADABLE:
        return


def _judge(hashes: tuple[bytes, bytes], due: int, row: Row, after: list[Row]) -> Break:
    """What was done to the chain where event `due` should follow two hashes and `row` stands instead."""
    before, previous = hashes

    def told(kind: BreakKind, detail: str, about: Row = row, event: int = due) -> Break:
        return Break(kind, event, detail, about.run, about.step, about.time)

    if row.id > due:
        last = row.id - 1
        return Break(
            "missing", due, f"{_range(due, last)} {'is' if last == due else 'are'} not there{_behind(row)}"
        )
    if due > 1 and _fits(before, due - 1, row):
        return told(
            "inserted", f"event {due - 1} was put in, and those behind it numbered anew", event=due - 1
        )
    rows = [row, *after]
    for position, other in enumerate(rows[1:], 1):
        if _fits(previous, due, other) or link(previous, due, *other[1:-1]) == row.hash:
            return _moved(due, rows, position, told)
    if after and not _fits(row.hash, due + 1, after[0]):
        for gap in range(1, _LONGEST_GAP):
            if _fits(row.hash, due + 1 + gap, after[0]):
                there = f"{_range(due, due + gap - 1)} {'was' if gap == 1 else 'were'} taken out"
                return Break("missing", due, f"{there}, and those behind it numbered anew{_behind(row)}")
    or_else = f", or event {due - 1} was and its hash made anew" if due > 1 else ""
    return told("changed", f"it is not what was written{or_else}")


def _moved(due: int, rows: list[Row], position: int, told: Any) -> Break:
    """The event that belongs here stands `position` rows on: others were put before it, or it was moved."""
    own = rows[position]
    following = rows[position + 1] if position + 1 < len(rows) else None
    if following is not None:
        shifted = _fits(own.hash, due + 1, following)
    else:  # it is the last: what stands in its place does not go on from it
        first = rows[0] if position == 1 else rows[1]
        shifted = not _fits(own.hash, due + 1, first)
    if shifted:
        last = due + position - 1
        there = f"{_range(due, last)} {'was' if position == 1 else 'were'} put in"
        return told("inserted", f"{there}, and those behind it numbered anew")  # type: ignore[no-any-return]  # a closure
    return told("reordered", f"what belongs here stands at event {own.id}")  # type: ignore[no-any-return]  # as above


def _fits(previous: bytes, number: int, row: Row) -> bool:
    """Whether a row, with its own hash, is the event of this number that follows."""
    return isinstance(previous, bytes) and link(previous, number, *row[1:-1]) == row.hash


def _behind(row: Row) -> str:
    """What is known of the place of an event that is not there."""
    return f": what stands behind is of run {row.run}, {row.step or row.type}"


def _range(first: int, last: int) -> str:
    return f"event {first}" if first == last else f"events {first} to {last}"


# --- the line of a run ---

_TELLING = frozenset(("run.started", "run.finished", "run.waiting", "run.resumed"))


def tells(event: New) -> bool:
    """Whether an event changes its run's line."""
    return event.type in _TELLING or (event.type == "step.finished" and bool(event.data.get("revision")))


def key_of(event: New) -> str | None:
    """The key under which a result may be taken over, if it may: one that was itself taken over is none."""
    if event.type != "step.finished" or event.data.get("state") != "passed":
        return None
    cache = event.data.get("cache")
    return str(cache["key"]) if cache else None


def told(line: RunLine | None, run: int, event: New) -> RunLine:
    """A run's line after one more event."""
    if line is None:
        release = event.data.get("release") or {}  # a rollback has no source step: it knows from the start
        revision = release.get("revision", {}).get("commit")
        line = RunLine(run, str(event.data.get("plan", "")), float(event.time), "running", None, revision)
    if event.type == "run.resumed":
        return line._replace(state="running", finished=None)
    if event.type in ("run.finished", "run.waiting"):
        state = "waiting" if event.type == "run.waiting" else str(event.data["state"])
        return line._replace(state=state, finished=float(event.time))
    if event.type == "step.finished":
        return line._replace(revision=event.data["revision"].get("commit"))
    return line
