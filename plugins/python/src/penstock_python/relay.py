"""Runs a program and keeps a copy of its output, which also goes on to the step's log as it comes.

Started as `python relay.py COPY PROGRAM ARGUMENT…`; imports nothing but the standard library.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

_DRAIN = 1.0  # seconds


def main(copy: Path, argv: list[str]) -> int:
    """Run `argv` to its end; its exit status, 128 + N where signal N ended it."""
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert child.stdout is not None
    reader = threading.Thread(target=_pass_on, args=(child.stdout, copy), daemon=True)
    reader.start()
    returncode = child.wait()
    # A compiler cache's server may outlive the build and hold the pipe: its end is not waited for.
    reader.join(_DRAIN)
    return returncode if returncode >= 0 else 128 - returncode


def _pass_on(source: IO[bytes], copy: Path) -> None:
    # Closed whatever happens: a full disk must end the program, not leave it waiting for a reader.
    with source, copy.open("wb", buffering=0) as file:
        while data := os.read(source.fileno(), 1 << 16):
            file.write(data)
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    status = main(Path(sys.argv[1]), sys.argv[2:])
    os._exit(status)  # the reader may still wait in a read
