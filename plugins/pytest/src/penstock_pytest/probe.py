"""A program's output outside of a step: what `penstock_tools` asks a Python about itself."""

from __future__ import annotations

import subprocess

_PATIENCE = 20.0  # seconds


def output(argv: list[str]) -> str | None:
    """What it prints; None where it is not there, fails or takes too long."""
    try:
        done = subprocess.run(
            argv, check=False, capture_output=True, text=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
