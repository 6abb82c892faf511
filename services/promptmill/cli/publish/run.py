"""The wiring of ``publish``: input, known ids, context check, Kafka, receipts, summary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import uvloop

from promptmill.cli.addresses import Addresses, find_addresses
from promptmill.cli.gaps import stored_log_check
from promptmill.cli.output import (
    is_watched,
    line_progress,
    note,
    print_bytes,
    print_json,
    quiet_logs,
)
from promptmill.cli.pipeline import addressed_layout, alive_workers
from promptmill.cli.publish.admission import Backpressure, HeldBack, PublisherView
from promptmill.cli.publish.answers import AnswersFirst
from promptmill.cli.publish.context import ContextCheck, check_for
from promptmill.cli.publish.draws import Draws, OwnIdsOfRun, no_own_ids, published_own_ids
from promptmill.cli.publish.files.inputs import Input, find_inputs, left_out, total_bytes
from promptmill.cli.publish.files.reading import ReadProgress, read_inputs
from promptmill.cli.publish.files.splitting import RawLine
from promptmill.cli.publish.layouts.reading import RowReader
from promptmill.cli.publish.layouts.recognising import Recogniser
from promptmill.cli.publish.lines import Defaults, object_of
from promptmill.cli.publish.outbox import Outbox
from promptmill.cli.publish.ports import LineResult
from promptmill.cli.publish.published import PublishedPrompts
from promptmill.cli.publish.publisher import Publisher
from promptmill.cli.publish.receipts import Receipts
from promptmill.cli.publish.stored_ids import StoredIds
from promptmill.cli.publish.summary import PublishSummary
from promptmill.cli.settings import CommandSettings, load
from promptmill.cli.store_counts import open_counts
from promptmill.flow.board import LagBoard
from promptmill.flow.positions import LogPositions
from promptmill.flow.publishers import Publishers
from promptmill.flow.settings import load_marks
from promptmill.kafka.batch_sender import KafkaBatchSender
from promptmill.kafka.log_reader import LogReader
from promptmill.runtime.errors import Misconfigured, Unavailable
from promptmill.runtime.telemetry.registry import worker_id
from promptmill.runtime.terminal import printable
from promptmill_schemas.topics import COMPLETIONS, PROMPTS

CLIENT = "promptmill-publish"
SOME_INVALID = 3
HELD = 5
INTERRUPTED = 130
DRAIN_S = 5.0


def publish_file(
    file: str | Path,
    defaults: Defaults,
    receipts: Path | None,
    *,
    as_json: bool,
    waits: bool = True,
    reader: RowReader | None = None,
) -> int:
    """Publish the rows of ``file``, and return the exit code.

    Args:
        file: a file or folder, ``-`` for standard input, or the address of a data set.
        waits: whether to wait for room on the topic, or to return :data:`HELD` if there is none.
        reader: reads the rows, with the layout of their file unless it names one.

    Raises:
        Misconfigured: no Kafka is configured, a topic is missing, receipts cannot be written, or a
            file cannot be read; the summary so far is printed.
        Unavailable: Kafka does not answer; the summary so far is printed.
    """
    quiet_logs()
    settings = load()
    summary, inputs = PublishSummary(defaults.run), find_inputs(str(file))
    if others := left_out(str(file)):
        note(f"skipped, because they cannot be read without a conversion: {', '.join(others)}")
    with Receipts(receipts) as out:
        job = _Job(settings, find_addresses(settings), defaults, summary, out, waits, reader)
        return uvloop.run(job.run(inputs, as_json=as_json))


@contextmanager
def _shown(summary: PublishSummary, as_json: bool) -> Iterator[None]:
    """Print the summary at the end, also after an error."""
    try:
        yield
    finally:
        for line in (*summary.error_lines(), *summary.pending_lines()):
            note(printable(line))
        if as_json:
            print_json(summary.as_json())
        else:
            print_bytes(f"run {summary.run}: {summary.counts()}".encode())


class _Job:
    """One execution of ``publish``."""

    def __init__(
        self,
        settings: CommandSettings,
        addresses: Addresses,
        defaults: Defaults,
        summary: PublishSummary,
        receipts: Receipts,
        waits: bool,
        reader: RowReader | None = None,
    ) -> None:
        self._settings = settings
        self._addresses = addresses
        self._defaults = defaults
        self._summary = summary
        self._receipts = receipts
        self._waits = waits
        self._progress = ReadProgress()
        self._wants_answers = reader is not None and reader.wants_answers
        self._reader = Recogniser(reader or RowReader(), object_of, note)

    async def run(self, inputs: list[Input], *, as_json: bool) -> int:
        """Publish the inputs, and return the exit code."""
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
                return await self._publish(inputs, sender, known, check)
        finally:
            await sender.stop()

    async def _known(self) -> PublishedPrompts:
        topic = self._settings.topic(PROMPTS)
        store, run = self._addresses.store, self._defaults.run
        counts, check = open_counts(store), stored_log_check(store)
        async with LogReader(self._addresses.kafka, client_id=CLIENT) as reader:
            known = PublishedPrompts(counts, reader, topic, run, check)
            await known.start()
        return known

    def _own_ids(self) -> OwnIdsOfRun:
        store, run = self._addresses.store, self._defaults.run
        return published_own_ids(
            open_counts(store),
            lambda: LogReader(self._addresses.kafka, client_id=CLIENT),
            self._settings.topic(PROMPTS),
            run,
            stored_log_check(store),
        )

    async def _context_check(self) -> ContextCheck:
        """Return the check for the live workers; without the registry, it accepts every prompt."""
        prefix = self._settings.topic_prefix
        return check_for(await alive_workers(self._addresses.redis, prefix) or ())

    async def _publish(
        self,
        inputs: list[Input],
        sender: KafkaBatchSender,
        known: PublishedPrompts,
        check: ContextCheck,
    ) -> int:
        topic = self._settings.topic(PROMPTS)
        answers = None
        if self._wants_answers:
            answers = AnswersFirst(sender, self._settings.topic(COMPLETIONS))
        outbox = Outbox(sender, topic, await sender.partitioner(topic), answers=answers)
        with line_progress(total_bytes(inputs)) as show:
            async with self._backpressure(show) as room:
                publisher = Publisher(
                    outbox,
                    self._defaults,
                    known,
                    self._report,
                    check=check,
                    room=room,
                    reader=self._reader,
                    draws=Draws(known, no_own_ids if known.is_empty else self._own_ids()),
                )
                return await self._publish_to(publisher, inputs, show)

    async def _publish_to(
        self, publisher: Publisher, inputs: list[Input], show: Callable[[int, str], None]
    ) -> int:
        try:
            async with (
                aclosing(read_inputs(inputs, self._progress)) as rows,
                aclosing(self._reader.follow(rows)) as recognised,
                aclosing(self._followed(recognised, show)) as lines,
            ):
                await publisher.publish(lines)
            await self._count_pending()
        except HeldBack:
            await self._count_pending()
            return HELD
        except asyncio.CancelledError:
            return await self._interrupted(publisher)
        except (Misconfigured, Unavailable):
            await _tell_unconfirmed(publisher)
            raise
        return SOME_INVALID if self._summary.invalid else 0

    async def _count_pending(self) -> None:
        """Count the duplicates that are pending; tables are read only if there are duplicates."""
        if self._summary.duplicates:
            counts = open_counts(self._addresses.store)
            settled = StoredIds(partial(counts.settled_ids, self._defaults.run))
            self._summary.pending = await settled.missing(self._summary.duplicates)

    def _report(self, result: LineResult) -> None:
        self._summary.add(result)
        self._receipts.write(result)

    async def _followed(
        self, batches: AsyncIterator[list[RawLine]], show: Callable[[int, str], None]
    ) -> AsyncGenerator[list[RawLine]]:
        """Yield the same lines, and show the progress."""
        async for lines in batches:
            yield lines
            show(self._progress.done, self._summary.counts())

    @asynccontextmanager
    async def _backpressure(self, show: Callable[[int, str], None]) -> AsyncIterator[Backpressure]:
        """Create the part that waits for room, and add its delays to the summary."""
        prefix, redis, run = self._settings.topic_prefix, self._addresses.redis, self._summary.run
        positions = LogPositions(lambda: LogReader(self._addresses.kafka, client_id=CLIENT), prefix)
        board = LagBoard(redis, prefix) if redis else None
        publishers = Publishers(redis, prefix, run, worker_id("publish")) if redis else None

        def tell(reason: str) -> None:
            show(self._progress.done, f"{self._summary.counts()}; {reason}")
            if not is_watched() and room.waited.times > self._summary.waits:
                self._summary.waits = room.waited.times
                note(f"waits: {reason}")

        # With answers, the topic of completions is filled, so its room decides.
        topic = (COMPLETIONS if self._wants_answers else PROMPTS).name
        marks = load_marks()[topic]
        view = PublisherView(board, publishers, positions, topic=topic)
        room = Backpressure(marks, view, tell, waits=self._waits)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(positions.close)
            if board is not None and publishers is not None:
                stack.push_async_callback(board.close)
                stack.push_async_callback(publishers.close)
                stack.push_async_callback(_leave, publishers)
            try:
                yield room
            finally:
                self._summary.waits, self._summary.waited_s = room.waited.times, room.waited.seconds
                self._summary.held = room.held

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


async def _leave(publishers: Publishers) -> None:
    with suppress(Unavailable):  # the registry forgets this publisher after a while
        await publishers.leave()


async def _tell_unconfirmed(publisher: Publisher) -> None:
    if unconfirmed := await publisher.drain(DRAIN_S):
        note(f"{unconfirmed:,} prompts were sent but not acknowledged: publish the file again")
