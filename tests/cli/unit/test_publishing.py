"""Each line is published once, reported once, and in order, whatever the broker does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from cli.unit.known_prompts import KnownPrompts
from promptmill.cli.publish import outbox
from promptmill.cli.publish import publisher as publishing
from promptmill.cli.publish.files.splitting import RawLine
from promptmill.cli.publish.lines import Defaults
from promptmill.cli.publish.outbox import Outbox
from promptmill.cli.publish.ports import LineResult
from promptmill.cli.publish.publisher import Publisher
from promptmill.runtime.errors import Poison, Unavailable
from promptmill.stream.ports import Message
from promptmill_schemas import ContractError, Prompt, decode
from promptmill_schemas.headers import Headers
from support.waiting import eventually

PARTITIONS = 1 << 64


@dataclass
class FakeSender:
    """A broker in memory: acknowledges when ``open`` is set, after failing as told."""

    failures: dict[str, list[Exception]] = field(default_factory=dict)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    sent: list[Prompt] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    waiting: int = 0
    most_waiting: int = 0

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    async def send(self, topic: str, key: bytes, value: bytes, headers: Headers = ()) -> None:
        await self.send_batch(topic, place_of(key), [Message(key, value, headers)])

    async def partitioner(self, topic: str) -> Callable[[bytes], int]:
        raise NotImplementedError

    async def send_batch(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        prompts = [decode(Prompt, message.value) for message in messages]
        assert topic == "the-topic"
        assert [message.key for message in messages] == [p.prompt_id.encode() for p in prompts]
        assert {place_of(message.key) for message in messages} == {partition}
        self.waiting += len(prompts)
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            await self.open.wait()
        finally:
            self.waiting -= len(prompts)
        self.batches.append(len(prompts))
        for prompt in prompts:
            if failures := self.failures.get(prompt.messages[0].content):
                raise failures[0] if isinstance(failures[0], Poison) else failures.pop(0)
        self.sent += prompts


def place_of(key: bytes) -> int:
    """Every prompt has a partition of its own, unless a test says otherwise."""
    return int(key, 16) % PARTITIONS


class Harness:
    """A publisher on a fake broker, and what it reported."""

    def __init__(self, known: Iterable[str] = (), patience_s: float = 60.0, **options: Any) -> None:
        self.sender = FakeSender()
        self.sender.open.set()
        self.results: list[LineResult] = []
        out = Outbox(self.sender, "the-topic", place_of, patience_s)
        self.known = KnownPrompts(known)
        self.publisher = Publisher(out, Defaults("run"), self.known, self.results.append, **options)

    async def publish(self, *lines: dict[str, Any] | bytes) -> list[str]:
        """The outcome of each line."""
        await self.publisher.publish(numbered(*lines))
        assert [result.number for result in self.results] == list(range(1, len(lines) + 1))
        return [result.outcome for result in self.results]

    @property
    def texts(self) -> list[str]:
        return [prompt.messages[0].content for prompt in self.sender.sent]


async def numbered(*lines: dict[str, Any] | bytes) -> AsyncIterator[list[RawLine]]:
    raws = [line if isinstance(line, bytes) else orjson.dumps(line) for line in lines]
    yield [RawLine(number, raw, len(raw)) for number, raw in enumerate(raws, start=1)]


def asking(text: str, **fields: Any) -> dict[str, Any]:
    return {"prompt": text, **fields}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "PAUSES_S", (0.0,))


async def test_every_good_line_is_sent_and_reported_with_its_id() -> None:
    harness = Harness()
    assert await harness.publish(asking("a"), asking("b")) == ["published", "published"]
    assert [result.prompt_id for result in harness.results] == [
        p.prompt_id for p in harness.sender.sent
    ]


async def test_bad_lines_do_not_keep_the_good_ones_out() -> None:
    harness = Harness()
    outcomes = await harness.publish(asking("a"), b"{", asking("b"), asking("c", n=0))
    assert outcomes == ["published", "invalid", "published", "invalid"]
    assert harness.texts == ["a", "b"]
    error = harness.results[3].error
    assert error is not None
    assert error.field == "n"


async def test_the_same_line_twice_is_sent_once() -> None:
    harness = Harness()
    assert await harness.publish(asking("a"), asking("a")) == ["published", "duplicate"]
    assert harness.texts == ["a"]
    assert harness.results[0].prompt_id == harness.results[1].prompt_id


async def test_what_was_published_before_is_not_sent_again() -> None:
    first = Harness()
    await first.publish(asking("a"), asking("b"))
    again = Harness(known={prompt.prompt_id for prompt in first.sender.sent})
    assert await again.publish(asking("a"), asking("b"), asking("c")) == [
        "duplicate",
        "duplicate",
        "published",
    ]
    assert again.texts == ["c"]


async def test_lines_that_were_read_together_are_looked_up_together_before_any_is_sent() -> None:
    first = Harness()
    await first.publish(asking("a"))
    again = Harness()
    again.known.stored = {prompt.prompt_id for prompt in first.sender.sent}
    outcomes = await again.publish(asking("b"), b"{", asking("a"), asking("a"))
    assert outcomes == ["published", "invalid", "duplicate", "duplicate"]
    ids = [result.prompt_id for result in again.results if result.prompt_id is not None]
    assert again.known.looked_up == [ids]


async def test_an_id_that_stands_for_two_contents_is_refused_at_the_second() -> None:
    harness = Harness()
    outcomes = await harness.publish(asking("a", id="q"), asking("b", id="q"), asking("a", id="q"))
    assert outcomes == ["published", "invalid", "duplicate"]
    error = harness.results[1].error
    assert error is not None
    assert (error.field, error.value) == ("custom_id", "'q'")
    assert "line 1" in error.limit


async def test_a_line_that_was_cut_is_refused_with_its_whole_size() -> None:
    async def lines() -> AsyncIterator[list[RawLine]]:
        yield [RawLine(7, b'{"prompt": "xxx', 5_000_000)]

    harness = Harness()
    await harness.publisher.publish(lines())
    (result,) = harness.results
    assert result.error is not None
    assert "5000000" in result.error.limit


async def test_what_the_context_check_refuses_is_not_sent() -> None:
    def refuse(prompt: Prompt) -> None:
        if prompt.messages[0].content == "long":
            raise ContractError("messages", "long", "4 tokens", "shorten it")

    harness = Harness(check=refuse)
    assert await harness.publish(asking("long"), asking("short")) == ["invalid", "published"]
    assert harness.texts == ["short"]


async def test_a_broker_that_is_away_for_a_while_is_tried_again() -> None:
    harness = Harness()
    harness.sender.failures["a"] = [Unavailable("no"), Unavailable("no")]
    assert await harness.publish(asking("a"), asking("b")) == ["published", "published"]
    assert sorted(harness.texts) == ["a", "b"]


async def test_what_the_broker_never_takes_is_invalid() -> None:
    harness = Harness()
    harness.sender.failures["a"] = [Poison("larger than the broker accepts")]
    assert await harness.publish(asking("a"), asking("b")) == ["invalid", "published"]
    error = harness.results[0].error
    assert error is not None
    assert "larger than the broker accepts" in error.limit


async def test_a_broker_that_stays_away_ends_the_publishing_with_honest_counts() -> None:
    harness = Harness(patience_s=0.0)
    harness.sender.failures["b"] = [Unavailable("no")]
    with pytest.raises(Unavailable):
        await harness.publisher.publish(numbered(asking("a"), asking("b"), asking("c")))
    assert await harness.publisher.drain(1.0) == 1
    reported = {result.prompt_id for result in harness.results}
    assert reported == {prompt.prompt_id for prompt in harness.sender.sent}
    assert len(reported) == 2


async def test_an_interruption_reports_what_is_acknowledged_and_counts_the_rest() -> None:
    harness = Harness()
    harness.sender.open.clear()
    task = asyncio.create_task(harness.publisher.publish(numbered(asking("a"), asking("b"))))
    await eventually(lambda: harness.sender.waiting == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await harness.publisher.drain(0.01) == 2
    assert harness.results == []
    assert harness.sender.waiting == 0


async def test_what_is_acknowledged_during_the_drain_is_published() -> None:
    harness = Harness()
    harness.sender.open.clear()
    task = asyncio.create_task(harness.publisher.publish(numbered(asking("a"))))
    await eventually(lambda: harness.sender.waiting == 1)
    task.cancel()
    harness.sender.open.set()
    assert await harness.publisher.drain(1.0) == 0
    assert [result.outcome for result in harness.results] == ["published"]


async def test_what_was_read_together_is_sent_together_by_partition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PARTITIONS", 2)
    harness = Harness()
    lines = [asking(str(number)) for number in range(100)]
    assert set(await harness.publish(*lines)) == {"published"}
    assert len(harness.sender.batches) == 2
    assert sum(harness.sender.batches) == 100


async def test_no_batch_is_larger_than_the_producer_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PARTITIONS", 1)
    monkeypatch.setattr(outbox, "BATCH_BYTES", 10_000)
    harness = Harness()
    lines = [asking("x" * 1000 + str(number)) for number in range(30)]
    await harness.publish(*lines, asking("y" * 20_000))
    assert max(harness.sender.batches) < 10
    assert len(harness.texts) == 31


async def test_one_bad_prompt_does_not_keep_its_batch_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PARTITIONS", 1)
    harness = Harness()
    harness.sender.failures["5"] = [Poison("larger than the broker takes")]
    outcomes = await harness.publish(*(asking(str(number)) for number in range(10)))
    assert [number for number, outcome in enumerate(outcomes) if outcome == "invalid"] == [5]
    assert sorted(harness.texts) == [str(number) for number in range(10) if number != 5]


async def test_a_batch_of_which_the_broker_may_have_a_part_is_sent_again_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PARTITIONS", 1)
    harness = Harness()
    harness.sender.failures["3"] = [Unavailable("no"), Unavailable("no")]
    assert set(await harness.publish(*(asking(str(n)) for n in range(5)))) == {"published"}
    assert sorted(harness.texts) == list("01234")


async def test_a_repeated_line_of_what_is_not_acknowledged_is_not_reported_either() -> None:
    harness = Harness()
    harness.sender.open.clear()
    task = asyncio.create_task(harness.publisher.publish(numbered(asking("a"), asking("a"))))
    await eventually(lambda: harness.sender.waiting == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await harness.publisher.drain(0.01) == 1
    assert harness.results == []


async def test_only_so_many_prompts_are_on_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "MAX_IN_FLIGHT", 10)
    assert await most_on_their_way([asking(str(number)) for number in range(100)]) == 11


async def test_only_so_many_bytes_are_on_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "MAX_BYTES_IN_FLIGHT", 6_000)
    lines = [asking(str(number) * 1000) for number in range(10, 40)]
    assert await most_on_their_way(lines) == 3


async def most_on_their_way(lines: list[dict[str, Any]]) -> int:
    """How many prompts a broker that does not answer is sent; later it takes all of them."""
    harness = Harness()
    harness.sender.open.clear()
    task = asyncio.create_task(harness.publish(*lines))
    await eventually(lambda: harness.publisher._fill() > 1)
    await eventually(lambda: harness.sender.waiting == len(harness.publisher._pending))
    harness.sender.open.set()
    assert set(await task) == {"published"}
    assert len(harness.texts) == len(lines)
    return harness.sender.most_waiting
