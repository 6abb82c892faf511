"""Which ports a starting stack gets."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from promptmill.devstack.ports import free_port, is_free
from promptmill.devstack.properties import Broker
from promptmill.devstack.state import StackState


def first_state(size: int) -> StackState:
    """A stack of the given number of brokers that has no ports yet (they are 0)."""
    brokers = tuple(Broker(node, port=0, controller_port=0) for node in range(1, size + 1))
    return StackState(brokers=brokers, redis_port=0)


def with_free_ports(
    state: StackState, running_nodes: Collection[int], redis_runs: bool
) -> StackState:
    """The same ports where they can be had, so that clients find restarted servers again."""
    used = {state.redis_port, *(port for b in state.brokers for port in _ports(b).values())}
    brokers = tuple(
        broker if broker.node in running_nodes else _with_free_ports(broker, used)
        for broker in state.brokers
    )
    keep = redis_runs or _can_listen(state.redis_port)
    return StackState(brokers=brokers, redis_port=state.redis_port if keep else _new_port(used))


def _with_free_ports(broker: Broker, used: set[int]) -> Broker:
    lost = [name for name, port in _ports(broker).items() if not _can_listen(port)]
    return replace(broker, **{name: _new_port(used) for name in lost})


def _ports(broker: Broker) -> dict[str, int]:
    return {"port": broker.port, "controller_port": broker.controller_port}


def _new_port(used: set[int]) -> int:
    port = free_port(used)
    used.add(port)
    return port


def _can_listen(port: int) -> bool:
    return port > 0 and is_free(port)
