"""Globs over names with slashes: the paths of files, the names of branches and tags. Pure.

`*` and `?` stay between two slashes, `**` stands for any number of whole parts, none too. Of files, a glob
that ends with a slash or with a plain name means all that is below a directory of that name, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

_WILD = frozenset("*?[")


def matches(name: str, globs: Iterable[str]) -> bool:
    """Whether one of these globs means this name."""
    parts = name.split("/")
    return any(_matches(parts, glob.split("/")) for glob in globs)


def means_file(path: str, globs: Iterable[str]) -> bool:
    """Whether one of these globs means the file of this path."""
    parts = path.split("/")
    return any(_matches(parts, _of_files(glob)) for glob in globs)


def chosen(paths: Iterable[str], globs: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files that count, and the globs that mean none of all.

    A file counts that one glob means, and none that begins with "!".
    """
    wanted = [(glob, _of_files(glob)) for glob in globs if not glob.startswith("!")]
    against = [_of_files(glob[1:]) for glob in globs if glob.startswith("!")]
    idle = dict.fromkeys(glob for glob, _ in wanted)
    found = []
    for path in paths:
        parts = path.split("/")
        if any(_matches(parts, glob) for glob in against):
            continue
        meaning = [glob for glob, own in wanted if _matches(parts, own)]
        for glob in meaning:
            idle.pop(glob, None)
        if meaning:
            found.append(path)
    return found, list(idle)


def _of_files(glob: str) -> list[str]:
    parts = [part for part in glob.split("/") if part not in ("", ".")] or ["**"]
    return [*parts, "**"] if glob.endswith("/") or _WILD.isdisjoint(parts[-1]) else parts


def _matches(names: list[str], parts: list[str]) -> bool:
    # How many names may be used up after each part: never tried twice, however many `**` there are.
    reached = {0}
    for part in parts:
        if part == "**":
            reached = set(range(min(reached), len(names) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(names) and _is(names[at], part)}
        if not reached:
            return False
    return len(names) in reached


def _is(name: str, part: str) -> bool:
    return name == part if _WILD.isdisjoint(part) else fnmatchcase(name, part)
