"""Topics that were deleted and created again beside a stopped store, on Kafka and Delta Lake."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from deltalake import DeltaTable

from promptmill.kafka.cluster import describe_log
from promptmill.kafka.consumer import KafkaSource
from promptmill.lake.identity import Identity
from promptmill.lake.ports import TableName
from promptmill.lake.sink import DeltaSink
from promptmill.lake.table import TableSettings
from promptmill.lake.tables import TABLES
from promptmill.runtime.errors import Misconfigured
from promptmill.store.plan import Undecodable
from promptmill.store.sink_loop import SinkLoop, SinkPublisher
from promptmill.stream.ports import Partition
from promptmill_schemas import encode
from support.kafka_topics import (
    delete_topics,
    delete_up_to,
    make_topics,
    put,
    while_frozen,
)
from support.sink_loop import QUICK, Noted
from support.store import record
from support.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.real

CLEANED = TableSettings(checkpoint_every=3, log_retention="interval 0 seconds")
"""So that what a table knows has to survive checkpoints and cleaned logs."""


class Store:
    """One data set, written by one sink after another."""

    def __init__(self, kafka: str, prefix: str, folder: Path) -> None:
        self.kafka = kafka
        self.prefix = prefix
        self.folder = folder
        self.topics = {f"{prefix}.{spec.topic.name}": name for name, spec in TABLES.items()}

    @property
    def records(self) -> str:
        """The full name of the topic of records."""
        return f"{self.prefix}.records"

    async def publish(self, first: int, last: int) -> None:
        """Records of these numbers, one key for all."""
        values = (encode(record(str(number))) for number in range(first, last))
        await put(self.kafka, self.records, 0, ((b"key", value) for value in values))

    async def start(self, *, with_ids: bool = False) -> tuple[SinkLoop, asyncio.Task[None], Noted]:
        """One more sink; its tables carry the topics' ids if that is wanted."""
        ids = (await describe_log(self.kafka, self.topics)).topic_ids if with_ids else {}
        source = KafkaSource(
            self.kafka, f"{self.prefix}.store", list(self.topics), client_id="t",
            session_timeout_ms=6_000,
        )  # fmt: skip
        identities = {n: Identity("c", t, 1, ids.get(t)) for t, n in self.topics.items()}
        sink, probe = DeltaSink(str(self.folder), identities, settings=CLEANED), Noted()

        async def send_dead_letter(undecodable_message: Undecodable) -> None:
            raise AssertionError(undecodable_message.detail)

        loop = SinkLoop(
            source, sink, self.topics, SinkPublisher(send_dead_letter), probe=probe, limits=QUICK
        )
        return loop, asyncio.create_task(loop.run()), probe

    async def store(self, messages: int, *, with_ids: bool = False) -> None:
        """Run a sink until it has stored so many messages."""
        loop, running, probe = await self.start(with_ids=with_ids)
        await eventually(lambda: probe.done == messages or running.done())
        loop.stop()
        await running

    def rows(self) -> int:
        """Records in the table."""
        table = DeltaTable(str(self.folder / TableName.RECORDS)).to_pyarrow_table()
        return int(table.num_rows)


@pytest.fixture
async def store(kafka: str, unique: str, tmp_path: Path) -> Store:
    """Topics of one partition, and no table yet."""
    made = Store(kafka, unique, tmp_path / "store")
    await make_topics(kafka, list(made.topics), 1)
    return made


async def test_a_topic_recreated_and_refilled_beside_a_stopped_store_stops_it(
    store: Store,
) -> None:
    await store.publish(0, 5)
    await store.store(5)
    await delete_topics(store.kafka, list(store.topics))
    await make_topics(store.kafka, list(store.topics), 1)
    await store.publish(100, 110)
    with pytest.raises(Misconfigured, match=r"offset 4.*another message.*PROMPTMILL_STORE"):
        await store.store(10)
    assert store.rows() == 5


async def test_a_recreated_topic_is_known_by_its_id_when_the_last_message_is_gone(
    store: Store,
) -> None:
    await store.publish(0, 5)
    await store.store(5, with_ids=True)
    await delete_topics(store.kafka, list(store.topics))
    await make_topics(store.kafka, list(store.topics), 1)
    await store.publish(100, 110)
    await delete_up_to(store.kafka, Partition(store.records, 0), 5)
    with pytest.raises(Misconfigured, match=r"topic_id is .*PROMPTMILL_STORE"):
        await store.store(5, with_ids=True)
    await store.store(5)  # as a broker without ids leaves it
    assert store.rows() == 10


async def test_a_topic_recreated_and_refilled_under_a_running_store_ends_it(store: Store) -> None:
    await store.publish(0, 5)
    _, running, probe = await store.start()
    await eventually(lambda: probe.done == 5 or running.done())

    async def recreate() -> None:
        await delete_topics(store.kafka, [store.records])
        await make_topics(store.kafka, [store.records], 1)
        await store.publish(100, 120)

    while_frozen(recreate)
    with pytest.raises(Misconfigured, match=rf"{store.records} was deleted and created again"):
        async with asyncio.timeout(PATIENCE_S):
            await running
    assert store.rows() == 5


async def test_the_same_topic_is_read_on_by_one_sink_after_another(store: Store) -> None:
    for first in range(0, 24, 3):
        await store.publish(first, first + 3)
        await store.store(3)
    assert store.rows() == 24
