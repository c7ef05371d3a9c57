"""A terminal for tests: a pty with pyte at its other end, which watches that nothing finished is touched again."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import pyte

# Clears the screen, moves to its top, hides the cursor, turns to the other screen, resets.
DISTURBING = re.compile(
    rb"\x1b\[[123]J|\x1b\[\d*;?\d*[Hf]|\x1b\[\?(25|47|1047|1049|7)l|\x1b\[\?(47|1049)h|\x1bc"
)
FINISHED = ("✓", "✗", "–", "↻")
RUNNING = "› "


class Emulator:
    """What a person sees. Every piece that arrives is shown at once, and looked at."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.master, self.slave = pty.openpty()
        self._screen = pyte.HistoryScreen(columns, rows, history=5000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self.finished: list[str] = []
        self.most_running = 0
        self._set_size(columns, rows)

    def close(self) -> None:
        for descriptor in (self.master, self.slave):
            if descriptor >= 0:
                os.close(descriptor)

    # --- a program in it ---

    def stream(self) -> TextIO:
        """The end that a program writes to, for a part of one in this process."""
        return _Stream(self)

    def write(self, data: bytes) -> None:
        """Show what is written, as it is written: the kernel holds no more than some KiB of it."""
        for start in range(0, len(data), 1024):
            piece = data[start : start + 1024]
            wanted = len(self.raw) + len(piece) + piece.count(b"\n")  # the terminal adds what returns
            os.write(self.slave, piece)
            while len(self.raw) < wanted:
                assert self._show(10)

    def start(self, argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> int:
        """Start a program whose terminal this is; its process id."""
        pid = os.fork()
        if pid == 0:
            try:
                os.close(self.master)
                os.login_tty(self.slave)
                os.chdir(cwd)
                os.execve(argv[0], [str(word) for word in argv], dict(env))
            finally:
                os._exit(127)
        os.close(self.slave)
        self.slave = -1
        return pid

    def resize(self, columns: int, rows: int) -> None:
        self._set_size(columns, rows)
        self._screen.resize(rows, columns)
        self.finished = self._finished()  # what the terminal itself cut off is not the program's doing

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def until(self, condition: Callable[[], Any], within: float = 60.0) -> Any:
        """Show what comes until a condition holds; what it came to."""
        deadline = time.monotonic() + within
        while not (found := condition()):
            left = deadline - time.monotonic()
            assert left > 0, f"not within {within} s:\n{self.text}"
            assert self._show(left) or condition(), f"it ended:\n{self.text}"
        return found

    def end(self, pid: int, within: float = 120.0) -> int:
        """Show all that comes; how the program ended."""
        deadline = time.monotonic() + within
        while self._show(deadline - time.monotonic()):
            assert time.monotonic() < deadline, f"not within {within} s:\n{self.text}"
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    # --- what is seen ---

    @property
    def lines(self) -> list[str]:
        """All lines, also those that have moved off the top."""
        width = self._screen.columns
        above = [
            "".join(row[x].data for x in range(max(row, default=-1) + 1) if x < width)
            for row in self._screen.history.top
        ]
        return [line.rstrip() for line in (*above, *self._screen.display)]

    @property
    def text(self) -> str:
        return "\n".join(self.lines).rstrip()

    @property
    def running(self) -> list[str]:
        return [line for line in self.lines if line.startswith(RUNNING)]

    @property
    def cursor_is_shown(self) -> bool:
        return not self._screen.cursor.hidden

    @property
    def wraps(self) -> bool:
        return pyte.modes.DECAWM in self._screen.mode

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    def _finished(self) -> list[str]:
        return [line for line in self.lines if line.startswith(FINISHED)]

    def _show(self, patience: float) -> bool:
        """Show one piece of what arrives; False where there is none in time, or there will be no more."""
        if not select.select([self.master], [], [], max(0.0, patience))[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the other end is closed
            return False
        self.raw += data
        self._stream.feed(data)
        self._look()
        return bool(data)

    def _look(self) -> None:
        assert not DISTURBING.search(self.raw), DISTURBING.search(self.raw)
        now = self._finished()
        # The last one may be half there: a piece ends anywhere.
        kept = self.finished[:-1]
        assert now[: len(kept)] == kept, "a finished line was touched:\n" + "\n".join((*kept, "---", *now))
        self.finished = now
        places = [place for place, line in enumerate(self.lines) if line.startswith(RUNNING)]
        if places:
            assert places == list(range(places[0], places[-1] + 1)), f"two regions:\n{self.text}"
            self.most_running = max(self.most_running, len(places))

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class _Stream(io.StringIO):
    def __init__(self, emulator: Emulator) -> None:
        super().__init__()
        self._emulator = emulator

    @property
    def encoding(self) -> str:  # type: ignore[override]  # StringIO has none
        return "utf-8"

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._emulator.slave

    def write(self, text: str) -> int:
        self._emulator.write(text.encode())
        return len(text)


def kill(pid: int) -> int:
    """End a program as nothing can prevent; its status."""
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
