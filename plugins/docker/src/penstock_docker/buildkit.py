"""Which docker program builds with BuildKit: found by asking those that are on PATH."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import NamedTuple

Ask = Callable[[list[str]], str | None]
"""Runs a command: what it prints, or None where it fails."""


class Program(NamedTuple):
    """A docker program, and how it is told to build with BuildKit."""

    argv: list[str]
    variables: dict[str, str]


def find(ask: Ask) -> Program | None:
    """The first that can; None: there is none."""
    for path in _programs():
        if ask([path, "buildx", "version"]) is not None:
            return Program([path, "buildx", "build", "--load"], {})
        if _is_older_than_23(ask([path, "--version"]) or ""):
            return Program([path, "build"], {"DOCKER_BUILDKIT": "1"})
    return None


def version_in(said: str) -> str:
    """The version in what `docker --version` prints."""
    return said.partition("version ")[2].partition(",")[0].strip()


def _programs() -> Iterator[str]:
    seen = set()
    for place in os.environ.get("PATH", os.defpath).split(os.pathsep):
        found = shutil.which("docker", path=place) if place else None
        if found and os.path.realpath(found) not in seen:
            seen.add(os.path.realpath(found))
            yield found


def _is_older_than_23(said: str) -> bool:
    """Whether it has BuildKit itself: later ones ask buildx for it."""
    try:
        return 18 <= int(version_in(said).partition(".")[0]) < 23
    except ValueError:
        return False
