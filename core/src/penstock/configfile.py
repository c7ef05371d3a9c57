"""The configuration file as text: reads it, and says where in it something stands."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tomllib
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from penstock import tomlfile
from penstock.errors import ConfigError

FILE = "penstock.toml"
PYPROJECT = "pyproject.toml"
_LONGEST = 1200
"""Characters of a message."""
_OURS = ("tool", "penstock")
_OUR_HEADER = r"^\s*\[\s*tool\s*\.\s*penstock\s*[\].]"

_WORD = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
_BARE = r"[A-Za-z0-9_-]+"
_PATH = rf"{_WORD}(?:\s*\.\s*{_WORD})*"
_HEADER = rf"\s*\[\[?\s*({_PATH})\s*\]\]?\s*(?:#.*)?$"
_KEY = rf"\s*({_PATH})\s*="
_STRING_OR_COMMENT = r'"""|\'\'\'|"(?:[^"\\]|\\.)*"|\'[^\']*\'|#.*'


def find(start: Path) -> Path:
    """The nearest `penstock.toml`, in this directory or above. Raises ConfigError where there is none."""
    for directory in (start, *start.parents):
        if os.path.lexists(directory / FILE):  # also where it can't be read: to go on would surprise
            return directory / FILE
        if has_our_table(directory / PYPROJECT):
            return directory / PYPROJECT
    raise ConfigError(f"there is no {FILE} in {start} or above. Make one: penstock init")


class ConfigFile:
    """The configuration file as text, to say where in it something stands."""

    def __init__(self, path: Path, own: Collection[str]) -> None:
        """`own` names the keys of `[penstock]`."""
        self.path = path
        self._own = own
        self._shared = path.name == PYPROJECT
        if not self._shared and has_our_table(path.with_name(PYPROJECT)):
            raise ConfigError(
                f"{path.name} and [tool.penstock] in {PYPROJECT} stand side by side, and a project has one "
                "of them. Move all into one, and remove the other"
            )
        self.raw = tomlfile.read(path)
        self.text = tomlfile.decoded(path.name, self.raw)

    def read(self) -> dict[str, Any]:
        """The TOML tables.

        In pyproject.toml, `[tool.penstock]` holds the sections and the keys of `[penstock]` side by side.
        """
        data = tomlfile.parse(self.path.name, self.text)
        if not self._shared:
            return data
        table: Any = data
        for part in _OURS:
            table = table.get(part, {}) if isinstance(table, dict) else {}
        if not isinstance(table, dict):
            raise ConfigError(f"{self.path.name}: [tool.penstock] must be a table")
        own = {key: value for key, value in table.items() if key in self._own or not _is_section(value)}
        rest = {key: value for key, value in table.items() if key not in own}
        return {"penstock": own, **rest}

    def line(self, section: str, key: str = "") -> int | None:
        """The line of a key, or else of what is nearest around it: its table, its section."""
        wanted = _split(key if self._shared and section == "penstock" else f"{section}.{key}")
        whole, begun = self._lines_of
        around = (whole.get(wanted[:depth]) for depth in range(len(wanted) - 1, 0, -1))
        # At last where a section without a header of its own is first mentioned.
        return begun.get(wanted) or next(filter(None, around), None) or begun.get(wanted[:2])

    @cached_property
    def _lines_of(self) -> tuple[dict[tuple[str, ...], int], dict[tuple[str, ...], int]]:
        """The first line with each path, and the first with one that begins so: many may be asked for."""
        whole: dict[tuple[str, ...], int] = {}
        begun: dict[tuple[str, ...], int] = {}
        for number, path in self._places:
            whole.setdefault(path, number)
            for depth in range(len(path) + 1):
                begun.setdefault(path[:depth], number)
        return whole, begun

    def error(self, section: str, key: str, message: str) -> str:
        """`penstock.toml:14: [deploy.production] rollout.waves: message`."""
        line = self.line(section, key)
        where = f"{self.path.name}:{line}" if line else self.path.name
        section = _shown(section)
        if self._shared:
            section = ".".join(_OURS if section == "penstock" else (*_OURS, section))
        return f"{where}: " + _line(f"[{section}] " + (f"{_shown(key)}: " if key else "") + message)

    def error_in_list(self, section: str, number: int, key: str, message: str) -> str:
        """The same for an entry of a list of tables: `penstock.toml:14: [[quarantine]] until: message`."""
        line = self.line(section, f"{number}.{key}".rstrip("."))
        where = f"{self.path.name}:{line}" if line else self.path.name
        shown = ".".join((*_OURS, section)) if self._shared else section
        return f"{where}: " + _line(f"[[{shown}]] " + (f"{_shown(key)}: " if key else "") + message)

    @cached_property
    def _places(self) -> list[tuple[int, tuple[str, ...]]]:
        """The line of each header and key, with its path: in pyproject.toml what is below tool.penstock."""
        found: list[tuple[int, tuple[str, ...]]] = []
        header: tuple[str, ...] = ()
        entries: dict[tuple[str, ...], int] = {}
        for number, line in self._lines():
            if match := re.match(_HEADER, line):
                path = header = _words(match[1])
                if line.lstrip().startswith("[["):  # the keys below it are those of one entry of a list
                    entries[path] = entries.get(path, -1) + 1
                    path = header = (*path, str(entries[path]))
            elif match := re.match(_KEY, line):
                path = header + _words(match[1])
            else:
                continue
            if self._shared:
                if path[:2] != _OURS:
                    continue
                path = path[2:]
            found.append((number, path))
        return found

    def _lines(self) -> Iterator[tuple[int, str]]:
        """The lines that do not begin within a string of several lines."""
        inside = ""
        for number, line in enumerate(self.text.split("\n"), 1):
            if not inside:
                yield number, line
            inside = _string_at_end(line, inside)


def _string_at_end(line: str, inside: str) -> str:
    """The quotes of the string of several lines that is open at the end of a line; "" if none is."""
    position = 0
    while True:
        if inside:
            end = line.find(inside, position)
            if end < 0:
                return inside
            position, inside = end + 3, ""
        token = re.compile(_STRING_OR_COMMENT).search(line, position)
        if token is None:
            return ""
        position = token.end()
        inside = token[0] if token[0] in ('"""', "'''") else ""


def _words(path: str) -> tuple[str, ...]:
    return _split(".".join(_plain(word) for word in re.findall(_WORD, path)))


def _plain(word: str) -> str:
    """A word of a path without its quotes."""
    if word[0] in "\"'":
        with contextlib.suppress(ValueError):  # it only looks like one
            return str(tomllib.loads(f"it = {word}")["it"])
    return word


def _split(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split(".") if part)


def _shown(path: str) -> str:
    """A path as TOML writes it: in one line, words in quotes where they need some."""
    return ".".join(
        part if re.fullmatch(_BARE, part) else json.dumps(part, ensure_ascii=False)
        for part in path.split(".")
    )


def _line(message: str) -> str:
    """A message in one line, its middle left out where it is long: it may repeat a value or a key that is."""
    line = message.replace("\r", "").replace("\n", "\\n")
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"


def _is_section(value: object) -> bool:
    """Whether it is a table, or a list of them."""
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(entry, dict) for entry in value)
    )


def has_our_table(pyproject: Path) -> bool:
    """Whether a pyproject.toml holds a configuration of Penstock."""
    if not pyproject.is_file():
        return False
    return bool(re.search(_OUR_HEADER, pyproject.read_text("utf-8", errors="replace"), re.MULTILINE))
