"""Which git there is: for the record of how something was made."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

from penstock import Tool

from penstock_git import program

_VERSION = re.compile(r"git version (\S+)")
_PATIENCE = 30
"""In seconds."""


def find() -> list[Tool]:
    """The git that a step would run; nothing where there is none."""
    # A step's PATH ends with the directory of what was installed beside Penstock.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    found = program.where(path)
    if found is None:
        return []
    try:
        said = subprocess.run(
            [found, "version"], capture_output=True, text=True, timeout=_PATIENCE, check=True
        )
        with Path(found).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
    match = _VERSION.match(said.stdout)
    return [Tool(name="git", version=match[1] if match else "unknown", path=found, sha256=digest)]
