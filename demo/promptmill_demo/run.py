"""The steps of the demo: start the stack and the workers, publish, wait, report, stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from promptmill.cli.addresses import Addresses, find_addresses, worker_environment
from promptmill.cli.commands.run import specs
from promptmill.cli.pipeline import alive_workers
from promptmill.cli.publish.lines import Defaults
from promptmill.cli.publish.run import publish_file
from promptmill.cli.run_status import RunStatus, StatusReader
from promptmill.cli.settings import CommandSettings
from promptmill.cli.store_counts import open_counts
from promptmill.cli.supervisor import Supervisor
from promptmill.cli.waiting import wait_until_settled
from promptmill.devstack import stack
from promptmill.devstack.jars import DownloadProgress
from promptmill.kafka.log_reader import LogReader
from promptmill.kafka.topics import ensure_topics, topic_specs
from promptmill.lake.ports import TableName
from promptmill.lake.reader import DeltaReader
from promptmill.runtime.errors import Fatal, Transient
from promptmill_demo.accuracy import accuracy_report
from promptmill_demo.report import Outcome, read_report
from promptmill_demo.screen import Screen

RUN = "demo"
STAGES = ("store", "filter", "reward", "instruct")
READY_WITHIN_S = 600.0
SETTLED_WITHIN_S = 900.0
SHOWN_RECORDS = 12
GRACE_S = 10.0
SLOTS = "16"
"""Few slots, so that the first answers are ready sooner on two cores."""


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """Settings of the demo.

    Attributes:
        settings: the settings of the command line.
        prompts: the file to publish.
        instruct: folder of the generator.
        reward: folder of the grader.
        defaults: number of candidates and sampling parameters of each prompt.
        trained: whether the models are trained.
    """

    settings: CommandSettings
    prompts: Path
    instruct: Path
    reward: Path
    defaults: Defaults
    trained: bool


async def show(demo: DemoSettings, screen: Screen) -> Outcome:
    """Run the demo; everything that it started is stopped when this returns or raises.

    Raises:
        Fatal: the workers are not ready, or the prompts are not settled, in time.
    """
    async with AsyncExitStack() as running:
        await running.enter_async_context(_local_stack(demo.settings, screen))
        addresses = find_addresses(demo.settings)
        await running.enter_async_context(_workers(demo, screen))
        await _ready(addresses, screen)
        reader = LogReader(addresses.kafka, client_id="promptmill-demo")
        await running.enter_async_context(reader)
        counts = open_counts(addresses.store)
        status = StatusReader(demo.settings, addresses, counts, reader, RUN)
        return await _publish_and_watch(demo, addresses.store, status, screen)


@asynccontextmanager
async def _local_stack(settings: CommandSettings, screen: Screen) -> AsyncIterator[None]:
    """Start the local stack; one that was already running is used and left running."""
    seen: set[str] = set()

    def on_progress(progress: DownloadProgress) -> None:
        if progress.step not in seen:
            seen.add(progress.step)
            screen.say(progress.step)

    ours = await asyncio.to_thread(stack.find, settings.home) is None
    try:
        info = await asyncio.to_thread(stack.up, settings.home, None, on_progress)
        screen.say(f"Apache Kafka at {info.kafka}, Redis at {info.redis}")
        brokers = len(info.kafka.split(","))
        for difference in await ensure_topics(
            info.kafka, topic_specs(settings.topic_prefix, brokers), mend=True
        ):
            screen.say(f"note: {difference}")
        yield
    finally:
        if ours:
            await asyncio.to_thread(stack.down, settings.home)
            screen.say("Kafka and Redis have been stopped; their data is kept")


@asynccontextmanager
async def _workers(demo: DemoSettings, screen: Screen) -> AsyncIterator[None]:
    flags = {
        "instruct": ["--model", str(demo.instruct), "--slots", SLOTS],
        "reward": ["--model", str(demo.reward)],
    }
    supervisor = Supervisor(
        specs(dict.fromkeys(STAGES, 1), flags, demo.settings.home),
        worker_environment(demo.settings),
        demo.settings.logs,
        screen.worker,
        GRACE_S,
    )
    task = asyncio.create_task(supervisor.run())
    task.add_done_callback(_cancel_if_failed(asyncio.current_task()))
    try:
        yield
    finally:
        supervisor.stop()
        await task


def _cancel_if_failed(owner: asyncio.Task[Any] | None) -> Callable[[asyncio.Task[None]], None]:
    def on_done(task: asyncio.Task[None]) -> None:
        if owner is not None and not task.cancelled() and task.exception() is not None:
            owner.cancel()

    return on_done


async def _ready(addresses: Addresses, screen: Screen) -> None:
    """Wait until one worker of each stage is ready, and show each one."""
    deadline = time.monotonic() + READY_WITHIN_S
    told: set[str] = set()
    while len(told) < len(STAGES):
        if time.monotonic() > deadline:
            late = ", ".join(sorted(set(STAGES) - told))
            raise Fatal(
                f"{late} did not become ready within {READY_WITHIN_S:.0f} s; "
                "the logs folder says why"
            )
        for worker in await alive_workers(addresses.redis, "") or ():
            if worker.ready and worker.stage not in told:
                told.add(worker.stage)
                screen.say(f"{worker.stage} is ready ({worker.url}/metrics)")
        await asyncio.sleep(0.5)


async def _publish_and_watch(
    demo: DemoSettings, store: str, status: StatusReader, screen: Screen
) -> Outcome:
    before = await status.read()
    begin = time.monotonic()
    await asyncio.to_thread(publish_file, demo.prompts, demo.defaults, None, as_json=False)
    arrivals = _Arrivals(DeltaReader(store), screen)
    watcher = asyncio.create_task(arrivals.watch())
    try:
        after = await wait_until_settled(status.read, SETTLED_WITHIN_S, screen.progress)
    finally:
        watcher.cancel()
    if not after.settled:
        raise Fatal(f"{after.pending:,} prompts are not settled after {SETTLED_WITHIN_S:.0f} s")
    seconds = time.monotonic() - begin if _is_new(before, after) else None
    report = await asyncio.to_thread(read_report, store, RUN)
    accuracy = await asyncio.to_thread(accuracy_report, store, RUN)
    first = arrivals.first_at - begin if arrivals.first_at is not None and seconds else None
    return Outcome(report, accuracy, seconds, first)


def _is_new(before: RunStatus, after: RunStatus) -> bool:
    return before.pending > 0 or before.published < after.published


class _Arrivals:
    """Shows the first records as they appear in the table."""

    def __init__(self, reader: DeltaReader, screen: Screen) -> None:
        self._reader = reader
        self._screen = screen
        self._seen: set[str] = set()
        self.first_at: float | None = None

    async def watch(self) -> None:
        """Show new records until cancelled; those in the table at the start are not shown."""
        self._seen.update(row["record_id"] for row in await asyncio.to_thread(self._rows))
        while True:
            try:
                rows = await asyncio.to_thread(self._rows)
            except Transient as error:
                self._screen.say(f"the store cannot be read at the moment: {error}")
                rows = []
            for row in rows:
                self._show(row)
            await asyncio.sleep(1.0)

    def _rows(self) -> list[dict[str, Any]]:
        snapshot = self._reader.snapshot(TableName.RECORDS)
        if snapshot is None:
            return []
        columns = ("record_id", "messages", "chosen", "reward")
        batches = snapshot.scan(columns, ds.field("run") == RUN)
        return [row for batch in batches for row in batch.to_pylist()]

    def _show(self, row: dict[str, Any]) -> None:
        if row["record_id"] in self._seen:
            return
        self._seen.add(row["record_id"])
        self.first_at = self.first_at or time.monotonic()
        if len(self._seen) <= SHOWN_RECORDS:
            question = row["messages"][-2]["content"]
            self._screen.record(question, row["chosen"], row["reward"])
