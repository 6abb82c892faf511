from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptmill.devstack import ports
from promptmill.devstack.ports import free_port, is_free


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        yield server


def test_a_free_port_can_be_listened_on_and_is_no_local_port_of_connections() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert port < ports._first_ephemeral()


def test_a_port_with_a_listener_is_not_free(listener: socket.socket) -> None:
    assert not is_free(listener.getsockname()[1])


def test_taken_ports_are_avoided(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = iter([20_001, 20_001, 20_002])
    monkeypatch.setattr(ports, "is_free", lambda _: True)
    monkeypatch.setattr("random.randint", lambda *_: next(candidates))
    assert free_port(taken={20_001}) == 20_002


def test_a_kernel_that_uses_all_ports_for_connections_still_gives_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    setting = tmp_path / "ip_local_port_range"
    setting.write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "_EPHEMERAL", setting)
    assert is_free(free_port())
