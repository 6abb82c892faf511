"""Flushing: one flush at a time, from deliveries to stored rows, retried from where it stopped."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import structlog

from promptmill.lake.ports import Batch, Sink, TableName
from promptmill.runtime.errors import Fatal, Poison, Stale, Transient
from promptmill.runtime.fan_out import all_outcomes, most_severe
from promptmill.store.plan import Misplaced, Plan, Undecodable, draw_up
from promptmill.store.shards import Shards
from promptmill.stream.layout import DataSetLayout
from promptmill.stream.ports import Delivery, Partition, Position, Source

log = structlog.get_logger(__name__)

LETTERS_AT_ONCE = 256
"""The maximum number of dead letters of a flush that wait for their acknowledgements together."""

SendDeadLetter: TypeAlias = Callable[[Undecodable], Awaitable[None]]
"""Publishes a dead letter; returns when it is acknowledged, raises ``Transient`` otherwise."""


Move: TypeAlias = Callable[[Delivery, bytes], Awaitable[None]]
"""Publishes the same bytes again under this key; returns when that is acknowledged."""


async def refuse_to_move(delivery: Delivery, _key: bytes) -> None:
    """The mover of a sink without a layout, for which no message is misplaced."""
    raise Fatal(f"{delivery.partition} at {delivery.offset}: this sink cannot move messages")


@dataclass(frozen=True, slots=True)
class SinkPublisher:
    """The messages that a sink publishes, besides storing rows.

    Attributes:
        send_dead_letter: publishes dead letters for undecodable records and rejects.
        layout: the layout of the tables; without it, no message is misplaced.
        move: publishes a message again that is in another partition than its layout's.
    """

    send_dead_letter: SendDeadLetter
    layout: DataSetLayout | None = None
    move: Move = refuse_to_move


class Flusher:
    """Creates plans and carries them out.

    A call that raises ``Transient`` or ``Fenced`` leaves what remains of the plan in place;
    :meth:`carry_out` continues with it. The tables are written first. The offsets are committed
    to Kafka afterwards and only show the lag.
    """

    def __init__(
        self, source: Source, sink: Sink, shards: Shards, publisher: SinkPublisher
    ) -> None:
        self._source = source
        self._sink = sink
        self._shards = shards
        self._publisher = publisher
        self._topics = {table: topic for topic, table in shards.tables.items()}
        self._taken: Sequence[Delivery] = ()
        self._plan: Plan | None = None
        self._lost: set[int] = set()

    @property
    def size(self) -> int:
        """The number of messages in the present flush, or 0."""
        return len(self._taken)

    def touches(self, shards: Collection[int]) -> bool:
        """Whether the present flush has messages of these shards."""
        return any(delivery.partition.number in shards for delivery in self._taken)

    def lose(self, shards: Collection[int]) -> None:
        """Leave the rest of these shards to their new owner."""
        self._lost |= set(shards)

    async def take(self, deliveries: Sequence[Delivery]) -> None:
        """Begin a flush; the previous one must be finished."""
        self._taken = deliveries
        stored, indexes = dict(self._shards.stored), dict(self._shards.indexes)
        self._plan = await asyncio.to_thread(
            draw_up, deliveries, self._shards.tables, indexes, stored, self._shards.layout
        )

    async def carry_out(self) -> Counter[tuple[TableName, str]]:
        """Finish the flush, and return the number of messages by table and outcome.

        Raises:
            Fenced: another sink has claimed shards; call :meth:`lose`, then try again.
            Transient: the storage or the broker fails; try again.
        """
        counts: Counter[tuple[TableName, str]] = Counter()
        while self._plan is not None:
            self.shed()
            counts = self._plan.counts
            self._plan = await self._step(self._plan)
        self._taken = ()
        return counts

    def shed(self) -> None:
        """Drop lost shards from the plan.

        Their indexes have rows that may never be stored, so they are read again if the shards
        return.
        """
        lost, self._lost = self._lost, set()
        if self._plan is not None and (part := self._plan.shards & lost):
            self._shards.forget(part)
            self._plan = self._plan.without(part)

    async def _step(self, plan: Plan) -> Plan | None:
        """Carry out the next part of the plan, and return the rest."""
        if plan.undecodable:
            for first in range(0, len(plan.undecodable), LETTERS_AT_ONCE):
                await self._send_dead_letters(plan.undecodable[first : first + LETTERS_AT_ONCE])
            return replace(plan, undecodable=())
        if plan.misplaced:
            await asyncio.gather(*map(self._move, plan.misplaced))
            log.info("misplaced_messages_moved", messages=len(plan.misplaced))
            return replace(plan, misplaced=())
        for table, batch in plan.batches.items():
            await asyncio.to_thread(self._sink.commit, table, batch)
            self._note_stored(table, batch)
            return plan.without_batch(table)
        await commit_offsets(self._source, plan.positions)
        return None

    async def _send_dead_letters(self, messages: Sequence[Undecodable]) -> None:
        """Send them concurrently: one after the other, each would wait for a batch of its own."""
        outcomes = await all_outcomes(list(map(self._publisher.send_dead_letter, messages)))
        if failure := most_severe(outcomes):
            raise failure

    async def _move(self, message: Misplaced) -> None:
        """Move a message; one that its topic refuses is dead-lettered."""
        try:
            await self._publisher.move(message.delivery, message.key)
        except Poison as error:
            await self._publisher.send_dead_letter(Undecodable.of(message.delivery, error))

    def _note_stored(self, table: TableName, batch: Batch) -> None:
        for shard, step in batch.advances.items():
            self._shards.stored[Partition(self._topics[table], shard)] = step.next


async def commit_offsets(source: Source, positions: Mapping[Partition, int]) -> None:
    """Commit the stored positions to Kafka for its tools; they are never read back."""
    if not positions:
        return
    try:
        await source.commit({p: Position(offset) for p, offset in positions.items()})
    except (Stale, Transient) as error:
        log.info("offset_commit_failed", partitions=len(positions), error=str(error))
