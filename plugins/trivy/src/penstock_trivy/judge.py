"""Which findings count: exemptions, licences, and what can't be mended yet. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date

from penstock import Exempted, Finding, Severity

from penstock_trivy.settings import Exemption, Trivy
from penstock_trivy.tree import matches

_WORD = re.compile(r"[^\s()]+")
_OPERATORS = frozenset({"and", "or"})


def judge(found: Iterable[Finding], settings: Trivy, today: date) -> tuple[Finding, ...]:
    """The findings, each once, worst first; those that don't count say why."""
    unique = {_key(finding): finding for finding in found}.values()
    judged = [_judge(finding, settings, today) for finding in unique]
    return tuple(
        sorted(judged, key=lambda f: (f.ignored is not None, -f.severity.rank, f.kind, f.location, f.id))
    )


def exemptions(found: Sequence[Finding], settings: Trivy, today: date) -> Iterator[Exempted]:
    """What became of each exemption."""
    for exemption in settings.ignore:
        hit = any(covers(exemption, finding) for finding in found)
        over = _over(exemption, today)
        yield Exempted(state=("ended" if over else "applied") if hit else "unused", **exemption.model_dump())


def covers(exemption: Exemption, finding: Finding) -> bool:
    """Whether an exemption speaks of this finding, whatever the day."""
    if exemption.id != finding.id:
        return False
    if exemption.package is not None and exemption.package != finding.package:
        return False
    return exemption.path is None or matches(_path(finding.location), [exemption.path.lstrip("/")])


def forbids(forbidden: Sequence[str]) -> Callable[[str], bool]:
    """Whether a licence expression names one of these, even as a choice."""
    names = {name.casefold() for name in forbidden}

    def test(expression: str) -> bool:
        return expression.casefold() in names or not names.isdisjoint(_names(expression))

    return test


def _judge(finding: Finding, settings: Trivy, today: date) -> Finding:
    reason = next(
        (_reason(e) for e in settings.ignore if covers(e, finding) and not _over(e, today)),
        None,
    )
    if reason is None and finding.kind == "license" and _allowed(finding, settings):
        reason = "allowed by license_allowed"
    if reason is None and settings.fixed_only and finding.kind == "vulnerability" and not finding.fixed_in:
        reason = "no fixed version yet (fixed_only)"
    return finding if reason is None else finding.model_copy(update={"ignored": reason})


def _reason(exemption: Exemption) -> str:
    return exemption.reason if exemption.until is None else f"{exemption.reason} (until {exemption.until})"


def _over(exemption: Exemption, today: date) -> bool:
    return exemption.until is not None and today > exemption.until


def _allowed(finding: Finding, settings: Trivy) -> bool:
    if forbids(settings.license_forbidden)(finding.id):
        return False
    allowed = {name.casefold() for name in settings.license_allowed}
    names = _names(finding.id)
    return finding.id.casefold() in allowed or (bool(names) and names <= allowed)


def _names(expression: str) -> set[str]:
    """The licences of an SPDX expression, "GPL-2.0-only WITH X" being two."""
    words = {word.casefold() for word in _WORD.findall(expression)}
    return words - _OPERATORS - {"with"}


def _path(location: str) -> str:
    inner = location.rpartition(": ")[2]
    path, _, line = inner.rpartition(":")
    return path if path and line.isdigit() else inner


def _key(finding: Finding) -> tuple[str | None, ...]:
    return (finding.kind, finding.id, finding.location, finding.package, finding.version, finding.title)


def block_of(settings: Trivy) -> Severity | None:
    """The severity that closes the gate; None where none does."""
    return None if settings.block == "none" else Severity(settings.block)
