"""Two thousand prompts through instruct and reward, over a server that fails three calls in ten.

Kafka's part is played by the broker in memory: what is at stake here is that the engines hand
each failure to the loop as what it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from promptmill.instruct.work import Instruct
from promptmill.reward.pointwise import Pointwise
from promptmill.reward.work import Reward
from promptmill.stream.loop import StreamLoop
from promptmill.stream.settings import LoopSettings
from promptmill.testing.broker import MemoryBroker, MemorySender, MemorySource
from promptmill_schemas import DeadLetter, Message, Prompt, Scored, Topic, decode, encode
from promptmill_schemas.grading import NEMOTRON_WEIGHTS
from promptmill_schemas.topics import COMPLETIONS, DEAD_LETTERS, PROMPTS, SCORED
from support.bad_answers import Behaviour, raw, status
from support.bad_server import BadServer, Call, answer_of_both_kinds, faulty
from support.engines import NoCounter
from support.http_engines import generating, grading
from support.streams import CountingProbe
from support.waiting import eventually

PROMPTS_SENT = 2_000
MAX_UNLUCKY = 10
SHORT_OF_TIME: dict[str, Any] = {"concurrency": 64, "request_timeout_s": 1.0, "first_pause_s": 0.01}
SETTINGS = LoopSettings(slots=128, backoff_initial_s=0.01, backoff_max_s=0.1)

ALWAYS_BAD: dict[str, Behaviour] = {
    "html": raw(b"<html>", "text/html"),
    "wrong": status(422, "no"),
    "crash": status(500, "boom"),
}


def server() -> BadServer:
    """Faulty for all, and hopeless for prompts that name one of the faults that stay."""
    passing = faulty(0.3, answer_of_both_kinds, seed=7)

    def behave(call: Call) -> Behaviour:
        hopeless = [fault for name, fault in ALWAYS_BAD.items() if name in call.said]
        return hopeless[0] if hopeless else passing(call)

    return BadServer(behave)


def publish(broker: MemoryBroker) -> set[str]:
    """The prompts; returns the ids of the hopeless ones."""
    hopeless = set()
    for number in range(PROMPTS_SENT):
        name = list(ALWAYS_BAD)[number // 50 % 3] if number % 50 == 0 else "fine"
        message = Message(role="user", content=f"{name} {number}")
        prompt = Prompt.create("run", (message,), n=1 + number % 2)
        broker.append(PROMPTS.name, prompt.prompt_id.encode(), encode(prompt))
        hopeless |= {prompt.prompt_id} if name != "fine" else set()
    return hopeless


def read(broker: MemoryBroker, topic: Topic) -> list[Any]:
    return [decode(topic.contract, delivery.value) for delivery in broker.topic(topic.name)]


@contextmanager
def working(broker: MemoryBroker, topic: Topic, work: Callable[..., Any]) -> Iterator[None]:
    loop = StreamLoop(
        MemorySource(broker, topic.name, [topic.name]),
        MemorySender(broker),
        work,
        stage=topic.name,
        topic=topic,
        settings=SETTINGS,
        probe=CountingProbe(),
    )
    task = asyncio.create_task(loop.run())
    try:
        yield
    finally:
        loop.stop()
        task.cancel()


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_nothing_is_lost_or_doubled_and_only_hopeless_prompts_are_buried() -> None:
    broker = MemoryBroker()
    hopeless = publish(broker)
    async with (
        server() as bad,
        generating(bad, **SHORT_OF_TIME) as generator,
        grading(bad, **SHORT_OF_TIME) as grader,
    ):
        with (
            working(broker, PROMPTS, Instruct(generator, NoCounter())),
            working(broker, COMPLETIONS, Reward(Pointwise([grader]), NEMOTRON_WEIGHTS)),
        ):

            def settled() -> bool:
                ends = len(broker.topic(SCORED.name)) + len(broker.topic(DEAD_LETTERS.name))
                return ends >= PROMPTS_SENT

            await eventually(settled, 800)
    scored: list[Scored] = read(broker, SCORED)
    letters: list[DeadLetter] = read(broker, DEAD_LETTERS)
    graded = [one.completion.prompt.prompt_id for one in scored]
    dead_lettered = {letter.prompt_id for letter in letters}
    unlucky = [letter for letter in letters if letter.prompt_id not in hopeless]
    assert len(set(graded)) == len(graded) == PROMPTS_SENT - len(dead_lettered)
    assert hopeless <= dead_lettered
    assert len(letters) == len(dead_lettered)
    assert not set(graded) & dead_lettered
    # Now and then a request meets nothing but faults by chance, until its budget is used up.
    assert {letter.reason for letter in unlucky} <= {"exhausted"}
    assert len(unlucky) <= MAX_UNLUCKY
