"""Conditions as trees: what they are made of, what they ask for, and whether they hold. Pure.

Every part has a kind that is known from the tree alone, so that a condition that was accepted can always be
decided.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from penstock import globs
from penstock.model import Revision

_SHOWN = 120
Value = str | int | float | bool | tuple[str, ...]
Kind = Literal["text", "number", "yes or no", "list"]
WORDS: Mapping[Kind, str] = {
    "text": "a string",
    "number": "a number",
    "yes or no": "true or false",
    "list": "a list",
}
REVISION: Mapping[str, Kind] = {
    "ref": "text",
    "commit": "text",
    "author": "text",
    "subject": "text",
    "tag": "text",
    "dirty": "yes or no",
}
"""What a condition knows of the revision."""


@dataclass(frozen=True)
class Constant:
    """A value that stands in the text."""

    value: Value
    text: str = field(default="", compare=False)


@dataclass(frozen=True)
class Fact:
    """Something of the revision, a parameter, or a value of the matrix, by its name."""

    name: str
    text: str = field(default="", compare=False)


@dataclass(frozen=True)
class Env:
    """An environment variable; empty where it is not set."""

    name: str
    text: str = field(default="", compare=False)


@dataclass(frozen=True)
class Result:
    """How an earlier step of the run ended."""

    step: str
    text: str = field(default="", compare=False)


@dataclass(frozen=True)
class Changed:
    """Whether a file that one of the globs means has changed; with `only`: files did, and none but such."""

    globs: tuple[str, ...]
    only: bool
    text: str = field(default="", compare=False)


@dataclass(frozen=True)
class Matches:
    """Whether a string is what one of the globs means."""

    value: Node
    globs: tuple[str, ...]
    text: str = field(default="", compare=False)


@dataclass(frozen=True)
class Compare:
    """Two values, and whether they are the same, or the first is in the second."""

    sign: Literal["==", "!=", "in", "not in"]
    left: Node
    right: Node
    text: str = field(default="", compare=False)


@dataclass(frozen=True)
class Not:
    """The opposite."""

    part: Node
    text: str = field(default="", compare=False)


@dataclass(frozen=True)
class Join:
    """Several conditions: all of them have to hold, or one."""

    every: bool
    parts: tuple[Node, ...]
    text: str = field(default="", compare=False)


Asked = Fact | Env | Result | Changed
"""What a condition asks the world for."""
Node = Constant | Asked | Matches | Compare | Not | Join
Facts = Mapping[str, Value]


def asked(node: Node) -> Iterator[Asked]:
    """All that a condition asks for."""
    if isinstance(node, Fact | Env | Result | Changed):
        yield node
    elif isinstance(node, Join):
        for part in node.parts:
            yield from asked(part)
    elif isinstance(node, Compare):
        yield from asked(node.left)
        yield from asked(node.right)
    elif isinstance(node, Not):
        yield from asked(node.part)
    elif isinstance(node, Matches):
        yield from asked(node.value)


def evaluate(node: Node, values: Mapping[Asked, Value]) -> bool:
    """Whether a condition holds. `values` has all that it asks for."""
    return bool(_value(node, values))


def blamed(node: Node, values: Mapping[Asked, Value]) -> Node:
    """The part to which it is due that a condition does not hold."""
    while isinstance(node, Join) and node.every:
        node = next(part for part in node.parts if not _value(part, values))
    return node


def why_false(node: Node, values: Mapping[Asked, Value]) -> str:
    """What is not so, of a condition that does not hold or the part that is to blame, in its own words."""
    node = blamed(node, values)
    said = [
        f"{part.name} is {cut(json.dumps(values[part], ensure_ascii=False))}"
        for part in (asked(node) if isinstance(node, Compare | Matches) else ())
        if isinstance(part, Fact)  # and no variable of the environment: it may be secret
    ]
    return f"{cut(node.text)} is false" + (f" ({', '.join(said)})" if said else "")


def facts(revision: Revision | None) -> dict[str, Value]:
    """What a condition knows of a revision. What there is not, is empty."""
    found = revision or Revision()
    return {
        "ref": found.ref or "",
        "commit": found.commit or "",
        "author": found.author or "",
        "subject": found.subject or "",
        "tag": (found.tag or "") if found.distance == 0 else "",
        "dirty": found.dirty,
    }


def changed(node: Changed, paths: frozenset[str] | None) -> bool:
    """Whether a change of these files is what is asked about; None: nobody knows what has changed."""
    if paths is None:
        return not node.only
    meant = [globs.means_file(path, node.globs) for path in paths]
    return bool(meant) and all(meant) if node.only else any(meant)


def cut(text: str) -> str:
    """A text in one line, and not longer than a message can bear."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else f"{flat[:_SHOWN]}…"


def _value(node: Node, values: Mapping[Asked, Value]) -> Value:
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, Join):
        return (all if node.every else any)(_value(part, values) for part in node.parts)
    if isinstance(node, Not):
        return not _value(node.part, values)
    if isinstance(node, Matches):
        return globs.matches(str(_value(node.value, values)), node.globs)
    if not isinstance(node, Compare):
        return values[node]
    left, right = _value(node.left, values), _value(node.right, values)
    if node.sign in ("==", "!="):
        return (left == right) == (node.sign == "==")
    inside = str(left) in (right if isinstance(right, tuple) else str(right))
    return inside == (node.sign == "in")


def kind_of(value: object) -> Kind:
    """What kind a value is of."""
    if isinstance(value, bool):
        return "yes or no"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "list"
