"""SARIF 2.1.0 → results, findings and cases. What the tool did not look at does not count as clean."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, cast
from urllib.parse import unquote

from penstock import Finding, Model, Severity, TestCase
from pydantic import BeforeValidator

from penstock_shell.found import BadReportError
from penstock_shell.settings import Kind

Level = Literal["error", "warning", "note", "none"]
# JSON can hold half a character ("\ud800"), which nothing else can.
Text = Annotated[str, BeforeValidator(lambda value: str(value).encode(errors="replace").decode())]

_LONGEST = 4_000
"""Characters of a message that stands in a rule, and of what is put in it: more than anybody is shown."""
_LEVELS = ("error", "warning", "note", "none")
_BY_LEVEL = {"error": Severity.high, "warning": Severity.medium, "note": Severity.low, "none": Severity.low}
_BY_SCORE = ((9.0, Severity.critical), (7.0, Severity.high), (4.0, Severity.medium), (0.0, Severity.low))
_KINDS = ("vulnerability", "secret", "misconfiguration", "license")
_GOOD_KINDS = ("pass", "notApplicable", "informational")
_OPEN_KINDS = ("open", "review")


class Result(Model):
    """One result of one run, with what its rule says about it."""

    rule: Text
    level: Level
    said: bool
    """Whether the result or its rule names the level."""
    score: float | None = None
    text: Text = ""
    file: Text = ""
    line: int | None = None
    tags: tuple[Text, ...] = ()
    suppressed: Text | None = None
    """Why it does not count, where somebody said so."""


class Run(Model):
    """One run of one tool: its name with its version, and what it found."""

    tool: Text
    results: tuple[Result, ...]


def parse(name: str, data: bytes) -> list[Run]:
    """The runs of a log. Raises BadReportError where it is not SARIF 2.1.0 or the tool did not finish."""
    log = _load(name, data)
    if not isinstance(log, dict) or "runs" not in log:
        raise BadReportError(f"{name} is JSON, but not SARIF: it has no runs")
    if log.get("version") != "2.1.0":
        raise BadReportError(f"{name} is SARIF {log.get('version')!s:.20}; only 2.1.0 is read")
    runs = log["runs"]
    if not isinstance(runs, list) or not runs:
        raise BadReportError(f"{name} holds no run: nothing was looked at")
    try:
        return [_run(name, run) for run in runs]
    except KeyError as error:
        raise BadReportError(f"{name} is not SARIF as the standard has it: {error} is missing") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise BadReportError(f"{name} is not SARIF as the standard has it: {error}") from None


def cases(name: str, data: bytes) -> list[TestCase]:
    """A failed case for each error or warning; one passed case for a run without any."""
    found: list[TestCase] = []
    for run in parse(name, data):
        bad = [_case(r) for r in run.results if r.suppressed is None and r.level in ("error", "warning")]
        found += bad or [TestCase(name=f"{run.tool} ({name})", outcome="passed")]
    return found


def finding(result: Result, kind: Kind) -> Finding:
    """A result as a scan reports it."""
    tagged = [tag for tag in result.tags if tag in _KINDS]
    own = cast(Kind, tagged[0]) if tagged else kind
    return Finding(
        id=result.rule,
        kind=own,
        severity=_severity(result, own),
        title=result.text,
        location=f"{result.file}:{result.line}" if result.file and result.line else result.file,
        ignored=result.suppressed,
    )


def _severity(result: Result, kind: Kind) -> Severity:
    if result.score is not None:
        return next(severity for least, severity in _BY_SCORE if result.score >= least)
    if kind == "secret" and not result.said:
        return (
            Severity.high
        )  # scanners for secrets seldom name a level, and the standard's default is too low
    return _BY_LEVEL[result.level]


def _case(result: Result) -> TestCase:
    where = f"{result.file}:{result.line}" if result.line else result.file
    return TestCase(
        name=f"{where}::{result.rule}" if where else result.rule,
        outcome="failed",
        file=result.file or None,
        line=result.line,
        message=result.text or None,
    )


def _load(name: str, data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise BadReportError(f"{name} is not UTF-8, as SARIF must be") from None
    except ValueError as error:
        raise BadReportError(f"{name} is not JSON: {error}") from None
    except RecursionError:
        raise BadReportError(f"{name} is nested too deeply") from None


def _run(name: str, run: dict[str, Any]) -> Run:
    driver = run["tool"]["driver"]
    version = driver.get("semanticVersion") or driver.get("version") or ""
    tool = f"{driver['name']} {version}".strip()
    # The standard's word for a tool that did not look: no `results`. An empty list is "nothing found".
    if run.get("results") is None:
        raise BadReportError(f"{name}: the run of {tool} has no results: it did not look")
    for invocation in run.get("invocations") or ():
        if invocation.get("executionSuccessful") is False:
            why = invocation.get("exitCodeDescription") or "its own report says so"
            raise BadReportError(f"{name}: {tool} did not finish: {why}")
    rules = _Rules(run["tool"])
    found = (_result(result, rules) for result in run["results"])
    return Run(tool=tool, results=tuple(result for result in found if result))


class _Rules:
    """The rules of a run's tool and its extensions, by place and by id."""

    def __init__(self, tool: dict[str, Any]) -> None:
        self._components = [tool["driver"], *(tool.get("extensions") or ())]
        self._by_id: dict[str, dict[str, Any]] = {}
        for component in self._components:
            for rule in component.get("rules") or ():
                self._by_id.setdefault(rule["id"], rule)

    def of(self, result: dict[str, Any]) -> dict[str, Any]:
        """The rule of a result; empty where the report doesn't describe it."""
        reference = result.get("rule") or {}
        place = (reference.get("toolComponent") or {}).get("index", -1)
        index = reference.get("index", result.get("ruleIndex", -1))
        if 0 <= place + 1 < len(self._components):
            rules = self._components[place + 1].get("rules") or ()
            if 0 <= index < len(rules):
                return cast(dict[str, Any], rules[index])
        id_ = result.get("ruleId") or reference.get("id") or ""
        # "CA2101/1" is a finer name for what the rule "CA2101" finds.
        return self._by_id.get(id_) or self._by_id.get(id_.rpartition("/")[0]) or {}


