"""JUnit XML → test cases. There is no standard: the shape is read leniently, a failure never."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import defusedxml.ElementTree  # type: ignore[import-untyped]
from defusedxml import DefusedXmlException
from penstock import TestCase

from penstock_shell.found import BadReportError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_BAD = ("failure", "error")
# Attempts that failed before a later one passed: some writers count them in a suite's own numbers.
_ATTEMPTS = ("flakyFailure", "flakyError", "rerunFailure", "rerunError")
_BAD_STATUS = {"failed", "failure", "fail", "error", "errored"}
_IDLE_STATUS = {"skipped", "notrun", "disabled", "ignored", "pending"}
_MESSAGE_LINES = 5
_DIGITS = 10  # more than any count or line has


def parse(name: str, data: bytes) -> list[TestCase]:
    """The cases of a report, in its order. Raises BadReportError where it is not JUnit XML."""
    root = _root(name, data)
    if _tag(root) not in ("testsuites", "testsuite"):
        raise BadReportError(f"{name} is not JUnit XML: its root element is <{_tag(root)}>")
    cases = [
        found
        for suite, element in _elements(root, "")
        for found in (_case(element, suite) if _tag(element) == "testcase" else _suite_problems(element))
    ]
    hidden = _hidden_failures(root, name)
    return [*cases, hidden] if hidden else cases


def _root(name: str, data: bytes) -> Element:
    try:
        root: Element = defusedxml.ElementTree.fromstring(data, forbid_dtd=True)
    except DefusedXmlException:
        raise BadReportError(f"{name} holds a DTD or entities, which JUnit XML has no use for") from None
    except (SyntaxError, ValueError, LookupError) as error:  # ParseError is a SyntaxError
        raise BadReportError(f"{name} is not well-formed XML: {error}") from None
    return root


def _elements(suite: Element, name: str) -> Iterator[tuple[str, Element]]:
    """Each suite and case, in the order of the file, with the name of the suite that it is in."""
    pending = [(name, suite)]
    while pending:
        inside, element = pending.pop()
        yield inside, element
        if _tag(element) != "testcase":
            own = element.get("name") or inside
            children = [child for child in element if _tag(child) in ("testsuite", "testcase")]
            pending.extend((own, child) for child in reversed(children))


def _case(element: Element, suite: str) -> list[TestCase]:
    outcome, reason = _outcome(element)
    own = element.get("name") or "unnamed"
    group = element.get("classname") or suite
    before = next(iter(_children(element, *_ATTEMPTS)), None) if outcome == "passed" else None
    parts = [_text(child) for child in _children(element, *_BAD)]
    parts += [_text(child) for child in _children(element, "system-out", "system-err")]
    case = TestCase(
        name=f"{group}::{own}" if group and group != own else own,
        outcome=outcome,
        seconds=_seconds(element.get("time")),
        file=element.get("file") or None,
        line=_line(element.get("line")),
        message=_message(reason) if reason is not None else None,
        output="\n".join(part for part in parts if part) or None,
        flaky=None if before is None else (_message(before) or "failed when it was run first"),
    )
    return [case]


def _outcome(element: Element) -> tuple[Literal["passed", "failed", "skipped"], Element | None]:
    bad = _children(element, *_BAD)
    if bad:
        return "failed", bad[0]
    status = {(element.get(key) or "").lower() for key in ("status", "result")}
    if status & _BAD_STATUS:
        return "failed", element
    skipped = _children(element, "skipped")
    if skipped:
        return "skipped", skipped[0]
    return ("skipped" if status & _IDLE_STATUS else "passed"), None


def _suite_problems(suite: Element) -> list[TestCase]:
    """A suite that failed as a whole, outside of any case."""
    return [
        TestCase(
            name=f"{suite.get('name') or 'unnamed'} (the suite itself)",
            outcome="failed",
            message=_message(problem),
            output=_text(problem) or None,
        )
        for problem in _children(suite, *_BAD)
    ]


def _hidden_failures(root: Element, file: str) -> TestCase | None:
    """A failed case, if a suite counts more failures than its cases show: the report is not whole."""
    # The outermost suites hold all others; looking at each level would cost its depth squared.
    for suite in (root, *_children(root, "testsuite")):
        counted = _count(suite.get("failures")) + _count(suite.get("errors"))
        shown = sum(_tag(inner) in (*_BAD, *_ATTEMPTS) for inner in suite.iter())
        if counted > shown and counted > sum(_is_bad_case(inner) for inner in suite.iter()):
            own = suite.get("name") or "the suite"
            return TestCase(
                name=f"{file}: {own} (its counts)",
                outcome="failed",
                message=f"{file}: {own} counts {counted} failed, but its cases show {shown}",
            )
    return None


def _is_bad_case(element: Element) -> bool:
    return _tag(element) == "testcase" and _outcome(element)[0] == "failed"


def _message(element: Element) -> str | None:
    said = (element.get("message") or "").strip()
    if said:
        return said
    lines = [line.rstrip() for line in _text(element).splitlines() if line.strip()]
    return "\n".join(lines[-_MESSAGE_LINES:]) or element.get("type") or None


def _children(element: Element, *tags: str) -> list[Element]:
    return [child for child in element if _tag(child) in tags]


def _tag(element: Element) -> str:
    # Comments and processing instructions have a function where others have a name.
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _text(element: Element) -> str:
    return "".join(element.itertext()).strip()


def _count(value: str | None) -> int:
    digits = (value or "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < _DIGITS else 0


def _line(value: str | None) -> int | None:
    return _count(value) or None


def _seconds(value: str | None) -> float:
    try:
        seconds = float((value or "0").replace(",", ""))
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
