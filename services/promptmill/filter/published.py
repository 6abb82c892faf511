"""Every published decision: those in the store, then those on the topics beyond it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from numpy.typing import NDArray

from promptmill.dedup.ports import Claimed, Decisions, Digests, RecordKey
from promptmill.filter.content import Conversation, claimed_from_record, claimed_from_reject
from promptmill.filter.data_set import DataSet
from promptmill.kafka.log_reader import LogReader
from promptmill.lake.ports import TableName
from promptmill.lake.reader import Snapshot
from promptmill.lake.tables.optional import calls_of, messages_of, tools_of
from promptmill.lake.tables.records import CONTENT_KEY as KEY
from promptmill.stream.ports import Delivery
from promptmill_schemas import Contract, Record, Reject, Topic, decode
from promptmill_schemas.content import FinalAnswer
from promptmill_schemas.topics import RECORDS, REJECTS

BLOCK_ROWS: Final = 500_000
"""Rows of one block: about 150 MB while it is sorted and packed."""

_HEAD: Final = ("prompt_id", "decision_id", "policy_version", "replays")
_KEYS: Final = (*_HEAD, "record_id", KEY)
_TEXTS: Final = (
    "record_id",
    "kind",
    "messages",
    "chosen",
    "rejected",
    "messages_json",
    "tools",
    "chosen_tool_calls",
    "rejected_tool_calls",
)
_ABSENT: Final = 255

_NIBBLES = np.full(256, _ABSENT, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)


def stored_records(
    snapshot: Snapshot, *, sketched: bool, folding: bool = True
) -> Iterator[Decisions | list[Claimed]]:
    """Yield all accepted records, as blocks, or as lists if texts are needed."""
    known = KEY in snapshot.schema.names and not sketched
    has_key = pc.field(KEY).is_valid()
    if known:
        yield from map(_records, _blocks(snapshot, _KEYS, has_key))
    texts = [name for name in _TEXTS if name in snapshot.schema.names]
    for rows in snapshot.scan((*_HEAD, *texts), ~has_key if known else None):
        yield [_from_texts(row, sketched=sketched, folding=folding) for row in rows.to_pylist()]


def stored_rejects(snapshot: Snapshot) -> Iterator[Decisions]:
    """Yield all rejects."""
    yield from map(_decisions, _blocks(snapshot, _HEAD, None))


def _blocks(
    snapshot: Snapshot, columns: tuple[str, ...], condition: pc.Expression | None
) -> Iterator[pa.Table]:
    batches: list[pa.RecordBatch] = []
    for batch in snapshot.scan(columns, condition):
        batches.append(batch)
        if sum(each.num_rows for each in batches) >= BLOCK_ROWS:
            yield pa.Table.from_batches(batches)
            batches = []
    if sum(each.num_rows for each in batches):
        yield pa.Table.from_batches(batches)


def _records(rows: pa.Table) -> Decisions:
    return _decisions(rows, (_digests(rows, "record_id"), _digests(rows, KEY)))


def _decisions(rows: pa.Table, records: tuple[Digests, Digests] | None = None) -> Decisions:
    policy = rows.column("policy_version").combine_chunks().dictionary_encode()
    if isinstance(policy, pa.ChunkedArray):
        policy = policy.combine_chunks()
    replays: NDArray[np.int64] = pc.fill_null(rows.column("replays"), 0).to_numpy()
    return Decisions(
        _digests(rows, "prompt_id"),
        _digests(rows, "decision_id"),
        tuple(policy.dictionary.to_pylist()),
        policy.indices.to_numpy().astype(np.intp),
        replays,
        records,
    )


def _digests(rows: pa.Table, column: str) -> Digests:
    """Return a column of 32 hexadecimal digits as bytes.

    Raises:
        ValueError: a value is something else; another program wrote the table.
    """
    texts = rows.column(column).cast(pa.large_binary()).combine_chunks()
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    if not (np.diff(ends) == 32).all():
        raise ValueError(f"{column} holds a value that is not 32 hexadecimal digits")
    nibbles = _NIBBLES[np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]].reshape(-1, 2)
    if (nibbles == _ABSENT).any():
        raise ValueError(f"{column} holds a value that is not 32 hexadecimal digits")
    packed: Digests = (nibbles[:, 0] * np.uint8(16) + nibbles[:, 1]).reshape(-1, 16)
    return packed


def _from_texts(row: dict[str, Any], *, sketched: bool, folding: bool) -> Claimed:
    kind, turns = row["kind"], messages_of(row)
    is_whole = kind == "sft"
    prompt, calls = (turns[:-1], [turns[-1].tool_calls]) if is_whole else (turns, calls_of(row))
    texts = [text for text in (row["chosen"], row["rejected"]) if text is not None]
    answers = list(map(FinalAnswer, texts, calls))
    key: RecordKey = Conversation.of(prompt, tools_of(row)).key(
        row["record_id"], kind, answers, sketched=sketched, folding=folding
    )
    head = (row["prompt_id"], row["decision_id"], row["policy_version"])
    return Claimed(*head, (key,), row["replays"] or 0)


log = structlog.get_logger(__name__)

Item = TypeVar("Item")


class PublishedDecisions:
    """Reads all decisions of a store, and those on the topics that it has not read yet.

    Args:
        data_set: the store's tables.
        kafka: bootstrap servers.
        prefix: before every topic's name.
        sketched: with what near-duplicates are found by.
        folding: whether near-duplicates are compared without case and white space.
    """

    def __init__(
        self,
        data_set: DataSet,
        kafka: str,
        prefix: str,
        *,
        sketched: bool = False,
        folding: bool = True,
    ) -> None:
        self._data_set = data_set
        self._kafka = kafka
        self._prefix = prefix
        self._sketched = sketched
        self._folding = folding

    async def __call__(self) -> AsyncIterator[Claimed | Decisions]:
        """Yield all decisions; a table is read before its topic's tail, so none is missed.

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
        """Return the approximate number of decisions in the store.

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
            return stored_records(snapshot, sketched=self._sketched, folding=self._folding)
        return stored_rejects(snapshot)

    async def _tail(self, topic: Topic, starts: dict[int, int]) -> AsyncGenerator[Claimed, None]:
        async with LogReader(self._kafka, client_id="promptmill-filter-rebuild") as reader:
            async for batch in reader.read(self._prefix + topic.name, starts):
                for claimed in await asyncio.to_thread(self._claims_in, topic, batch):
                    yield claimed

    def _claims_in(self, topic: Topic, batch: Sequence[Delivery]) -> list[Claimed]:
        """Return the decisions in one poll, which can take a second for thousands of messages."""
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
            return claimed_from_record(decision, sketched=self._sketched, folding=self._folding)
        if isinstance(decision, Reject):
            return claimed_from_reject(decision)
        raise TypeError(f"{type(decision).__name__} is not a decision")


async def _in_thread(items: Iterable[Item]) -> AsyncIterator[Item]:
    """Yield the items of a blocking iterator, each fetched in a thread."""
    iterator: Iterator[Item] = iter(items)
    advance: Callable[[], Item | None] = lambda: next(iterator, None)  # noqa: E731 - one line is all it is
    while (item := await asyncio.to_thread(advance)) is not None:
        yield item
