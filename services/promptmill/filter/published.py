"""Every published decision: what the store holds, then what stands on the topics beyond it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

import structlog

from promptmill.core.gates.base import Claimed, RecordKey
from promptmill.core.sinks.base import TableName
from promptmill.core.stream.kafka.reader import LogReader
from promptmill.filter.content import claimed_from_record, claimed_from_reject, record_key
from promptmill.filter.data_set import DataSet
from promptmill_schemas import Contract, Message, Record, Reject, Topic, decode
from promptmill_schemas.topics import RECORDS, REJECTS

log = structlog.get_logger(__name__)

Item = TypeVar("Item")
RECORD_COLUMNS = (
    "record_id", "prompt_id", "decision_id", "policy_version", "kind",
    "messages", "chosen", "rejected", "replays",
)  # fmt: skip
REJECT_COLUMNS = ("prompt_id", "decision_id", "policy_version", "replays")


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

    async def __call__(self) -> AsyncIterator[Claimed]:
        """The table is read before its topic's tail, so nothing falls between them.

        Raises:
            Unavailable: a table is missing, or the storage or the broker does not answer.
            Misconfigured: the tables are another data set's.
        """
        for table, topic, columns, of_row in (
            (TableName.RECORDS, RECORDS, RECORD_COLUMNS, self._of_record_row),
            (TableName.REJECTS, REJECTS, REJECT_COLUMNS, _of_reject_row),
        ):
            snapshot = await self._data_set.snapshot(table)
            starts = await asyncio.to_thread(snapshot.next_offsets)
            async for rows in _in_thread(snapshot.scan(columns)):
                for row in rows.to_pylist():
                    yield of_row(row)
            async with aclosing(self._tail(topic, starts)) as tail:
                async for claimed in tail:
                    yield claimed

    async def _tail(self, topic: Topic, starts: dict[int, int]) -> AsyncGenerator[Claimed, None]:
        async with LogReader(self._kafka, client_id="promptmill-filter-rebuild") as reader:
            async for batch in reader.read(self._prefix + topic.name, starts):
                for delivery in batch:
                    try:
                        yield self._claimed(decode(topic.contract, delivery.value))
                    except Exception as error:  # noqa: BLE001 - no message may end a rebuild
                        # It was never a decision of ours; the store dead-letters it.
                        log.warning("not_a_decision", topic=topic.name, error=str(error))

    def _claimed(self, decision: Contract) -> Claimed:
        if isinstance(decision, Record):
            return claimed_from_record(decision, sketched=self._sketched)
        if isinstance(decision, Reject):
            return claimed_from_reject(decision)
        raise TypeError(f"{type(decision).__name__} is no decision")

    def _of_record_row(self, row: dict[str, Any]) -> Claimed:
        kind, turns = row["kind"], [Message(**message) for message in row["messages"]]
        prompt = turns[:-1] if kind == "sft" else turns
        key = record_key(
            row["record_id"],
            kind,
            prompt,
            row["chosen"],
            row["rejected"],
            sketched=self._sketched,
        )
        return _claimed_row(row, (key,))


def _of_reject_row(row: dict[str, Any]) -> Claimed:
    return _claimed_row(row, ())


def _claimed_row(row: dict[str, Any], records: tuple[RecordKey, ...]) -> Claimed:
    head = (row["prompt_id"], row["decision_id"], row["policy_version"])
    return Claimed(*head, records, row["replays"] or 0)


async def _in_thread(items: Iterable[Item]) -> AsyncIterator[Item]:
    """The items of a blocking iterator, each fetched in a thread."""
    iterator: Iterator[Item] = iter(items)
    advance: Callable[[], Item | None] = lambda: next(iterator, None)  # noqa: E731 - one line is all it is
    while (item := await asyncio.to_thread(advance)) is not None:
        yield item
