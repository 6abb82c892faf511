"""The wiring of ``publish``: input, known ids, context check, Kafka, receipts, summary."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import uvloop

from promptmill.core.errors import Unavailable
from promptmill.core.stream.kafka.batch_sender import KafkaBatchSender
from promptmill.core.stream.kafka.reader import LogReader
from promptmill.gateway.addresses import Addresses, find_addresses
from promptmill.gateway.context import ContextCheck, check_for
from promptmill.gateway.id_set import IdSet
from promptmill.gateway.input import read_lines
from promptmill.gateway.layout import addressed_layout
from promptmill.gateway.lines import Defaults
from promptmill.gateway.outbox import Outbox
from promptmill.gateway.output import note, print_bytes, print_json
from promptmill.gateway.progress import line_progress
from promptmill.gateway.published import PublishedPrompts
from promptmill.gateway.publishing import LineResult, Publisher
from promptmill.gateway.quiet import quiet_logs
from promptmill.gateway.receipts import Receipts
from promptmill.gateway.settings import GatewaySettings, load
from promptmill.gateway.splitting import RawLine
from promptmill.gateway.store_books import open_books
from promptmill.gateway.summary import Summary
from promptmill.gateway.workers import alive_workers
from promptmill_schemas.topics import PROMPTS

CLIENT = "promptmill-publish"
SOME_INVALID = 3
INTERRUPTED = 130
DRAIN_S = 5.0


def publish_file(file: Path, defaults: Defaults, receipts: Path | None, *, as_json: bool) -> int:
    """Publish the lines of ``file`` (``-`` is standard input); returns the exit code.

    Raises:
        Misconfigured: no Kafka is known, a topic is missing, or receipts cannot be written.
        Unavailable: Kafka is away; what was published before is printed.
    """
    quiet_logs()
    settings = load()
    summary = Summary(defaults.run)
    with _opened(file) as descriptor, Receipts(receipts) as out:
        job = _Job(settings, find_addresses(settings), defaults, summary, out)
        return uvloop.run(job.run(descriptor, as_json=as_json))


@contextmanager
def _opened(file: Path) -> Iterator[int]:
    if str(file) == "-":
        yield sys.stdin.fileno()
        return
    with file.open("rb", buffering=0) as stream:
        yield stream.fileno()


@contextmanager
def _shown(summary: Summary, as_json: bool) -> Iterator[None]:
    """Prints the summary, also of a run that ends early."""
    try:
        yield
    finally:
        for line in (*summary.error_lines(), *summary.pending_lines()):
            note(line)
        if as_json:
            print_json(summary.as_json())
        else:
            print_bytes(f"run {summary.run}: {summary.counts()}".encode())


class _Job:
    """One ``publish``."""

    def __init__(
        self,
        settings: GatewaySettings,
        addresses: Addresses,
        defaults: Defaults,
        summary: Summary,
        receipts: Receipts,
    ) -> None:
        self._settings = settings
        self._addresses = addresses
        self._defaults = defaults
        self._summary = summary
        self._receipts = receipts

    async def run(self, descriptor: int, *, as_json: bool) -> int:
        """Publish what can be read; returns the exit code."""
        known = await self._known()
        check = await self._context_check()
        layout = await addressed_layout(self._addresses, self._settings, PROMPTS)
        sender = KafkaBatchSender(
            self._addresses.kafka,
            client_id=CLIENT,
            delivery_timeout_s=15.0,
            gives_up=True,
            layout=layout,
        )
        await sender.start()
        try:
            with _shown(self._summary, as_json):
                return await self._publish(descriptor, sender, known, check)
        finally:
            await sender.stop()

    async def _known(self) -> IdSet:
        topic = self._settings.topic(PROMPTS)
        books = open_books(self._addresses.store)
        async with LogReader(self._addresses.kafka, client_id=CLIENT) as reader:
            return await PublishedPrompts(books, reader, topic, self._defaults.run).refresh()

    async def _context_check(self) -> ContextCheck:
        """Without the registry nothing is refused; the workers will see it themselves."""
        prefix = self._settings.topic_prefix
        return check_for(await alive_workers(self._addresses.redis, prefix) or ())

    async def _publish(
        self, descriptor: int, sender: KafkaBatchSender, known: IdSet, check: ContextCheck
    ) -> int:
        topic = self._settings.topic(PROMPTS)
        outbox = Outbox(sender, topic, await sender.partitioner(topic))
        with line_progress(_size(descriptor)) as show:
            publisher = Publisher(outbox, self._defaults, known, self._report, check=check)
            try:
                async with aclosing(self._followed(read_lines(descriptor), show)) as lines:
                    await publisher.publish(lines)
                await self._count_pending()
            except asyncio.CancelledError:
                return await self._interrupted(publisher)
            except Unavailable:
                await _tell_unconfirmed(publisher)
                raise
        return SOME_INVALID if self._summary.invalid else 0

    async def _count_pending(self) -> None:
        """A duplicate may be lost; the tables are read only if there is one."""
        if self._summary.duplicates:
            books = open_books(self._addresses.store)
            for settled in await asyncio.to_thread(books.settled_ids, self._defaults.run):
                self._summary.duplicates.discard(settled)
            self._summary.pending = len(self._summary.duplicates)

    def _report(self, result: LineResult) -> None:
        self._summary.add(result)
        self._receipts.write(result)

    async def _followed(
        self, batches: AsyncIterator[list[RawLine]], show: Callable[[int, str], None]
    ) -> AsyncGenerator[list[RawLine]]:
        """The same lines; shows how far they are read."""
        read = 0
        async for lines in batches:
            yield lines
            read += sum(line.size + 1 for line in lines)
            show(read, self._summary.counts())

    async def _interrupted(self, publisher: Publisher) -> int:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        note(
            "interrupted; the prompts published so far stay published, and the same file can be "
            "published again"
        )
        await _tell_unconfirmed(publisher)
        return INTERRUPTED


async def _tell_unconfirmed(publisher: Publisher) -> None:
    if unconfirmed := await publisher.drain(DRAIN_S):
        note(f"{unconfirmed:,} prompts were sent but not acknowledged: publish the file again")


def _size(descriptor: int) -> int | None:
    return os.fstat(descriptor).st_size or None
