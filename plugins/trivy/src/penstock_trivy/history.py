"""An image's history → the same, so that Trivy can read all of it as a Dockerfile. Pure.

Builders write down what they did in words of their own: values without their quotes, lists as Go prints them,
scripts of several lines. Trivy makes one Dockerfile of it, and where a line of that breaks it checks nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from penstock_trivy.tree import defused

_NOP = "/bin/sh -c #(nop)"
_BUILDKIT = " # buildkit"
_PAIR = re.compile(r"(?:^|\s)([A-Za-z_][A-Za-z0-9_.-]*)=")
_NAME = re.compile(r"\w+")
_PORT = re.compile(r"\d+(?:-\d+)?(?:/[a-z]+)?")


def planted(name: str) -> dict[str, Any]:
    """An entry about which there is something to find."""
    return {"created_by": f"{_NOP} MAINTAINER {name}", "empty_layer": True}


def readable(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry that says the same, and hides neither itself nor others."""
    text = str(entry.get("created_by") or "")
    begun, mark, _ = text.partition(_BUILDKIT)
    word, _, rest = begun.removeprefix(_NOP).strip().partition(" ")
    if word in _TOLD:
        said = _TOLD[word](word, one_line(rest))
    elif word in _UNCHECKED:
        said = ""
    else:
        said = word if word == _FROM_SETTINGS else one_line(begun) + mark
    return {**entry, "created_by": said}


def one_line(text: str) -> str:
    """A script in one line, without its comments."""
    lines = (line.strip() for line in text.splitlines())
    joined = "; ".join(line for line in lines if line and not line.startswith("#"))
    return defused(joined.replace("<<", "< <"))  # or what follows it would be taken for its text


def _as_it_is(word: str, rest: str) -> str:
    return f"{_NOP} {word} {rest}" if rest else ""


def _pairs(word: str, rest: str) -> str:
    """`A=b c D=e` has lost its quotes: what stands before the next name belongs to the value."""
    found = list(_PAIR.finditer(rest))
    ends = [*(match.start() for match in found[1:]), len(rest)]
    pairs = [
        f"{match[1]}={json.dumps(rest[match.end() : end])}" for match, end in zip(found, ends, strict=False)
    ]
    if pairs:
        return f"{_NOP} {word} {' '.join(pairs)}"
    name = _NAME.match(rest)
    return f"{_NOP} {word} {name[0]}" if name and word == "ARG" else ""


def _ports(word: str, rest: str) -> str:
    ports = _PORT.findall(rest)
    return f"{_NOP} {word} {' '.join(ports)}" if ports else ""


_TOLD: Mapping[str, Callable[[str, str], str]] = {
    **dict.fromkeys(("CMD", "ENTRYPOINT", "USER", "WORKDIR", "MAINTAINER"), _as_it_is),
    **dict.fromkeys(("ENV", "ARG"), _pairs),
    "EXPOSE": _ports,
}
_UNCHECKED = frozenset({"LABEL", "SHELL", "STOPSIGNAL", "VOLUME", "ONBUILD"})
_FROM_SETTINGS = "HEALTHCHECK"
"""Trivy takes it from the image's own settings."""
