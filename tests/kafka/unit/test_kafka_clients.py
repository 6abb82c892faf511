"""Every Kafka client of the services is built in one module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import promptmill
from promptmill.kafka import client as clients
from promptmill.kafka.client import KafkaAdmin

CLASSES = {
    "AIOKafkaAdminClient",
    "AIOKafkaConsumer",
    "AIOKafkaProducer",
    "AbortableProducer",
    "KafkaAdmin",
    "KafkaBroker",
}
ROOT = Path(promptmill.__file__).parent
FACTORY = Path(clients.__file__)


def built_in(file: Path) -> set[str]:
    """Client classes that are called in a file."""
    calls = (
        n.func for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.Call)
    )
    names = {f.id if isinstance(f, ast.Name) else getattr(f, "attr", "") for f in calls}
    return names & CLASSES


def test_only_the_factory_builds_clients() -> None:
    elsewhere = {
        str(file.relative_to(ROOT)): found
        for file in ROOT.rglob("*.py")
        if file != FACTORY and (found := built_in(file))
    }
    assert elsewhere == {}
    assert built_in(FACTORY) == {
        "AIOKafkaConsumer",
        "AbortableProducer",
        "KafkaAdmin",
        "KafkaBroker",
    }


async def test_an_admin_client_is_closed_when_its_start_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = []

    async def start(self: object) -> None:
        raise ConnectionError("refused")

    async def close(self: object) -> None:
        done.append("closed")

    monkeypatch.setattr(KafkaAdmin, "start", start)
    monkeypatch.setattr(KafkaAdmin, "close", close)
    with pytest.raises(ConnectionError, match="refused"):
        async with clients.open_admin("127.0.0.1:1"):
            pytest.fail("the client has not been started")
    assert done == ["closed"]


def test_every_client_gets_the_addresses_and_its_client_id(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AIOKafkaConsumer", "AbortableProducer", "KafkaAdmin"):
        monkeypatch.setattr(clients, name, dict)
    connection = {"bootstrap_servers": "a:1,b:2", "client_id": "a-client"}
    for build in (clients.admin_client, clients.log_consumer, clients.idempotent_producer):
        assert connection.items() <= dict(build("a:1,b:2", "a-client")).items()
