"""How a run looks: its events go to a Terminal on an emulated terminal, or in a pipe, with a clock that is set."""

from __future__ import annotations

import io
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock import plan
from penstock.cli.lines import Look, end_lines, revision_lines
from penstock.cli.terminal import Terminal
from penstock.config import Keys, Project, Section
from penstock.executor import Progress
from penstock.home import Home
from penstock.model import Event, Revision
from penstock.state import RunState

from core.tests.emulator import Emulator

A = "sha256:" + "4f2c1e9d" * 8


def section(name: str) -> Section:
    phase, _, own = name.partition(".")
    environment = own if phase in ("approve", "deploy", "verify") else None
    keys = Keys.model_validate({"uses": None if phase == "approve" else "shell"})
    return Section(name=name, phase=phase, keys=keys, plugin=keys.uses, settings={}, environment=environment)


class Run:
    """A run whose events the test tells, one after another."""

    def __init__(self, *names: str, home: Home, stream: Any, **options: Any) -> None:
        sections = tuple(section(name) for name in ("source", *names))
        project = Project(name="shop", root="/", digest=A, plugins=(), sections=sections)
        self.state = RunState(plan.make(project, {}), 1)
        self.now = 1000.0
        self.terminal = Terminal(home, stream, clock=lambda: self.now)
        self.number = 0
        self.tell("run.started", **options)

    def tell(self, kind: str, step: str | None = None, **data: Any) -> None:
        self.number += 1
        event = Event(id=self.number, run=1, time=self.now, type=kind, step=step, data=data)
        self.state.apply(event)
        self.terminal(event, self.state)

    def start(self, *steps: str) -> None:
        for step in steps:
            self.tell("step.started", step)

    def finish(self, *steps: str, state: str = "passed", **data: Any) -> None:
        for step in steps:
            self.tell("step.finished", step, state=state, **data)

    def wait(self, seconds: float) -> None:
        """Let time go by, as an engine does to which nothing happens: it calls when that is asked for."""
        end = self.now + seconds
        while (due := self.terminal.due()) is not None and due <= end:
            self.now = max(self.now, due)
            self.terminal.tick(self.state)
        self.now = end

    def end(self, state: str = "passed") -> None:
        self.tell("run.finished", state=state)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.of(tmp_path)


@pytest.fixture
def emulators() -> Iterator[Callable[..., Emulator]]:
    made: list[Emulator] = []

    def make(columns: int = 80, rows: int = 24) -> Emulator:
        made.append(Emulator(columns, rows))
        return made[-1]

    yield make
    for emulator in made:
        emulator.close()


@pytest.fixture
def emulator(emulators: Callable[..., Emulator]) -> Emulator:
    return emulators()


# --- the live region ---


def test_times_tick_though_nothing_happens(home: Home, emulator: Emulator) -> None:
    run = Run("test.unit", "test.slow", home=home, stream=emulator.stream())
    run.start("source")
    run.finish("source", summary="snapshot")
    run.start("test.unit")
    run.wait(2)
    run.start("test.slow")
    seen = []
    for _ in range(3):
        run.wait(1)
        seen.append([line.split() for line in emulator.running])
    run.terminal.close()

    assert [[words[1:] for words in lines] for lines in seen] == [
        [["test.unit", f"{n}", "s"], ["test.slow", f"{n - 2}", "s"]] for n in (3, 4, 5)
    ]


def test_progress_stands_beside_its_step(home: Home, emulator: Emulator) -> None:
    run = Run("test.unit", home=home, stream=emulator.stream())
    run.start("source")
    run.terminal(Progress("source", 3, 12, "src/app\x1b[2J.py"), run.state)
    run.wait(7.1)

    [line] = emulator.running
    assert line == "› source     3/12 src/app.py" + " " * 40 + " 7 s"