def _result(result: dict[str, Any], rules: _Rules) -> Result | None:
    kind = result.get("kind", "fail")
    if kind in _GOOD_KINDS or result.get("baselineState") == "absent":
        return None
    if kind not in ("fail", *_OPEN_KINDS):
        raise ValueError(f"a result's kind is {kind!r}")
    rule = rules.of(result)
    said = result.get("level") if kind == "fail" else "warning"  # what nobody could decide is no pass
    level = said or (rule.get("defaultConfiguration") or {}).get("level")
    if level not in (None, *_LEVELS):
        raise ValueError(f"a result's level is {level!r}")
    file, line = _place(result)
    return Result(
        rule=str(
            result.get("ruleId") or (result.get("rule") or {}).get("id") or rule.get("id") or "unnamed rule"
        ),
        level=cast(Level, level or "warning"),
        said=level is not None,
        score=_score(result, rule),
        text=_text(result.get("message") or {}, rule),
        file=file,
        line=line,
        tags=tuple(str(tag).lower() for tag in (rule.get("properties") or {}).get("tags") or ()),
        suppressed=_suppressed(result.get("suppressions") or []),
    )


def _score(*parts: dict[str, Any]) -> float | None:
    for part in parts:
        value = (part.get("properties") or {}).get("security-severity")
        if value is None:
            continue
        try:
            score = float(value)
        except (TypeError, ValueError, OverflowError):
            continue
        if math.isfinite(score) and 0 <= score <= 10:
            return score
    return None


def _text(message: dict[str, Any], rule: dict[str, Any]) -> str:
    text = message.get("text") or message.get("markdown")
    if text is None:
        described = (rule.get("messageStrings") or {}).get(message.get("id", "default")) or {}
        text = _filled(str(described.get("text", "")), message.get("arguments") or [])
    return str(text).strip()


def _filled(text: str, arguments: list[object]) -> str:
    """A text with its arguments in their places: once and short, or a small report would fill the memory."""

    def argument(match: re.Match[str]) -> str:
        number = int(match[1])
        return str(arguments[number])[:_LONGEST] if number < len(arguments) else match[0]

    return re.sub(r"\{(\d{1,4})\}", argument, text[:_LONGEST], flags=re.ASCII)


def _place(result: dict[str, Any]) -> tuple[str, int | None]:
    for location in _physical(result):
        uri = (location.get("artifactLocation") or {}).get("uri") or ""
        line = (location.get("region") or {}).get("startLine")
        if uri:
            return unquote(str(uri)).removeprefix("file://"), line if isinstance(
                line, int
            ) and line > 0 else None
    return "", None


def _physical(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for location in result.get("locations") or ():
        yield location.get("physicalLocation") or {}


def _suppressed(suppressions: list[dict[str, Any]]) -> str | None:
    if not suppressions or any(entry.get("status", "accepted") != "accepted" for entry in suppressions):
        return None
    first = suppressions[0]
    where = {"inSource": "in the source", "external": "outside the source"}.get(str(first.get("kind")), "")
    return str(first.get("justification") or f"suppressed {where}".strip())
