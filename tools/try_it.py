"""`./try-it`: the example from source to production on this machine, what runs then, and why it was let through.

Everything is inside the checkout: the environment in `.venv`, the rest in `.try-it`. What was started is
stopped at the end, however it ends.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bootstrap import ROOT, SetupError, alone, ensure, environment

VENV = ROOT / ".venv"
PLACE = ROOT / ".try-it"
SHOP = PLACE / "shop"
PORTS = {"staging": 41873, "production": 41874}
_REQUIREMENTS = ("-r", "tools/workspace.txt")
_IDENTITY = ("-c", "user.name=Penstock's example", "-c", "user.email=example@penstock.invalid")
_DATE = "2026-01-01T00:00:00+00:00"  # the same files make the same commit, and so the same wheel
_LEAVE_OUT = shutil.ignore_patterns("__pycache__", ".penstock*", ".*_cache", "build", "dist", "*.egg-info")


class DemonstrationError(Exception):
    """What was promised did not happen; the message says what happened instead."""


def main() -> int:
    """Set up, show, stop."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        with alone("try-it"):
            ensure(VENV, _REQUIREMENTS, [ROOT / "tools/workspace.txt", *ROOT.glob("*/**/pyproject.toml")])
            return _show()
    except (SetupError, DemonstrationError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 2 if isinstance(error, SetupError) else 1
    except KeyboardInterrupt:
        return 130


def _show() -> int:
    _stop()  # what an earlier try left behind when it was killed
    ports = _prepare()
    try:
        code = _penstock("run", "--approve", "production")
        if code != 0:
            return code
        digest = _tested_and_signed()
        _what_runs_where(ports, digest)
        _why(digest)
    finally:
        print("\nStopped both services. Nothing is left running." if _stop() else "")
    print('Next:  change examples/shop, break a test of it, and run ./try-it again; or in your own project:')
    print('       pip install "penstock[python]" && penstock init && penstock run')
    return 0
