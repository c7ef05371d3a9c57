from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from penstock.testing import make_step

__all__ = ["make_step"]

Handle = Callable[[socket.socket, bytes], None]


class Server:
    """A real server on loopback that answers each connection as a test says, byte for byte."""

    def __init__(self, handle: Handle, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self._tls = tls
        self._handle = handle
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._over = False
        self.requests: list[bytes] = []
        self.port: int = self._listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if tls else 'http'}://{shown}:{self.port}/health"
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._over:
                connection.close()
                return
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            self._open.append(connection)
            if self._tls:
                with self._tls.wrap_socket(connection, server_side=True) as secure:
                    self._answer(secure)
            else:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            data = connection.recv(65536)
            if not data:
                return
            request += data
        self.requests.append(request)
        self._handle(connection, request)

    def close(self) -> None:
        """Ends all threads."""
        self._over = True
        family = self._listener.family
        with socket.socket(family) as last:
            last.connect(self._listener.getsockname())
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers: with functions or bytes, one a connection, and the last again and again."""
    servers: list[Server] = []

    def start(*answers: bytes | Handle, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Server:
        turns = iter(range(len(answers)))

        def handle(connection: socket.socket, request: bytes) -> None:
            given = answers[next(turns, -1)]
            if callable(given):
                given(connection, request)
            else:
                connection.sendall(given)

        servers.append(Server(handle, host=host, tls=tls))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 alone, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    names = "subjectAltName=IP:127.0.0.1"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += [
        "-days",
        "2",
        "-subj",
        "/CN=penstock test",
        "-addext",
        names,
        "-keyout",
        path,
        "-out",
        f"{path}.crt",
    ]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path
