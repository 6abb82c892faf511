"""Requests while the cluster names no controller, or no broker at all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError, NotControllerError

from promptmill.kafka.client import KafkaAdmin

REQUEST = SimpleNamespace(name="a request")


class Cluster:
    """Metadata that name this node after so many updates, and none before."""

    def __init__(self, after: int) -> None:
        self.controller: Any = None
        self._left = after

    def brokers(self) -> list[Any]:
        return [] if self.controller is None else [self.controller]

    def update(self) -> None:
        self._left -= 1
        self.controller = SimpleNamespace(nodeId=7) if self._left <= 0 else None


def admin_of(monkeypatch: pytest.MonkeyPatch, cluster: Cluster, within_s: float) -> KafkaAdmin:
    """An admin client of this cluster; node 7 answers."""
    admin = KafkaAdmin(bootstrap_servers="127.0.0.1:1", controller_within_s=within_s)

    async def update() -> None:
        cluster.update()

    async def answer(node: int, request: Any) -> str:
        return f"{request.name} of {node}"

    monkeypatch.setattr("promptmill.kafka.client._PAUSE_S", 0)
    monkeypatch.setattr(admin._client, "cluster", cluster)
    monkeypatch.setattr(admin._client, "force_metadata_update", update)
    monkeypatch.setattr(admin._client, "send", answer)
    return admin


async def test_a_cluster_without_a_controller_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    admin = admin_of(monkeypatch, Cluster(after=5), within_s=60)
    assert await admin._send_to_controller(REQUEST) == "a request of 7"


async def test_a_cluster_without_brokers_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = admin_of(monkeypatch, Cluster(after=5), within_s=60)
    assert await admin._send_request(REQUEST) == "a request of 7"


@pytest.mark.parametrize("error", [NotControllerError, NodeNotReadyError])
async def test_a_broker_that_is_no_longer_the_controller_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    cluster = Cluster(after=1)
    cluster.controller = SimpleNamespace(nodeId=3)
    admin = admin_of(monkeypatch, cluster, within_s=60)
    asked = []

    async def answer(node: int, _: Any) -> str:
        asked.append(node)
        if node == 3:
            raise error
        return "answered"

    monkeypatch.setattr(admin._client, "send", answer)
    assert await admin._send_to_controller(REQUEST) == "answered"
    assert asked == [3, 7]


async def test_a_cluster_that_names_none_is_an_error_that_may_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    admin = admin_of(monkeypatch, Cluster(after=10**9), within_s=0)
    with pytest.raises(KafkaConnectionError, match=r"127\.0\.0\.1:1 has named no controller") as e:
        await admin._send_to_controller(REQUEST)
    assert e.value.retriable
    with pytest.raises(KafkaConnectionError, match=r"has named no broker"):
        await admin._send_request(REQUEST)
