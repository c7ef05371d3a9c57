"""`diff`: what differs between two runs, the most telling first."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from penstock import comparison
from penstock.cli.common import Opened, open_project, print_json
from penstock.cli.lines import Look, duration, plain_lines
from penstock.cli.text import clean
from penstock.comparison import Side
from penstock.errors import StepRefused
from penstock.findings import ScanReport
from penstock.gates import PROVENANCE
from penstock.model import TestReport, short
from penstock.runs import Statements
from penstock.state import RunState

_SHOWN = 8
_LONGEST = 60
_OUTCOMES = ("passed", "failed", "skipped", "flaky")
_MODELS: dict[str, type[TestReport | ScanReport]] = {"test": TestReport, "scan": ScanReport}


@click.command()
@click.argument("before", metavar="RUN")
@click.argument("after", metavar="RUN", default="last")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def diff(before: str, after: str, as_json: bool) -> int:
    """Show what differs between two runs: how they ended, and what may be why.

    With one RUN, between that and the last.
    """
    opened = open_project()
    sides = [_side(opened, opened.state(run)) for run in (before, after)]
    document = comparison.compare(*sides)
    if as_json:
        print_json(document)
        return 0
    look = Look.of(sys.stdout)
    for line in _lines(document, [side.state for side in sides]):
        click.echo("\n".join(plain_lines(line, look)))
    return 0


def _side(opened: Opened, state: RunState) -> Side:
    return Side(state, _files(opened, state), dict(_reports(opened, state)), _tools(opened, state))


def _files(opened: Opened, state: RunState) -> dict[str, str] | None:
    """The files of a run's snapshot; None where the store has it no more."""
    if state.revision is None or state.revision.snapshot is None:
        return None
    try:
        entries = opened.home.store.tree(state.revision.snapshot)
    except StepRefused:
        return None
    return {
        str(entry["path"]): json.dumps({key: value for key, value in entry.items() if key != "path"})
        for entry in entries
    }


def _reports(opened: Opened, state: RunState) -> Iterator[tuple[str, TestReport | ScanReport]]:
    for name, step in state.steps.items():
        model = _MODELS.get(state.plan.by_name[name].phase)
        if model is None or step.report is None:
            continue
        try:
            yield name, model.model_validate_json(opened.home.store.read(step.report))
        except (StepRefused, ValueError):
            continue  # the numbers are in the journal, too


def _tools(opened: Opened, state: RunState) -> dict[str, str]:
    """The tools that reports and statements of provenance name."""
    found: dict[str, str] = {}
    for _, report in _reports(opened, state):
        name, _, version = (report.tool if isinstance(report, TestReport) else report.scanner).rpartition(" ")
        if name:
            found[name] = version
    if state.pruned is None:
        Statements(opened.journal, opened.home, state.run).restore()
    for step in state.steps.values():
        for entry in step.evidence:
            if entry["predicate_type"] != PROVENANCE:
                continue
            try:
                details = json.loads(opened.home.store.read(entry["statement"]))["predicate"]["runDetails"]
                found |= comparison.names_in(details["builder"]["builderDependencies"])
                found["penstock"] = str(details["builder"]["version"]["penstock"])
            except (StepRefused, ValueError, LookupError, TypeError):
                continue
    return found


def _lines(document: dict[str, Any], states: Sequence[RunState]) -> Iterator[str]:
    old, new = states
    took = [duration(seconds) if seconds is not None else "not over" for seconds in document["seconds"]]
    if old.run == new.run:
        yield f"Run {old.run} is one run: nothing differs."
        return
    yield f"Run {old.run} {old.state} in {took[0]}, run {new.run} {new.state} in {took[1]}"
    for state in states:
        if state.pruned is not None:
            yield f"What run {state.run} left was removed by prune: its files and tests are not compared"
    if not comparison.differs(document):
        yield "Nothing differs but how long it took."
    yield from _part("steps", _step_lines(document["steps"]))
    yield from _part("tests", _test_lines(document["tests"]))
    yield from _part("findings", _finding_lines(document["findings"]))
    yield from _part("revision", _revision_lines(document["revision"]))
    yield from _part("parameters", _moved(document["parameters"]))
    yield from _part("configuration", _configuration_lines(document["configuration"]))
    yield from _part("plugins", _moved(document["plugins"]))
    yield from _part("tools", _moved(document["tools"]))
    yield from _part("artifacts", _artifact_lines(document["artifacts"]))
    yield from _part("durations", _duration_lines(document["steps"]))


