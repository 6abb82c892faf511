"""The wiring of a store worker; the only place where its parts meet."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial

import structlog

from promptmill.flow.worker import standing
from promptmill.kafka.cluster import describe_log
from promptmill.lake.identity import Identity, check_layout
from promptmill.lake.ports import TableName
from promptmill.lake.sink import DeltaSink
from promptmill.lake.table import TableSettings
from promptmill.runtime.fault_points import fault_point
from promptmill.runtime.telemetry.metrics import StageMetrics
from promptmill.runtime.telemetry.registry import write_layout
from promptmill.store.flushing import Move, SendDeadLetter, SinkPublisher
from promptmill.store.plan import Undecodable
from promptmill.store.settings import StoreSettings
from promptmill.store.sink_loop import SinkLoop
from promptmill.stream.dead_letters import dead_letter, publish_dead_letter, sized_call
from promptmill.stream.layout import DataSetLayout
from promptmill.stream.ports import Delivery, Sender
from promptmill.worker.layout import layout_in_tables
from promptmill.worker.lifecycle import Worker, run_worker
from promptmill.worker.wiring import accepted_gaps, make_log_reader, make_sender, make_source
from promptmill_schemas.headers import EventHeaders, trace_of
from promptmill_schemas.topics import BY_NAME, DEAD_LETTERS, PROMPTS, RECORDS, REJECTS

log = structlog.get_logger(__name__)

TABLES = {
    PROMPTS: TableName.PROMPTS,
    RECORDS: TableName.RECORDS,
    REJECTS: TableName.REJECTS,
    DEAD_LETTERS: TableName.DEAD_LETTERS,
}


async def serve(settings: StoreSettings) -> None:
    """Run until told to stop."""

    async def build(stack: AsyncExitStack, metrics: StageMetrics) -> Worker:
        layout, identities = await _identities(settings)
        sender = make_sender(settings, layout)
        await sender.start()
        stack.push_async_callback(sender.stop)
        sink = DeltaSink(
            settings.store_uri,
            identities,
            settings=TableSettings(log_retention=f"interval {settings.log_retention_days} days"),
            step=lambda step: fault_point(f"store.{step.replace(':', '.')}"),
        )
        loop = SinkLoop(
            make_source(settings, *TABLES, probe=metrics),
            sink,
            {settings.topic_prefix + topic.name: table for topic, table in TABLES.items()},
            SinkPublisher(
                dead_letter_sender(sender, settings.topic_prefix),
                layout,
                mover(sender, settings.topic_prefix),
            ),
            limits=settings.sink_limits(),
            probe=metrics,
            accepted=accepted_gaps(settings),
        )
        await stack.enter_async_context(standing(settings, partial(make_log_reader, settings)))
        return Worker(loop)

    await run_worker(settings, build)


async def _identities(settings: StoreSettings) -> tuple[DataSetLayout, dict[TableName, Identity]]:
    """Return the layout and the identities of the tables: this cluster and these topics.

    The layout is stored in the tables; a new data set takes it from the topics. Workers that cannot
    read the tables find it in Redis.
    """
    names = {topic: settings.topic_prefix + topic.name for topic in TABLES}
    log_now = await describe_log(settings.require_kafka(), list(names.values()))
    stored = await asyncio.to_thread(layout_in_tables, settings.store_uri)
    layout = DataSetLayout(check_layout(stored, log_now.partitions))
    if settings.redis:
        await write_layout(settings.redis, settings.topic_prefix, layout.partitions)
    return layout, {
        table: Identity(
            log_now.cluster_id,
            names[topic],
            layout.partitions,
            log_now.topic_ids.get(names[topic]),
        )
        for topic, table in TABLES.items()
    }


def mover(sender: Sender, prefix: str) -> Move:
    """Return a function that publishes a message again to the partition of its key."""

    events = EventHeaders(StoreSettings.stage)

    async def move(delivery: Delivery, key: bytes) -> None:
        topic = BY_NAME[delivery.partition.topic.removeprefix(prefix)]
        headers = events.again(topic, delivery.headers, key.decode())
        await sender.send(delivery.partition.topic, key, delivery.value or b"", headers)

    return move


def dead_letter_sender(sender: Sender, prefix: str) -> SendDeadLetter:
    """Return a function that publishes dead letters for undecodable decisions."""

    events = EventHeaders(StoreSettings.stage)

    async def send_dead_letter(undecodable: Undecodable) -> None:
        delivery = undecodable.delivery
        letter = await sized_call(
            len(delivery.value or b""),
            dead_letter,
            delivery,
            stage=StoreSettings.stage,
            topic=delivery.partition.topic.removeprefix(prefix),
            reason=undecodable.reason,
            detail=undecodable.detail,
            attempts=1,
        )
        headers = events.of(DEAD_LETTERS, letter, trace_of(delivery.headers))
        await publish_dead_letter(
            letter,
            lambda key, value: sender.send(prefix + DEAD_LETTERS.name, key, value, headers),
        )
        log.warning(
            "record_dead_lettered", partition=str(delivery.partition), offset=delivery.offset
        )

    return send_dead_letter
