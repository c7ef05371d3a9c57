"""`audit`: whether the journal is as it was written, and what vouches for that."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from penstock.audit import Open, Report, Seal
from penstock.audit import audit as look_through
from penstock.chain import Break
from penstock.cli.common import Opened, load_plan, open_project, print_json
from penstock.cli.lines import Look, row
from penstock.cli.text import clean
from penstock.configfile import find
from penstock.engine import load_run
from penstock.errors import ConfigError
from penstock.proof import check_reference
from penstock.summary import person

_MOST = 12  # lines of one kind


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--expect", default="", metavar="HASH", help="The head of an earlier audit has to be there.")
def audit(as_json: bool, expect: str) -> int:
    """Check that the journal is as it was written: its chain, and the seals on it."""
    expected = _digits(expect)
    path = find(Path.cwd())
    # Whom to trust is what the project says now: the journal is under test itself.
    _, plugins, plan = load_plan(path)
    opened = open_project(path)
    report = look_through(
        opened.journal,
        lambda reference: check_reference(opened.home, plugins, plan.signer, reference),
        lambda run: load_run(opened.journal, opened.home, run),
        expected=expected,
        logs_of=_logs(opened),
    )
    if as_json:
        print_json(_document(report))
    else:
        _print(report, signs=plan.signer is not None)
    return 0 if report.passed else 1


def _digits(expect: str) -> str:
    digits = expect.strip().lower().removeprefix("sha256:")
    if expect and (not 16 <= len(digits) <= 64 or set(digits) - set("0123456789abcdef")):
        raise ConfigError(
            f'--expect: "{expect}" is no hash: it takes sixteen of its hexadecimal digits or more, as an '
            "earlier penstock audit printed them"
        )
    return digits


def _logs(opened: Opened) -> list[int]:
    """The runs that have left something on the disk."""
    place = opened.home.root / "runs"
    return [int(each.name) for each in place.iterdir() if each.name.isdigit()] if place.is_dir() else []


def _document(report: Report) -> dict[str, Any]:
    return {
        "verdict": "passed" if report.passed else "failed",
        "events": report.events,
        "runs": report.runs,
        "head": report.head,
        "breaks": [each._asdict() for each in report.breaks],
        "seals": [
            {
                "event": seal.event,
                "run": seal.run,
                "covers": seal.covers,
                "signers": list(seal.signers),
                "invalid": seal.fault or None,
                "superseded": seal.superseded,
            }
            for seal in report.seals
        ],
        "sealed_to": report.covered,
        "unsealed": [each.__dict__ for each in report.unsealed],
        "notable": report.notable,
    }


def _print(report: Report, *, signs: bool) -> None:
    runs = f"{report.runs} run{'s' * (report.runs != 1)}"
    click.echo(f"{report.events} event{'s' * (report.events != 1)} of {runs}")
    if report.head:
        click.echo(f"head {report.head}")
    look = Look.of(sys.stdout).inside(2)
    for state, word, said in _rows(report, signs=signs):
        for line in row(look, state, word, 9, clean(said)):
            click.echo(f"  {line}")
    if not report.passed:
        click.echo("NOT AS IT WAS WRITTEN." if report.breaks or _bad(report) else "NOT SEALED.")


def _rows(report: Report, *, signs: bool) -> Iterator[tuple[str, str, str]]:
    for each in report.breaks:
        yield "failed", "chain", _where(each)
    if not report.breaks:
        yield "passed", "chain", "no event was changed, taken out, put in or moved"
    yield from (
        ("failed", "seal", f"event {seal.event} of run {seal.run}: {seal.fault}") for seal in _bad(report)
    )
    if report.covered:
        yield "passed", "seals", _good(report)
    elif not report.seals and not signs:
        yield (
            "skipped",
            "seals",
            "none, since the pipeline has no sign step: whoever can write the journal could make the whole "
            "chain anew, and only a head that you keep elsewhere would show it (--expect)",
        )
    yield from _open_rows([each for each in report.unsealed if each.due], "failed", "Once that is mended")
    yield from _open_rows([each for each in report.unsealed if not each.due and signs], "skipped", "")
    rest = report.events - report.covered - 1
    if report.covered and rest > 0:
        yield (
            "skipped",
            "open",
            f"the last {rest} events are not sealed yet: the next run that signs does that",
        )
    for note in report.notable[-_MOST:]:
        yield "skipped", "notable", note
    if len(report.notable) > _MOST:
        yield "skipped", "notable", f"{len(report.notable) - _MOST} more before these: penstock audit --json"


def _open_rows(runs: list[Open], state: str, cure: str) -> Iterator[tuple[str, str, str]]:
    for each in runs[-_MOST:]:
        way = f". {cure}: penstock resume {each.run}" if cure else ""
        yield state, "unsealed", f"run {each.run}, event {each.event}: {each.why}{way}"
    if len(runs) > _MOST:
        yield state, "unsealed", f"{len(runs) - _MOST} more runs before these: penstock audit --json"


def _bad(report: Report) -> list[Seal]:
    return [seal for seal in report.seals if seal.fault and not seal.superseded]


def _good(report: Report) -> str:
    good = [seal for seal in report.seals if not seal.fault]
    signers = sorted({person(signer) for seal in good for signer in seal.signers})
    return f"{len(good)}, by {', '.join(signers)}; the last vouches for all up to event {report.covered}"


def _where(each: Break) -> str:
    parts = [f"event {each.event}"]
    if each.run is not None:
        parts.append(f"run {each.run}")
    if each.step:
        parts.append(str(each.step))
    if isinstance(each.time, float):
        try:
            parts.append(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.time)))
        except (ValueError, OverflowError, OSError):
            parts.append(f"time {each.time}")
    return f"{each.kind}: {', '.join(parts)}: {each.detail}"
