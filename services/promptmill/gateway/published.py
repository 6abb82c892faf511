"""Which prompts of a run are published: those in the store's table, and those on the way to it."""

from __future__ import annotations

import asyncio

from promptmill.core.stream.dead_letters import prompt_of
from promptmill.core.stream.kafka.reader import LogReader
from promptmill.core.stream.lost import LogCheck
from promptmill.gateway.books import Books
from promptmill.gateway.id_set import IdSet


class PublishedPrompts:
    """The ids of a run's prompts, exact at each refresh.

    The table is read once; from where it ends, the topic is read on at each refresh.

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
        self._positions: dict[int, int] | None = None
        self.ids = IdSet()

    async def refresh(self) -> IdSet:
        """The ids of everything that was acknowledged before this call."""
        if self._positions is None:
            # In this order nothing falls between table and topic; what is in both counts once.
            self._positions = await asyncio.to_thread(self._books.next_prompt_offsets)
            self.ids.update(await asyncio.to_thread(self._books.prompt_ids, self._run))
        async for batch in self._reader.read(self._topic, self._positions, self._check):
            for delivery in batch:
                prompt = prompt_of(delivery.value)
                if prompt is not None and prompt.run == self._run:
                    self.ids.add(prompt.prompt_id)
                self._positions[delivery.partition.number] = delivery.offset + 1
        return self.ids
