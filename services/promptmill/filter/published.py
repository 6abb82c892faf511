"""Every published decision: what the store holds, then what stands on the topics beyond it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import TypeVar

import structlog

from promptmill.core.gates.base import Claimed
from promptmill.core.gates.decisions import Decisions
from promptmill.core.sinks.base import TableName
from promptmill.core.sinks.delta.reader import Snapshot
from promptmill.core.stream.kafka.reader import LogReader
from promptmill.core.stream.ports import Delivery
from promptmill.filter.content import claimed_from_record, claimed_from_reject
from promptmill.filter.data_set import DataSet
from promptmill.filter.stored import stored_records, stored_rejects
from promptmill_schemas import Contract, Record, Reject, Topic, decode
from promptmill_schemas.topics import RECORDS, REJECTS

log = structlog.get_logger(__name__)

Item = TypeVar("Item")


class Published:
    """Reads all decisions of a store and of the topics in front of it.

    Args:
        data_set: the store's tables.
        kafka: bootstrap servers.
        prefix: before every topic's name.
        sketched: with what near-duplicates are found by.
    """

    def __init__(
        self, data_set: DataSet, kafka: str, prefix: str, *, sketched: bool = False
    ) -> None:
        self._data_set = data_set
        self._kafka = kafka
        self._prefix = prefix
        self._sketched = sketched

    async def __call__(self) -> AsyncIterator[Claimed | Decisions]:
        """The table is read before its topic's tail, so nothing falls between them.

        Raises:
            Unavailable: a table is missing, or the storage or the broker does not answer.
            Misconfigured: the tables are another data set's.
        """
        for table, topic in ((TableName.RECORDS, RECORDS), (TableName.REJECTS, REJECTS)):
            snapshot = await self._data_set.snapshot(table)
            starts = await asyncio.to_thread(snapshot.next_offsets)
            async for block in _in_thread(self._stored(table, snapshot)):
                if isinstance(block, Decisions):
                    yield block
                    continue
                for claimed in block:
                    yield claimed
            async with aclosing(self._tail(topic, starts)) as tail:
                async for claimed in tail:
                    yield claimed

    async def count(self) -> int:
        """Decisions that the store holds, roughly.

        Raises:
            Unavailable: a table is missing, or the storage does not answer.
            Misconfigured: the tables are another data set's.
        """
        snapshots = [
            await self._data_set.snapshot(t) for t in (TableName.RECORDS, TableName.REJECTS)
        ]
        return sum([await asyncio.to_thread(snapshot.count) for snapshot in snapshots])

    def _stored(self, table: TableName, snapshot: Snapshot) -> Iterator[Decisions | list[Claimed]]:
        if table is TableName.RECORDS:
            return stored_records(snapshot, sketched=self._sketched)
        return stored_rejects(snapshot)

    async def _tail(self, topic: Topic, starts: dict[int, int]) -> AsyncGenerator[Claimed, None]:
        async with LogReader(self._kafka, client_id="promptmill-filter-rebuild") as reader:
            async for batch in reader.read(self._prefix + topic.name, starts):
                for claimed in await asyncio.to_thread(self._claims_in, topic, batch):
                    yield claimed

    def _claims_in(self, topic: Topic, batch: Sequence[Delivery]) -> list[Claimed]:
        """The decisions in one poll of up to thousands of messages, a second's work."""
        found = []
        for delivery in batch:
            try:
                found.append(self._claimed(decode(topic.contract, delivery.value)))
            except Exception as error:  # noqa: BLE001 - no message may end a rebuild
                # It was never a decision of ours; the store dead-letters it.
                log.warning("not_a_decision", topic=topic.name, error=str(error))
        return found

    def _claimed(self, decision: Contract) -> Claimed:
        if isinstance(decision, Record):
            return claimed_from_record(decision, sketched=self._sketched)
        if isinstance(decision, Reject):
            return claimed_from_reject(decision)
        raise TypeError(f"{type(decision).__name__} is not a decision")


async def _in_thread(items: Iterable[Item]) -> AsyncIterator[Item]:
    """The items of a blocking iterator, each fetched in a thread."""
    iterator: Iterator[Item] = iter(items)
    advance: Callable[[], Item | None] = lambda: next(iterator, None)  # noqa: E731 - one line is all it is
    while (item := await asyncio.to_thread(advance)) is not None:
        yield item
