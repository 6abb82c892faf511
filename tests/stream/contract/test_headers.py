"""The trace of a record is that of what is published for it, over both brokers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptmill.stream.layout import DataSetLayout
from promptmill.stream.outcome import Emit, Outcome, Outgoing
from promptmill.stream.ports import Delivery
from promptmill_schemas.headers import Headers
from promptmill_schemas.topics import DEAD_LETTERS
from stream.contract.conftest import PARTITIONS, RealKafka
from support.kafka_topics import make_topics, put_with_invalid_name
from support.streams import ECHOES, ITEMS, QUICK, Harness, Item
from support.waiting import eventually

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE: Headers = (("traceparent", PARENT), ("tracestate", b"vendor=1"))


async def send(harness: Harness, value: bytes, headers: Headers) -> None:
    """Put a message on the topic of items, as a foreign producer can."""
    sender = harness.broker.sender()
    await sender.start()
    await sender.send(harness.broker.prefix + ITEMS.name, b"1", value, headers)
    await sender.stop()


async def received(harness: Harness, topic: str, number: int = 1) -> list[Delivery]:
    """The messages on a topic, once there are that many."""

    async def found() -> bool:
        return len(await harness.broker.read(harness.broker.prefix + topic)) >= number

    await eventually(found)
    return await harness.broker.read(harness.broker.prefix + topic)


def item(number: int = 1) -> bytes:
    return Item(number=number).model_dump_json().encode()


async def test_every_message_has_the_trace_of_the_record_that_it_follows_from(
    harness: Harness,
) -> None:
    async def twice(given: Item) -> Outcome:
        return Emit((Outgoing(ECHOES, given), Outgoing(ECHOES, given)))

    await send(harness, item(), TRACE)
    await harness.member(twice)
    for echo in await received(harness, ECHOES.name, 2):
        found = dict(echo.headers)
        assert (found["traceparent"], found["tracestate"]) == (PARENT, b"vendor=1")
        assert (found["ce_specversion"], found["ce_type"]) == (b"1.0", b"promptmill.item.v1")
        assert (found["ce_id"], found["content-type"]) == (b"1", b"application/json")
        assert found["ce_source"].startswith(b"/promptmill/echo/")
        assert echo.value == item()


async def test_a_dead_letter_keeps_the_headers_of_its_original_and_has_its_trace(
    harness: Harness,
) -> None:
    await send(harness, b"no json", (*TRACE, ("ce_id", b"theirs"), ("x-other", b"1")))
    await harness.member()
    (letter,) = await received(harness, DEAD_LETTERS.name)
    found = dict(letter.headers)
    assert (found["traceparent"], found["ce_type"]) == (PARENT, b"promptmill.dead-letter.v1")
    (kept,) = [each.headers for each in await harness.letters()]
    assert kept == {
        "traceparent": PARENT.decode(),
        "tracestate": "vendor=1",
        "ce_id": "theirs",
    }


async def test_a_message_without_headers_is_processed_and_starts_no_trace(
    harness: Harness,
) -> None:
    await send(harness, item(), ())
    await harness.member()
    (echo,) = await received(harness, ECHOES.name)
    assert "traceparent" not in dict(echo.headers)
    assert dict(echo.headers)["ce_id"] == b"1"


@pytest.mark.parametrize(
    "hostile",
    [
        (("traceparent", b"\xff" * 300_000),),
        (("traceparent", b"00-zz"), ("tracestate", b"a=1")),
        (("traceparent", PARENT), ("traceparent", PARENT)),
        (("ce_id", b"\xff\xfe"), ("ce_source", b"\x1b[2J\x00"), ("content-type", b"")),
        tuple((f"header-{number}", b"x") for number in range(20_000)),
        (("", b""), ("\N{SNOWMAN}", b"")),
    ],
    ids=["huge", "malformed", "repeated", "not-utf-8", "many", "odd-names"],
)
async def test_hostile_headers_are_ignored(harness: Harness, hostile: Headers) -> None:
    for value in (item(), b"no json"):
        await send(harness, value, hostile)
    member = await harness.member()
    (echo,) = await received(harness, ECHOES.name)
    assert "traceparent" not in dict(echo.headers)
    await received(harness, DEAD_LETTERS.name)
    (letter,) = await harness.letters()
    assert not letter.headers or set(letter.headers) <= {"tracestate", "traceparent"}
    assert not member.task.done()


async def test_a_misplaced_message_is_published_again_with_its_headers(harness: Harness) -> None:
    layout = DataSetLayout(2)
    settings = replace(QUICK, layout=layout)
    number = next(n for n in range(100) if layout.partition_of(str(n).encode()) == 0)
    other = next(n for n in range(100) if layout.partition_of(str(n).encode()) == 1)
    sender = harness.broker.sender(layout)
    await sender.start()
    topic = harness.broker.prefix + ITEMS.name
    event: Headers = (*TRACE, ("ce_id", b"theirs"), ("ce_source", b"/mine"))
    await sender.send(topic, str(other).encode(), item(number), event)
    await sender.stop()
    await harness.member(settings=settings)
    await received(harness, ECHOES.name)
    moved = [d for d in await received(harness, ITEMS.name, 2) if d.partition.number == 0]
    assert [set(each.headers) for each in moved] == [set(event)]


@pytest.mark.real
async def test_a_name_of_a_header_that_is_not_utf_8_ends_no_worker(kafka: str, unique: str) -> None:
    names = [unique + ITEMS.name, unique + ECHOES.name, unique + DEAD_LETTERS.name]
    await make_topics(kafka, names, PARTITIONS)
    harness = Harness(RealKafka(kafka, unique))
    await put_with_invalid_name(kafka, names[0], b"1", item())
    member = await harness.member()
    (echo,) = await received(harness, ECHOES.name)
    assert echo.value == item()
    assert not member.task.done()
    await harness.close()
