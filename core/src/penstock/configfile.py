"""The configuration file as text: reads it, and says where in it something stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from penstock.errors import ConfigError

FILE = "penstock.toml"


def find(start: Path) -> Path:
    """The nearest `penstock.toml`, in this directory or above. Raises ConfigError where there is none."""
    for directory in (start, *start.parents):
        if (directory / FILE).is_file():
            return directory / FILE
        pyproject = directory / "pyproject.toml"
        if pyproject.is_file() and "[tool.penstock" in pyproject.read_text(errors="replace"):
            return pyproject
    raise ConfigError(f"there is no {FILE} in {start} or above. Make one: penstock init")


class ConfigFile:
    """The configuration file as text, to say where in it something stands."""

    def __init__(self, path: Path, own: Collection[str]) -> None:
        """`own` names the keys of `[penstock]`."""
        self.path = path
        self._own = own
        try:
            self.raw = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path} can't be read: {error.strerror}") from None
        try:
            self.text = self.raw.decode("utf-8")
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
        except tomllib.TOMLDecodeError as error:
            message = str(error)
            place = re.search(r"\(at line (\d+), column (\d+)\)", message)
            where = f":{place[1]}:{place[2]}" if place else ""
            what = re.sub(r"\s*\(at .*\)$", "", message)
            what = what[:1].lower() + what[1:]
            raise ConfigError(f"{self.path.name}{where}: not valid TOML: {what}") from None
        if self.path.name == FILE:
            return data
        table: dict[str, Any] = data.get("tool", {}).get("penstock", {})
        own = {key: value for key, value in table.items() if key in self._own}
        rest = {key: value for key, value in table.items() if key not in own}
        return {"penstock": own, **rest}

    def line(self, section: str, key: str | None = None) -> int | None:
        """The line of a key, or of its section where the key is not found."""
        header_line, inside = None, False
        wanted = [part for part in section.split(".") if part]
        for number, line in enumerate(self.text.splitlines(), 1):
            header = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line)
            if header:
                parts = [part.strip().strip("\"'") for part in header[1].split(".")]
                parts = parts[2:] if parts[:2] == ["tool", "penstock"] else parts
                inside = parts == wanted or (parts == [*wanted, key])
                if inside and (header_line is None or parts != wanted):
                    header_line = number
            elif inside and key and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line):
                return number
        return header_line

    def error(self, section: str, key: str, message: str) -> str:
        """`penstock.toml:14: [deploy.production] rollout.waves: message`."""
        line = self.line(section, key.split(".")[0] or None)
        where = f"{self.path.name}:{line}" if line else self.path.name
        return f"{where}: [{section}] " + (f"{key}: " if key else "") + message
