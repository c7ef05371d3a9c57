"""How a command ended and what its reports say → one result. Pure; where the two disagree, it failed."""

import codecs
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from penstock import Check, Finding, Model, ScanReport, Severity, TestCase, TestReport, Verification

from penstock_shell.found import BadReportError, Report
from penstock_shell.settings import Kind

_FINDINGS_STATUS = 1
_MESSAGE = 2_000  # characters
_OUTPUT = 10_000
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Mask = Callable[[str], str]
_M = TypeVar("_M", bound=Model)


class Ended(NamedTuple):
    """What is known of the command."""

    name: str
    """As people recognise it."""
    how: str
    """Such as "ended with status 2"."""
    returncode: int
    seconds: float = 0.0


def test(ended: Ended, reports: Sequence[Report] | None, mask: Mask) -> TestReport:
    """The report of a test step; None for `reports` means that the section has none."""
    if reports is None:
        failed = ended.returncode != 0
        case = TestCase(
            name=ended.name,
            outcome="failed" if failed else "passed",
            seconds=ended.seconds,
            message=f"`{ended.name}` {ended.how}" if failed else None,
        )
        return TestReport(tool=ended.name, cases=(case,), checks_only=True)
    found = [case for report in reports for case in _cases(report)]
    if ended.returncode != 0 and not any(case.outcome == "failed" for case in found):
        found.append(_disagreement(ended))
    return TestReport(tool=ended.name, cases=tuple(_unique(_bounded(_masked(found, mask)))))


def verify(ended: Ended, reports: Sequence[Report] | None, mask: Mask) -> Verification:
    """The checks of a verify step: one for the command, or one a case. What was skipped checked nothing."""
    if reports is None:
        check = Check(name=ended.name, passed=ended.returncode == 0, detail=ended.how, seconds=ended.seconds)
        return Verification(checks=(check,))
    return Verification(
        checks=tuple(
            Check(
                name=case.name,
                passed=case.outcome == "passed",
                detail=(case.message or "failed") if case.outcome == "failed" else "passed",
                seconds=case.seconds,
            )
            for case in test(ended, reports, mask).cases
            if case.outcome != "skipped"
        )
    )


def scan(
    ended: Ended, reports: Sequence[Report], kind: Kind, block: Severity | None, mask: Mask
) -> ScanReport:
    """The report of a scan step. Raises BadReportError where the scanner can't have done its work."""
    from penstock_shell import sarif

    runs: list[sarif.Run] = []
    for report in reports:
        if _is_xml(report):
            raise BadReportError(f"{report.name} is XML, and a scan reads SARIF 2.1.0")
        runs += sarif.parse(report.name, report.data)
    findings = [sarif.finding(result, kind) for run in runs for result in run.results]
    if not _may_end_so(ended.returncode, findings):
        count = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}"
        raise BadReportError(
            f"they hold {count}, but a scanner ends with 0, or with 1 where it found something"
        )
    kinds = dict.fromkeys([kind, *(finding.kind for finding in findings)])
    return ScanReport(
        scanner=mask(", ".join(dict.fromkeys(run.tool for run in runs))),
        findings=tuple(_bounded(_masked(findings, mask))),
        block=block,
        looked_for=tuple(kinds),
    )


def _may_end_so(returncode: int, findings: Sequence[Finding]) -> bool:
    return returncode == 0 or (returncode == _FINDINGS_STATUS and bool(findings))


def _cases(report: Report) -> list[TestCase]:
    # Most commands write no reports: what reads them is imported where they do.
    from penstock_shell import junit, sarif

    if _is_xml(report):
        return junit.parse(report.name, report.data)
    if report.data.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        return sarif.cases(report.name, report.data)
    raise BadReportError(f"{report.name} is neither JUnit XML nor SARIF")


def _is_xml(report: Report) -> bool:
    return report.data.startswith(_UTF16) or report.data.removeprefix(codecs.BOM_UTF8).lstrip().startswith(
        b"<"
    )


def _disagreement(ended: Ended) -> TestCase:
    return TestCase(
        name=ended.name,
        outcome="failed",
        message=f"`{ended.name}` {ended.how}, but its reports show no failure: something else went wrong",
    )


def _unique(cases: Iterable[TestCase]) -> list[TestCase]:
    """The same cases, each further one of a name with its number: a repeated case hides none before it."""
    seen: set[str] = set()
    counts: dict[str, int] = {}
    found = []
    for case in cases:
        name = case.name
        while name in seen:
            counts[case.name] = counts.get(case.name, 1) + 1
            name = f"{case.name} ({counts[case.name]})"
        seen.add(name)
        found.append(case if name == case.name else case.model_copy(update={"name": name}))
    return found


_SHOWN = ("name", "file", "message", "output", "flaky", "id", "title", "location", "ignored")


@functools.cache
def _shown(model: type[Model]) -> tuple[str, ...]:
    return tuple(field for field in _SHOWN if field in model.model_fields)


def _masked(items: Sequence[_M], mask: Mask) -> list[_M]:
    """The same without secrets. In one go: making a mask is dear, and there may be thousands of cases."""
    texts = [
        (number, field, text)
        for number, item in enumerate(items)
        for field in _shown(type(item))
        if isinstance(text := getattr(item, field), str)
    ]
    whole = "\0".join(text.replace("\0", " ") for _, _, text in texts)
    cleaned = mask(whole)
    if cleaned == whole:
        return list(items)
    updates: dict[int, dict[str, str]] = {}
    for (number, field, _), text in zip(texts, cleaned.split("\0"), strict=True):
        updates.setdefault(number, {})[field] = text
    return [item.model_copy(update=updates.get(number, {})) for number, item in enumerate(items)]


def _bounded(items: Iterable[_M]) -> list[_M]:
    """The same with long texts cut: they travel into the journal and onto terminals."""
    return [item.model_copy(update=cut) if (cut := _cut(item)) else item for item in items]


def _cut(item: Model) -> dict[str, str]:
    found = {}
    for field in _shown(type(item)):
        text = getattr(item, field)
        if field == "output" and isinstance(text, str) and len(text) > _OUTPUT:
            found[field] = "…" + text[-_OUTPUT:]  # the end is where it says what went wrong
        elif isinstance(text, str) and field != "output" and len(text) > _MESSAGE:
            found[field] = text[:_MESSAGE] + "…"
    return found
