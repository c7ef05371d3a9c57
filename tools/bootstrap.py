"""Virtual environments for this repository's own scripts, with nothing at hand but Python and its pip.

Debian's Python has no ensurepip, and its pip refuses to install beside the system's packages: so the
environment is made without pip, and filled from outside with `pip --python`.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = "uv>=0.9,<1"

# Variables that would lead the tools to another environment, another place or another repository.
_LEADING_AWAY = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_USER",
    "PIP_REQUIRE_VIRTUALENV",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_TARGET",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
)


class SetupError(Exception):
    """The environment can't be made; the message says why and what to do."""


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what leads tools astray, and with `more`."""
    kept = {name: value for name, value in os.environ.items() if name not in _LEADING_AWAY}
    return {**kept, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **more}


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Wait until no other script of this checkout is inside a block of this name."""
    place = ROOT / ".try-it"
    place.mkdir(exist_ok=True)
    with (place / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another {name} is at work in this checkout; waiting for it", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ensure(place: Path, requirements: Sequence[str], made_from: Sequence[Path] = ()) -> None:
    """Make the virtual environment `place` if it is not there or was made from something else.

    `requirements` are arguments of `uv pip install`, seen from the root; `made_from` are files that
    they speak of. Raises SetupError.
    """
    wanted = _stamp(requirements, made_from)
    stamp = place / "made-from"
    if _read(stamp) == wanted and _works(place):
        return
    started = time.monotonic()
    label = f"Setting up {place.relative_to(ROOT)} (once)"
    print(f"{label}…", end="" if sys.stdout.isatty() else "\n", flush=True)
    # One that somebody made by hand is filled and not thrown away.
    if not _works(place) or stamp.exists():
        venv.create(place, clear=True, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    _pip(["--python", str(python), "install", "--quiet", UV])
    uv = [str(place / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(python)]
    _call([*uv, *requirements], "uv can't install what this repository needs", _index())
    stamp.write_text(wanted)
    seconds = f"{time.monotonic() - started:.0f} s"
    print(f"\r{label:<45}{seconds:>9}" if sys.stdout.isatty() else f"  done in {seconds}", flush=True)


def _stamp(requirements: Sequence[str], made_from: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for part in (sys.version, sys.base_prefix, str(ROOT), UV, *requirements):
        digest.update(part.encode() + b"\0")
    for path in sorted(made_from):
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def _works(place: Path) -> bool:
    return _answers([str(place / "bin" / "python"), "-c", "import sys; sys.exit(sys.version_info < (3, 11))"])


def _answers(command: Sequence[str]) -> bool:
    try:
        done = subprocess.run(command, env=environment(), capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _pip(arguments: Sequence[str]) -> str:
    """Run pip: this Python's, or where an environment without pip is active, that of the Python below it."""
    hint = "It takes pip 22.3 or newer and the package index. On Debian: apt-get install python3-pip"
    pythons = [sys.executable, os.path.realpath(sys.executable)]
    found = next((python for python in pythons if _answers([python, "-m", "pip", "--version"])), pythons[-1])
    return _call([found, "-m", "pip", *arguments], f"{found} -m pip failed. {hint}")


def _index() -> dict[str, str]:
    """The package index that pip is configured with, for uv, which does not read pip's files."""
    if "UV_DEFAULT_INDEX" in os.environ or "UV_INDEX_URL" in os.environ:
        return {}
    for line in _pip(["config", "list"]).splitlines():
        name, equals, value = line.partition("=")
        if equals and name in ("global.index-url", "install.index-url", ":env:.index-url"):
            return {"UV_DEFAULT_INDEX": ast.literal_eval(value)}
    return {}


def _call(command: Sequence[str], failure: str, more: Mapping[str, str] = {}) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=environment(**more), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SetupError(f"{failure}\n\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout
