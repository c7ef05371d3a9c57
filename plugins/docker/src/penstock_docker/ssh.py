"""An engine behind SSH: a socket of this machine, each of whose connections is a session of the ssh program.

That program knows the user's configuration, keys, agents and known hosts. Docker's own client on the other
side finds the engine's socket there, as it does for `docker -H ssh://…`.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from penstock import ConfigError, StepFailed

from penstock_docker import scratch

CONNECT_WITHIN = 10
"""Seconds until a host that says nothing counts as gone."""
_ALIVE = 10
_LAST_WORDS = 2000


def argv(where: str) -> list[str]:
    """The command whose standard input and output are a connection to the engine. Raises ConfigError."""
    try:
        found = urlsplit(where)
        name, port = found.hostname, found.port
    except ValueError as error:
        raise ConfigError(f"{where} is no address of a host: {error}. Write ssh://USER@HOST:PORT") from None
    if not name or found.password or found.path.strip("/") or found.query:
        raise ConfigError(f"{where} is no address of a host. Write ssh://USER@HOST or ssh://USER@HOST:PORT")
    words = ["ssh", "-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_WITHIN}"]
    # A host that goes away in the middle ends its sessions, instead of leaving them open for ever.
    words += ["-o", f"ServerAliveInterval={_ALIVE}", "-o", "ServerAliveCountMax=3"]
    words += ["-l", found.username] if found.username else []
    words += ["-p", str(port)] if port else []
    return [*words, "--", name, "docker system dial-stdio"]


@contextmanager
def tunnel(where: str) -> Iterator[Tunnel]:
    """Sessions to a host, for as long as they are needed."""
    command = argv(where)
    if shutil.which(command[0]) is None:
        raise StepFailed(f"{where} needs the program ssh, which is not here. Install an OpenSSH client")
    with scratch.short() as place:
        if _shares_nothing(
            command
        ):  # one login for all sessions; who has arranged for that otherwise keeps it
            command[1:1] = ["-o", "ControlMaster=auto", "-o", f"ControlPath={place}/master"]
        made = Tunnel(command, place)
        try:
            yield made
        finally:
            made.close()


def _shares_nothing(command: list[str]) -> bool:
    """Whether the user's configuration has each session log in on its own."""
    asked = [command[0], "-G", *command[1:-1]]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=CONNECT_WITHIN, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    lines = done.stdout.splitlines()
    return done.returncode == 0 and not any(line.startswith("controlpath /") for line in lines)


class Tunnel:
    """Takes connections, and starts a session for each."""

    def __init__(self, command: list[str], place: Path) -> None:
        self._command = command
        self._log = place / "said"
        self._socket = place / "engine.sock"
        self._children: list[subprocess.Popen[bytes]] = []
        self._over = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._socket))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where to connect to."""
        return f"unix://{self._socket}"

    def said(self) -> str:
        """What the ssh program, or Docker's on the other side, complained of last."""
        with suppress(OSError):
            for child in self._children:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(1)
            lines = self._log.read_text(errors="replace")[-_LAST_WORDS:].splitlines()
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""

    def close(self) -> None:
        """End all sessions."""
        self._over = True
        with suppress(OSError), socket.socket(socket.AF_UNIX) as waker:
            waker.connect(str(self._socket))
        self._thread.join()
        self._listener.close()
        for child in self._children:
            child.terminate()
        for child in self._children:
            try:
                child.wait(2)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if self._over:
                    return
                end = connection.fileno()
                with self._log.open("ab") as log, suppress(OSError):
                    self._children.append(subprocess.Popen(self._command, stdin=end, stdout=end, stderr=log))
