"""Which programs a build runs, for the provenance."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import subprocess
import sys

from penstock import Tool

from penstock_python import interpreter
from penstock_python.interpreter import Installer

_ASK = "import json, platform, sys; print(json.dumps([platform.python_version(), sys.executable]))"
_PATIENCE = 20.0  # seconds


def python(name: str | None) -> Tool | None:
    """The interpreter that builds; none where it is not there or doesn't start."""
    if name is None:
        return _tool("python", platform.python_version(), sys.executable)
    path = interpreter.find(name)
    if path is None:
        return None
    # A name on PATH may be a launcher: the interpreter itself says where it is.
    text = _output([path, "-I", "-c", _ASK])
    try:
        version, real = json.loads(text)
    except ValueError:
        return None
    return _tool("python", version, real)


def build() -> Tool | None:
    """The frontend."""
    spec = importlib.util.find_spec("build.__main__")
    if spec is None or spec.origin is None:
        return None
    return _tool("build", importlib.metadata.version("build"), spec.origin)


def uv(setting: Installer | None) -> Tool | None:
    """The installer, where it is uv."""
    path = None if setting == "pip" else interpreter.find_uv()
    if path is None:
        return None
    words = _output([path, "--version"]).split()
    return _tool("uv", words[1], path) if len(words) > 1 else None


def _output(argv: list[str]) -> str:
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _tool(name: str, version: str, path: str) -> Tool:
    return Tool(name=name, version=version, path=path, sha256=interpreter.digest_of(path))
