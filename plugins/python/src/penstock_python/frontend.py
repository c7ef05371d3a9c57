"""PyPA's `build` as a child process: its command line, its environment, its output."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock import Step

from penstock_python import relay, repository
from penstock_python.interpreter import Installer

DEFAULTS = {
    "NO_COLOR": "1",
    "COLUMNS": "500",  # no messages torn into lines of 80
    "PYTHONUNBUFFERED": "1",
    # The stand-in repository has one commit: what pbr would write from it is not the project's history.
    "SKIP_GENERATE_AUTHORS": "1",
    "SKIP_WRITE_GIT_CHANGELOG": "1",
}
"""Variables that a build gets unless the user has set them."""


@dataclass(frozen=True)
class Outcome:
    """How a build ended."""

    returncode: int
    output: str
    """Everything that it printed, masked."""


def argv(
    python: Sequence[str],
    source: Path,
    out: Path,
    *,
    formats: Sequence[str],
    installer: Installer,
    config_settings: Mapping[str, str | Sequence[str]],
) -> list[str]:
    """The command line. Both formats are asked for by naming neither: the wheel then comes from the sdist."""
    words = [*python, "-m", "build", f"--installer={installer}", "--outdir", str(out)]
    if len(formats) == 1:
        words.append(f"--{formats[0]}")
    for key, value in config_settings.items():
        values = [value] if isinstance(value, str) else value
        words += [f"--config-setting={key}={each}" for each in values]
    return [*words, str(source)]


def run(step: Step, command: Sequence[str], source: Path, env: Mapping[str, str]) -> Outcome:
    """Run it in the project's directory, where an installer looks for its own configuration."""
    scratch = step.tmp / "scratch"
    repository.boundary(scratch)
    copy = step.tmp / "output.txt"
    step.log("$ " + " ".join(command))
    done = step.run(
        [*repository.WITHOUT_GIT_DIR, sys.executable, "-I", relay.__file__, copy, *command],
        cwd=source,
        env={**environment(step, scratch), **env},
        check=False,
        quiet=True,
    )
    return Outcome(done.returncode, step.mask(copy.read_text(encoding="utf-8", errors="replace")))


def environment(step: Step, scratch: Path) -> dict[str, str]:
    """What keeps a build to its own files; the sdist is unpacked in `scratch`."""
    return {
        "TMPDIR": str(scratch),
        "GIT_CEILING_DIRECTORIES": os.pathsep.join([str(step.workspace.parent), str(scratch)]),
    }
