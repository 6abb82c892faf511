"""A stage's work on Kafka: source, sender and loop put together from its settings."""

from __future__ import annotations

from dataclasses import replace

from promptmill.core.layouts import find_layout
from promptmill.core.stage_settings import StageSettings
from promptmill.core.stream.attempts import Work
from promptmill.core.stream.kafka.sender import KafkaSender
from promptmill.core.stream.kafka.source import KafkaSource
from promptmill.core.stream.layout import Layout
from promptmill.core.stream.loop import StreamLoop
from promptmill.core.telemetry.metrics import StageMetrics
from promptmill_schemas import TOPICS, Topic


def group_of(settings: StageSettings) -> str:
    """The stage's consumer group."""
    return f"{settings.topic_prefix}promptmill.{settings.stage}"


def make_source(settings: StageSettings, *topics: Topic) -> KafkaSource:
    """This worker's membership in its stage's group."""
    return KafkaSource(
        settings.require_kafka(),
        group_of(settings),
        [settings.topic_prefix + topic.name for topic in topics],
        client_id=f"promptmill-{settings.stage}",
        instance_id=settings.instance_id or None,
        session_timeout_ms=int(settings.session_timeout_s * 1000),
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


async def make_loop(
    settings: StageSettings, topic: Topic, work: Work, metrics: StageMetrics
) -> StreamLoop:
    """The loop that applies ``work`` to everything on ``topic``.

    Raises:
        Misconfigured: a topic is missing, or has fewer partitions than the data set's layout.
        Unavailable: no broker answers.
    """
    layout = await layout_of(settings, *TOPICS)
    sender = make_sender(settings, layout)
    metrics.watch(
        "unacknowledged_seconds",
        "age of the oldest message that the brokers have not acknowledged",
        lambda: sender.unacknowledged_s,
    )
    return StreamLoop(
        make_source(settings, topic),
        sender,
        work,
        stage=settings.stage,
        topic=topic,
        settings=replace(settings.loop_settings(), layout=layout),
        probe=metrics,
        prefix=settings.topic_prefix,
    )
