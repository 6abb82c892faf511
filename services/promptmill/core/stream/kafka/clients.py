"""The one place that builds Kafka clients.

Addresses, client ids and, later, TLS and SASL are the same for every client of a process, so they
are given here and nowhere else; ``tests/unit/stream/test_kafka_clients.py`` notices a client that
is built elsewhere. What only one kind of client needs is given by its caller.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer
from faststream.kafka import KafkaBroker

from promptmill.core.stream.kafka.admin import KafkaAdmin
from promptmill.core.stream.kafka.producer import AbortableProducer

DEFAULT_CLIENT_ID = "promptmill"
METADATA_MAX_AGE_MS = 30_000
"""Partitions that were added to a topic are consumed after this time at the latest."""


def admin_client(bootstrap: str, client_id: str = DEFAULT_CLIENT_ID) -> KafkaAdmin:
    """An admin client that has not been started; see also :func:`open_admin`.

    Args:
        bootstrap: ``host:port[,host:port…]``.
        client_id: name in the broker's logs and metrics.
    """
    return KafkaAdmin(**_connection(bootstrap, client_id))


@asynccontextmanager
async def open_admin(
    bootstrap: str, client_id: str = DEFAULT_CLIENT_ID
) -> AsyncIterator[KafkaAdmin]:
    """An admin client that is started, and closed at the end.

    Raises:
        KafkaError: no broker answers, or the request in the body fails.
    """
    admin = admin_client(bootstrap, client_id)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


def log_consumer(bootstrap: str, client_id: str, **options: Any) -> AIOKafkaConsumer:
    """A consumer outside of any group; it commits nothing and never guesses a position.

    Args:
        bootstrap: ``host:port[,host:port…]``.
        client_id: name in the broker's logs and metrics.
        options: further ones of :class:`AIOKafkaConsumer`.
    """
    return AIOKafkaConsumer(
        **_connection(bootstrap, client_id),
        enable_auto_commit=False,
        auto_offset_reset="none",
        **options,
    )


def idempotent_producer(bootstrap: str, client_id: str, **options: Any) -> AbortableProducer:
    """A producer that waits for every replica in sync and repeats no message.

    Args:
        bootstrap: ``host:port[,host:port…]``.
        client_id: name in the broker's logs and metrics.
        options: further ones of :class:`AIOKafkaProducer`.
    """
    return AbortableProducer(
        **_connection(bootstrap, client_id), acks="all", enable_idempotence=True, **options
    )


def consuming_broker(bootstrap: str, client_id: str) -> KafkaBroker:
    """FastStream's broker for a process that only consumes through it, and creates no topics."""
    return KafkaBroker(
        bootstrap.split(","),  # FastStream takes a string for one address
        client_id=client_id,
        consumer_only=True,
        allow_auto_create_topics=False,
        apply_types=False,
        logger=None,
        graceful_timeout=None,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
    )


def _connection(bootstrap: str, client_id: str) -> dict[str, Any]:
    """What aiokafka's clients need to reach the cluster."""
    return {"bootstrap_servers": bootstrap, "client_id": client_id}
