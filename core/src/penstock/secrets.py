"""References to secrets, and masking: what a step prints never shows what it was handed.

A reference (`env:TOKEN`, `file:/run/secret`) travels and is journalled; the value is resolved in the
worker of the step that declares it, and nowhere else.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote, quote_plus

from penstock.errors import ConfigError

MASK = b"***"
_SHORTEST = 4  # masking every "a" of a log would hide the log, not the secret


def resolve(reference: str, ask_plugins: Callable[[str], str | None]) -> str:
    """The value behind a reference.

    Raises ConfigError where it names nothing, saying what was looked for.
    """
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        value = os.environ.get(rest)
        if value is None:
            raise ConfigError(f'the secret "{reference}" is not there: the variable {rest} is not set')
        return value
    if scheme == "file":
        try:
            return Path(rest).expanduser().read_text().rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f'the secret "{reference}" can\'t be read: {error}') from None
    value = ask_plugins(reference)
    if value is None:
        raise ConfigError(
            f'the secret "{reference}" is not there: no enabled plugin knows "{scheme}:". '
            "References are such as env:NAME or file:PATH"
        )
    return value


def forms(value: str) -> set[bytes]:
    """The ways in which a secret shows up in output: as it is, each line, base64 and URL-encoded."""
    found: set[bytes] = set()
    for part in {value, *value.splitlines()}:
        if len(part) < _SHORTEST:
            continue
        raw = part.encode()
        found |= {raw, quote(part, safe="").encode(), quote_plus(part).encode(), quote(part).encode()}
        found |= _base64_forms(raw)
    return {form for form in found if len(form) >= _SHORTEST}


def _base64_forms(raw: bytes) -> set[bytes]:
    # Base64 of a text that holds the secret depends on where it begins modulo 3: cut off the
    # characters that its neighbours share, and what remains is the same whatever stands around it.
    found = {base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw).rstrip(b"=")}
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * offset + raw).rstrip(b"=")
            start = (0, 2, 3)[offset]
            end = len(text) if (len(raw) + offset) % 3 == 0 else len(text) - 1
            if end - start >= 2 * _SHORTEST:
                found.add(text[start:end])
    return found


class Masker:
    """Replaces secrets in a stream of bytes, also where one is cut over several writes."""

    def __init__(self, values: Iterable[str]) -> None:
        found = {form for value in values for form in forms(value)}
        self._forms = sorted(found, key=len, reverse=True)  # the longest first: it may hold a shorter one
        self._pending = b""

    def feed(self, data: bytes) -> bytes:
        """What may be shown by now; the rest is kept until more is known."""
        if not self._forms:
            return data
        text = self._mask(self._pending + data)
        keep = self._possible_start(text)
        self._pending = text[len(text) - keep :] if keep else b""
        return text[: len(text) - keep]

    def close(self) -> bytes:
        """The rest, once the stream has ended."""
        rest, self._pending = self._mask(self._pending), b""
        return rest

    def text(self, value: str) -> str:
        """A whole text, masked."""
        return self._mask(value.encode(errors="surrogateescape")).decode(errors="surrogateescape")

    def _mask(self, text: bytes) -> bytes:
        for form in self._forms:
            text = text.replace(form, MASK)
        return text

    def _possible_start(self, text: bytes) -> int:
        """How many bytes at the end may be the beginning of a secret.

        A form that is the start of a longer one was masked by then; its rest shows no secret in full.
        """
        longest = 0
        for form in self._forms:
            for size in range(min(len(form) - 1, len(text)), longest, -1):
                if text.endswith(form[:size]):
                    longest = size
                    break
        return longest