def test_steps_are_finished_above_the_region_and_never_touched(home: Home, emulator: Emulator) -> None:
    names = [f"test.t{n:03}" for n in range(60)]
    run = Run(*names, home=home, stream=emulator.stream())
    run.start("source")
    run.finish("source")
    for n, name in enumerate(names):
        run.start(name)
        if n >= 3:
            run.wait(0.3 * (n % 4))
            run.finish(names[n - 3], notes=["one", "two"][: n % 3])
    run.finish(*names[-3:])
    run.end()

    assert [line.split()[1] for line in emulator.finished] == ["source", *names]
    assert emulator.running == []
    assert 3 <= emulator.most_running <= 5


def test_a_burst_of_endings_is_drawn_once(home: Home, emulator: Emulator) -> None:
    names = [f"test.t{n}" for n in range(200)]
    run = Run(*names, home=home, stream=emulator.stream())
    run.start("source")
    run.finish("source")
    run.start(*names)
    run.wait(1)
    before = len(emulator.raw)
    run.finish(*names)
    run.wait(0.1)

    assert emulator.raw[before:].count(b"more running") == 1  # below the first; the others came at once
    assert len(emulator.finished) == 201


@pytest.mark.parametrize("rows", [4, 10, 24, 100])
def test_two_hundred_running_steps_leave_room(
    home: Home, emulators: Callable[..., Emulator], rows: int
) -> None:
    emulator = emulators(80, rows)
    names = [f"test.t{n}" for n in range(200)]
    run = Run(*names, home=home, stream=emulator.stream())
    run.start("source")
    run.finish("source", summary="snapshot")
    run.start(*names)
    run.wait(1)

    region = min(16, rows // 2)
    assert len(emulator.running) == region - 1
    assert f"  and {201 - region} more running; 1 of 201 done" in emulator.lines
    assert emulator.finished == emulator.lines[:1]
    assert len(emulator.lines) == rows  # nothing scrolled


@pytest.mark.parametrize("columns", [80, 40, 20])
def test_no_line_is_wider_than_the_terminal(
    home: Home, emulators: Callable[..., Emulator], columns: int
) -> None:
    emulator = emulators(columns, 200)
    long = "test.日本語のとても長い名前🎉" + "x" * 90
    run = Run(long, "test.unit", home=home, stream=emulator.stream())
    run.start("source")
    run.finish("source", summary="s" * 130, notes=["n" * 130, "! " + "words and " * 20])
    run.start(long, "test.unit")
    run.terminal(Progress(long, 1, 2, "テスト" * 50), run.state)
    run.wait(3.1)
    assert len(emulator.running) == 2
    assert all(line.endswith(" 3 s") for line in emulator.running)
    run.finish(long, state="failed", reason="理由" * 60, notes=["テ" * 100, "👧 e\u0301" * 60])
    run.finish("test.unit", summary="3 passed")
    run.end("failed")

    # Each line ended where the program said so: the terminal itself broke none.
    drawn_again = emulator.raw.count(b"\x1b[1A")
    assert emulator.raw.count(b"\n") - drawn_again == len(emulator.text.splitlines())
    text = emulator.text.replace("\n", "").replace(" ", "")
    for whole in ("s" * 130, "n" * 130, "wordsand" * 20, "理由" * 60, "テ" * 100):
        assert whole in text


def test_what_comes_from_others_is_shown_and_not_obeyed(home: Home, emulator: Emulator) -> None:
    evil = "a\x1b[2Jb\x1b]0;title\x07c\x1b]52;c;ZXZpbA==\x1b\\d\x9b31me\x00f\u202eg\x7fh\x08i\x1b"
    run = Run("test.unit", home=home, stream=emulator.stream())
    run.start("source", "test.unit")
    run.terminal(Progress("test.unit", 1, 2, evil), run.state)
    run.wait(1)
    run.finish("source", summary=evil, notes=[evil])
    run.finish("test.unit", state="failed", reason=evil, notes=[evil + "\nand more"])
    run.tell("step.retried", "test.unit", reason=evil, not_before=0)
    run.tell("run.cancelled", reason=evil)
    run.end("failed")

    shown = "abcde\\x00f\\u202eg\\x7fh\\x08i\\x1b"
    assert emulator.text.count(shown) == 5
    assert emulator.text.count("A" + shown[1:]) == 1
    rest = emulator.raw.decode().replace("\x1b[K", "").replace("\x1b[32m", "").replace("\x1b[31m", "")
    for known in ("\x1b[33m", "\x1b[0m", "\x1b[1A"):
        rest = rest.replace(known, "")
    assert all(c in "\r\n" or c.isprintable() for c in rest)


def test_a_narrower_terminal_shortens_the_region(home: Home, emulator: Emulator) -> None:
    run = Run("test.unit", "test.other", home=home, stream=emulator.stream())
    run.start("source")
    run.finish("source", summary="snapshot")
    run.start("test.unit", "test.other")
    run.terminal(Progress("test.unit", 1, 2, "x" * 60), run.state)
    run.wait(2.1)
    before = len(emulator.raw)
    emulator.resize(40, 24)
    os.kill(os.getpid(), signal.SIGWINCH)
    run.wait(0)  # at once

    assert [line.split()[-2:] for line in emulator.running] == [["2", "s"]] * 2
    assert emulator.text.startswith("✓ source")
    drawn = re.sub(r"\x1b\[\d*[A-Z]|\r", "", emulator.raw[before:].decode())
    assert [len(line) for line in drawn.split("\n")] == [39, 39]
    run.terminal.close()


def test_a_handler_of_its_own_is_put_back(home: Home, emulator: Emulator) -> None:
    before = signal.getsignal(signal.SIGWINCH)
    run = Run("test.unit", home=home, stream=emulator.stream())
    during = signal.getsignal(signal.SIGWINCH)
    run.terminal.close()

    assert during != before
    assert signal.getsignal(signal.SIGWINCH) == before


class Interrupted(io.FileIO):
    """A file to which something is written, and before that call is over a signal comes."""

    handler: Callable[[], None] | None = None

    def write(self, data: Any) -> int:
        written = super().write(data)
        handler, self.handler = self.handler, None
        if handler:
            handler()
        return written


def test_a_signal_while_it_draws_takes_the_region_away_all_the_same(home: Home, emulator: Emulator) -> None:
    raw = Interrupted(emulator.slave, "w", closefd=False)
    stream = io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", line_buffering=True)
    run = Run("test.a", "test.b", home=home, stream=stream)
    run.start("source")
    run.finish("source")
    run.start("test.a", "test.b")
    run.wait(0.1)
    emulator.until(lambda: len(emulator.running) == 2)
    raw.handler = run.terminal.close
    run.wait(1.0)
    emulator.until(lambda: b" 1 s" in emulator.raw and not emulator.running)

    assert emulator.text == "✓ source"


def test_a_step_that_waits_for_another_run_says_so(home: Home, emulator: Emulator) -> None:
    run = Run("deploy.staging", home=home, stream=emulator.stream())
    run.start("source")
    run.finish("source")
    assert "waits" not in emulator.text
    run.wait(2)

    assert "… deploy.staging waits: another run deploys to staging" in emulator.lines


def test_a_step_that_is_tried_again_says_when(home: Home, emulator: Emulator) -> None:
    run = Run("test.unit", home=home, stream=emulator.stream())
    run.start("source")
    run.tell("step.retried", "source", reason="no network", not_before=run.now + 30)
    run.wait(10)

    assert emulator.lines[:2] == ["↻ source     again: no network", "… source again in 20 s"]


# --- without a region ---


PLAIN = {"a pipe": {}, "TERM=dumb": {"TERM": "dumb"}, "CI=true": {"CI": "true"}}


@pytest.mark.parametrize("env", PLAIN.values(), ids=PLAIN)
def test_without_a_region_there_is_a_line_a_step_at_once(
    home: Home, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, env: dict[str, str]
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_COLOR", "1")
    pipe = io.StringIO()
    run = Run("test.unit", home=home, stream=emulator.stream() if env else pipe)

    def shown() -> str:
        return emulator.raw.decode().replace("\r", "") if env else pipe.getvalue()

    run.start("source")
    run.wait(10)
    assert shown() == ""
    run.finish("source", summary="snapshot of 4f2c1e9")
    assert shown() == "✓ source     snapshot of 4f2c1e9                                    10 s\n"
    run.start("test.unit")
    run.finish("test.unit", summary="24 passed")
    run.end()
    assert shown().splitlines()[1:] == ["✓ test.unit  24 passed"]


def test_a_quiet_minute_in_a_pipe_does_not_look_dead(home: Home) -> None:
    pipe = io.StringIO()
    run = Run("test.a", "test.b", "test.c", "test.d", "test.e", home=home, stream=pipe)
    run.start("source")
    run.wait(59)
    assert pipe.getvalue() == ""
    run.wait(2)
    run.finish("source", summary="s")
    run.start("test.a", "test.b", "test.c", "test.d", "test.e")
    run.wait(130)
    run.end()

    assert pipe.getvalue().splitlines() == [
        "… still running: source 60 s",
        "✓ source  s                                                         61 s",
        "… still running: test.a 60 s, test.b 60 s, test.c 60 s and 2 more",
        "… still running: test.a 2 min 0 s, test.b 2 min 0 s, test.c 2 min 0 s and 2 more",
    ]


def test_no_color_leaves_the_region_and_takes_the_colours(
    home: Home, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    run = Run("test.unit", home=home, stream=emulator.stream())
    run.start("source")
    run.wait(1)
    assert len(emulator.running) == 1
    run.finish("source", state="failed", reason="no")
    run.end("failed")

    assert re.search(rb"\x1b\[[\d;]*m", emulator.raw) is None


def test_an_encoding_without_the_signs_gets_others(home: Home) -> None:
    latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="replace")
    run = Run("test.unit", home=home, stream=latin)
    run.start("source")
    run.finish("source", summary="fine")
    run.start("test.unit")
    run.finish("test.unit", state="failed", reason="broken")
    run.end("failed")
    latin.seek(0)

    assert latin.read().splitlines() == ["+ source     fine", "x test.unit  broken"]


# --- what is said ---


def test_the_end_of_a_failed_steps_output_is_shown_without_asking(home: Home) -> None:
    log = home.log(1, "test.unit", 1)
    log.parent.mkdir(parents=True)
    log.write_bytes(
        b"$ make check\n" + b"".join(b"line %d\n" % n for n in range(20)) + b"10%\r100% \x1b[31mred\n\n"
    )
    pipe = io.StringIO()
    run = Run("test.unit", home=home, stream=pipe)
    run.start("test.unit")
    run.finish("test.unit", state="failed", reason="make ended with 2")

    assert pipe.getvalue().splitlines() == [
        "✗ test.unit  make ended with 2",
        *(f"    line {n}" for n in range(13, 20)),
        "    100% red",
    ]


def test_what_was_not_started_says_why_once(home: Home) -> None:
    pipe = io.StringIO()
    run = Run("test.unit", "sign.release", "approve.live", "deploy.live", home=home, stream=pipe)
    run.start("test.unit")
    run.finish("test.unit", state="refused", reason="no test was found (rule). Do this")
    run.end("failed")
    run.terminal(Event(id=99, run=1, time=1.0, type="run.finished", data={"state": "failed"}), run.state)

    assert pipe.getvalue().splitlines() == [
        "✗ test.unit     refused: no test was found (rule). Do this",
        "– sign.release  not started: test.unit refused",
        "– approve.live  not started: test.unit refused",
        "– deploy.live   not started: test.unit refused",
    ]


def test_cancelling_says_what_happens_and_what_a_second_time_does(home: Home) -> None:
    pipe = io.StringIO()
    run = Run("deploy.live", home=home, stream=pipe)
    run.start("source")
    run.tell("run.cancelled", reason="cancelled by Ctrl-C")

    assert pipe.getvalue() == "Cancelled by Ctrl-C: ending what runs.\nCtrl-C again leaves at once.\n"


REVISIONS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "clean": ({}, []),
    "one file": (
        {"left_out": ("src/app/api.py",)},
        [
            "Revision 77ab03d, main. NOT in this run: 1 uncommitted file",
            "  penstock.toml is used as it stands; --dirty takes src/app/api.py too",
        ],
    ),
    "five files": (
        {"left_out": ("a", "b", "c", "d", "e\x1b[2J")},
        [
            "Revision 77ab03d, main. NOT in this run: 5 uncommitted files",
            "  penstock.toml is used as it stands; --dirty takes a, b and 3 more too",
        ],
    ),
    "very many": (
        {"left_out": (*(str(n) for n in range(200)), "… and 1,000 more")},
        [
            "Revision 77ab03d, main. NOT in this run: over 200 uncommitted files",
            "  penstock.toml is used as it stands; --dirty takes 0, 1 and 199 more too",
        ],
    ),
    "dirty": ({"dirty": True}, ["Revision 77ab03d+, main, with what is not committed (--dirty)"]),
    "no branch": (
        {"ref": None, "dirty": True},
        ["Revision 77ab03d+, with what is not committed (--dirty)"],
    ),
}


@pytest.mark.parametrize(("fields", "lines"), REVISIONS.values(), ids=REVISIONS)
def test_what_is_not_in_a_run_is_named_first(fields: dict[str, Any], lines: list[str]) -> None:
    revision = Revision(**{"commit": "77ab03d" + "0" * 33, "ref": "main", **fields})

    assert revision_lines(revision, Look()) == lines


def test_a_plugin_that_nobody_committed_is_used_as_it_stands() -> None:
    left = Revision(commit="77ab03d" + "0" * 33, left_out=("ci/ours.py", "src/app.py"))

    said = revision_lines(left, Look(), ["ci/ours.py", "ci/committed.py"])

    assert said[-1] == (
        "  penstock.toml and ci/ours.py are used as they stand; --dirty takes ci/ours.py, src/app.py too"
    )


def ended(home: Home, *names: str, failed: str, state: str = "failed", **options: Any) -> str:
    run = Run(*names, home=home, stream=io.StringIO(), **options)
    for name in run.state.steps:
        if name == failed:
            break
        run.start(name)
        run.finish(name)
    run.start(failed)
    run.finish(failed, state=state, reason="no")
    run.end(state)
    return "\n".join(end_lines(run.state, 14.0, "last", Look()))


def test_a_run_that_failed_says_what_was_not_done_and_where_to_look(home: Home) -> None:
    all_of_it = ("test.pytest", "sign.release", "publish.it", "deploy.live")
    hint = (
        "\n  penstock logs last test.pytest      whole output"
        "\n  penstock shell last test.pytest     a shell where it failed"
    )

    assert ended(home, *all_of_it, failed="test.pytest") == (
        "\nFailed in 14 s. Run 1. Nothing was signed, published or deployed." + hint
    )
    assert ended(home, "test.pytest", "sign.release", failed="test.pytest") == (
        "\nFailed in 14 s. Run 1. Nothing was signed." + hint
    )
    assert ended(home, "test.pytest", failed="test.pytest") == "\nFailed in 14 s. Run 1." + hint
    assert ended(home, *all_of_it, failed="publish.it") == (
        "\nFailed in 14 s. Run 1. Nothing was deployed.\n  penstock logs last publish.it     whole output"
    )
    asked = ["source", "test.pytest"]
    assert ended(home, *all_of_it, failed="test.pytest", selected=asked) == (
        "\nFailed in 14 s. Run 1." + hint
    )


def test_a_run_that_waits_says_both_words(home: Home) -> None:
    run = Run("approve.live", "deploy.live", home=home, stream=io.StringIO())
    run.start("source")
    run.finish("source")
    run.tell("approval.requested", "approve.live", reason="waits for a person")
    run.tell("run.waiting", state="waiting")

    assert end_lines(run.state, 3.0, "last", Look()) == [
        "",
        "Waiting in 3.0 s. Run 1.",
        "  penstock approve 1 live     or: penstock reject 1 live",
    ]
