"""A worker polls while it reads and writes the largest messages: they are handled beside its loop.

In memory, so that only what this project does is measured: the client library decompresses and
compresses on the loop, 20 to 50 ms for 8 MiB.
"""

from __future__ import annotations

import orjson

from promptmill.runtime.errors import Poison
from promptmill.stream.outcome import Outcome
from promptmill_schemas.limits import MAX_MESSAGE_BYTES
from support.chaos.loop_brokers import InMemory
from support.loop_watch import watched_loop
from support.streams import Harness, Item, echo
from support.waiting import eventually

COUNT = 4
DENSE = '"\\\n'
"""Text of which every character is escaped: the slowest to decode and to encode."""


async def refuse(item: Item) -> Outcome:
    raise Poison(f"{item.number} is refused")


async def test_the_largest_messages_are_echoed_beside_the_loop() -> None:
    harness = Harness(InMemory())
    await harness.publish_raw(*map(largest, range(COUNT)))
    with watched_loop():
        member = await harness.member(echo)
        await eventually(lambda: member.probe.outcomes["emit"] == COUNT, 60)
        await member.stop()


async def test_the_largest_messages_are_dead_lettered_beside_the_loop() -> None:
    harness = Harness(InMemory())
    # Half of them are no JSON.
    await harness.publish_raw(*(largest(n)[n % 2 :] for n in range(COUNT)))
    with watched_loop():
        member = await harness.member(refuse)
        await eventually(lambda: member.probe.outcomes.total() == COUNT, 60)
        await member.stop()
    assert len(await harness.letters()) == COUNT


def largest(number: int) -> bytes:
    """An item of as many bytes as a message may have."""
    bare = orjson.dumps({"number": number, "text": ""})
    return orjson.dumps({"number": number, "text": DENSE * ((MAX_MESSAGE_BYTES - len(bare)) // 6)})
