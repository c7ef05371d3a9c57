"""Adds to a configuration file as text: what was there stays as it was, byte for byte.

Each change is proved before it counts: the new text must say what the old one said, and the addition.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from typing import Any

_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|[\[\]]', re.DOTALL
)


def added(
    text: str, head: tuple[str, ...], section: tuple[str, ...], written: str, plugin: str | None
) -> str:
    """The text with a section at its end, and with a plugin among those that `head` enables.

    `head` is where the plugins stand, such as ("penstock",). Raises ValueError where that can't be done
    without changing anything else.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    enabled = plugin is None or plugin in _plugins(_read(text), head)
    new = text if enabled else _with_plugin(text, head, str(plugin), newline)
    if new and not new.endswith("\n"):
        new += newline
    new += (newline if new else "") + written.replace("\n", newline)
    if not _is_addition(_read(text), _read(new), head, section, None if enabled else plugin):
        raise ValueError("the file is written in a form that can't be added to safely")
    return new


def _with_plugin(text: str, head: tuple[str, ...], plugin: str, newline: str) -> str:
    header = re.compile(
        r"^[ \t]*\[[ \t]*" + r"[ \t]*\.[ \t]*".join(map(re.escape, head)) + r"[ \t]*\][^\n]*$", re.MULTILINE
    )
    found = header.search(text)
    if found is None:
        before = text if not text or text.endswith("\n") else text + newline
        return f"{before}{newline}[{'.'.join(head)}]{newline}plugins = [{_quoted(plugin)}]{newline}"
    # The table ends where the next header begins.
    end = re.compile(r"^[ \t]*\[", re.MULTILINE).search(text, found.end())
    key = re.compile(r"^[ \t]*plugins[ \t]*=[ \t]*\[", re.MULTILINE).search(
        text, found.end(), end.start() if end else len(text)
    )
    if key is None:
        line = found.end() - 1 if text[found.end() - 1 : found.end()] == "\r" else found.end()
        return f"{text[:line]}{newline}plugins = [{_quoted(plugin)}]{text[line:]}"
    return _into_list(text, key.end(), plugin)


def _into_list(text: str, start: int, plugin: str) -> str:
    """Add to a list whose first character after the bracket stands at `start`: behind its last entry."""
    last = None
    for token in _TOKEN.finditer(text, start):
        if token[0] == "]":
            break
        if token[0].startswith(("'", '"')):
            last = token
    if last is None:
        return f"{text[:start]}{_quoted(plugin)}{text[start:]}"
    before = text[text.rfind("\n", 0, last.start()) + 1 : last.start()]
    # An entry on a line of its own is followed by another such line.
    gap = ("\r\n" if "\r\n" in text else "\n") + before if not before.strip() else " "
    return f"{text[: last.end()]},{gap}{_quoted(plugin)}{text[last.end() :]}"


def _quoted(plugin: str) -> str:
    return f'"{plugin}"'


def _read(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def _plugins(data: dict[str, Any], head: Iterable[str]) -> list[Any]:
    table: Any = data
    for part in head:
        table = table.get(part, {}) if isinstance(table, dict) else {}
    found = table.get("plugins", []) if isinstance(table, dict) else []
    return list(found) if isinstance(found, list) else []


def _is_addition(
    old: dict[str, Any],
    new: dict[str, Any],
    head: tuple[str, ...],
    section: tuple[str, ...],
    plugin: str | None,
) -> bool:
    """Whether the new data is the old, with this section and this plugin in addition."""
    if plugin is not None:
        if _plugins(new, head) != [*_plugins(old, head), plugin]:
            return False
        _place(old, head)["plugins"] = _plugins(new, head)
    inner = _place(new, section[:-1])
    if section[-1] not in inner or section[-1] in _place(old, section[:-1]):
        return False
    _place(old, section[:-1])[section[-1]] = inner[section[-1]]
    return old == new


def _place(data: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    table = data
    for part in path:
        table = table.setdefault(part, {})
    return table
