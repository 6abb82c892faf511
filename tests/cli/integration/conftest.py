"""The command line on a real stack, with topics, tables and a run of each test's own."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest

from promptmill.devstack.stack import StackInfo
from promptmill.flow.board import Election, FlowKeys
from promptmill.flow.lags import TopicLag, encode_lags
from promptmill.kafka.sender import KafkaSender
from promptmill.kafka.topics import ensure_topics, topic_specs
from promptmill.lake.identity import Identity
from promptmill.lake.ports import Advance, Batch, TableName
from promptmill.lake.sink import DeltaSink
from promptmill.lake.tables import TABLES
from promptmill.runtime.errors import Unavailable
from promptmill.runtime.redis_client import connect
from promptmill.stream.ports import Delivery
from promptmill_schemas import Contract, Topic, decode, encode
from promptmill_schemas.topics import PARTITIONS, PROMPTS
from support.commands import Promptmill, command_line
from support.kafka_topics import TopicReader
from support.waiting import eventually_now


@dataclass(frozen=True, slots=True)
class Place:
    """Where a test's topics and tables are."""

    stack: StackInfo
    prefix: str
    store: str

    def topic(self, topic: Topic) -> str:
        """Its full name."""
        return f"{self.prefix}{topic.name}"

    def read(self, topic: Topic) -> list[Delivery]:
        """Everything on the topic."""
        reader = TopicReader(self.stack.kafka, PARTITIONS)
        return asyncio.run(reader.read(self.topic(topic)))

    def send(self, topic: Topic, *contracts: Contract) -> None:
        """Put these on the topic."""
        values = [(topic.key(contract).encode(), encode(contract)) for contract in contracts]
        asyncio.run(self._send(self.topic(topic), values))

    def send_bytes(self, topic: Topic, *values: bytes) -> None:
        """Put these bytes on the topic, whatever they are."""
        asyncio.run(self._send(self.topic(topic), [(b"key", value) for value in values]))

    async def _send(self, topic: str, values: Iterable[tuple[bytes, bytes]]) -> None:
        sender = KafkaSender(self.stack.kafka, client_id="test")
        await sender.start()
        try:
            for key, value in values:
                await sender.send(topic, key, value)
        finally:
            await sender.stop()


class LagReader:
    """What an elected reader has measured, published so often that it does not get old.

    It is dated some seconds ahead, because a busy machine may keep it from publishing for a while.
    """

    AHEAD_MS = 4_000
    EVERY_S = 0.5

    def __init__(self, place: Place, url: str) -> None:
        self._keys, self._url = FlowKeys(place.prefix), url
        self._lag: TopicLag | None = None
        self._written: TopicLag | None = None
        self._ends = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()

    def show(self, lag: TopicLag) -> None:
        """Return when the lag of this topic is what all others read."""
        self._lag = lag
        eventually_now(lambda: self._written is lag, 120)

    def end(self) -> None:
        """Publish no more, and let what was published be forgotten."""
        self._ends = True
        self._thread.join()

    async def _run(self) -> None:
        while not self._ends:
            with suppress(Unavailable):  # a test has stopped Redis
                await self._publish()
            await asyncio.sleep(self.EVERY_S)
        redis = connect(self._url, timeout_s=60)
        await redis.delete(self._keys.lags)
        await redis.aclose()

    async def _publish(self) -> None:
        if (lag := self._lag) is None:
            return
        redis = connect(self._url, timeout_s=60)
        try:
            election = Election(redis, self._keys, "reader", lease_s=600, keep_s=600)
            turn = await election.turn(b"{}")
            turn = replace(turn, now_ms=turn.now_ms + self.AHEAD_MS)
            assert await election.publish(turn, encode_lags({lag.topic: lag}, "reader"))
            self._written = lag
        finally:
            await redis.aclose()


class Tables:
    """The store's tables, written as the store writes them."""

    def __init__(self, place: Place) -> None:
        self._sink = DeltaSink(
            place.store,
            {
                name: Identity("test", place.topic(spec.topic), PARTITIONS)
                for name, spec in TABLES.items()
            },
        )
        self._sink.open()
        self._next: Mapping[TableName, Mapping[int, int | None]] = self._sink.take_over(
            range(PARTITIONS)
        ).next_offsets
        self._places: Counter[TableName] = Counter()

    def take_prompts(self, deliveries: Iterable[Delivery]) -> None:
        """Ingest these messages of the topic of prompts."""
        rows, ends = [], dict[int, int]()
        for delivery in deliveries:
            row = TABLES[TableName.PROMPTS].row(decode(PROMPTS.contract, delivery.value))
            shard = delivery.partition.number
            rows.append(row | {"shard": shard, "shard_offset": delivery.offset})
            ends[shard] = delivery.offset + 1
        self._commit(TableName.PROMPTS, rows, ends)

    def pass_over_prompt(self, delivery: Delivery) -> None:
        """Read this message of the topic of prompts, which says nothing new."""
        self._commit(TableName.PROMPTS, [], {delivery.partition.number: delivery.offset + 1})

    def take(self, name: TableName, *contracts: Contract) -> None:
        """Ingest these outcomes, as if they stood in partition 0."""
        rows = []
        for contract in contracts:
            rows.append(
                TABLES[name].row(contract) | {"shard": 0, "shard_offset": self._places[name]}
            )
            self._places[name] += 1
        self._commit(name, rows, {0: self._places[name]})

    def _commit(self, name: TableName, rows: list[dict[str, object]], ends: dict[int, int]) -> None:
        table = pa.Table.from_pylist(rows, schema=TABLES[name].schema)
        before = self._next[name]
        steps = {shard: Advance(before.get(shard), end) for shard, end in ends.items()}
        self._sink.commit(name, Batch(table, steps))
        self._next = {**self._next, name: {**before, **ends}}


@pytest.fixture
def place(stack: StackInfo, unique: str, tmp_path: Path) -> Place:
    """Topics under a prefix of their own, and an empty store."""
    found = Place(stack, f"{unique}.", str(tmp_path / "store"))
    asyncio.run(ensure_topics(stack.kafka, topic_specs(found.prefix, brokers=1)))
    return found


@pytest.fixture
def tables(place: Place) -> Tables:
    """The store's tables, empty at first."""
    return Tables(place)


@pytest.fixture
def promptmill(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: Place
) -> Iterator[Promptmill]:
    """Commands on this test's topics and tables."""
    home = str(place.stack.home)
    with command_line(
        monkeypatch, capsys, home=home, topic_prefix=place.prefix, store=place.store
    ) as run:
        yield run


@pytest.fixture
def reader(place: Place) -> Iterator[LagReader]:
    """The elected reader of the stack's Redis; it says nothing before ``show`` is called."""
    reader = LagReader(place, place.stack.redis)
    yield reader
    reader.end()
