"""The reporter's records → what the run comes to. Pure; whatever does not add up is a failure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from penstock import StepFailed, TestCase, TestReport

_RUN = "pytest"  # the name of the case that speaks of the run as a whole
_STATUS = {
    2: "the run was cut short",
    3: "pytest or a plugin of it failed",
    4: "pytest refused its arguments",
}

Record = Mapping[str, Any]


def parse(text: str) -> list[Record]:
    """The records of a results file. A last line that was cut off is left out."""
    records: list[Record] = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            break
        if not isinstance(record, dict):
            break
        records.append(record)
    return records


def judge(records: list[Record], status: int) -> TestReport:
    """The cases, and a failed case for whatever the cases don't say although the run went wrong.

    `status` is the process's own. Raises StepFailed where pytest did not get as far as testing.
    """
    begin = _last(records, "begin")
    end = _last(records, "end")
    internal = _last(records, "internal")
    if begin is None:
        raise StepFailed(
            f"the tests did not start: {_crash(records) or _ended(status)}. The step's log says more"
        )
    if end is not None and end["status"] in (3, 4):
        why = (internal["why"] if internal else "") or end["errors"] or "the step's log says why"
        raise StepFailed(f"{_STATUS[end['status']]}: {why}{_hint(why)}")
    cases = tuple(_unique(_cases(records)))
    failed = any(case.outcome == "failed" for case in cases)
    wrong = _wrong(records, end, status, failed)
    extra = () if wrong is None else (wrong,)
    return TestReport(
        tool=begin["tool"],
        cases=cases + extra,
        coverage=coverage_of(records),
        cut_short=_cut_short(records, end, status),
    )


def coverage_of(records: list[Record]) -> float | None:
    """The share of the wheel's lines that were run, where it was measured."""
    record = _last(records, "coverage")
    if record is None or not record["lines"]:
        return None
    return float(record["covered"]) / float(record["lines"])


def coverage_case(report: TestReport, minimum: float) -> TestCase:
    """Whether enough was run, as a case of its own."""
    share = report.coverage
    if share is None:
        return TestCase(
            name="coverage",
            outcome="failed",
            message=f"no line of the wheel was measured, and coverage_minimum asks for {minimum:.0%}",
        )
    message = f"{_percent(share)} of the wheel's lines were run; coverage_minimum asks for {minimum:.0%}"
    return TestCase(name="coverage", outcome="passed" if share >= minimum else "failed", message=message)


def strangers(records: list[Record]) -> dict[str, str]:
    """The wheel's modules that were imported from elsewhere: from which file of the tree each."""
    found: dict[str, str] = {}
    for record in records:
        if record["kind"] == "modules":
            found.update(record["strangers"])
    return found


def imported(records: list[Record]) -> int:
    """How many of the wheel's modules were imported."""
    return max((record["imported"] for record in records if record["kind"] == "modules"), default=0)


def _wrong(records: list[Record], end: Record | None, status: int, failed: bool) -> TestCase | None:
    """A case for a run that did not come to its proper end; None where the cases say it all."""
    if end is None:
        name = _running(records) or _RUN
        why = ": ".join(filter(None, [f"the process ended here, with {_ended(status)}", _crash(records)]))
        return TestCase(name=name, outcome="failed", file=_file(name), message=why)
    if failed:
        return None
    cut = _last(records, "interrupted")
    if cut is not None:
        return _about_run(f"the run was cut short: {cut['why']}")
    if end["status"] == 5 and status == 5 and not any(record["kind"] == "case" for record in records):
        return None  # nothing was found to test, which the core refuses
    if end["status"] != 0:
        text = _STATUS.get(end["status"], "no test failed, but something else did")
        return _about_run(f"the run ended with status {end['status']}: {text}. The step's log says more")
    if status != end["status"]:
        return _about_run(f"the run came to its end, but then the process ended with {_ended(status)}")
    return _missing(records)


def _cut_short(records: list[Record], end: Record | None, status: int) -> str | None:
    """Why tests may be missing behind those that failed; None where all were run that there are."""
    if end is None:
        return "the process ended before all tests were run"
    cut = _last(records, "interrupted")
    if cut is not None or end["status"] == 2:
        return "the run was cut short" + (f": {cut['why']}" if cut is not None else "")
    if status != end["status"]:
        return f"the process ended with {_ended(status)}"
    missing = _missing(records)
    return None if missing is None else missing.message


def _missing(records: list[Record]) -> TestCase | None:
    unfinished = [record["name"] for record in records if record["kind"] == "unfinished"]
    if unfinished:
        return _about_run(f"{len(unfinished)} tests began and never ended: {', '.join(unfinished[:5])}")
    collected = _last(records, "collected")
    if collected is None:
        return _about_run("nothing says how many tests there are")
    if collected["count"] is None:
        return None  # pytest-xdist's workers have their own books
    began = Counter(record["name"] for record in records if record["kind"] == "start")
    if len(began) < collected["count"]:
        return _about_run(f"only {len(began)} of {collected['count']} collected tests were run")
    for name, number in collected.get("again", {}).items():
        if began[name] < number:
            return _about_run(f"only {began[name]} of {number} collected tests of the name {name} were run")
    return None


def _about_run(message: str) -> TestCase:
    return TestCase(name=_RUN, outcome="failed", message=message)


def _running(records: list[Record]) -> str | None:
    done = {record["name"] for record in records if record["kind"] == "case"}
    names = [r["name"] for r in records if r["kind"] == "start" and r["name"] not in done]
    return names[-1] if names else None


def _cases(records: list[Record]) -> Iterator[TestCase]:
    for record in records:
        if record["kind"] == "case":
            yield TestCase.model_validate({key: _text(record[key]) for key in record if key != "kind"})


def _text(value: object) -> object:
    """A test may print half a character, which no report can hold."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _crash(records: list[Record]) -> str | None:
    crash = _last(records, "crash")
    return None if crash is None else str(crash["why"])


def _unique(cases: Iterable[TestCase]) -> Iterator[TestCase]:
    seen: dict[str, int] = {}
    for case in cases:
        number = seen[case.name] = seen.get(case.name, 0) + 1
        yield case if number == 1 else case.model_copy(update={"name": f"{case.name} ({number})"})


def _last(records: list[Record], kind: str) -> Record | None:
    return next((record for record in reversed(records) if record.get("kind") == kind), None)


def _file(name: str) -> str | None:
    return name.partition("::")[0] if "::" in name else None


def _ended(status: int) -> str:
    return f"status {status}" if status >= 0 else f"signal {-status}"


def _percent(share: float) -> str:
    # Rounded down, so that a share just below the minimum does not look like it.
    return f"{int(share * 10000) / 100:g}%"


def _hint(why: str) -> str:
    if "unrecognized arguments" in why or "required plugin" in why.lower():
        return '. If a plugin of pytest is missing: requirements = ["pytest-…"] adds it'
    return ""
