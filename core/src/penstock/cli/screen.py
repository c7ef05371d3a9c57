"""The place that lines go to: on a terminal with one region below them that is drawn anew.

Finished lines are printed once and never touched again. The cursor rests at the beginning of the region's
first line, never above it: a terminal that breaks its lines anew when it is made smaller takes the cursor
along, and drawing can't reach what stands above. It is not hidden: who is killed can't show it again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import TextIO

from penstock.cli.lines import Look


class Screen:
    """A stream with a region of lines at its end, where it is a terminal that can do that."""

    def __init__(self, stream: TextIO, *, live: bool = True) -> None:
        self._stream = stream
        self._live = live and stream.isatty() and os.environ.get("TERM") != "dumb" and not _in_ci()
        self._region: tuple[str, ...] = ()
        self._size: tuple[int | None, int] | None = None
        self._fixed = None if stream.isatty() else Look.of(stream)

    @property
    def live(self) -> bool:
        """Whether it has a region now. A program in the background keeps out of whatever is typed."""
        if not self._live:
            return False
        try:
            return os.tcgetpgrp(self._stream.fileno()) == os.getpgrp()
        except (OSError, ValueError):
            return True  # a terminal that is not the one this program belongs to

    def look(self) -> Look:
        """How wide it is now, and what it can show."""
        return self._fixed or Look.of(self._stream)

    def show(self, lines: Sequence[str], region: Sequence[str], look: Look) -> None:
        """Print lines, and the region below them, in one write: nothing is ever seen half drawn."""
        size, wanted = (look.columns, look.rows), tuple(region)
        if not lines and wanted == self._region and size == self._size:
            return
        resized, self._size = size != self._size, size
        if not self._region and not wanted:
            text = "".join(f"{line}\n" for line in lines)
        else:
            text = self._drawn(lines, wanted, resized)
        self._region = max(self._region, wanted, key=len)  # as long as either may be there
        self._write(text)
        self._region = wanted

    def close(self) -> None:
        """Take the region away. It may come from a signal, at any moment."""
        with contextlib.suppress(OSError, ValueError):
            self.show((), (), self.look())

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except RuntimeError:  # a signal came while this stream was written to: it can't be entered again
            data = text.encode(self._stream.encoding, self._stream.errors or "strict")
            os.write(self._stream.fileno(), data)

    def _drawn(self, lines: Sequence[str], region: tuple[str, ...], resized: bool) -> str:
        text = "\r" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[K\n".join(region) + "\x1b[K"
        below = len(self._region) - len(lines) - max(1, len(region))
        if resized and self._region:
            text += "\x1b[J"  # how many lines the old region takes now, nobody can tell
        elif below > 0:
            text += "\n\x1b[K" * below
        up = max(0, len(region) - 1) + (0 if resized else max(0, below))
        return text + (f"\x1b[{up}A\r" if up else "\r")


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false")
