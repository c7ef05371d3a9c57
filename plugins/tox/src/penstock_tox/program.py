"""Which tox runs, and its command lines. Nothing is run here but `tox --version`."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock import StepFailed, Tool

KEYS = ("package", "base_python", "platform", "ignore_outcome")
"""What is asked of each environment before it runs."""

USER_CONFIG = "TOX_USER_CONFIG_FILE"
"""Names the user's own options for tox; a step sets it to a file that is not there."""

_LEADING_AWAY = re.compile(r"TOXENV|TOX_\w+")
_PATIENCE = 30.0  # seconds
_VERSION = re.compile(r"\d+\.\d+\S*")


def find(path: str | None) -> list[str]:
    """What a command line begins with. Raises StepFailed where there is no such program."""
    if path is None:
        # -P: a module of the workspace must not take the place of one that tox imports.
        return [sys.executable, "-P", "-m", "tox"]
    program = Path(path).expanduser()
    if not (program.is_absolute() and program.is_file() and os.access(program, os.X_OK)):
        raise StepFailed(f"`path`: {path} is not the absolute path of a program. Correct it, or leave it out")
    return [str(program)]


def clean(variables: Mapping[str, str]) -> list[str]:
    """What takes away the machine's variables that would lead tox to other environments or options."""
    names = sorted(name for name in variables if _LEADING_AWAY.fullmatch(name) and name != USER_CONFIG)
    return ["env", *(word for name in names for word in ("-u", name))] if names else []


def ask(config: Path, work: Path, environments: Sequence[str] | None) -> list[str]:
    """Which environments would run, and a few things about each."""
    return ["config", *_where(config, work), *_chosen(environments), "-k", *KEYS]


def run(
    config: Path,
    work: Path,
    environments: Sequence[str],
    *,
    results: Path,
    package: Path | None,
    skip_missing: bool,
    parallel: int,
    recreate: bool,
    args: Sequence[str],
) -> list[str]:
    """Run these environments."""
    command = ["run"] if parallel == 1 else ["run-parallel", "--parallel-no-spinner", "--parallel-live"]
    words = [*command, *_where(config, work), *_chosen(environments), "--result-json", str(results)]
    words += ["--skip-missing-interpreters", "true" if skip_missing else "false"]
    words += ["--parallel", str(parallel)] if parallel > 1 else []
    words += ["--installpkg", str(package)] if package else []
    words += ["--recreate"] if recreate else []
    return [*words, *(["--", *args] if args else [])]


def tool(path: str | None) -> Tool | None:
    """The program with its version and digest; None where it is not there."""
    if path is None:
        spec = importlib.util.find_spec("tox.__main__")
        if spec is None or spec.origin is None:
            return None
        return _tool(importlib.metadata.version("tox"), spec.origin)
    try:
        [program] = find(path)
        done = subprocess.run(
            [program, "--version"],
            cwd="/",
            capture_output=True,
            check=False,
            timeout=_PATIENCE,
            stdin=subprocess.DEVNULL,
        )
    except (StepFailed, OSError, subprocess.TimeoutExpired):
        return None  # the step itself says so
    version = _VERSION.search(done.stdout.decode(errors="replace"))
    return _tool(version[0], program) if version else None


def _where(config: Path, work: Path) -> list[str]:
    # Without the file's name tox would look for one above the workspace, too.
    return ["--colored", "no", "--conf", str(config), "--workdir", str(work)]


def _chosen(environments: Sequence[str] | None) -> list[str]:
    return ["-e", ",".join(environments)] if environments else []


def _tool(version: str, path: str) -> Tool:
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Tool(name="tox", version=version, path=path, sha256=digest)
