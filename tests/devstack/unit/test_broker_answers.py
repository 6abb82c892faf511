from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from threading import Thread

import pytest

from promptmill.devstack.broker import known_nodes
from promptmill.devstack.ports import free_port


def metadata(*nodes: int, rack: bytes | None = None) -> bytes:
    """A Metadata response, version 1, with its length."""
    named = struct.pack(">h", -1) if rack is None else struct.pack(">h", len(rack)) + rack
    brokers = b"".join(
        struct.pack(">ih", node, 9) + b"127.0.0.1" + struct.pack(">i", 9092) + named
        for node in nodes
    )
    body = struct.pack(">ii", 1, len(nodes)) + brokers + struct.pack(">ii", 1, 0)
    return struct.pack(">i", len(body)) + body


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], int]]:
    """Starts a server that gives one answer in small pieces and hangs up; its port."""
    threads = []

    def serve(answer: bytes) -> int:
        server = socket.create_server(("127.0.0.1", free_port()))
        port: int = server.getsockname()[1]

        def run() -> None:
            with server, server.accept()[0] as connection:
                connection.recv(1024)
                for start in range(0, len(answer), 7):
                    connection.sendall(answer[start : start + 7])

        thread = Thread(target=run)
        thread.start()
        threads.append(thread)
        return port

    yield serve
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("rack", [None, b"", b"shelf"])
def test_the_listed_nodes_are_read(answering: Callable[[bytes], int], rack: bytes | None) -> None:
    assert known_nodes(answering(metadata(1, 2, 30, rack=rack))) == {1, 2, 30}


@pytest.mark.parametrize("answer", [b"", metadata(1)[:3], metadata(1)[:20]])
def test_a_broker_that_hangs_up_knows_nobody(
    answering: Callable[[bytes], int], answer: bytes
) -> None:
    assert known_nodes(answering(answer)) == frozenset()


def test_a_port_without_a_listener_knows_nobody() -> None:
    assert known_nodes(free_port()) == frozenset()
