"""Asks one broker, over a connection to it alone, which brokers it knows.

Clients answer this question from whichever broker they please, and only inside an event loop;
whether *this* broker serves requests is what a start has to wait for. The request is Metadata,
version 1 (https://kafka.apache.org/protocol#The_Messages_Metadata).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from promptmill.devstack.ports import LOOPBACK

_METADATA, _VERSION, _CORRELATION, _CLIENT = 3, 1, 1, b"promptmill"
_NO_TOPICS = 0


def known_nodes(port: int, timeout_s: float = 5.0) -> frozenset[int]:
    """The nodes that the broker on the port lists; none while it does not answer."""
    header = struct.pack(">hhih", _METADATA, _VERSION, _CORRELATION, len(_CLIENT)) + _CLIENT
    request = header + struct.pack(">i", _NO_TOPICS)
    try:
        with socket.create_connection((LOOPBACK, port), timeout_s) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _receive(connection, 4))
            return frozenset(_nodes(_receive(connection, size)))
    except OSError:
        return frozenset()


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise ConnectionError("the broker closed the connection")
        received += chunk
    return bytes(received)


def _nodes(response: bytes) -> Iterator[int]:
    """Node numbers of ``correlation [node host port rack] …``; lengths of -1 mean null."""
    _, brokers = struct.unpack_from(">ii", response)
    at = 8
    for _ in range(brokers):
        node, host = struct.unpack_from(">ih", response, at)
        at += 6 + host + 4
        (rack,) = struct.unpack_from(">h", response, at)
        at += 2 + max(rack, 0)
        yield node
