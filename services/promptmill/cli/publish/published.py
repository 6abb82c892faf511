"""Which prompts of a run are published: those in the store's table, and those on the way to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from promptmill.cli.counts import Books
from promptmill.cli.publish.id_set import IdSet
from promptmill.kafka.log_reader import LogReader
from promptmill.stream.dead_letters import prompt_of
from promptmill.stream.lost_records import LogCheck
from promptmill.stream.ports import Delivery


class _Coming:
    """Reads a run's prompts on the topic, each time from where it stopped.

    Args:
        topic: full name of the topic of prompts.
        check: passes over accepted gaps between the table's end and the topic's beginning.
    """

    def __init__(
        self,
        books: Books,
        reader: LogReader,
        topic: str,
        run: str,
        check: LogCheck | None = None,
    ) -> None:
        self._books = books
        self._reader = reader
        self._topic = topic
        self._check = check
        self._run = run
        self._positions: dict[int, int] = {}

    async def _read_on(self) -> AsyncIterator[tuple[str, Delivery]]:
        """The ids of the run's prompts, with their messages."""
        async for batch in self._reader.read(self._topic, self._positions, self._check):
            for delivery in batch:
                prompt = prompt_of(delivery.value)
                if prompt is not None and prompt.run == self._run:
                    yield prompt.prompt_id, delivery
                self._positions[delivery.partition.number] = delivery.offset + 1


class PublishedPrompts(_Coming):
    """The ids of a run's prompts, exact at each refresh.

    The table is read once; from where it ends, the topic is read on at each refresh.
    """

    _ids: IdSet | None = None

    async def refresh(self) -> IdSet:
        """The ids of everything that was acknowledged before this call."""
        if self._ids is None:
            # In this order nothing falls between table and topic; what is in both counts once.
            self._positions = await asyncio.to_thread(self._books.next_prompt_offsets)
            stored = self._books.prompt_ids(self._run)
            self._ids = await asyncio.to_thread(IdSet, stored)  # they never are in memory at once
        async for prompt_id, _ in self._read_on():
            self._ids.add(prompt_id)
        return self._ids


class PublishedCount(_Coming):
    """How many prompts of a run are published: those in the store's table, and those on the way.

    A prompt that was published again counts twice until the store has read its second message.
    """

    def __init__(
        self,
        books: Books,
        reader: LogReader,
        topic: str,
        run: str,
        check: LogCheck | None = None,
    ) -> None:
        super().__init__(books, reader, topic, run, check)
        self._coming: dict[str, tuple[int, int]] = {}
        """By id, partition and offset of prompts that the table may lack."""

    async def refresh(self) -> int:
        """Everything that was acknowledged before this call."""
        table = await asyncio.to_thread(self._books.published, self._run)
        for partition, offset in table.next_offsets.items():
            self._positions[partition] = max(offset, self._positions.get(partition, 0))
        async for prompt_id, delivery in self._read_on():
            self._coming[prompt_id] = delivery.partition.number, delivery.offset
        await self._forget_stored_strays(table.partitions)
        table = await asyncio.to_thread(self._books.published, self._run)
        begins = table.next_offsets
        self._coming = {p: at for p, at in self._coming.items() if at[1] >= begins.get(at[0], 0)}
        return table.prompts + len(self._coming)

    async def _forget_stored_strays(self, partitions: int) -> None:
        """Of prompts in partitions beyond the layout, no row is stored: look for them by id.

        Somebody else's producer has put them there; they are moved to where they belong.
        """
        strays = {p for p, (number, _) in self._coming.items() if 0 < partitions <= number}
        if strays:
            stored = await asyncio.to_thread(self._books.stored, self._run, strays)
            self._coming = {p: at for p, at in self._coming.items() if p not in stored}
