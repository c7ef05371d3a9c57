"""What is wrong with the journal: its chain, the seals on it, what has no seal, and what stands out.

Reads all events once, and changes nothing. Whose seals count, the caller says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from penstock import chain
from penstock.chain import Break, Row
from penstock.errors import PenstockError
from penstock.evidence import Reference
from penstock.gates import JOURNAL
from penstock.journal import Events
from penstock.model import Evidence, Signer
from penstock.sealing import is_asked
from penstock.state import RunState

Check = Callable[[Reference], tuple[Evidence, list[Signer]]]
_ENDS = ("run.finished", "run.waiting")


@dataclass(frozen=True)
class Seal:
    """A signed head, checked."""

    event: int
    run: int
    covers: int
    """The newest event that it speaks for; 0 where that can't be said."""
    signers: tuple[str, ...]
    fault: str = ""
    superseded: bool = False
    """Whether its bytes are gone, and a later seal speaks for what it spoke for."""


@dataclass(frozen=True)
class Open:
    """A run that is over, or waits, and that no seal speaks for."""

    run: int
    event: int
    due: bool
    """Whether it should have one."""
    why: str


@dataclass
class Report:
    """What the journal is found to be."""

    events: int
    head: str | None
    """The newest hash; nothing where the chain does not lead up to it."""
    runs: int
    breaks: list[Break]
    seals: list[Seal]
    unsealed: list[Open]
    notable: list[str]

    @property
    def covered(self) -> int:
        """The newest event that a good seal speaks for."""
        return max((seal.covers for seal in self.seals if not seal.fault), default=0)

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong with it."""
        bad = [seal for seal in self.seals if seal.fault and not seal.superseded]
        return not (self.breaks or bad or [run for run in self.unsealed if run.due])


@dataclass
class _Seen:
    """What was passed on the way along the chain."""

    hashes: dict[int, bytes] = field(default_factory=dict)
    seals: list[Row] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    ends: dict[int, Row] = field(default_factory=dict)
    notable: list[str] = field(default_factory=list)

    def passing(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self.hashes[row.id] = row.hash
            if row.type == "journal.sealed":
                self.seals.append(row)
            elif row.type in _ENDS:
                self.ends[row.run] = row
            elif row.type == "run.resumed":
                self.ends.pop(row.run, None)
            elif row.type in ("approval.given", "run.started", "journal.unsealed"):
                self._note(row)
            yield row

    def _note(self, row: Row) -> None:
        try:
            data = json.loads(row.data)
            if row.type == "journal.unsealed":
                self.failed[row.run] = str(data["reason"])
            elif row.type == "run.started" and data.get("dirty"):
                self.notable.append(f"run {row.run} took files that were not committed (--dirty)")
            elif row.type == "approval.given" and not data["approval"]["proved"]:
                by = data["approval"]["by"]
                self.notable.append(f"run {row.run}: {row.step} was given by {by}, which no signature proves")
        except (ValueError, LookupError, TypeError, AttributeError):
            return  # an event that was changed: the chain says so


def audit(
    journal: Events,
    check: Check,
    state_of: Callable[[int], RunState],
    *,
    expected: str = "",
    logs_of: Iterable[int] = (),
) -> Report:
    """Look through the whole journal.

    `check` says whether a seal's statement and signature hold, `state_of` how a run stands (it may raise
    PenstockError). `expected` is a head that was seen before, or its beginning; `logs_of` names runs that
    have left something on the disk.
    """
    seen = _Seen()
    with journal.at_once():
        walked = chain.walk(seen.passing(journal.rows()))
        lines = journal.runs()
    # What stands behind a break is not judged, and so not what the list of runs says of it.
    breaks = [walked.broken] if walked.broken else chain.wrong_lines(walked, lines)
    seals = _seals(seen, check)
    breaks += _made_anew(seals)
    breaks += _cut_off(seen, walked, expected, logs_of)
    good = [seal for seal in seals if not seal.fault]
    covered = max((seal.covers for seal in good), default=0)
    return Report(
        len(seen.hashes),
        None if walked.broken else walked.head.hex(),
        len(lines),
        breaks,
        seals,
        [
            _open(row, seen.failed.get(run, ""), state_of)
            for run, row in seen.ends.items()
            if row.id > covered
        ],
        seen.notable,
    )


def _seals(seen: _Seen, check: Check) -> list[Seal]:
    """Each seal, judged. One whose bytes are gone is not needed where a later one holds."""
    seals = [_seal(row, seen.hashes, check) for row in seen.seals]
    covered = max((seal.covers for seal in seals if not seal.fault), default=0)
    return [
        Seal(seal.event, seal.run, seal.covers, seal.signers, seal.fault, superseded=True)
        if _is_gone(seal) and seal.event <= covered
        else seal
        for seal in seals
    ]


def _is_gone(seal: Seal) -> bool:
    return "can't be read from the store" in seal.fault


def _seal(row: Row, hashes: dict[int, bytes], check: Check) -> Seal:
    def bad(fault: str, signers: list[Signer] | None = None) -> Seal:
        return Seal(row.id, row.run, 0, tuple(signer.identity for signer in signers or ()), fault)

    try:
        evidence, signers = check(Reference.model_validate(json.loads(row.data)["evidence"]))
    except (ValueError, LookupError, TypeError) as error:
        return bad(f"it can't be read: {str(error).splitlines()[0]}")
    if evidence.invalid:
        return bad(evidence.invalid)
    if not signers:
        return bad("nobody has signed it")
    try:
        statement: Any = evidence.statement
        count = int(statement["predicate"]["events"])
        head = bytes.fromhex(statement["subject"][0]["digest"]["sha256"])
        if evidence.predicate_type != JOURNAL or statement["predicateType"] != JOURNAL:
            raise ValueError
    except (ValueError, LookupError, TypeError):
        return bad("what was signed is not the head of a journal", signers)
    if not 0 < count < row.id:
        return bad(f"{_ANEW} it was signed for event {count}, and stands at event {row.id}", signers)
    if hashes.get(count) != head:
        return bad(f"{_ANEW} event {count} had another hash when it was signed", signers)
    return Seal(row.id, row.run, count, tuple(signer.identity for signer in signers))


_ANEW = "the chain was made anew:"


def _made_anew(seals: list[Seal]) -> list[Break]:
    """Where, as the seals tell, an event was changed and all hashes behind it made anew."""
    found: list[Break] = []
    for seal in seals:
        if seal.fault.startswith(_ANEW) and not found:  # all later ones follow from the first
            good = max(
                (other.covers for other in seals if not other.fault and other.event < seal.event), default=0
            )
            detail = (
                f"one of the events {good + 1} to {seal.event} was changed, and all hashes behind it made "
                f"anew: they are not what was signed in run {seal.run}"
            )
            found.append(Break("made anew", good + 1, detail, seal.run))
    return found


def _cut_off(seen: _Seen, walked: chain.Walked, expected: str, logs_of: Iterable[int]) -> list[Break]:
    found: list[Break] = []
    if expected and not any(digest.hex().startswith(expected) for digest in _digests(seen)):
        detail = f"no event has the hash {expected} that you expect: what came last was cut off, or made anew"
        found.append(Break("truncated", walked.count, detail))
    newest = max(walked.lines, default=0)
    lost = sorted(run for run in logs_of if run > newest) if walked.broken is None else []
    if lost:
        detail = f"there are logs of run {', '.join(map(str, lost[:12]))}, of which there is no event"
        found.append(Break("truncated", walked.count, detail, lost[0]))
    return found


def _digests(seen: _Seen) -> Iterator[bytes]:
    return (digest for digest in seen.hashes.values() if isinstance(digest, bytes))


def _open(row: Row, failed: str, state_of: Callable[[int], RunState]) -> Open:
    try:
        due = is_asked(state_of(row.run))
    except PenstockError as error:
        return Open(row.run, row.id, due=True, why=str(error))
    if failed:
        return Open(row.run, row.id, due, f"it could not be sealed: {failed}")
    if due:
        return Open(row.run, row.id, due, "its pipeline signs, and there is no seal that holds")
    return Open(row.run, row.id, due, "it had no sign step")
