"""What a user sees: whole runs on an emulated terminal of several sizes, and in a pipe."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from itertools import dropwhile
from pathlib import Path

import pytest

from core.tests.emulator import Emulator, kill
from tests.projects import Project

TWO_TESTS = """\
[penstock]
plugins = ["git", "shell"]

[test.quick]
uses = "shell"
run = "true"

[test.slow]
uses = "shell"
run = "sh wait.sh"
"""


@pytest.fixture
def open_terminal() -> Iterator[Callable[..., Emulator]]:
    made: list[Emulator] = []

    def make(columns: int = 80, rows: int = 24) -> Emulator:
        made.append(Emulator(columns, rows))
        return made[-1]

    yield make
    for emulator in made:
        emulator.close()


class Waiting:
    """A project with a step that waits until the test lets it go on."""

    def __init__(self, project: Project, place: Path) -> None:
        self.project = project
        self._go = place / "go"
        os.mkfifo(self._go)
        project.commit({"penstock.toml": TWO_TESTS, "wait.sh": f"cat '{self._go}'\n"})

    def let_it_go(self) -> None:
        self._go.write_text("")


@pytest.fixture
def waiting(project: Project, tmp_path: Path) -> Waiting:
    return Waiting(project, tmp_path)


def start(emulator: Emulator, project: Project, *arguments: str, **env: str) -> int:
    fixed = {name: value for name, value in project.env.items() if name not in ("CI", "NO_COLOR", "COLUMNS")}
    command = [project.penstock, *arguments]
    return emulator.start(command, cwd=project.root, env={**fixed, "TERM": "xterm-256color", **env})


def plainly(text: str) -> str:
    """A text without what differs from run to run: times, digests, commits."""
    text = re.sub(r" +\d+(\.\d)? s$", "", text, flags=re.MULTILINE)
    text = re.sub(r" in \d+(\.\d)? s\.", " in T.", text)
    text = re.sub(r"\b[0-9a-f]{4}…[0-9a-f]{4}\b", "DIGEST", text)
    text = re.sub(r"\b[0-9a-f]{12}\b", "PLAN", text)
    return re.sub(r"\b[0-9a-f]{7}\b", "COMMIT", text)


QUICK_AND_SLOW = """\
✓ source      snapshot of COMMIT
✓ test.quick  true
✓ test.slow   sh wait.sh

