"""Text from anywhere → text that a terminal only shows: nothing in it that acts, and how wide it is. Pure.

Names of tests, output of programs, messages of commits come from others. A terminal would obey what is
hidden in them: clear the screen, fill the clipboard, set the title, or show words in another order.
"""

# Own code: importing rich takes 110 ms, where Python itself takes 20; wcwidth's tables take 40.

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_TAB = 4
# As text: they are compiled when a text comes that they are for, which in most runs none is.
_SEQUENCE = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, movements: CSI
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)"  # titles, clipboard
    r"|\x1b[ -/]*[0-~]"
)
_COLOUR = r"\x1b\[[0-9;:]*m"
# What turns the direction of writing around: names would look like others.
_TURNING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C}
ACTING = {number: f"\\u{number:04x}" for number in (*range(0x80, 0xA0), 0x2028, 0x2029, *_TURNING)}
"""Characters beyond ASCII that act, each as JSON spells it."""

_NO_WIDTH = "\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\ufeff"
_WIDENING = "\ufe0f"
"""Shows the character before it as a picture, which is two columns wide."""


def clean(text: str) -> str:
    """One line without anything that a terminal would act on: sequences go, other characters are spelled."""
    if text.isascii() and text.isprintable():
        return text
    text = re.sub(_SEQUENCE, "", text).expandtabs(_TAB)
    return "".join(character if _harmless(character) else _spelled(character) for character in text)


def lines_of(text: str) -> list[str]:
    """The lines of a text, each clean. Of a line that a program wrote over, what was to be seen last."""
    found = []
    for line in text.replace("\r\n", "\n").split("\n"):
        shown = [part for part in line.split("\r") if part]
        found.append(clean(shown[-1]) if shown else "")
    return found


def harmless(text: str) -> str:
    """A text of many lines, each clean."""
    return "\n".join(clean(line.replace("\r", "")) for line in text.split("\n"))


def coloured(text: str) -> str:
    """A text of many lines, clean but for its colours: a step's own output."""
    parts = []
    for line in text.split("\n"):
        place = 0
        for match in re.finditer(_COLOUR, line):
            parts += [clean(line[place : match.start()].replace("\r", "")), match.group()]
            place = match.end()
        parts += [clean(line[place:].replace("\r", "")), "\n"]
    return "".join(parts[:-1])


def width(text: str) -> int:
    """How many columns a clean text takes; rather one too many than one too few."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def fill(text: str, columns: int) -> str:
    """A text made as wide as a column is."""
    return text + " " * (columns - width(text))


def cut(text: str, columns: int) -> str:
    """A text that is no wider than this; where it was, it ends with an ellipsis."""
    if width(text) <= columns:
        return text
    return _head(text, columns - 1) + "…" if columns > 0 else ""


def wrap(text: str, columns: int) -> list[str]:
    """A text in lines that are no wider than this, broken between words where there are some."""
    return list(_wrapped(text, max(columns, 8))) or [""]


def _wrapped(text: str, columns: int) -> Iterator[str]:
    while width(text) > columns:
        head = _head(text, columns)
        space = head.rfind(" ") if text[len(head)] != " " else len(head)
        if space <= len(head) - len(head.lstrip()):  # one long word
            space = len(head)
        yield text[:space].rstrip()
        text = text[space:].lstrip()
    if text:
        yield text


def _head(text: str, columns: int) -> str:
    taken = 0
    for place, character in enumerate(text):
        taken += _columns(character)
        if taken > columns:
            return text[:place]
    return text


def _columns(character: str) -> int:
    if character.isascii() or character == _WIDENING:
        return 1
    if character in _NO_WIDTH or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _harmless(character: str) -> bool:
    if character.isprintable():
        return True
    category = unicodedata.category(character)
    if category in ("Zs", "Cn", "Co"):  # spaces of other kinds, and what this Python does not know yet
        return True
    return category == "Cf" and ord(character) not in _TURNING


def _spelled(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