def _moved(pairs: dict[str, Any]) -> list[str]:
    return [f"{name}  {_pair(pair)}" for name, pair in pairs.items()]


def _part(title: str, rows: Sequence[str] | Iterator[str]) -> Iterator[str]:
    lines = list(rows)
    if lines:
        yield title
        yield from (f"  {line}" for line in lines)


def _step_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        old, new = row["states"]
        if not comparison.same(row["states"]):
            groups.setdefault((old or "not there", new or "gone"), []).append(row["name"])
    for (old, new), names in groups.items():
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield clean(f"{old} → {new}  {', '.join(names[:_SHOWN])}{more}")


def _test_lines(tests: dict[str, Any]) -> Iterator[str]:
    words = {"failing": "now failing", "passing": "now passing", "new": "new", "gone": "gone"}
    told = {key: [name for name in tests.get(key, ()) if _is_told(tests, key, name)] for key in words}
    for key in ("failing", "passing"):
        yield from _listed(words[key], told[key])
    for key in ("new", "gone"):
        yield from _listed(words[key], told[key], shown=3)
    counts = tests.get("counts", [{}, {}])
    if counts[0] != counts[1]:
        yield f"{_counts(counts[0])} → {_counts(counts[1])}"


def _is_told(tests: dict[str, Any], key: str, name: str) -> bool:
    """A new test that fails is told of as one that fails."""
    return key != "new" or name not in tests["failing"]


def _counts(counts: dict[str, int]) -> str:
    outcomes = sorted(counts, key=lambda outcome: (*_OUTCOMES, outcome).index(outcome))
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in outcomes if counts[outcome]) or "none"


def _listed(word: str, names: Sequence[str], shown: int = _SHOWN) -> Iterator[str]:
    for name in names[:shown]:
        yield f"{word}  {clean(name)}"
    if len(names) > shown:
        yield f"{word}  and {len(names) - shown} more"


def _finding_lines(findings: dict[str, Any]) -> Iterator[str]:
    for word in ("new", "gone"):
        entries = findings.get(word, ())
        told = [(e["severity"], e["id"], e["location"], f"({e['step']})") for e in entries]
        yield from _listed(word, [" ".join(filter(None, parts)) for parts in told])


def _revision_lines(revision: dict[str, Any]) -> Iterator[str]:
    if not revision:
        return
    yield _pair(revision["short"])
    files = revision.get("files")
    if files is None:
        yield "which files differ can't be told: a snapshot is not in the store"
        return
    for word in ("changed", "added", "removed"):
        yield from _listed(word, files[word])


def _configuration_lines(found: dict[str, Any]) -> Iterator[str]:
    for name, keys in found.get("changed", {}).items():
        for key, pair in keys.items():
            yield f"[{name}] {key}: {_value(pair[0])} → {_value(pair[1])}"
    for name in found.get("added", ()):
        yield f"[{name}] is new"
    for name in found.get("removed", ()):
        yield f"[{name}] is gone"
    for role, pair in found.get("roles", {}).items():
        yield f"[roles] {role}: {_pair(pair)}"


def _value(value: Any) -> str:
    """A value as it would be written; not set is a dash."""
    whole = isinstance(value, float) and value.is_integer()
    text = "–" if value is None else json.dumps(int(value) if whole else value, ensure_ascii=False)
    return clean(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")


def _pair(pair: Sequence[str | None]) -> str:
    return " → ".join(clean(_version(part)) if part else "–" for part in pair)


def _version(text: str) -> str:
    return short(text) if text.startswith("sha256:") else text


def _artifact_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows[:_SHOWN]:
        old, new = ([short(digest) for digest in digests] for digests in row["digests"])
        yield clean(f"{row['name']}  {', '.join(old) or '–'} → {', '.join(new) or '–'}")
    if len(rows) > _SHOWN:
        yield f"and {len(rows) - _SHOWN} more"


def _duration_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The steps whose time moved by what somebody would notice: a second, and a fifth of it."""
    told = []
    for row in rows:
        old, new = row["seconds"]
        if old and new and row["states"][1] != "cached" and abs(new - old) >= max(1.0, 0.2 * old):
            told.append((abs(new - old), f"{row['name']}  {duration(old)} → {duration(new)}"))
    yield from (line for _, line in sorted(told, reverse=True)[:_SHOWN])