Passed in T. Run 1."""


def test_the_times_of_running_steps_tick(waiting: Waiting, open_terminal: Callable[..., Emulator]) -> None:
    emulator = open_terminal()
    pid = start(emulator, waiting.project, "run")
    for second in (1, 2):
        emulator.until(lambda line=rf"› test.slow +{second} s": re.search(line, emulator.text))
    waiting.let_it_go()

    assert emulator.end(pid) == 0
    assert plainly(emulator.text) == QUICK_AND_SLOW
    assert b"\x1b[32m" in emulator.raw


def test_a_terminal_that_gets_narrower_while_it_runs(
    waiting: Waiting, open_terminal: Callable[..., Emulator]
) -> None:
    emulator = open_terminal(100)
    pid = start(emulator, waiting.project, "run")
    emulator.until(lambda: re.search(r"› test.slow {50}", emulator.text))
    before = len(emulator.raw)
    emulator.resize(40, 24)
    emulator.until(lambda: re.search(r"^› test.slow {20,27} \d+ s$", emulator.text, re.MULTILINE))
    waiting.let_it_go()

    assert emulator.end(pid) == 0
    assert len(emulator.finished) == 3
    drawn = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", emulator.raw[before:].decode())
    # What was on its way by then may come first; from then on all of it is narrow.
    lines = list(dropwhile(lambda line: len(line) >= 40, re.split(r"[\r\n]+", drawn)))
    assert lines
    assert all(len(line) < 40 for line in lines)


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"CI": "true"}], ids=str)
def test_a_terminal_that_can_only_print_gets_a_line_a_step(
    waiting: Waiting, open_terminal: Callable[..., Emulator], env: dict[str, str]
) -> None:
    emulator = open_terminal()
    pid = start(emulator, waiting.project, "run", NO_COLOR="1", **env)
    emulator.until(lambda: "✓ test.quick" in emulator.text)
    waiting.let_it_go()

    assert emulator.end(pid) == 0
    assert plainly(emulator.text) == QUICK_AND_SLOW
    assert b"\x1b" not in emulator.raw


def test_no_color_takes_the_colours_alone(waiting: Waiting, open_terminal: Callable[..., Emulator]) -> None:
    emulator = open_terminal()
    pid = start(emulator, waiting.project, "run", NO_COLOR="1")
    emulator.until(lambda: emulator.running)
    waiting.let_it_go()

    assert emulator.end(pid) == 0
    assert re.search(rb"\x1b\[[\d;]*m", emulator.raw) is None


def test_in_a_pipe_each_line_comes_when_its_step_is_over(waiting: Waiting) -> None:
    child = waiting.project.start("run", env={"TERM": "xterm"})
    assert child.stdout is not None
    first = [child.stdout.readline() for _ in range(2)]  # while the third step runs
    waiting.let_it_go()
    rest, err = child.communicate(timeout=60)

    assert plainly("".join(first) + rest) == QUICK_AND_SLOW + "\n"
    assert "\x1b" not in rest
    assert (child.returncode, err) == (0, "")


def test_events_and_lines_do_not_run_into_each_other(
    waiting: Waiting, open_terminal: Callable[..., Emulator]
) -> None:
    emulator = open_terminal(200, 60)
    pid = start(emulator, waiting.project, "run", "--json")
    emulator.until(lambda: "✓ test.quick" in emulator.text)
    waiting.let_it_go()

    assert emulator.end(pid) == 0
    assert emulator.most_running == 0
    assert '"type": "run.finished"' in emulator.text


def test_ctrl_c_says_what_happens_and_clears_up(
    waiting: Waiting, open_terminal: Callable[..., Emulator]
) -> None:
    emulator = open_terminal()
    pid = start(emulator, waiting.project, "run")
    emulator.until(lambda: len(emulator.finished) == 2 and emulator.running)
    emulator.type(b"\x03")

    assert emulator.end(pid) == 130
    assert emulator.running == []
    assert plainly(emulator.text) == (
        "✓ source      snapshot of COMMIT\n"
        "✓ test.quick  true\n"
        "Cancelled by Ctrl-C: ending what runs.\n"
        "Ctrl-C again leaves at once.\n"
        "– test.slow   cancelled by Ctrl-C\n\n"
        "Cancelled in T. Run 1."
    )


def test_a_second_ctrl_c_leaves_at_once_and_clears_up(
    project: Project, tmp_path: Path, open_terminal: Callable[..., Emulator]
) -> None:
    os.mkfifo(tmp_path / "go")
    stubborn = f"trap '' TERM INT; echo begun; cat '{tmp_path / 'go'}'"
    project.commit({"penstock.toml": TWO_TESTS.replace("sh wait.sh", stubborn)})
    emulator = open_terminal()
    pid = start(emulator, project, "run")
    emulator.until(lambda: len(emulator.finished) == 2 and emulator.running)
    emulator.type(b"\x03")
    emulator.until(lambda: "Ctrl-C again leaves at once." in emulator.lines)
    emulator.type(b"\x03")

    assert emulator.end(pid) == 130
    assert emulator.running == []
    assert emulator.lines[4:] == [""] * len(emulator.lines[4:]) or "Cancelled in" in emulator.text


def test_logs_on_a_terminal_show_colours_and_obey_nothing_else(
    project: Project, open_terminal: Callable[..., Emulator]
) -> None:
    evil = "printf 'a\\033[2Jb\\033[31mred\\033[0m\\033]0;title\\007c\\n'"
    project.commit({"penstock.toml": TWO_TESTS, "wait.sh": evil})
    project.passes("run")
    emulator = open_terminal()

    assert emulator.end(start(emulator, project, "logs", "last", "test.slow")) == 0
    assert emulator.lines[1] == "abredc"
    assert b"\x1b[31mred\x1b[0m" in emulator.raw
    assert "\x1b[2Jb" in project.passes("logs", "last", "test.slow").out  # a file gets it as it is


def test_bash_completes_what_is_typed(project: Project, open_terminal: Callable[..., Emulator]) -> None:
    project.commit({"penstock.toml": TWO_TESTS})
    emulator = open_terminal()
    path = f"{project.penstock.parent}:{project.env['PATH']}"
    env = {**project.env, "PATH": path, "TERM": "xterm", "PS1": "> ", "HISTFILE": ""}
    pid = emulator.start([Path("/bin/bash"), "--norc", "--noprofile"], cwd=project.root, env=env)
    emulator.type(b'eval "$(penstock completion bash)"; echo ready\n')
    emulator.until(lambda: "ready" in emulator.lines)
    emulator.type(b"penstock run --on\t")
    emulator.until(lambda: "> penstock run --only" in emulator.text)
    emulator.type(b"test.sl\t")
    emulator.until(lambda: "> penstock run --only test.slow" in emulator.text)
    emulator.type(b"\x15exit\n")

    assert emulator.end(pid) == 0


def test_a_run_that_is_killed_leaves_a_terminal_that_works(
    waiting: Waiting, open_terminal: Callable[..., Emulator]
) -> None:
    emulator = open_terminal()
    pid = start(emulator, waiting.project, "run")
    emulator.until(lambda: len(emulator.finished) == 2 and emulator.running)
    kill(pid)

    assert emulator.cursor_is_shown
    assert emulator.wraps
    assert emulator.echoes
    resumed = waiting.project.start("resume")
    assert resumed.stdout is not None
    assert resumed.stdout.readline() == "Run 1 goes on: 2 of 3 steps are done.\n"
    waiting.let_it_go()
    assert resumed.communicate(timeout=60)[0].splitlines()[-1].startswith("Passed in ")


def test_a_run_in_the_background_draws_nothing(
    waiting: Waiting, open_terminal: Callable[..., Emulator]
) -> None:
    emulator = open_terminal()
    script = 'set -m; "$0" run & wait $!'
    bash = Path("/bin/bash")
    env = {**waiting.project.env, "TERM": "xterm"}
    pid = emulator.start([bash, "-c", script, waiting.project.penstock], cwd=waiting.project.root, env=env)
    emulator.until(lambda: "✓ test.quick" in emulator.text)
    waiting.let_it_go()

    assert emulator.end(pid) == 0
    assert emulator.most_running == 0


def test_show_repeats_what_the_run_printed(waiting: Waiting, open_terminal: Callable[..., Emulator]) -> None:
    waiting.project.write({"extra.txt": "not committed"})
    child = waiting.project.start("run")
    assert child.stdout is not None
    begun = ""
    while "✓ test.quick" not in begun:  # it is over before the slow one is let go
        line = child.stdout.readline()
        assert line
        begun += line
    waiting.let_it_go()
    printed = begun + child.communicate(timeout=60)[0]

    head, _, shown = waiting.project.passes("show").out.partition("\nA change\n")
    assert re.fullmatch(r"Run 1  passed  \w{7}  plan \w{12}", head)
    assert shown == printed
    emulator = open_terminal(40, 60)
    assert emulator.end(start(emulator, waiting.project, "show")) == 0
    assert (
        plainly(emulator.text)
        == """\
