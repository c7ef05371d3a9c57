"""Globs over names with slashes: the paths of files, the names of branches and tags. Pure.

`*` and `?` stay between two slashes, `**` stands for any number of whole parts, none too.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

_WILD = frozenset("*?[")


def matches(name: str, globs: Iterable[str]) -> bool:
    """Whether one of these globs means this name."""
    parts = name.split("/")
    return any(_matches(parts, glob.split("/")) for glob in globs)


def means_file(path: str, globs: Iterable[str]) -> bool:
    """Whether one of these globs means the file of this path.

    One that ends with a plain name may name a directory: it means all that is below it, too.
    """
    parts = path.split("/")
    return any(_matches(parts, _of_files(glob)) for glob in globs)


def _of_files(glob: str) -> list[str]:
    parts = [part for part in glob.split("/") if part not in ("", ".")]
    return [*parts, "**"] if glob.endswith("/") or _WILD.isdisjoint(parts[-1]) else parts


def _matches(names: list[str], parts: list[str]) -> bool:
    # How many names may be used up after each part: never tried twice, however many `**` there are.
    reached = {0}
    for part in parts:
        if part == "**":
            reached = set(range(min(reached), len(names) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(names) and fnmatchcase(names[at], part)}
        if not reached:
            return False
    return len(names) in reached
