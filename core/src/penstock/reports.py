"""What test and scan steps found → JUnit XML and SARIF 2.1.0, for those who show such files. Pure."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from penstock.findings import Finding, ScanReport, Severity
from penstock.model import Model, TestCase, TestReport
from penstock.state import LETS_ON

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVEL = {
    Severity.critical: "error",
    Severity.high: "error",
    Severity.medium: "warning",
    Severity.low: "note",
}
_SCORE = {Severity.critical: "9.5", Severity.high: "8.0", Severity.medium: "5.5", Severity.low: "2.0"}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE = re.compile(r"(.*):(\d+)")


class Part(Model):
    """One test or scan step of a run, with its report where it came to one."""

    name: str
    phase: str
    state: str
    reason: str = ""
    summary: str = ""
    seconds: float = 0.0
    report: TestReport | ScanReport | None = None


def junit(parts: Iterable[Part]) -> bytes:
    """The test steps in the shape of pytest's `xunit2`: a suite each, a case each.

    A step without a report of its own is one case: passed, failed, or skipped as the step was.
    """
    root = ET.Element("testsuites", name="penstock")
    for part in parts:
        if part.phase == "test" and part.state not in ("pending", "running"):
            root.append(_suite(part))
    ET.indent(root)
    data: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def _suite(part: Part) -> ET.Element:
    report = part.report if isinstance(part.report, TestReport) else None
    cases = [_case(part.name, case) for case in report.cases] if report and report.cases else [_whole(part)]
    counts = {
        tag: sum(case.find(tag) is not None for case in cases) for tag in ("error", "failure", "skipped")
    }
    suite = ET.Element(
        "testsuite",
        name=part.name,
        errors=str(counts["error"]),
        failures=str(counts["failure"]),
        skipped=str(counts["skipped"]),
        tests=str(len(cases)),
        time=f"{part.seconds:.3f}",
    )
    suite.extend(cases)
    return suite


def _case(step: str, case: TestCase) -> ET.Element:
    place, name = _named(case.name)
    found = ET.Element(
        "testcase", classname=_text(place or step), name=_text(name), time=f"{case.seconds:.3f}"
    )
    if case.outcome == "skipped":
        ET.SubElement(found, "skipped", message=_text(case.message or ""))
    if case.outcome == "passed" and case.flaky is not None:
        ET.SubElement(found, "flakyFailure", message=_text(case.flaky))
    if case.quarantined is not None:  # whoever shows the file would take a failure for one that counts
        text = f"failed, and does not count: {case.quarantined}"
        ET.SubElement(found, "skipped", message=_text(text)).text = _text(case.message or "")
    if case.counts:
        text = _text(case.message or case.output or "")
        ET.SubElement(found, "failure", message=text.partition("\n")[0]).text = text
    if case.output:
        ET.SubElement(found, "system-out").text = _text(case.output)
    return found


def _named(name: str) -> tuple[str, str]:
    """What pytest calls `tests/test_a.py::TestB::test_c[1::2]` in its own XML: class and case."""
    bare, bracket, parameters = name.partition("[")
    place, _, last = bare.rpartition("::")
    path, _, classes = place.partition("::")
    dotted = ".".join(filter(None, (path.removesuffix(".py").replace("/", "."), *classes.split("::"))))
    return dotted, last + bracket + parameters


def _whole(part: Part) -> ET.Element:
    """A step as one case."""
    found = ET.Element(
        "testcase", classname=part.name, name=_text(part.summary or part.name), time=f"{part.seconds:.3f}"
    )
    if part.state in LETS_ON:
        return found
    tag = "skipped" if part.state in ("skipped", "cancelled") else "failure" if part.summary else "error"
    reason = _text(part.reason or part.state)
    ET.SubElement(found, tag, message=reason.partition("\n")[0]).text = reason
    return found


def _text(text: str) -> str:
    """What XML can hold of a text."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def sarif(parts: Iterable[Part]) -> dict[str, Any]:
    """The scan steps as a SARIF 2.1.0 log, a run each. A scan that came to no report is on it as failed."""
    runs = [
        _run(part)
        for part in parts
        if part.phase == "scan" and part.state not in ("pending", "running", "skipped")
    ]
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": runs}


def _run(part: Part) -> dict[str, Any]:
    report = part.report if isinstance(part.report, ScanReport) else None
    name, _, version = (report.scanner if report else part.name).partition(" ")
    findings = report.findings if report else ()
    driver: dict[str, Any] = {"name": name or part.name, "rules": list(_rules(findings))}
    if version:
        driver["version"] = version
    invocation: dict[str, Any] = {"executionSuccessful": report is not None}
    if report is None:
        message = {"level": "error", "message": {"text": part.reason or part.state}}
        invocation["toolExecutionNotifications"] = [message]
    return {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"{part.name}/"},
        "invocations": [invocation],
        "results": [_result(finding) for finding in findings],
    }


def _rules(findings: Sequence[Finding]) -> Iterator[dict[str, Any]]:
    """Each rule once, with the worst that was found of it."""
    worst: dict[str, Finding] = {}
    for finding in findings:
        known = worst.get(finding.id)
        if known is None or finding.severity.rank > known.severity.rank:
            worst[finding.id] = finding
    for finding in worst.values():
        properties: dict[str, Any] = {"tags": ["security", finding.kind]}
        if finding.severity in _SCORE:
            properties["security-severity"] = _SCORE[finding.severity]
        yield {
            "id": finding.id,
            "shortDescription": {"text": finding.title or finding.id},
            "properties": properties,
        }


def _result(finding: Finding) -> dict[str, Any]:
    package = f"{finding.package} {finding.version or ''}".strip() if finding.package else ""
    fixed = f"fixed in {finding.fixed_in}" if finding.fixed_in else ""
    text = ". ".join(filter(None, (finding.title or finding.id, package, fixed)))
    identity = "\0".join((finding.id, finding.location, package))
    result: dict[str, Any] = {
        "ruleId": finding.id,
        "level": _LEVEL.get(finding.severity, "warning"),
        "message": {"text": text},
        "partialFingerprints": {"penstock/v1": hashlib.sha256(identity.encode(errors="replace")).hexdigest()},
        "properties": {"severity": finding.severity.value, "kind": finding.kind},
    }
    if finding.location:
        result["locations"] = [{"physicalLocation": _place(finding.location)}]
    if finding.ignored is not None:
        result["suppressions"] = [{"kind": "external", "justification": finding.ignored}]
    return result


def _place(location: str) -> dict[str, Any]:
    match = _LINE.fullmatch(location)
    path = match[1] if match else location
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(path.encode(errors="replace"), safe="/")}}
    if match and int(match[2]) > 0:
        place["region"] = {"startLine": int(match[2])}
    return place
