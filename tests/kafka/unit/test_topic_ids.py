"""Topic ids: what is asked and answered on the wire, and brokers that do not know them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError

from promptmill.kafka.topic_ids import MetadataRequestV12, MetadataResponseV12, TopicIdsRequest
from promptmill.kafka.topic_watch import TopicWatch
from promptmill.runtime.errors import Misconfigured, Unavailable

FIRST, SECOND = uuid.UUID(int=7), uuid.UUID(int=8)
PARTITION: Any = (0, 0, 1, 0, [1], [1], [], {})
BROKER: Any = (1, "localhost", 9092, None, {})


@dataclass
class Client:
    """Answers as brokers with these versions and topics would."""

    versions: tuple[int, int] = (0, 13)
    topics: dict[str, uuid.UUID] = field(default_factory=dict)
    silent: set[int] = field(default_factory=set)
    asked: list[int] = field(default_factory=list)

    @property
    def cluster(self) -> Any:
        """Two brokers."""
        return SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=n) for n in (1, 2)])

    async def send(self, node: int, request: TopicIdsRequest) -> MetadataResponseV12:
        """As aiokafka does; the answer goes over the wire."""
        self.asked.append(node)
        request.prepare({3: self.versions})
        if node in self.silent:
            raise NodeNotReadyError
        topics: Any = [(0, n, i, False, [PARTITION], 0, {}) for n, i in self.topics.items()]
        answer = MetadataResponseV12(0, [BROKER], "cluster", 1, topics, {})
        decoded: MetadataResponseV12 = MetadataResponseV12.decode(BytesIO(answer.encode()))
        return decoded


def watch(client: Client) -> TopicWatch:
    """Of one topic, on these brokers."""
    admin: Any = SimpleNamespace(_client=client)
    return TopicWatch(admin, "localhost:9092", ["t"], lambda _: None)


def test_the_request_is_what_kafka_documents() -> None:
    request = TopicIdsRequest(["t"]).prepare({3: (0, 13)})
    assert isinstance(request, MetadataRequestV12)
    assert request.encode().hex() == "02" + "00" * 16 + "0274" + "00" + "0000" + "00"


async def test_a_topic_with_another_id_was_created_again() -> None:
    client = Client(topics={"t": FIRST})
    watched = watch(client)
    await watched.check()
    await watched.check()
    client.topics = {"t": SECOND}
    with pytest.raises(Misconfigured, match=rf"t was deleted and created again.*{FIRST}"):
        await watched.check()


async def test_a_topic_that_is_gone_for_the_moment_is_no_other_topic() -> None:
    client = Client(topics={"t": FIRST})
    watched = watch(client)
    await watched.check()
    client.topics = {}
    with pytest.raises(Unavailable, match="no topic t now"):
        await watched.check()
    client.topics = {"t": SECOND}
    with pytest.raises(Misconfigured, match="deleted and created again"):
        await watched.check()


async def test_brokers_without_topic_ids_are_asked_once_and_nothing_is_compared(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = Client(versions=(0, 9), topics={"t": FIRST})
    watched = watch(client)
    await watched.check()
    client.topics = {"t": SECOND}
    await watched.check()
    assert len(client.asked) == 1
    assert "topic_ids_unknown" in capsys.readouterr().out


async def test_another_broker_is_asked_when_one_does_not_answer() -> None:
    client = Client(topics={"t": FIRST}, silent={1})
    for _ in range(10):
        await watch(client).check()
    client.silent = {1, 2}
    with pytest.raises(Unavailable, match="which topics"):
        await watch(client).check()
