"""Transcripts of a terminal: commands, what they print, and whether that is what a page says.

What differs from run to run is made the same on both sides first: durations, sizes, digests, commits, dates,
and the order of steps that run side by side. `…` stands for anything in a line, and alone for any lines.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector

_END = "\x1e"
_LONGEST = 300.0
_SAME = (
    (re.compile(r"\b(?:\d+ (?:h|min) )?\d+(?:\.\d+)? (?:ms|s|min|h)\b"), "<time>"),
    (re.compile(r"\bin \d+\.\d+s\b"), "in <time>"),
    (re.compile(r"\b\d+(?:\.\d+)? (?:[KMG]i?B)\b"), "<size>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?)?\b"), "<date>"),
    (re.compile(r"\b(?:sha256:)?(?:[0-9a-f]{4}…[0-9a-f]{4}|[0-9a-f]{7,64})\b"), "<digest>"),
    (re.compile(r"\bprocess \d+\b"), "process <number>"),
)
_DIGEST = re.compile(r"\b(?:[0-9a-f]{4}…[0-9a-f]{4}|[0-9a-f]{7,64})\b")
_STEP = re.compile(r"[✓✗–↻] |… \w+\.")


@dataclass(frozen=True)
class Command:
    """A command of a transcript, and the lines that it is to print."""

    number: int
    text: str
    expected: str


def parse(text: str) -> list[Command]:
    """The commands of a block: `$ ` begins one, `> ` goes on with it. Raises ValueError for other text."""
    found: list[tuple[list[str], list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif not found:
            raise ValueError(
                f'a transcript begins with a command, such as "$ penstock run", not with "{line}"'
            )
        elif line.startswith("> ") and not found[-1][1]:
            found[-1][0].append(line[2:])
        else:
            found[-1][1].append(line)
    return [
        Command(number, "\n".join(command), "\n".join(output).rstrip("\n"))
        for number, (command, output) in enumerate(found)
    ]


def same(expected: str, printed: str) -> bool:
    """Whether what was printed is what the page says."""
    lines = [_pattern(line) for line in _ordered(normal(expected))]
    text = "".join(f"{line}\n" for line in _ordered(normal(printed)))
    return re.fullmatch("".join(lines), text) is not None


def normal(text: str) -> list[str]:
    """The lines of a text without what differs from run to run."""
    lines = []
    for line in text.rstrip("\n").splitlines():
        if line.startswith("… still running"):  # said now and then on a machine that is slow
            continue
        for pattern, word in _SAME:
            line = pattern.sub(word, line)
        indent = line[: len(line) - len(line.lstrip())]
        line = indent + " ".join(line.split())
        lines.append(line.removesuffix(" <time>") if _STEP.match(line) else line)
    return lines


def digests(expected: str, printed: str) -> dict[str, str]:
    """What each digest of a page is here, where a line that was printed is the page's in all else."""
    found: dict[str, str] = {}
    theirs = {normal(line)[0]: line for line in printed.splitlines() if line.strip()}
    for line in expected.splitlines():
        ours = theirs.get(normal(line)[0]) if line.strip() else None
        found |= zip(_DIGEST.findall(line), _DIGEST.findall(ours or ""), strict=False)
    return found


def _pattern(line: str) -> str:
    if line.strip() == "…":
        return r"(?:.*\n)*?"
    return ".*?".join(re.escape(part) for part in line.split("…")) + r"\n"


def _ordered(lines: Sequence[str]) -> list[str]:
    """Steps that stand side by side, with the lines below them, in the order of their names."""
    done: list[str] = []
    steps: list[list[str]] = []
    for line in lines:
        if _STEP.match(line):
            steps.append([line])
        elif steps and (line.startswith(" ") or line == "…"):
            steps[-1].append(line)
        else:
            done += _joined(steps)
            steps = []
            done.append(line)
    return done + _joined(steps)


def _joined(steps: list[list[str]]) -> list[str]:
    return [line for step in sorted(steps, key=lambda step: step[0].split()[1]) for line in step]


class Shell:
    """One bash, as a reader has one: directory and variables stay from one command to the next."""

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self._script = directory.parent / "command.sh"
        self._child = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=directory,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            bufsize=0,
        )
        self._say(f'_end() {{ printf \'{_END}%s{_END}\' "$1"; return "$1"; }}\n')

    def run(self, command: str) -> tuple[str, int]:
        """What a command prints, and its exit code. Raises TimeoutError, and EOFError where the shell ended."""
        self._script.write_text(command + "\n")
        self._say(f". '{self._script}' </dev/null; _end $?\n")
        return self._read_to_end()

    def close(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(_LONGEST)
        assert self._child.stdout is not None
        self._child.stdout.close()

    def _say(self, text: str) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(text.encode())

    def _read_to_end(self) -> tuple[str, int]:
        assert self._child.stdout is not None
        deadline = time.monotonic() + _LONGEST
        data = b""
        with DefaultSelector() as selector:
            selector.register(self._child.stdout, EVENT_READ)
            while data.count(_END.encode()) < 2:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(f"not over after {_LONGEST:.0f} s; so far: {data.decode()}")
                more = self._child.stdout.read(65536)
                if not more:
                    raise EOFError(f"it ended the shell; so far: {data.decode()}")
                data += more
        printed, code, _ = data.decode(errors="replace").split(_END)
        return printed, int(code)
