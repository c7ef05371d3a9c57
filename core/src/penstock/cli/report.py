"""`report`: a run's tests and findings in the forms that other programs show."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from penstock import reports
from penstock.cli.common import Opened, not_pruned, open_project
from penstock.cli.files import replace
from penstock.cli.text import clean
from penstock.errors import ConfigError, PluginError
from penstock.findings import ScanReport
from penstock.model import TestReport
from penstock.reports import Part
from penstock.state import RunState

_MODELS: dict[str, type[TestReport | ScanReport]] = {"test": TestReport, "scan": ScanReport}


@click.command()
@click.argument("run", default="last")
@click.option("--junit", metavar="FILE", help="Write what was tested, as JUnit XML; - is standard output.")
@click.option("--sarif", metavar="FILE", help="Write what scans found, as SARIF 2.1.0; - is standard output.")
def report(run: str, junit: str | None, sarif: str | None) -> int:
    """Write JUnit XML and SARIF of a run, for a CI server or an editor to show."""
    if junit is None and sarif is None:
        raise ConfigError("say what to write, such as: penstock report --junit junit.xml --sarif scan.sarif")
    opened = open_project()
    state = opened.state(run)
    not_pruned(state, "its reports with it")
    parts = list(_parts(opened, state))
    if junit is not None:
        tests = sum(part.phase == "test" for part in parts)
        _write(
            junit, reports.junit(parts), f"{tests} test step{'' if tests == 1 else 's'} of run {state.run}"
        )
    if sarif is not None:
        log = reports.sarif(parts)
        text = json.dumps(log, indent=2, ensure_ascii=False) + "\n"
        scans = len(log["runs"])
        what = f"{scans} scan step{'' if scans == 1 else 's'} of run {state.run}"
        _write(sarif, text.encode(errors="replace"), what)
    return 0


def _parts(opened: Opened, state: RunState) -> list[Part]:
    parts = []
    for name, step in state.steps.items():
        phase = state.plan.by_name[name].phase
        model = _MODELS.get(phase)
        if model is None:
            continue
        kept = None
        if step.report is not None:
            kept = model.model_validate_json(opened.home.store.read(step.report))
        parts.append(
            Part(
                name=name,
                phase=phase,
                state=step.state,
                reason=step.reason,
                summary=step.summary,
                seconds=step.seconds,
                report=kept,
            )
        )
    return parts


def _write(file: str, data: bytes, what: str) -> None:
    if file == "-":
        sys.stdout.buffer.write(data)
        return
    try:
        replace(Path(file), data)
    except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        raise ConfigError(
            f"{file} can't be written: {error.strerror}: {error.filename}. Name a file"
        ) from None
    except OSError as error:
        raise PluginError(f"{file} can't be written: {error.strerror}") from None
    click.echo(clean(f"Wrote {file}: {what}."), err=True)
