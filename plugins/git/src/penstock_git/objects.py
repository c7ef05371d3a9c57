"""The objects of a repository, one after another out of one `git cat-file --batch`, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO

from penstock_git import parse
from penstock_git.parse import Commit, Header
from penstock_git.program import Answer, Git, brief

_AT_A_TIME = 100
"""So many names fit into a pipe: git may wait for us to read while we ask for them."""
_CHUNK = 1 << 20


class UnreadableError(Exception):
    """An object can't be read: the message says which, or why."""


class Objects:
    """Raw objects: no attribute, filter or encoding has a part in it."""

    def __init__(self, git: Git) -> None:
        self._running = git.start("cat-file", "--batch", talking=True)
        child = self._running.child
        assert child.stdin is not None
        assert child.stdout is not None
        self._asked: IO[bytes] = child.stdin
        self._said: IO[bytes] = child.stdout

    def ask(self, names: Sequence[str]) -> None:
        """Ask for a few objects, to read them later."""
        with suppress(BrokenPipeError):  # why it has ended is told to whoever reads
            self._asked.write("".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape"))
            self._asked.flush()

    def commit(self) -> Commit | None:
        """The commit that was asked for; None where the name means none. Raises UnreadableError."""
        head = self._header()
        if head is None:
            return None
        raw = self.read(head.size)
        return parse.commit(head.name, raw) if head.kind == b"commit" else None

    def sizes(self, names: Sequence[str], kind: bytes) -> Iterator[int]:
        """Ask for objects of a kind: the size of each, in order. Its bytes are to be read before the next.

        Raises UnreadableError.
        """
        for first in range(0, len(names), _AT_A_TIME):
            some = names[first : first + _AT_A_TIME]
            self.ask(some)
            for name in some:
                head = self._header()
                if head is None:
                    raise UnreadableError(f"{name} is missing")
                if head.kind != kind:
                    raise UnreadableError(f"{name} is no {kind.decode()}, but a {head.kind.decode()}")
                yield head.size

    def read(self, size: int) -> bytes:
        """The bytes of an object."""
        return b"".join(self.chunks(size))

    def chunks(self, size: int) -> Iterator[bytes]:
        """The same, some at a time."""
        left = size
        while left:
            data = self._said.read(min(left, _CHUNK))
            if not data:
                raise UnreadableError(brief(self.end().complaint))
            left -= len(data)
            yield data
        self._said.read(1)  # a line ends after each

    def end(self) -> Answer:
        """Ask for nothing more; how it ended."""
        return self._running.answer()

    def _header(self) -> Header | None:
        line = self._said.readline()
        if not line:
            raise UnreadableError(brief(self.end().complaint))
        return parse.header(line)
