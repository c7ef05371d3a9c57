"""The Python that builds: where it is, what it is, and an environment of it that has `build`."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from penstock import Step, StepFailed

Installer = Literal["uv", "pip"]

_PROBE = """
import json, os, platform, sys
names = [n for n in os.environ if n.startswith(tuple(sys.argv[1:]))]
print(json.dumps([platform.python_version(), sys.executable, names]))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python, and which of the variables asked for are set in what a step starts."""

    version: str
    path: str
    present: frozenset[str]


def find(name: str) -> str | None:
    """The path of an interpreter that is named by its path or its name on PATH, as a step sees it."""
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    return shutil.which(_at_home(name), path=search)


def probe(step: Step, name: str | None, prefixes: Sequence[str]) -> Interpreter:
    """Start the interpreter and ask it. Raises StepFailed where it is none or doesn't start."""
    path = sys.executable if name is None else _at_home(name)
    try:
        # Not looked for beforehand: the section's env may have a PATH of its own.
        done = step.run([path, "-I", "-c", _PROBE, *prefixes], capture=True, quiet=True, check=False)
    except StepFailed as error:
        raise StepFailed(
            f"{error}. It is what the setting python names. Install it, or name one by its path or by its "
            "name on PATH; without the setting, Penstock's own is used"
        ) from None
    try:
        version, executable, present = json.loads(done.stdout)
    except ValueError:
        raise StepFailed(
            f"{path}, which the setting python names, is no Python that works: it ended with status "
            f"{done.returncode}. Its output: penstock logs {step.number} {step.name}"
        ) from None
    return Interpreter(version, executable, frozenset(present))


def pick_installer(setting: Installer | None) -> Installer:
    """What fills the build environments: uv if it is found, else pip.

    Raises StepFailed where uv is wanted and not there.
    """
    if setting == "pip":
        return "pip"
    if find_uv() is not None:
        return "uv"
    if setting == "uv":
        raise StepFailed(
            'installer = "uv", but uv is not there. Install it (pip install "penstock-python[uv]"), or use '
            'installer = "pip"'
        )
    return "pip"


def find_uv() -> str | None:
    """The uv that `build` would use: the one installed beside Penstock, else the one on PATH."""
    beside = Path(sys.executable).parent / "uv"
    if importlib.util.find_spec("uv") is not None and beside.is_file():
        return str(beside)
    return shutil.which("uv")


def with_build(step: Step, chosen: Interpreter, installer: Installer) -> list[str]:
    """How to start a Python of the chosen kind that has `build`, and imports nothing from where it stands.

    It is Penstock's own where that is the same, else one in an environment made for it.
    """
    if Path(chosen.path).samefile(sys.executable):
        return [sys.executable, "-P"]  # not -I, which would hide what was installed for the user alone
    home = step.tmp / "frontend"
    python = home / "bin" / "python"
    requirement = f"build[virtualenv]=={importlib.metadata.version('build')}"
    step.log(f"Making an environment of Python {chosen.version} with {requirement}")
    # virtualenv carries pip, and knows interpreters that have no ensurepip.
    create: list[str | Path] = [
        sys.executable,
        "-Pm",
        "virtualenv",
        "-q",
        "--no-periodic-update",
        "-p",
        chosen.path,
        home,
    ]
    install: list[str | Path] = [python, "-Im", "pip", "install", "-q"]
    if installer == "uv":
        install = [find_uv() or "uv", "pip", "install", "-q", "--python", python]
    install.append(requirement)
    for argv in (create, install):
        if step.run(argv, check=False).returncode != 0:
            raise StepFailed(
                f"there is no environment with {requirement} for Python {chosen.version}, which the setting "
                "python names. Either it is too old for them, or the package index can't be reached. The "
                f"output: penstock logs {step.number} {step.name}"
            )
    return [str(python), "-I"]


def digest_of(path: str) -> str | None:
    """The SHA-256 of a program's bytes, where it can be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _at_home(name: str) -> str:
    return os.path.expanduser(name)  # noqa: PTH111 - a Path would take the "./" away
