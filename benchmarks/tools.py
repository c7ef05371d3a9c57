"""What a tool is for the benchmark, and where the tools come from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.workloads import Graph

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "/usr/bin/true"
"""What every step runs."""
SLOTS = 2
"""How many steps may run side by side."""


class UnavailableError(Exception):
    """A tool can't be measured here, and why."""


@dataclass(frozen=True)
class Tool:
    """One tool: how its projects look, how it is run, and how many steps its output says it ran."""

    name: str
    write: Callable[[Path, Graph], None]
    """Writes a project into an empty directory."""
    run: tuple[str, ...]
    """The command line; its first word is found in `place`, or on PATH."""
    ran: Callable[[str], int]
    """How many steps a run's output names as done."""
    pip: tuple[str, ...] = ()
    npm: tuple[str, ...] = ()
    version: tuple[str, ...] = ("--version",)
    cached: bool = False
    """Whether a second run with nothing changed may leave out steps."""
    keeps: tuple[str, ...] = ()
    """What is kept between two first runs: environments that are made once."""
    needs: tuple[str, ...] = ()
    """Programs that must be there."""
    env: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


def lines(*parts: str | Iterable[str]) -> str:
    """A text of these lines."""
    return "\n".join(line for part in parts for line in ([part] if isinstance(part, str) else part)) + "\n"


def count(pattern: str) -> Callable[[str], int]:
    """Counts the lines of the output in which a pattern is found."""
    found = re.compile(pattern, re.MULTILINE)
    return lambda output: len(found.findall(output))


def number(pattern: str) -> Callable[[str], int]:
    """Reads the number that the last match of a pattern holds."""
    found = re.compile(pattern)

    def read(output: str) -> int:
        numbers = found.findall(output)
        return int(numbers[-1]) if numbers else 0

    return read


def environment(cache: Path, tool: Tool) -> dict[str, str]:
    """What every measured program sees: nothing of the caller's but PATH."""
    home = cache / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.pathsep.join([str(place(cache, tool)), "/usr/bin", "/bin", os.environ.get("PATH", "")]),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        **tool.env,
    }


def place(cache: Path, tool: Tool) -> Path:
    """The directory of a tool's program, where the benchmark installs it."""
    if tool.npm:
        return cache / tool.name / "node_modules" / ".bin"
    return cache / tool.name / "bin"


def install(cache: Path, tool: Tool, timeout: float) -> None:
    """Make a tool's environment, once. Raises UnavailableError."""
    for program in tool.needs:
        if shutil.which(program) is None:
            raise UnavailableError(f"{program} is not installed")
    wanted = "\n".join((*tool.pip, *tool.npm, sys.version if tool.pip else ""))
    home = cache / tool.name
    note = home / "installed.txt"
    fresh = tool.pip and tool.pip[0].startswith("/")  # what is in this repository changes
    if not wanted.strip() or (not fresh and note.is_file() and note.read_text() == wanted):
        return
    home.mkdir(parents=True, exist_ok=True)
    if tool.npm:
        (home / "package.json").write_text("{}\n")
        _call(["npm", "install", "--no-audit", "--no-fund", "--silent", *tool.npm], home, timeout)
    else:
        _call([sys.executable, "-m", "venv", "--clear", str(home)], home, timeout)
        pip = [str(home / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        _call([*pip, "install", *tool.pip], home, timeout)
    note.write_text(wanted)


def _call(argv: Sequence[str], cwd: Path, timeout: float) -> None:
    try:
        done = subprocess.run(
            argv, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{argv[0]} took longer than {timeout:g} s to install it") from None
    except OSError as error:
        raise UnavailableError(f"{argv[0]} can't be run: {error.strerror}") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["no word why"]
        raise UnavailableError(f"it can't be installed: {said[-1][:200]}")
