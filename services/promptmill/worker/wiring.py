"""Connects a stage to Kafka: creates its source, sender and loop from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from functools import partial

from promptmill.kafka.consumer import KafkaSource
from promptmill.kafka.log_reader import LogReader
from promptmill.kafka.polling import PollProbe
from promptmill.kafka.sender import KafkaSender
from promptmill.runtime.telemetry.metrics import StageMetrics
from promptmill.stream.attempts import Work
from promptmill.stream.in_flight import FlightLog, NoFlightLog
from promptmill.stream.layout import DataSetLayout
from promptmill.stream.loop import StreamLoop
from promptmill.stream.lost_records import Gap, ReadAccepted
from promptmill.stream.stage_settings import StageSettings
from promptmill.worker.in_flight import RedisFlightLog
from promptmill.worker.layout import find_layout
from promptmill_schemas import TOPICS, Topic


def group_of(settings: StageSettings) -> str:
    """Return the stage's consumer group."""
    return f"{settings.topic_prefix}promptmill.{settings.stage}"


def make_source(
    settings: StageSettings, *topics: Topic, probe: PollProbe | None = None
) -> KafkaSource:
    """Create the member of the stage's consumer group."""
    return KafkaSource(
        settings.require_kafka(),
        group_of(settings),
        [settings.topic_prefix + topic.name for topic in topics],
        client_id=f"promptmill-{settings.stage}",
        instance_id=settings.instance_id or None,
        session_timeout_ms=int(settings.session_timeout_s * 1000),
        probe=probe,
    )


async def layout_of(settings: StageSettings, *topics: Topic) -> DataSetLayout:
    """Return the layout of this worker's data set; see :func:`find_layout` for the errors."""
    return await find_layout(
        settings.require_kafka(),
        settings.redis,
        settings.store_uri,
        settings.topic_prefix,
        [settings.topic_prefix + topic.name for topic in topics],
    )


def make_sender(settings: StageSettings, layout: DataSetLayout) -> KafkaSender:
    """Create the sender of this worker."""
    return KafkaSender(
        settings.require_kafka(),
        client_id=f"promptmill-{settings.stage}",
        compression=None if settings.compression == "none" else settings.compression,
        layout=layout,
    )


def make_log_reader(settings: StageSettings) -> LogReader:
    """Create the reader of log ends and committed offsets, which is an async context manager."""
    return LogReader(settings.require_kafka(), client_id=f"promptmill-{settings.stage}-lags")


def accepted_gaps(settings: StageSettings) -> ReadAccepted:
    """Return a function that reads the accepted gaps of this stage from the store."""

    def read() -> Collection[Gap]:
        # The store's library is large, and few starts need it.
        from promptmill.lake.gaps import GapTable

        return GapTable(settings.store_uri).read(settings.stage)

    return partial(asyncio.to_thread, read)


def make_flight_log(settings: StageSettings, metrics: StageMetrics) -> FlightLog:
    """Create the flight log of this stage's group; without Redis it keeps nothing."""
    if not settings.redis:
        return NoFlightLog()
    return RedisFlightLog(settings.redis, group_of(settings), failed=metrics.flight_log_failed)


async def make_loop(
    settings: StageSettings,
    topic: Topic,
    work: Work,
    metrics: StageMetrics,
    *,
    has_engine: bool = False,
) -> StreamLoop:
    """Create the loop that applies ``work`` to all records of ``topic``.

    Args:
        has_engine: whether a record can end this process. Records that do so repeatedly are then
            dead-lettered (decision 0012).

    Raises:
        Misconfigured: a topic is missing, or has fewer partitions than the data set's layout.
        Unavailable: no broker answers.
    """
    layout = await layout_of(settings, *TOPICS)
    sender = make_sender(settings, layout)
    metrics.watch(
        "unacknowledged_seconds",
        "age of the oldest message that the brokers have not acknowledged yet",
        lambda: sender.unacknowledged_s,
    )
    loop = StreamLoop(
        make_source(settings, topic, probe=metrics),
        sender,
        work,
        stage=settings.stage,
        topic=topic,
        settings=replace(settings.loop_settings(), layout=layout),
        probe=metrics,
        prefix=settings.topic_prefix,
    )
    loop.accept_gaps(accepted_gaps(settings))
    if has_engine:
        loop.remember_deaths(make_flight_log(settings, metrics))
        metrics.watch(
            "suspects",
            "records that wait to run in isolation after a worker death",
            lambda: loop.suspects,
        )
    return loop
