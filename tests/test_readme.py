"""The README's first command, as a reader runs it: in a clone, from a path with spaces, twice."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests import transcripts
from tests.projects import ROOT

pytestmark = [pytest.mark.real, pytest.mark.slow]


def command_below(heading: str) -> str:
    """The one line of the one `sh` block below a heading."""
    text = (ROOT / "README.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    [line] = re.findall(r"^```sh\n(.+)\n```$", text, re.MULTILINE)
    return str(line)


def picture() -> str:
    """The README's picture of what the first command shows."""
    text = (ROOT / "README.md").read_text().partition("\n## Try it\n")[2]
    return text.partition("\n```text\n")[2].partition("\n```\n")[0]


def shown(out: str) -> str:
    """The part of what it printed that the picture is of, with another name for whoever ran it."""
    head, end, _ = out.partition("\n\nStopped staging")
    assert end
    return re.sub(r"(approve.production .*)\bby \S+,", r"\1by ana,", head[head.index("✓ source") :])


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files of this checkout as they stand, as a clone has them."""
    place = tmp_path / "a clone with späces"
    place.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).exists()]
    subprocess.run(["cp", "-a", "--parents", *names, place], cwd=ROOT, check=True)
    return place


def test_the_first_command_works_twice_from_a_path_with_spaces(clone: Path) -> None:
    for _ in range(2):
        done = subprocess.run(
            ["bash", "-c", command_below("Try it")],
            cwd=clone,
            env={name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        served = re.findall(
            r"^  (staging|production) +http://127\.0\.0\.1:\d+  200  (\S+)$", done.stdout, re.MULTILINE
        )
        [built] = set(re.findall(r"^ +sha256:(\S+)$", done.stdout, re.MULTILINE))
        assert served == [("staging", built), ("production", built)]
        assert transcripts.same(picture(), shown(done.stdout))
        assert "Nothing is left running." in done.stdout


def test_both_commands_are_one_line_each() -> None:
    assert command_below("Try it") == "./try-it"
    assert command_below("Run the tests") == "./run-tests"
