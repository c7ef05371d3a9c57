"""twine as a child process: its command lines, its environment, what it says when it fails."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from penstock import Step, StepFailed, Tool

TWINE = (sys.executable, "-P", "-m", "twine")
"""The twine of this environment. -P: no module of the workspace takes the place of one of its own."""

_LOGIN = ("TWINE_USERNAME", "TWINE_PASSWORD")
_KEPT = ("TWINE_CERT", "TWINE_CLIENT_CERT")  # how this machine reaches an index, not which one
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CHECKED = re.compile(r"Checking (.*):\s*((?:PASSED|FAILED)?.*)")
_LONGEST = 1000  # characters
_NOTHING_SAID = re.compile(r"Uploading|View at|WARNING\s+(Error during upload|This environment)")


def check_words(files: Sequence[Path], *, strict: bool) -> list[str]:
    """Whether the files' metadata can be shown by an index."""
    return [*TWINE, "check", *(["--strict"] if strict else []), *map(str, files)]


def upload_words(
    file: Path, repository: str, config: Path, variables: Iterable[str], ours: Iterable[str]
) -> list[str]:
    """Upload one file. What the user keeps in ~/.pypirc, or in variables for twine, leads nowhere else."""
    leading = sorted({name for name in variables if name.startswith("TWINE_")} - {*ours, *_KEPT})
    without = ["env", *(word for name in leading for word in ("-u", name))] if leading else []
    options = ["--non-interactive", "--disable-progress-bar", "--config-file", str(config)]
    return [*without, *TWINE, "upload", *options, "--repository-url", repository, str(file)]


def check(step: Step, files: Sequence[Path], *, strict: bool) -> None:
    """Raises StepFailed for a file that an index would refuse, or show badly."""
    done = _run(step, check_words(files, strict=strict), {})
    if done[0] != 0:
        raise StepFailed(f"twine check refuses {complaint(done[1])}. Nothing was uploaded")


def upload(step: Step, file: Path, repository: str, login: tuple[str, str] | None) -> str | None:
    """Upload a file; None, or why twine says that it did not succeed."""
    config = step.tmp / "no-pypirc"
    config.touch()
    # Without a password twine takes a token that it gets from the CI's identity, where the index has that.
    env = dict(zip(_LOGIN, login, strict=True)) if login else {}
    code, output = _run(step, upload_words(file, repository, config, os.environ, env), env)
    return None if code == 0 else f"twine ended with {code}: {_said(output)}"


def complaint(output: str) -> str:
    """The files that `twine check` refused, and why."""
    found: dict[str, list[str]] = {}
    said: list[str] = []
    for line in output.splitlines():
        if checked := _CHECKED.fullmatch(line.strip()):
            said = [] if checked[2].startswith("PASSED") else found.setdefault(Path(checked[1]).name, [])
        elif line.strip():
            said.append(_plain(line))
    reasons = [f"{name}: {' '.join(lines) or 'it is no such archive'}" for name, lines in found.items()]
    return "; ".join(reasons)[:_LONGEST] or "the files: the step's log says why"


def tools() -> list[Tool]:
    """The version and digest of twine."""
    spec = importlib.util.find_spec("twine.__main__")
    if spec is None or spec.origin is None:
        return []
    with Path(spec.origin).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    version = importlib.metadata.version("twine")
    return [Tool(name="twine", version=version, path=spec.origin, sha256=digest)]


def _run(step: Step, words: Sequence[str], env: Mapping[str, str]) -> tuple[int, str]:
    surroundings = {
        "NO_COLOR": "1",
        "COLUMNS": "500",  # no messages torn into lines of 80
        # The user's keyring is not this pipeline's: it might ask for a password, and wait for ever.
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "PYTHONUNBUFFERED": "1",
    }
    done = step.run(words, env={**surroundings, **env}, check=False, capture=True)
    output = _COLOURS.sub("", done.stdout)
    step.log(output.rstrip())
    return done.returncode, step.mask(output)


def _said(output: str) -> str:
    """What twine had to say, in one paragraph."""
    told = [line for line in output.splitlines() if line.strip() and not _NOTHING_SAID.match(line.strip())]
    said = " ".join(dict.fromkeys(map(_plain, told)))[:_LONGEST] or "the step's log says more"
    login = re.search(r"\b40[13]\b", said) is not None
    return said + (". Are `username` and `password` right?" if login else "")


def _plain(line: str) -> str:
    return re.sub(r"^(ERROR|WARNING)\s+", "", " ".join(line.split()))
