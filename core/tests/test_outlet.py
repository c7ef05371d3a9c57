"""A run does not wait for whoever reads what it says: a pipe may be full, and nobody there to read it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pytest

from core.tests.lab import Lab, until

FAKE = """
@hookimpl
def penstock_source(step):
    (step.workspace / "a.txt").write_text("source")
    return Revision(commit="c0ffee" + "0" * 34, time=1)

@hookimpl
def penstock_test(step):
    if step.name == "test.hangs":
        (step.project / "hangs").touch()
        time.sleep(600)
    return PASSED
"""
_SMALLEST = 4096
_SIZE = 1031  # F_SETPIPE_SZ


def project(lab: Lab, *, hangs: str = "") -> None:
    lab.plugin("fake", FAKE)
    text = '[source.it]\nuses = "fake"\n' + "".join(f'[test.t{n}]\nuses = "fake"\n' for n in range(40))
    lab.toml(text + (f'[test.hangs]\nuses = "fake"\n{hangs}' if hangs else ""), ("fake",))


@contextmanager
def unread(lab: Lab, *words: str, both: bool = False) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A command whose output goes to a pipe that is full soon, and that nobody reads yet."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, _SIZE, _SMALLEST)
    child = subprocess.Popen(
        [sys.executable, "-c", "from penstock.cli import main; main()", *words],
        cwd=lab.root,
        env={**os.environ, "PYTHONPATH": str(lab.site), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=writer if both else subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        try:
            yield child, pipe
        finally:
            child.kill()
            child.wait()


def test_it_goes_on_and_whoever_reads_at_last_has_all_of_it(lab: Lab) -> None:
    project(lab)
    with unread(lab, "run", "--json") as (child, pipe):
        until(lambda: lab.home.journal.exists() and [line.state for line in lab.journal.runs()] == ["passed"])
        assert child.poll() is None  # what it said is not all read

        events = [json.loads(line) for line in pipe]

        assert child.wait(timeout=30) == 0
    on_record = [event.id for event in lab.events()]
    assert [event["id"] for event in events] == on_record
    assert len(b"".join(json.dumps(event).encode() for event in events)) > 2 * _SMALLEST


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("both", [False, True], ids=["output", "output and errors"])
def test_it_is_cancelled_though_nobody_reads(number: int, both: bool, lab: Lab) -> None:
    project(lab, hangs="timeout = '100s'\n")
    with unread(lab, "run", "--json", both=both) as (child, _):
        until((lab.root / "hangs").exists)
        until(lambda: len([event for event in lab.events() if event.type == "step.finished"]) == 41)

        child.send_signal(number)

        assert child.wait(timeout=30) == 130
    assert lab.journal.run(1).state == "cancelled"
    assert lab.leftovers() == []


def test_a_timeout_counts_though_nobody_reads(lab: Lab) -> None:
    project(lab, hangs="timeout = '1s'\n")
    with unread(lab, "run", "--json") as (child, pipe):
        until(lambda: lab.home.journal.exists() and [line.state for line in lab.journal.runs()] == ["failed"])
        assert "1 s" in lab.reason("test.hangs")
        assert child.poll() is None
        pipe.close()

        assert child.wait(timeout=30) == 1


def test_a_run_that_is_over_does_not_wait_for_long_once_it_is_told_to_end(lab: Lab) -> None:
    project(lab)
    with unread(lab, "run", "--json") as (child, _):
        until(lambda: lab.home.journal.exists() and [line.state for line in lab.journal.runs()] == ["passed"])

        child.send_signal(signal.SIGTERM)

        assert child.wait(timeout=30) == 0
