"""The configuration file as text: reads it, and says where in it something stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from penstock.errors import ConfigError

FILE = "penstock.toml"
_PYPROJECT = "pyproject.toml"
_OURS = ("tool", "penstock")
_OUR_HEADER = re.compile(r"^\s*\[\s*tool\s*\.\s*penstock\s*[\].]", re.MULTILINE)

_WORD = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
_PATH = rf"{_WORD}(?:\s*\.\s*{_WORD})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_PATH})\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(rf"\s*({_PATH})\s*=")
_TOKEN = re.compile(r'"""|\'\'\'|"(?:[^"\\]|\\.)*"|\'[^\']*\'|#.*')


def find(start: Path) -> Path:
    """The nearest `penstock.toml`, in this directory or above. Raises ConfigError where there is none."""
    for directory in (start, *start.parents):
        if (directory / FILE).is_file():
            return directory / FILE
        pyproject = directory / _PYPROJECT
        if pyproject.is_file() and _OUR_HEADER.search(pyproject.read_text("utf-8", errors="replace")):
            return pyproject
    raise ConfigError(f"there is no {FILE} in {start} or above. Make one: penstock init")


class ConfigFile:
    """The configuration file as text, to say where in it something stands."""

    def __init__(self, path: Path, own: Collection[str]) -> None:
        """`own` names the keys of `[penstock]`."""
        self.path = path
        self._own = own
        self._shared = path.name == _PYPROJECT
        try:
            self.raw = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path} can't be read: {error.strerror}") from None
        try:
            self.text = self.raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = self.raw[: error.start].count(b"\n") + 1
            raise ConfigError(
                f"{path.name}:{line}: the file is not UTF-8 (byte 0x{self.raw[error.start]:02x}). "
                "Save it as UTF-8"
            ) from None

    def read(self) -> dict[str, Any]:
        """The TOML tables.

        In pyproject.toml, `[tool.penstock]` holds the sections and the keys of `[penstock]` side by side.
        """
        try:
            data = tomllib.loads(self.text)
        except (ValueError, RecursionError) as error:  # also a number of 5,000 digits, a nest of 1,000 lists
            message = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
            place = re.search(r"\(at line (\d+), column (\d+)\)", message)
            where = f":{place[1]}:{place[2]}" if place else ""
            if message.endswith("(at end of document)"):
                where = f":{len(self.text.splitlines())}"
            what = re.sub(r"\s*\(at .*\)$", "", message)
            what = what[:1].lower() + what[1:]
            raise ConfigError(f"{self.path.name}{where}: not valid TOML: {what}") from None
        if not self._shared:
            return data
        table: Any = data
        for part in _OURS:
            table = table.get(part, {}) if isinstance(table, dict) else {}
        if not isinstance(table, dict):
            raise ConfigError(f"{self.path.name}: [tool.penstock] must be a table")
        own = {key: value for key, value in table.items() if key in self._own or not isinstance(value, dict)}
        rest = {key: value for key, value in table.items() if key not in own}
        return {"penstock": own, **rest}

    def line(self, section: str, key: str = "") -> int | None:
        """The line of a key, or else of what is nearest around it: its table, its section."""
        wanted = _split(key if self._shared and section == "penstock" else f"{section}.{key}")
        nearest, depth = None, -1
        for number, path in self._places:
            if path[: len(wanted)] == wanted:
                return number
            if len(path) > depth and path == wanted[: len(path)]:
                nearest, depth = number, len(path)
        return nearest

    def error(self, section: str, key: str, message: str) -> str:
        """`penstock.toml:14: [deploy.production] rollout.waves: message`."""
        line = self.line(section, key)
        where = f"{self.path.name}:{line}" if line else self.path.name
        if self._shared:
            section = ".".join(_OURS if section == "penstock" else (*_OURS, section))
        return f"{where}: [{section}] " + (f"{key}: " if key else "") + message

    @cached_property
    def _places(self) -> list[tuple[int, tuple[str, ...]]]:
        """The line of each header and key, with its path: in pyproject.toml what is below tool.penstock."""
        found: list[tuple[int, tuple[str, ...]]] = []
        header: tuple[str, ...] = ()
        for number, line in self._lines():
            if match := _HEADER.match(line):
                path = header = _words(match[1])
            elif match := _KEY.match(line):
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
        token = _TOKEN.search(line, position)
        if token is None:
            return ""
        position = token.end()
        inside = token[0] if token[0] in ('"""', "'''") else ""


def _words(path: str) -> tuple[str, ...]:
    return _split(".".join(word.strip("\"'") for word in re.findall(_WORD, path)))


def _split(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split(".") if part)
