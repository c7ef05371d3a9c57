"""A connection for one request that keeps to one deadline, however slowly the other side drips."""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

Address = tuple[Any, ...]

_MOST = 16 * 1024 * 1024
"""Bytes of one answer: headers and chunk sizes have no other limit, and neither has a malformed chunk."""


class TooMuchError(OSError):
    """The answer is larger than anything that a check needs."""


class Deadline:
    """A moment by which everything must be done."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """The seconds until then. Raises TimeoutError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class Connection(http.client.HTTPConnection):
    """http.client's connection over a socket that knows a deadline; with TLS where there is a context.

    http.client by itself has a time limit for each read, which a server that sends a byte now and then
    never reaches.
    """

    def __init__(self, host: str, port: int, deadline: Deadline, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port)
        self._raw: socket.socket | None = None
        self.default_port = 443 if tls else 80  # what the Host header may leave out
        self._deadline = deadline
        self._tls = tls

    def connect(self) -> None:
        """Connect to the first address that answers, and agree on keys."""
        self._raw = _connect(resolve(self.host, self.port, self._deadline), self._deadline)
        if self._tls is not None:
            self._raw.settimeout(self._deadline.left())
            self._raw = self._tls.wrap_socket(self._raw, server_hostname=self.host)
        self.sock = _TimedSocket(self._raw, self._deadline)

    def hang_up(self) -> None:
        """Close the socket itself; `close` leaves it to the answer, which may still be read."""
        self.close()
        if self._raw is not None:
            self._raw.close()


def resolve(host: str, port: int, deadline: Deadline) -> list[Address]:
    """The addresses of a host. Raises OSError where there are none, and TimeoutError if late."""
    if _is_address(host):
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    # Nothing ends a look-up that hangs, so it is left behind in a thread of its own.
    answers: list[list[Address] | OSError] = []

    def look_up() -> None:
        try:
            answers.append(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except OSError as error:
            answers.append(error)
        except UnicodeError:
            answers.append(OSError("the name is too long or malformed"))

    thread = threading.Thread(target=look_up, daemon=True, name=f"look up {host}")
    thread.start()
    thread.join(deadline.left())
    if not answers:
        raise TimeoutError
    if isinstance(answers[0], OSError):
        raise answers[0]
    return answers[0]


def _connect(addresses: list[Address], deadline: Deadline) -> socket.socket:
    """The first that answers. Each gets its share of the time, so that a silent one hides no other."""
    failure: OSError = OSError("it has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        share = deadline.left() / (len(addresses) - number)
        try:
            return _connect_to(socket.socket(family, kind, protocol), address, share)
        except OSError as error:
            failure = error
    raise failure


def _connect_to(connection: socket.socket, address: Address, seconds: float) -> socket.socket:
    try:
        connection.settimeout(seconds)
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _TimedSocket:
    """The part of a socket that http.client uses, with the time that is left as the limit of each call."""

    def __init__(self, inner: socket.socket, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._inner.settimeout(self._deadline.left())
        self._inner.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        return io.BufferedReader(_TimedReader(self._inner, self._deadline.left))

    def close(self) -> None:
        """Nothing: http.client lets go of the socket before the body is read."""


class _TimedReader(io.RawIOBase):
    def __init__(self, inner: socket.socket, left: Callable[[], float]) -> None:
        self._inner = inner
        self._left = left
        self._budget = _MOST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._budget <= 0:
            raise TooMuchError
        self._inner.settimeout(self._left())
        size = self._inner.recv_into(buffer)
        self._budget -= size
        return size
