"""Messages between the engine and its workers: each is its length, and then its bytes."""

import socket
import struct
from collections.abc import Iterator

LONGEST_ANSWER = 64 * 2**20
"""Bytes of a response; results are for the journal, files belong into the store."""
CHUNK = 2**16
"""Bytes that are read at once. For more, memory would be asked of the kernel each time, and given back."""

_MARGIN = 2**16
_HEAD = struct.Struct("!I")


def send(connection: socket.socket, data: bytes) -> None:
    """Send one message."""
    connection.sendall(_HEAD.pack(len(data)) + data)


def incoming(connection: socket.socket) -> Iterator[bytes]:
    """The messages that come, one after another, until the other end is closed."""
    buffer = bytearray()
    while data := connection.recv(CHUNK):
        buffer += data
        yield from messages(buffer)


def messages(buffer: bytearray) -> list[bytes]:
    """The whole messages at the beginning of what was received, which are taken from it.

    Raises ValueError where that is none.
    """
    found = []
    while len(buffer) >= _HEAD.size:
        (size,) = _HEAD.unpack_from(buffer)
        if size > LONGEST_ANSWER + _MARGIN:
            raise ValueError("no message is as long as that")
        if len(buffer) < _HEAD.size + size:
            break
        found.append(bytes(buffer[_HEAD.size : _HEAD.size + size]))
        del buffer[: _HEAD.size + size]
    return found
