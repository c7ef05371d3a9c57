"""A file of TOML → its bytes, its text, its tables; or why it is none, in words for its author."""

from __future__ import annotations

import codecs
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from penstock.errors import ConfigError

_LONGEST = 32 * 2**20
"""Bytes. A pipeline of a hundred thousand steps has fewer."""
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MANY_DIGITS = r"\d{4000}"
_PLACE = r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$"
_TWICE = r"Cannot declare \((.*)\) twice"
_KEY = r"\s*([^=\[\]{}]+?)\s*="


def read(path: Path) -> bytes:
    """The bytes of a file. Raises ConfigError where there are none to be had."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            what = "a directory" if stat.S_ISDIR(info.st_mode) else "neither a file nor a link to one"
            raise ConfigError(f"{path} is {what}. The configuration is a text file of that name")
        if info.st_size > _LONGEST:
            raise ConfigError(
                f"{path} has {info.st_size >> 20} MiB, which no configuration has. Is it the right file?"
            )
        return path.read_bytes()
    except FileNotFoundError:
        link = f"is a symbolic link to {path.readlink()}, which" if path.is_symlink() else ""
        raise ConfigError(f"{path} {link} is not there".replace("  ", " ")) from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None


def decoded(name: str, raw: bytes) -> str:
    """The text of a file. Raises ConfigError where it is none."""
    if raw.startswith(_UTF16):
        raise ConfigError(f"{name}:1: the file is UTF-16, and TOML is UTF-8. Save it as UTF-8")
    raw = raw.removeprefix(codecs.BOM_UTF8)  # as utf-8-sig does, which is a module more to import
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{name}:{line}: the file is not UTF-8 (byte 0x{raw[error.start]:02x}). Save it as UTF-8"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ConfigError(f"{name}:{line}: the file holds a NUL character. Save it as text, in UTF-8")
    if "\r" in text and "\n" not in text:
        raise ConfigError(f"{name}:1: its lines end with CR alone. Save it with line ends of Unix (LF)")
    return text


def parse(name: str, text: str) -> dict[str, Any]:
    """The tables of a text. Raises ConfigError with line and column where it is no TOML."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        where, what = "", "it nests too deeply. A list or table in a table is as deep as a pipeline needs"
    except tomllib.TOMLDecodeError as error:
        where, what = _fault(str(error), text.split("\n"))
    except ValueError:  # Python counts no number of 5,000 digits
        number = next(n for n, line in enumerate(text.split("\n"), 1) if re.search(_MANY_DIGITS, line))
        where, what = f":{number}", "a number with thousands of digits"
    raise ConfigError(f"{name}{where}: not valid TOML: {what}")


def _fault(message: str, lines: list[str]) -> tuple[str, str]:
    """Where and what."""
    place = re.search(_PLACE, message)
    what = re.sub(_PLACE, "", message)
    if place is None or place[1] is None:
        return f":{len(lines) - (not lines[-1])}", _in_our_words(what, "")
    return f":{place[1]}:{place[2]}", _in_our_words(what, lines[int(place[1]) - 1])


def _in_our_words(what: str, line: str) -> str:
    twice, key = re.match(_TWICE, what), re.match(_KEY, line)
    if twice:
        name = ".".join(part.strip(" '") for part in twice[1].split(",") if part.strip())
        return f"[{name}] is there already. A section stands once: put their keys together, or rename one"
    if what == "Cannot overwrite a value":
        name = key[1] if key else line.strip()
        return f"{name} is set already. A key stands once in its section: remove one of them"
    if what.startswith(("Illegal character '\\n'", "Found invalid character '\\n'")):
        return 'a string is not closed in its line. Only between """ and """ it may have several'
    return what[:1].lower() + what[1:]