Run 1  passed  COMMIT  plan
PLAN
A change
Revision COMMIT, main. NOT in this
run: 1 uncommitted file
  penstock.toml is used as it stands;
    --dirty takes extra.txt too
✓ source
    snapshot of COMMIT
✓ test.quick
    true
✓ test.slow
    sh wait.sh

Passed in T. Run 1."""
    )


# --- the transcripts of the first minutes ---


OWN = {
    "pyproject.toml": """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "app"
version = "2.3.1"
requires-python = ">=3.11"

[dependency-groups]
test = ["pytest>=8"]
""",
    "src/app/__init__.py": "",
    "src/app/api.py": "def refund(order):\n    return Answer(200)\n\n\nclass Answer:\n"
    "    def __init__(self, status):\n        self.status = status\n",
    "tests/test_many.py": "import pytest\n\n\n@pytest.mark.parametrize('n', range(211))\ndef test_n(n):\n    pass\n",
    "tests/test_api.py": "from app.api import refund\n" + "\n" * 36 + "\ndef test_refund_twice():\n"
    "    order = 7\n    assert refund(order).status == 409\n",
}
OWN_PIPELINE = """\
[penstock]
plugins = ["git", "python", "pytest", "shell", "trivy", "sigstore"]

[build.wheel]
uses = "python"
formats = ["wheel"]

[test.pytest]
uses = "pytest"

[test.style]
uses = "shell"
run = "grep -q def src/app/api.py"

[scan.wheel]
uses = "trivy"
scanners = ["secret"]

[sign.release]
uses = "sigstore"
"""


@pytest.mark.real
def test_one_failing_test_in_a_project_of_ones_own(
    project: Project, open_terminal: Callable[..., Emulator]
) -> None:
    project.commit(OWN, message="Refund, 返金 \x1b[2J\u202e")
    project.write({"penstock.toml": OWN_PIPELINE, "src/app/api.py": "broken"})
    emulator = open_terminal()

    assert emulator.end(start(emulator, project, "run"), within=600) == 1
    head, rest = plainly(emulator.text).split("✓ build.wheel", 1)
    assert (
        head
        == """\
Revision COMMIT, main. NOT in this run: 1 uncommitted file
  penstock.toml is used as it stands; --dirty takes src/app/api.py too
✓ source        snapshot of COMMIT
"""
    )
    lines = ("✓ build.wheel" + rest).split("\n")
    assert lines[:2] == [
        "✓ build.wheel   app-2.3.1-py3-none-any.whl",
        "                sha256:DIGEST",
    ]
    failed = lines.index("✗ test.pytest   1 of 212 failed")
    assert lines[failed + 1 : failed + 4] == [
        "    tests/test_api.py:41  test_refund_twice",
        "      > assert refund(order).status == 409",
        "      E assert 200 == 409",
    ]
    assert "✓ test.style    grep -q def src/app/api.py" in lines
    assert "✓ scan.wheel    no secrets" in lines
    assert lines[-5:] == [
        "– sign.release  not started: test.pytest failed",
        "",
        "Failed in T. Run 1. Nothing was signed.",
        "  penstock logs last test.pytest      whole output",
        "  penstock shell last test.pytest     a shell where it failed",
    ]
    assert "1 failed, 211 passed" in project.passes("logs", "last", "test.pytest").out
    for columns, rows in ((80, 60), (40, 60)):
        again = open_terminal(columns, rows)
        assert again.end(start(again, project, "show")) == 0
        assert "Refund, 返金" in again.text
        assert columns == 40 or again.text.split("\n", 2)[2] == emulator.text
