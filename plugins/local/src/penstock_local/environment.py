"""A private Python environment for the wheels of one release, and the proof that they are in it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from penstock import Step, StepFailed, Tool


def find_uv() -> str | None:
    """The uv on PATH, or the one that was installed beside Penstock."""
    return shutil.which("uv") or shutil.which(str(Path(sys.executable).with_name("uv")))


def make_argv(uv: str | None, python: str, place: Path) -> list[str]:
    """The command line that makes an empty environment."""
    if uv:
        return [uv, "venv", "--quiet", "--no-project", "--python", python, str(place)]
    make = [sys.executable, "-m", "virtualenv", "--quiet", "--no-periodic-update"]
    return [*make, "--python", python, str(place)]


def install_argv(uv: str | None, place: Path, wheels: Sequence[Path]) -> list[str]:
    """The command line that installs wheels, with what they depend on."""
    files = [str(wheel) for wheel in wheels]
    python = str(place / "bin" / "python")
    if uv:
        return [uv, "pip", "install", "--quiet", "--no-progress", "--python", python, *files]
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-warn-script-location"]
    return [python, "-I", "-m", "pip", "install", *options, *files]


def make(place: Path, wheels: Sequence[Path], python: str, step: Step) -> None:
    """Make the environment with these very wheels in it. Raises StepFailed where that can't be done."""
    uv = find_uv()
    for argv in (make_argv(uv, python, place), install_argv(uv, place, wheels)):
        step.run(argv, cwd=step.tmp)
    for wheel in wheels:
        check(wheel, place)


def check(wheel: Path, place: Path) -> None:
    """Compare what was installed with the wheel, byte for byte. Raises StepFailed where it differs.

    An installer may take a wheel of the same name and version from its cache; this is what finds out.
    """
    homes = [*place.glob("lib*/python*/site-packages"), *place.glob("lib*/pypy*/site-packages")]
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            top = entry.filename.partition("/")[0]
            if entry.is_dir() or top.endswith(".data") or entry.filename.endswith(".dist-info/RECORD"):
                continue  # those are put elsewhere or written anew
            data = archive.read(entry)
            if not any(_is(home / entry.filename, data) for home in homes):
                raise StepFailed(
                    f"{wheel.name} was installed, but {entry.filename} is not the file that is in the wheel. "
                    "Another wheel of the release may bring the same file, or the installer's cache is wrong"
                )


def tools() -> list[Tool]:
    """What makes the environments."""
    uv = find_uv()
    if uv:
        found = subprocess.run([uv, "--version"], capture_output=True, text=True, check=False)
        words = found.stdout.split()
        return [Tool(name="uv", version=words[1] if len(words) > 1 else "unknown", path=uv)]
    spec = importlib.util.find_spec("virtualenv")
    path = spec.origin if spec and spec.origin else "virtualenv"
    return [Tool(name="virtualenv", version=importlib.metadata.version("virtualenv"), path=path)]


def _is(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False
