"""Each refresh reads the topic on from where the last one ended, or from where the table ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import cast

from promptmill.cli.counts import OutcomeCounts, StoredPrompts
from promptmill.cli.publish.published import PublishedCount, PublishedPrompts
from promptmill.kafka.log_reader import LogReader
from promptmill.stream.lost_records import LogCheck
from promptmill.stream.ports import Delivery, Partition
from promptmill_schemas import encode
from support.store import pid, prompt

TOPIC = "prompts"


class Log:
    """A reader over messages in memory, which remembers from where it was asked to read."""

    def __init__(self) -> None:
        self.messages: dict[int, list[bytes]] = {0: [], 1: []}
        self.asked: list[dict[int, int]] = []

    async def read(
        self, topic: str, starts: Mapping[int, int], _check: LogCheck | None = None
    ) -> AsyncIterator[list[Delivery]]:
        self.asked.append(dict(starts))
        for number, values in self.messages.items():
            first = starts.get(number, 0)
            for offset, value in enumerate(values[first:], first):
                yield [Delivery(Partition(topic, number), offset, None, value)]


class Table:
    """The first prompt of partition 0 is in the table."""

    next_offset, in_table, partitions = 1, 1, 2

    def __init__(self) -> None:
        self.queries: list[Collection[str] | None] = []

    def next_prompt_offsets(self) -> dict[int, int]:
        return {0: 1}

    def has_none(self, run: str) -> bool:
        return run != "test"

    def prompt_ids(self, run: str, among: Collection[str] | None = None) -> Iterator[list[str]]:
        self.queries.append(among)
        return iter([[each for each in self.ids(run) if among is None or each in among]])

    def ids(self, run: str) -> list[str]:
        return [pid("a", run)]

    def published(self, run: str) -> StoredPrompts:
        """One prompt, and none of another run."""
        count = self.in_table if run == "test" else 0
        return StoredPrompts(count, {0: self.next_offset}, self.partitions)

    def stored(self, run: str, ids: Collection[str]) -> set[str]:
        """The first prompt of partition 0."""
        return set(self.ids(run)) & set(ids)

    def settled(self, run: str) -> OutcomeCounts:
        raise NotImplementedError

    def settled_ids(self, run: str, among: Collection[str] | None = None) -> Iterator[list[str]]:
        """Not asked for here."""
        raise NotImplementedError


async def test_what_the_table_and_the_topic_hold_is_published() -> None:
    log, table = Log(), Table()
    log.messages = {0: [encode(prompt(t)) for t in "abc"], 1: [encode(prompt("d")), b"no prompt"]}
    published = PublishedPrompts(table, cast("LogReader", log), TOPIC, "test")
    await published.start()
    assert log.asked == [{0: 1}], "what the table holds is not read from the topic"
    ids = [pid(text) for text in "abcde"]
    await published.look_up(ids)
    assert [published.add(each) for each in ids] == [False, False, False, False, True]
    assert not published.add(ids[-1])
    published.discard(ids[-1])
    assert published.add(ids[-1])


async def test_a_table_without_the_run_is_not_read() -> None:
    log, table = Log(), Table()
    log.messages = {0: [encode(prompt("a", run="other"))] * 2, 1: []}
    published = PublishedPrompts(table, cast("LogReader", log), TOPIC, "other")
    await published.start()
    await published.look_up([pid("b", "other")])
    assert published.add(pid("b", "other"))
    assert not published.add(pid("a", "other"))
    assert table.queries == []


async def test_the_count_forgets_what_the_table_has_taken() -> None:
    log, table = Log(), Table()
    log.messages = {0: [encode(prompt(t)) for t in "abc"], 1: [encode(prompt("d")), b"no prompt"]}
    published = PublishedCount(table, cast("LogReader", log), TOPIC, "test")
    assert await published.refresh() == 4
    log.messages[0].append(encode(prompt("b")))  # published again
    log.messages[1].append(encode(prompt("f", run="other")))
    assert await published.refresh() == 4
    assert len(published._coming) == 3

    table.in_table, table.next_offset = 3, 4
    assert await published.refresh() == 4
    assert published._coming == {pid("d"): (1, 0)}
    assert log.asked == [{0: 1}, {0: 3, 1: 2}, {0: 4, 1: 3}]


async def test_a_stored_prompt_in_an_added_partition_counts_once() -> None:
    """No row is stored of such a partition, so its messages never fall behind the table."""
    log, table = Log(), Table()
    table.partitions = 1
    log.messages = {0: [encode(prompt("a"))], 1: [encode(prompt("a")), encode(prompt("b"))]}
    published = PublishedCount(table, cast("LogReader", log), TOPIC, "test")
    assert await published.refresh() == 2, "b is still to be moved"
    table.in_table, table.next_offset = 2, 2
    table.ids = lambda run: [pid(text, run) for text in "ab"]  # type: ignore[method-assign]
    assert await published.refresh() == 2
