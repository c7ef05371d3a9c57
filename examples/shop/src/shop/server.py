"""The HTTP server: bytes from a socket to `api.answer` and back."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from shop import __version__
from shop.api import answer
from shop.errors import InvalidError, TooLargeError
from shop.store import Store

LIMIT = 64 * 1024
"""The longest body that is read, in bytes."""


class Server(ThreadingHTTPServer):
    """The shop on a port of this machine."""

    daemon_threads = True

    def __init__(self, port: int, store: Store) -> None:
        self.store = store
        super().__init__(("127.0.0.1", port), Handler)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    server_version = f"shop/{__version__}"
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds that a silent client is waited for

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer()

    def do_POST(self) -> None:
        """Answer a POST."""
        self._answer()

    def _answer(self) -> None:
        try:
            body = self._body()
        except (InvalidError, TooLargeError) as error:
            # What was not read would be taken for the next request.
            self.close_connection = True
            self._send(error.status, {"error": str(error)})
            return
        path = unquote(urlsplit(self.path).path)
        self._send(*answer(self.server.store, self.command, path, body))

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            raise InvalidError(f"Content-Length is a number, and not {length!r}")
        if int(length) > LIMIT:
            raise TooLargeError(f"a body has at most {LIMIT} bytes")
        return self.rfile.read(int(length))

    def _send(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
