"""Other processes, found and ended: never one that is not proved to be the one that is meant."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from penstock_local.supervisor import MARK, start_of, stat_of

_LISTENING = "0A"


def pids() -> Iterator[int]:
    """Every process."""
    yield from (int(name) for name in os.listdir("/proc") if name.isdigit())


def marked(mark: str) -> list[int]:
    """The processes of a service, by what stands in their environment; not this one and those above it."""
    wanted = f"\0{MARK}={mark}\0".encode()
    spared = set(_lineage())
    return [pid for pid in pids() if pid not in spared and wanted in _environ(pid)]


def variables(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty where we may not know."""
    entries = (entry.decode(errors="surrogateescape") for entry in _environ(pid).split(b"\0"))
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def end_marked(mark: str, grace: float) -> None:
    """End the processes of a service: SIGTERM, and after the grace SIGKILL. Returns when none is left."""
    deadline = time.monotonic() + grace
    asked: set[int] = set()
    while found := marked(mark):
        late = time.monotonic() >= deadline
        if time.monotonic() > deadline + 5:
            return  # it hangs in the kernel: nobody can end it
        for pid in found:
            if late or pid not in asked:
                _end_if_marked(pid, mark, signal.SIGKILL if late else signal.SIGTERM)
                asked.add(pid)
        # They are nobody's children that we know of: there is no event to wait for.
        time.sleep(0.02)


def tell(pid: int, start: str, number: signal.Signals, patience: float) -> bool:
    """Send a signal to the process that began then, and wait for its end. Whether it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        # The descriptor stands for one process: if that is the one we mean now, it stays the one.
        if start_of(pid) != start:
            return True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(patience * 1000))
    finally:
        os.close(descriptor)


def is_free(port: int) -> bool:
    """Whether a service could listen on a port. Takes it for a moment: not to be asked while one starts."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return not _listening(port)


def is_served(port: int) -> bool:
    """Whether somebody listens on a port, on whichever of this machine's addresses."""
    if _listening(port):
        return True
    with socket.socket() as probe:  # where /proc/net can't be read
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def listeners(port: int) -> list[int]:
    """The processes that listen on a port, as far as we may see them."""
    wanted = {f"socket:[{inode}]" for inode in _listening(port)}
    return [pid for pid in pids() if wanted and _holds(pid, wanted)]


def name_of(pid: int) -> str:
    """What a process is called."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a program"


def _listening(port: int) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found


def _holds(pid: int, wanted: set[str]) -> bool:
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{name}") in wanted:
                    return True
    return False


def _end_if_marked(pid: int, mark: str, number: signal.Signals) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            if f"\0{MARK}={mark}\0".encode() in _environ(pid):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _environ(pid: int) -> bytes:
    try:
        return b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _lineage() -> Iterator[int]:
    pid = os.getpid()
    while pid > 1:
        yield pid
        fields = stat_of(pid)
        pid = int(fields[1]) if len(fields) > 1 else 0
