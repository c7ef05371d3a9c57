"""`[[quarantine]]`: tests that go on being run and whose failure does not close the gate, until a day.

Which of them speak of a step is the plan's to say; the day on which a report is judged is handed in.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from penstock.configfile import ConfigFile
from penstock.errors import did_you_mean
from penstock.faults import checked
from penstock.matrix import base_of
from penstock.model import Model, TestCase, TestReport

TABLE = "quarantine"
_TESTS = "test"  # the phase
_LIKE = 'such as "tests/test_api.py::test_refund", or with * for any text: "tests/test_api.py::*"'


def _check_test(value: str) -> str:
    if not value.strip("*?:/. "):
        raise ValueError(f"{_quoted(value)} would name every test. Name those that are meant, {_LIKE}")
    if not value.isprintable():
        raise ValueError(f"{_quoted(value)} is no name of a test. One is {_LIKE}")
    return value


def _check_day(value: object) -> object:
    """A day and nothing else: a number would be taken for seconds."""
    if isinstance(value, date) and type(value) is date:
        return value
    try:
        return date.fromisoformat(value) if isinstance(value, str) else _no_day(value)
    except ValueError:
        return _no_day(value)


def _no_day(value: object) -> object:
    said = _quoted(value) if isinstance(value, str) else "this"
    raise ValueError(f"{said} is no day. One is written as 2027-01-31")


def _quoted(value: str) -> str:
    return f'"{value[:80]}"' if value.isprintable() else ascii(value[:80]).replace("'", '"')


def _check_text(value: str) -> str:
    if not value.strip():
        raise ValueError("says nothing")
    return value


Text = Annotated[str, AfterValidator(_check_text)]
Day = Annotated[
    date, BeforeValidator(_check_day), WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"})
]


class Quarantine(Model):
    """One entry: a test, or several, whose failure does not count for now."""

    test: Annotated[str, AfterValidator(_check_test)] = Field(
        description="The test, as reports name it; `*` stands for any text, `?` for one character."
    )
    why: Text = Field(description="Why its failure does not count; shown wherever that is used.")
    until: Day = Field(description="The last day (UTC) on which it does not count, such as 2027-01-31.")
    step: str | None = Field(
        default=None, description="The test step that it is about, such as test.unit. By default every one."
    )
    owner: Text | None = Field(default=None, description="Who is going to mend it.")
    issue: Text | None = Field(default=None, description="Where that is followed, such as an address.")

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What the names of its tests match. Square brackets stand for themselves, as they do there."""
        glob = re.sub(r"\*+", "*", self.test)
        parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in glob)
        return re.compile("".join(parts), re.DOTALL)

    def names(self, test: str) -> bool:
        """Whether it speaks of a test."""
        return self.pattern.fullmatch(test) is not None

    @property
    def said(self) -> str:
        """Why, until when, who and where, in a line."""
        more = ", ".join(filter(None, (f"until {self.until}", self.owner, self.issue)))
        return f"{self.why} ({more})"


# --- the configuration ---


class _Entry(NamedTuple):
    """Says of a fault in one entry where that stands."""

    source: ConfigFile
    number: int

    def error(self, section: str, key: str, message: str) -> str:
        """A message about a key of the entry."""
        return self.source.error_in_list(section, self.number, key, message)


def read(
    data: Mapping[str, Any], phases: Mapping[str, str], source: ConfigFile, errors: list[str], today: date
) -> tuple[tuple[Quarantine, ...], list[str]]:
    """The entries, and warnings about those that have ended; what is wrong is added to `errors`.

    `phases` has the phase of every step.
    """
    found: dict[tuple[str, str | None], Quarantine] = {}
    warnings: list[str] = []
    tables = data.get(TABLE, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        message = f"must be a list of tables. Each begins with [[{TABLE}]]"
        errors.append(source.error(TABLE, "", message))
        return (), []
    for number, table in enumerate(tables):
        place = _Entry(source, number)
        count = len(errors)
        entry = checked(Quarantine, table, place, TABLE, errors)
        _check_step(table, phases, place, errors)
        if entry is None or len(errors) > count:
            continue
        if (entry.test, entry.step) in found:
            errors.append(place.error(TABLE, "test", f"{_quoted(entry.test)} is named twice. Leave one out"))
        found[entry.test, entry.step] = entry
        if over(entry, today):
            message = f"{_ended(entry)}: {_quoted(entry.test)} counts again. {_MEND}"
            warnings.append(place.error(TABLE, "until", message))
    return tuple(found.values()), warnings


def _check_step(
    table: Mapping[str, Any], phases: Mapping[str, str], place: _Entry, errors: list[str]
) -> None:
    step = table.get("step")
    tests = [name for name, phase in phases.items() if phase == _TESTS]
    known = dict.fromkeys([*(base_of(name) for name in tests), *tests])
    if not isinstance(step, str) or step in known:
        return
    there = f"The test steps are {', '.join(known)}" if known else "There is none: take the entry out"
    near = did_you_mean(step, known, otherwise=there)
    errors.append(place.error(TABLE, "step", f"{_quoted(step)} is no test step{near}"))


def of_step(entries: Iterable[Quarantine], step: str) -> tuple[Quarantine, ...]:
    """Those that speak of a test step."""
    return tuple(entry for entry in entries if entry.step in (None, step, base_of(step)))


# --- a report ---


class Applied(NamedTuple):
    """A report with what does not count marked, and what there is to say about the entries."""

    report: TestReport
    notes: tuple[str, ...]
    unmatched: tuple[str, ...]
    """The entries that no test of the report is named by, by their `test`."""


def apply(entries: Sequence[Quarantine], report: TestReport, today: date) -> Applied:
    """Mark the failures that don't count. Only the configuration says so, and never a plugin."""
    if not entries:
        if any(case.quarantined for case in report.cases):
            report = report.model_copy(update={"cases": tuple(map(_cleared, report.cases))})
        return Applied(report, (), ())
    matched: dict[str, None] = {}
    notes: dict[str, None] = {}
    cases = []
    for case in report.cases:
        mine = [entry for entry in entries if entry.names(case.name)]
        matched |= dict.fromkeys(entry.test for entry in mine)
        good = next((entry for entry in mine if not over(entry, today)), None)
        failed = case.outcome == "failed"
        if failed and mine and good is None:
            notes[f"! {case.name}: {_ended(mine[0])}. {_MEND}"] = None
        if failed and good and report.cut_short:
            notes[f"! no quarantine counts here: {report.cut_short}"] = None
        counts = not failed or good is None or report.cut_short is not None
        cases.append(_cleared(case) if counts or good is None else _marked(case, good))
    unmatched = tuple(entry.test for entry in entries if entry.test not in matched)
    return Applied(report.model_copy(update={"cases": tuple(cases)}), tuple(notes), unmatched)


_MEND = "Mend the test, or set a later `until`"


def over(entry: Quarantine, today: date) -> bool:
    """Whether its last day lies behind."""
    return today > entry.until


def _ended(entry: Quarantine) -> str:
    return f"its quarantine ended on {entry.until}"


def _marked(case: TestCase, entry: Quarantine) -> TestCase:
    return case.model_copy(update={"quarantined": entry.said})


def _cleared(case: TestCase) -> TestCase:
    return case if case.quarantined is None else case.model_copy(update={"quarantined": None})
