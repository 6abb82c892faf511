"""The wiring of ``tail``, and its lines for people."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from promptmill.core.stream.kafka.reader import LogReader
from promptmill.gateway.addresses import find_addresses
from promptmill.gateway.output import print_bytes
from promptmill.gateway.quiet import quiet_logs
from promptmill.gateway.settings import load
from promptmill.gateway.tailing import Tail
from promptmill_schemas import Contract, DeadLetter, Record, Reject, encode
from promptmill_schemas.topics import DEAD_LETTERS, RECORDS, REJECTS

CLIENT = "promptmill-tail"
TOPIC_OF = {"records": RECORDS, "rejects": REJECTS, "dead": DEAD_LETTERS}
QUESTION_WIDTH = 48
ANSWER_WIDTH = 72


def show_tail(kind: str, run: str | None, count: int, *, follow: bool, as_json: bool) -> None:
    """Print the last messages and, when asked to follow, those that land.

    Raises:
        Misconfigured: no Kafka is known, or the topic is missing.
        Unavailable: Kafka is away.
    """
    quiet_logs()
    asyncio.run(_show(kind, run, count, follow=follow, form=encode if as_json else as_line))


async def _show(
    kind: str, run: str | None, count: int, *, follow: bool, form: Callable[[Contract], bytes]
) -> None:
    settings, topic = load(), TOPIC_OF[kind]
    async with LogReader(find_addresses(settings).kafka, client_id=CLIENT) as reader:
        tail = Tail(reader, topic, settings.topic(topic), run)
        for message in await tail.last(count):
            print_bytes(form(message))
        if follow:
            async for message in tail.following():
                print_bytes(form(message))


def as_line(message: Contract) -> bytes:
    """The message on one line of a terminal."""
    if isinstance(message, Record):
        return _record(message).encode()
    if isinstance(message, Reject):
        return _reject(message).encode()
    if isinstance(message, DeadLetter):
        return _letter(message).encode()
    raise TypeError(f"{type(message).__name__} is not shown by tail")


def _record(record: Record) -> str:
    question = next((m.content for m in reversed(record.messages) if m.role == "user"), "")
    grade = f"{record.reward:6.2f}"
    if record.margin is not None:
        grade += f" (margin {record.margin:.2f})"
    texts = f"{_short(question, QUESTION_WIDTH)} → {_short(record.chosen, ANSWER_WIDTH)}"
    return f"{record.created_at:%H:%M:%S} {record.run} {record.kind} {grade}  {texts}"


def _reject(reject: Reject) -> str:
    head = f"{reject.created_at:%H:%M:%S} {reject.run} {reject.reason}"
    return f"{head}  {reject.prompt_id}  {_short(reject.detail, 2 * ANSWER_WIDTH)}"


def _letter(letter: DeadLetter) -> str:
    place = f"{letter.topic}-{letter.partition}@{letter.offset}"
    head = f"{letter.created_at:%H:%M:%S} {letter.run or '-'} {letter.stage} {letter.state}"
    return f"{head} {letter.reason}  {place}  {_short(letter.detail, 2 * ANSWER_WIDTH)}"


def _short(text: str, width: int) -> str:
    line = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return line if len(line) <= width else f"{line[: width - 1]}…"
