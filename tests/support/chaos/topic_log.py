"""An independent reader of the pipeline's topics: plain aiokafka and JSON, no code under test."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

PROMPTS, COMPLETIONS, SCORED = "prompts", "completions", "scored"
RECORDS, REJECTS, DEAD_LETTERS = "records", "rejects", "dead-letters"
TOPICS = (PROMPTS, COMPLETIONS, SCORED, RECORDS, REJECTS, DEAD_LETTERS)

SETTLING = (RECORDS, REJECTS, DEAD_LETTERS)

OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "instruct": (COMPLETIONS,),
    "reward": (SCORED,),
    "filter": (RECORDS, REJECTS),
}
INPUTS: Mapping[str, str] = {"instruct": PROMPTS, "reward": COMPLETIONS, "filter": SCORED}

_PATHS: Mapping[str, tuple[str, ...]] = {
    COMPLETIONS: ("prompt",),
    SCORED: ("completion", "prompt"),
}
_PAUSE_S = 0.2


class Seen(NamedTuple):
    """One message, as far as an audit needs it.

    Attributes:
        topic: its short name.
        at_ms: when the broker appended it, by the broker's clock.
        prompt_id: ``None`` when it carries none, or is no JSON.
        identity: of a record or a dead letter.
        decision: of a record or a reject.
        stage: that wrote a dead letter.
        reason: of a dead letter or a reject.
        key: of a message without a prompt's id, by which its dead letter is found.
    """

    topic: str
    partition: int
    offset: int
    at_ms: int
    prompt_id: str | None
    identity: str = ""
    decision: str = ""
    stage: str = ""
    reason: str = ""
    key: bytes = b""


def seen(
    topic: str, partition: int, offset: int, at_ms: int, key: bytes | None, raw: bytes | None
) -> Seen:
    """What an audit needs of this message."""
    value = _parsed(raw)
    prompt: Any = value
    for name in _PATHS.get(topic, ()):
        prompt = _dict(prompt.get(name))
    prompt_id = _interned(prompt.get("prompt_id"))
    return Seen(
        topic,
        partition,
        offset,
        at_ms,
        prompt_id,
        str(value.get("record_id") or value.get("letter_id") or ""),
        str(value.get("decision_id") or ""),
        str(value.get("stage") or ""),
        str(value.get("reason") or ""),
        (key or b"") if prompt_id is None else b"",
    )


def _parsed(raw: bytes | None) -> dict[str, Any]:
    try:
        return _dict(orjson.loads(raw or b""))
    except orjson.JSONDecodeError:
        return {}


def _interned(prompt_id: Any) -> str | None:
    """One object for each prompt, however many messages it has."""
    return sys.intern(prompt_id) if isinstance(prompt_id, str) else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


class TopicLog:
    """Everything on the topics of one prefix, in the order of its arrival here.

    Args:
        bootstrap: ``host:port[,host:port…]``.
        prefix: before every topic's name.

    Attributes:
        settled: prompts of which a record, a reject or a dead letter was seen.
    """

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._positions: dict[TopicPartition, int] = {}
        self._task: asyncio.Task[None] | None = None
        self.messages: list[Seen] = []
        self.settled: set[str | None] = set()

    async def read(self) -> list[Seen]:
        """All that stands on the topics now, from the beginning."""
        async with self._consumer() as consumer:
            partitions = await self._assign(consumer)
            ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
            while any(self._positions[p] < ends[p] for p in partitions):
                await self._poll(consumer)
        return self.messages

    def follow(self) -> None:
        """Read what comes, until :meth:`close`; a broker that is away is waited for."""
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop following; raises what ended it before."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    async def _follow(self) -> None:
        while True:
            try:
                async with self._consumer() as consumer:
                    assigned = await self._assign(consumer)
                    while True:
                        await self._poll(consumer)
                        if len(await self._partitions(consumer)) > len(assigned):
                            assigned = await self._assign(consumer)
            except KafkaError:
                await asyncio.sleep(_PAUSE_S)

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=100,
            metadata_max_age_ms=5_000,
        )

    async def _assign(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        partitions = await self._partitions(consumer)
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, self._positions.setdefault(partition, 0))
        return partitions

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        names = [self._prefix + topic for topic in TOPICS]
        while not all(consumer.partitions_for_topic(name) for name in names):
            for name in names:
                consumer._client.add_topic(name)
            await consumer._client.force_metadata_update()
            await asyncio.sleep(_PAUSE_S)
        return [
            TopicPartition(name, number)
            for name in names
            for number in sorted(consumer.partitions_for_topic(name))
        ]

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        fetched: dict[TopicPartition, Sequence[Any]] = await consumer.getmany(
            timeout_ms=200, max_records=2_000
        )
        for partition, records in fetched.items():
            topic = partition.topic.removeprefix(self._prefix)
            for r in records:
                self._check_order(partition, r.offset)
                message = seen(topic, r.partition, r.offset, r.timestamp, r.key, r.value)
                self.messages.append(message)
                if topic in SETTLING:
                    self.settled.add(message.prompt_id)
                self._positions[partition] = r.offset + 1

    def _check_order(self, partition: TopicPartition, offset: int) -> None:
        if offset != self._positions[partition]:
            raise AssertionError(
                f"{partition} has {offset} where {self._positions[partition]} is next"
            )

    @property
    def ends(self) -> dict[tuple[str, int], int]:
        """The next offset by topic (short name) and partition, as far as it was read."""
        return {
            (p.topic.removeprefix(self._prefix), p.partition): at
            for p, at in self._positions.items()
        }


def only(messages: Collection[Seen], *topics: str) -> list[Seen]:
    """Those on these topics."""
    return [message for message in messages if message.topic in topics]
