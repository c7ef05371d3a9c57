"""Makes what was written durable, however many files it is: each on its own would wait for the disk."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path


def sync(directory: Path) -> None:
    """All that was written by now to the file system that a directory lies on. Raises OSError."""
    if sys.platform != "linux":
        os.sync()
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(directory))
    finally:
        os.close(descriptor)
