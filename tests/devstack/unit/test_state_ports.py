from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from promptmill.devstack.ports import free_port
from promptmill.devstack.state import StackState, first_state, with_free_ports


def all_ports(state: StackState) -> list[int]:
    return [port for b in state.brokers for port in (b.port, b.controller_port)] + [
        state.redis_port
    ]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another process listens on."""
    with socket.create_server(("127.0.0.1", free_port())) as server:
        yield server.getsockname()[1]


def test_a_first_start_gets_a_port_for_everything() -> None:
    ports = all_ports(with_free_ports(first_state(3), running_nodes=(), redis_runs=False))
    assert len(set(ports)) == 7
    assert min(ports) > 0


def test_a_restart_keeps_its_ports() -> None:
    before = with_free_ports(first_state(3), (), redis_runs=False)
    assert with_free_ports(before, (), redis_runs=False) == before


@pytest.mark.parametrize("lost", range(3))
def test_only_a_lost_port_is_replaced(lost: int, taken: int) -> None:
    before = with_free_ports(first_state(1), (), redis_runs=False)
    (broker,) = before.brokers
    port, controller_port, redis_port = (
        taken if position == lost else old for position, old in enumerate(all_ports(before))
    )
    after = with_free_ports(
        StackState(
            brokers=(type(broker)(broker.node, port, controller_port),), redis_port=redis_port
        ),
        (),
        redis_runs=False,
    )
    changed = [a != b for a, b in zip(all_ports(before), all_ports(after), strict=True)]
    assert changed == [position == lost for position in range(3)]
    assert taken not in all_ports(after)


def test_the_ports_of_running_servers_are_their_own(taken: int) -> None:
    state = with_free_ports(first_state(1), (), redis_runs=False)
    running = StackState(brokers=(type(state.brokers[0])(1, taken, taken),), redis_port=taken)
    assert with_free_ports(running, running_nodes=(1,), redis_runs=True) == running
