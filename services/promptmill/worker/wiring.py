"""A stage's work on Kafka: source, sender and loop put together from its settings."""

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
from promptmill.stream.layout import Layout
from promptmill.stream.loop import StreamLoop
from promptmill.stream.lost_records import Gap, ReadAccepted
from promptmill.stream.stage_settings import StageSettings
from promptmill.worker.in_flight import RedisFlightLog
from promptmill.worker.layout import find_layout
from promptmill_schemas import TOPICS, Topic


def group_of(settings: StageSettings) -> str:
    """The stage's consumer group."""
    return f"{settings.topic_prefix}promptmill.{settings.stage}"


def make_source(
    settings: StageSettings, *topics: Topic, probe: PollProbe | None = None
) -> KafkaSource:
    """This worker's membership in its stage's group."""
    return KafkaSource(
        settings.require_kafka(),
        group_of(settings),
        [settings.topic_prefix + topic.name for topic in topics],
        client_id=f"promptmill-{settings.stage}",
        instance_id=settings.instance_id or None,
        session_timeout_ms=int(settings.session_timeout_s * 1000),
        probe=probe,
    )


async def layout_of(settings: StageSettings, *topics: Topic) -> Layout:
    """The layout of this worker's data set; see :func:`find_layout` for what it raises."""
    return await find_layout(
        settings.require_kafka(),
        settings.redis,
        settings.store_uri,
        settings.topic_prefix,
        [settings.topic_prefix + topic.name for topic in topics],
    )


def make_sender(settings: StageSettings, layout: Layout) -> KafkaSender:
    """This worker's producer."""
    return KafkaSender(
        settings.require_kafka(),
        client_id=f"promptmill-{settings.stage}",
        compression=None if settings.compression == "none" else settings.compression,
        layout=layout,
    )


def make_log_reader(settings: StageSettings) -> LogReader:
    """Reads where logs end and groups stand; to be entered."""
    return LogReader(settings.require_kafka(), client_id=f"promptmill-{settings.stage}-lags")


def accepted_gaps(settings: StageSettings) -> ReadAccepted:
    """Reads from the store which lost records of this stage were accepted."""

    def read() -> Collection[Gap]:
        # The store's library is large, and nearly no start needs it.
        from promptmill.lake.gaps import GapTable

        return GapTable(settings.store_uri).read(settings.stage)

    return partial(asyncio.to_thread, read)


def make_flight_log(settings: StageSettings, metrics: StageMetrics) -> FlightLog:
    """The log of what is at work in this stage's group; nothing is remembered without Redis."""
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
    """The loop that applies ``work`` to everything on ``topic``.

    Args:
        has_engine: a record can end this process; one that does so again and again is
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
