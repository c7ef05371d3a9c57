"""What a run says goes out without the run waiting for whoever reads it: a pipe may be full for hours.

What is not read yet is kept, and handed on when there is room. In the end, when nothing hangs on it any
more, it is waited for as any program would.
"""

from __future__ import annotations

import io
import os
import select
import stat
from collections.abc import Callable
from typing import TextIO, cast

_PIECE = 4096
"""What fits into a pipe that has room at all."""
_LOOK_AGAIN = 100
"""Thousandths of a second until it is looked at whether waiting is still wanted."""
_LAST_MOMENT = 10
"""Looks after somebody wants it to end."""


def outlet(stream: TextIO) -> TextIO:
    """A stream that never blocks where this one is a pipe or a socket; otherwise this one."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError):
        return stream
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        return cast("TextIO", Outlet(stream))
    return stream


def is_behind(stream: TextIO) -> bool:
    """Whether something is not read yet."""
    return isinstance(stream, Outlet) and stream.behind


def finish(stream: TextIO, told: Callable[[], bool]) -> None:
    """Wait until all of it is read; not for long once somebody has `told` us to end."""
    if isinstance(stream, Outlet):
        stream.finish(told)


class Outlet(io.TextIOBase):
    """A pipe, and what it did not take yet."""

    def __init__(self, stream: TextIO) -> None:
        stream.flush()
        self._stream = stream
        self._left = bytearray()
        self._room = select.poll()
        self._room.register(stream.fileno(), select.POLLOUT)

    @property
    def encoding(self) -> str:  # type: ignore[override]  # of the stream, and never changed
        """That of the stream."""
        return self._stream.encoding or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]  # as above
        """What is done about characters that it can't show."""
        return self._stream.errors or "strict"

    @property
    def behind(self) -> bool:
        """Whether something is not read yet."""
        return bool(self._left)

    def fileno(self) -> int:
        """That of the stream."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Keep it until `flush`."""
        self._left += text.encode(self.encoding, self.errors)
        return len(text)

    def flush(self) -> None:
        """Hand on what there is room for. Raises OSError where nobody will ever read it."""
        self._hand_on(0)

    def finish(self, told: Callable[[], bool]) -> None:
        """As the function."""
        looks = 0
        while self._left and looks < _LAST_MOMENT:
            self._hand_on(_LOOK_AGAIN)
            looks += told()

    def _hand_on(self, patience: int) -> None:
        while self._left and self._room.poll(patience):
            with memoryview(self._left)[:_PIECE] as piece:
                count = os.write(self.fileno(), piece)
            del self._left[:count]
