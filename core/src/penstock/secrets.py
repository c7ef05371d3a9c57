"""References to secrets, and masking: what a step prints never shows what it was handed.

A reference (`env:TOKEN`, `file:/run/secret`) travels and is journalled; the value is resolved in the
worker of the step that declares it, and nowhere else.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from penstock.errors import ConfigError

MASK = b"***"
_SHORTEST = 4  # masking every "a" of a log would hide the log, not the secret
_LARGEST = 1 << 20
_BREAKS = b"\r\n"
_SAFE_IN_URL = ("", "/", "!'()*", ";,/?:@&=+$!~*'()#")
"""What Python, and JavaScript by its two functions, leave as it is."""
_QUOTE_IN_SHELL = (b"'\\''", b"'\"'\"'")
_IN_XML = tuple(
    str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", **quotes, **spaces})
    for quotes in (
        {},
        {'"': "&quot;"},
        {'"': "&quot;", "'": "&#x27;"},
        {'"': "&quot;", "'": "&apos;"},
        {'"': "&#34;", "'": "&#39;"},
    )
    for spaces in (
        {},
        {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"},
        {"\n": "&#10;", "\r": "&#13;", "\t": "&#09;"},
    )
)
"""In texts and in attributes, as the usual writers of XML and HTML do it."""


def resolve(reference: str, ask_plugins: Callable[[str], str | None]) -> str:
    """The value behind a reference.

    Raises ConfigError where it names nothing, saying what was looked for, where the value is so short
    that to mask it would hide the log and not the secret, and where no variable could hold it.
    """
    value = _found(reference, ask_plugins)
    if "\0" in value:
        raise ConfigError(
            f'the secret "{reference}" holds a NUL character, which no environment variable can. '
            "Keep it in base64, say"
        )
    if len(as_bytes(value)) >= _SHORTEST:
        return value
    what = f"is shorter than {_SHORTEST} bytes, and could not be kept out of logs" if value else "is empty"
    raise ConfigError(f'the secret "{reference}" {what}. Set it to another')


def _found(reference: str, ask_plugins: Callable[[str], str | None]) -> str:
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        value = os.environ.get(rest)
        if value is None:
            raise ConfigError(
                f'the secret "{reference}" is not there: the variable {rest} is not set. '
                "Set it, and: penstock run"
            )
        return value
    if scheme == "file":
        return _in_file(reference, rest)
    value = ask_plugins(reference)
    if value is None:
        raise ConfigError(
            f'the secret "{reference}" is not there: no enabled plugin knows "{scheme}:". '
            "References are such as env:NAME or file:PATH"
        )
    return value


def _in_file(reference: str, name: str) -> str:
    try:
        with Path(name).expanduser().open("rb") as file:
            data = file.read(_LARGEST + 1)
    except (OSError, RuntimeError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise ConfigError(f'the secret "{reference}" can\'t be read: {why}') from None
    if len(data) > _LARGEST:
        raise ConfigError(
            f'the secret "{reference}" is larger than {_LARGEST >> 20} MiB: is it the right file?'
        )
    try:
        return data.decode().rstrip("\n")
    except UnicodeDecodeError:
        raise ConfigError(f'the secret "{reference}" is no UTF-8 text. Keep it in base64, say') from None


def forms(value: str) -> set[bytes]:
    """How a secret shows up in output: as it is, each line, escaped, in base64, URL-encoded, in hex."""
    found: set[bytes] = set()
    for raw in _parts(value):
        quoted = {quote_plus(raw).encode(), *(quote(raw, safe=safe).encode() for safe in _SAFE_IN_URL)}
        lower = {re.sub(rb"%..", lambda match: match[0].lower(), form) for form in quoted}
        digits = raw.hex().encode()
        found |= {raw, *quoted, *lower, *_escaped(raw), *_base64_forms(raw), digits, digits.upper()}
    return found


def _parts(value: str) -> Iterator[bytes]:
    for part in {value, *value.splitlines()}:
        raw = as_bytes(part)
        if len(raw) >= _SHORTEST:
            yield raw


def _escaped(raw: bytes) -> Iterator[bytes]:
    """As JSON, Python, shells, and XML write it within their quotes."""
    text = raw.decode(errors="surrogateescape")
    for ascii_only in (True, False):
        yield as_bytes(json.dumps(text, ensure_ascii=ascii_only)[1:-1])
    # repr escapes a quote or not by whether there is one of the other kind, perhaps before the secret.
    yield from (as_bytes(repr(text)[1:-1]), as_bytes(repr('"' + text)[2:-1]))
    yield from (repr(raw)[2:-1].encode(), repr(b'"' + raw)[3:-1].encode())
    yield from (raw.replace(b"'", way) for way in _QUOTE_IN_SHELL)
    yield re.sub(rb"([^\w@%+=:,./-])", rb"\\\1", raw)
    yield from (as_bytes(text.translate(way)) for way in _IN_XML)


def _base64_forms(raw: bytes) -> set[bytes]:
    # Base64 of a text that holds the secret depends on where it begins modulo 3: cut off the
    # characters that its neighbours share, and what remains is the same whatever stands around it.
    found = set()
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * offset + raw).rstrip(b"=")
            end = len(text) if (len(raw) + offset) % 3 == 0 else len(text) - 1
            found.add(text[(0, 2, 3)[offset] : end])
            if offset == 0:
                found.add(text)  # the secret alone: its last character is known, too
    return found


class Masker:
    """Replaces secrets in a stream of bytes, also where one is cut over several writes.

    However the stream is cut, the result is that for the whole text: each run of bytes that belong to a
    secret, or to several that overlap, becomes one mask.
    """

    def __init__(self, values: Iterable[str]) -> None:
        values = list(values)
        every = {form for value in values for form in forms(value)}
        # Programs break base64 into lines, at any width: it is looked for with the breaks left out.
        self._broken = sorted(
            {form for value in values for raw in _parts(value) for form in _base64_forms(raw)}
        )
        self._forms = sorted(every)
        self._clear()

    def _clear(self) -> None:
        self._pending = b""
        self._covered = 0  # so many bytes of what is pending are known to belong to a secret
        self._masking = False  # whether the last byte that was handed out belonged to one

    def again(self) -> Masker:
        """One for another stream, with the same secrets."""
        other = copy(self)
        other._clear()
        return other

    def feed(self, data: bytes) -> bytes:
        """What may be shown by now; the rest is kept until more is known."""
        return self._advance(data, ended=False) if self._forms else data

    def close(self) -> bytes:
        """The rest, once the stream has ended."""
        rest = self._advance(b"", ended=True)
        self._clear()
        return rest

    def text(self, value: str) -> str:
        """A whole text, masked."""
        if not self._forms:
            return value
        other = self.again()
        raw = as_bytes(value)
        masked = other._advance(raw, ended=True)
        return value if masked == raw else masked.decode(errors="surrogateescape")

    def _advance(self, data: bytes, *, ended: bool) -> bytes:
        text = self._pending + data
        squeezed = text.translate(None, _BREAKS)
        if squeezed == text:
            found, safe = _search(text, self._forms, ended=ended)
        else:
            found, safe = _search(text, self._forms, ended=ended)
            broken, safe_broken = _search(squeezed, self._broken, ended=ended)
            if broken or safe_broken < len(squeezed):
                places = [place for place, byte in enumerate(text) if byte not in _BREAKS]
                found += [(places[start], places[end - 1] + 1) for start, end in broken]
                if safe_broken < len(squeezed):
                    safe = min(safe, places[safe_broken])
        if ended:
            safe = len(text)
        return self._hand_out(text, [(0, self._covered), *sorted(found)], safe)

    def _hand_out(self, text: bytes, found: list[tuple[int, int]], safe: int) -> bytes:
        """What stands before `safe`, without what was found; the rest stays pending."""
        if not safe:
            self._pending = text
            return b""
        shown = bytearray()
        done = 0
        for start, end in found:
            if start >= safe:
                break
            if start > done:
                shown += text[done:start]
                self._masking = False
            if end > done and end > start:
                if not self._masking:
                    shown += MASK
                self._masking = True
                done = end
        if done < safe:
            shown += text[done:safe]
            self._masking = False
        self._pending, self._covered = text[safe:], max(0, done - safe)
        return bytes(shown)


_DIGEST = r"(sha256:)?[0-9a-f]{40,64}"
_BY_CHANCE = 16
"""Digits of a digest that may be those of a short secret by chance, which a mask would make useless."""
_WORDS = frozenset(
    (
        *("passed", "failed", "skipped", "cached", "refused", "cancelled", "pending", "running", "waiting"),
        *("unknown", "low", "medium", "high", "critical"),
        *("vulnerability", "secret", "misconfiguration", "license"),
        *("wheel", "sdist", "file", "directory", "image", "sbom", "report"),
        *("PASSED", "WARNED", "FAILED"),
    )
)
"""What stands in records as it is: that such a word is there says nothing of a secret that is the same."""


def masked(value: Any, mask: Callable[[str], str], *, spare: frozenset[str] = frozenset()) -> Any:
    """A JSON value with all its texts masked, keys too; digests aside, and words of ours and of `spare`.

    `spare` holds what is not the step's to say, such as its own name: a secret that is the same, or a part
    of it, is not given away by that, and the record would be useless without.
    """
    spare |= _WORDS
    texts = [text for text in dict.fromkeys(_texts(value)) if text not in spare and "\0" not in text]
    # In one go: each call costs by the number of forms, and a report may hold a hundred thousand texts.
    whole = "\0".join(texts)
    shown = mask(whole)
    if shown == whole and not any("\0" in text for text in _texts(value)):
        return value
    clean = dict(zip(texts, shown.split("\0"), strict=True))

    def replaced(text: str) -> str:
        if text in spare:
            return text
        return _unless_by_chance(text, clean[text] if text in clean else mask(text))

    return _replaced(value, replaced)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield key
            yield from _texts(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _texts(entry)


def _replaced(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        # What is a name in a program is one of ours: to mask it would make the record useless.
        return {
            key if key.isidentifier() else clean(key): _replaced(each, clean) for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_replaced(entry, clean) for entry in value]
    return value


def _unless_by_chance(text: str, shown: str) -> str:
    """A digest stays as it is where it only happens to hold the few digits of a secret."""
    if shown == text or not re.fullmatch(_DIGEST, text):
        return shown
    left = len(shown.replace(MASK.decode(), ""))
    return text if len(text) - left < _BY_CHANCE else shown


def plain(text: str) -> str:
    """A text that every program can read: what is not Unicode in it is replaced."""
    return as_bytes(text).decode(errors="replace")


def _search(text: bytes, forms: Iterable[bytes], *, ended: bool) -> tuple[list[tuple[int, int]], int]:
    """Where the forms stand in a text, and from where on its end may be the beginning of one."""
    found = []
    safe = len(text)
    for form in forms:
        start = text.find(form)
        while start >= 0:
            found.append((start, start + len(form)))
            start = text.find(form, start + 1)
        if ended:
            continue
        # The longest end of the text that begins the form: tried only where its first byte stands.
        start = text.find(form[:1], max(0, len(text) - len(form) + 1), safe)
        while start >= 0:
            if form.startswith(text[start:]):
                safe = start
                break
            start = text.find(form[:1], start + 1, safe)
    return found, safe


def as_bytes(text: str) -> bytes:
    """Any text as bytes: those that it was made of, where it stands for some that are not UTF-8."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half of a pair that stands for no byte
        return text.encode(errors="backslashreplace")
