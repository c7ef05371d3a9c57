"""Globs over the names of a snapshot's files. Pure: names go in, and which of them count comes out.

`*` and `?` stop at a slash, `**` between slashes stands for any directories, and a name without any of
them that is a directory's stands for all below it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

_WILD = re.compile(r"[*?\[]")


def chosen(names: Iterable[str], patterns: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names that count, and the patterns that no name matches.

    A name counts that one pattern matches, and none that begins with "!".
    """
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    against = [_compiled(pattern[1:]) for pattern in patterns if pattern.startswith("!")]
    compiled = [(pattern, _compiled(pattern)) for pattern in wanted]
    idle = dict.fromkeys(wanted)
    found = []
    for name in names:
        if any(regex.fullmatch(name) for regex in against):
            continue
        matching = [pattern for pattern, regex in compiled if regex.fullmatch(name)]
        for pattern in matching:
            idle.pop(pattern, None)
        if matching:
            found.append(name)
    return found, list(idle)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not _WILD.search(pattern):
        return re.compile(re.escape("/".join(parts)) + "(/.*)?", re.DOTALL)
    regex = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            regex += ".*" if last else "(?:[^/]+/)*"
        else:
            regex += _part(part) + ("" if last else "/")
    return re.compile(regex, re.DOTALL)


_SIGNS = re.compile(r"\*+|\?|\[!?\]?[^]]*\]|.", re.DOTALL)


def _part(part: str) -> str:
    """One name between slashes as a regular expression."""
    return "".join(_translated(sign) for sign in _SIGNS.findall(part))


def _translated(sign: str) -> str:
    if sign[0] == "*":
        return "[^/]*"
    if sign == "?":
        return "[^/]"
    if len(sign) == 1:
        return re.escape(sign)
    # Some of a set of characters: written as the standard library does.
    return "(?!/)" + fnmatch.translate(sign).removeprefix("(?s:").rpartition(")")[0]
