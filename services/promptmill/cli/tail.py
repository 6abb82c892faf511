"""The command that shows the last messages of a topic and follows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from promptmill.cli.addresses import find_addresses
from promptmill.cli.output import print_bytes, print_document, quiet_logs
from promptmill.cli.settings import load
from promptmill.kafka.log_reader import LogReader
from promptmill.runtime.terminal import printable
from promptmill.stream.ports import Delivery, Partition
from promptmill_schemas import Contract, DeadLetter, Record, Reject, Topic, decode, encode
from promptmill_schemas.topics import DEAD_LETTERS, RECORDS, REJECTS

CLIENT = "promptmill-tail"
TOPIC_OF = {"records": RECORDS, "rejects": REJECTS, "dead": DEAD_LETTERS}
QUESTION_WIDTH = 48
ANSWER_WIDTH = 72
LOOK_BACK_FACTOR = 8


def show_tail(kind: str, run: str | None, count: int, *, follow: bool, as_json: bool) -> None:
    """Print the last messages of a topic and, with ``follow``, new messages until interrupted.

    Args:
        kind: ``records``, ``rejects`` or ``dead``.
        run: show only this run; ``None`` shows all runs.
        count: how many of the last messages to show.
        follow: continue with new messages.
        as_json: print the messages as JSON.

    Raises:
        Misconfigured: no Kafka is configured, or the topic does not exist.
        Unavailable: Kafka does not answer.
    """
    quiet_logs()
    show = _show_document if as_json else _show_line
    asyncio.run(_show(kind, run, count, follow=follow, show=show))


class TopicTail:
    """A reader of one topic from its end.

    Args:
        reader: reader of the topics, started.
        topic: the topic, with the contract of its messages.
        name: the topic's full name on the broker.
        run: return only messages of this run; ``None`` returns all.
    """

    def __init__(self, reader: LogReader, topic: Topic, name: str, run: str | None) -> None:
        self._reader = reader
        self._topic = topic
        self._name = name
        self._run = run
        self._next: dict[Partition, int] = {}

    async def last(self, count: int) -> list[Contract]:
        """Return the last ``count`` messages in the order of their timestamps, oldest first."""
        bounds = await self._reader.bounds(await self._reader.partitions([self._name]))
        self._next = {partition: end for partition, (_, end) in bounds.items()}
        back = count
        while True:
            starts = {p: max(first, end - back) for p, (first, end) in bounds.items()}
            found = await self._read(starts) if count else []
            exhausted = all(starts[p] == first for p, (first, _) in bounds.items())
            if exhausted or len(found) >= count:
                found.sort(key=lambda pair: (pair[0].timestamp_ms, pair[0].partition))
                return [message for _, message in found[max(0, len(found) - count) :]]
            back *= LOOK_BACK_FACTOR

    async def following(self) -> AsyncIterator[Contract]:
        """Yield the messages that arrive after the call of :meth:`last`, indefinitely."""
        async for batch in self._reader.follow(self._next):
            for _, message in self._wanted(batch):
                yield message

    async def _read(self, starts: dict[Partition, int]) -> list[tuple[Delivery, Contract]]:
        numbers = {partition.number: offset for partition, offset in starts.items()}
        found = []
        async for batch in self._reader.read(self._name, numbers):
            found += self._wanted(d for d in batch if d.offset < self._next[d.partition])
        return found

    def _wanted(self, batch: Iterable[Delivery]) -> list[tuple[Delivery, Contract]]:
        decoded = ((d, self._decoded(d)) for d in batch)
        return [
            (delivery, message)
            for delivery, message in decoded
            if message is not None and self._run in {None, getattr(message, "run", None)}
        ]

    def _decoded(self, delivery: Delivery) -> Contract | None:
        """Decode a message; ``None`` for invalid bytes, which the store stage dead-letters."""
        try:
            return decode(self._topic.contract, delivery.value)
        except Exception:  # noqa: BLE001 - an invalid message must not end the command
            return None


def as_line(message: Contract) -> bytes:
    """Format a message as one line of text."""
    if isinstance(message, Record):
        return printable(_record(message)).encode()
    if isinstance(message, Reject):
        return printable(_reject(message)).encode()
    if isinstance(message, DeadLetter):
        return printable(_letter(message)).encode()
    raise TypeError(f"{type(message).__name__} is not shown by tail")


async def _show(
    kind: str, run: str | None, count: int, *, follow: bool, show: Callable[[Contract], None]
) -> None:
    settings, topic = load(), TOPIC_OF[kind]
    async with LogReader(find_addresses(settings).kafka, client_id=CLIENT) as reader:
        tail = TopicTail(reader, topic, settings.topic(topic), run)
        for message in await tail.last(count):
            show(message)
        if follow:
            async for message in tail.following():
                show(message)


def _show_line(message: Contract) -> None:
    print_bytes(as_line(message))


def _show_document(message: Contract) -> None:
    print_document(encode(message))


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
    line = printable(" ".join(text.split()))
    return line if len(line) <= width else f"{line[: width - 1]}…"
