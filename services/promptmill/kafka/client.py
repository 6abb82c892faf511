"""Builds all Kafka clients.

The address, client id and security settings are the same for every client of a process, so they
are set only here; ``tests/kafka/unit/test_kafka_clients.py`` fails if a client is built elsewhere.
Options of only one kind of client are passed by the caller.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError, NodeNotReadyError, NotControllerError
from faststream.kafka import KafkaBroker

from promptmill.kafka.fetched_records import keep_paused_records
from promptmill.kafka.header_names import tolerate_header_names
from promptmill.kafka.login import why_refused
from promptmill.kafka.producer import AbortableProducer
from promptmill.kafka.security import KafkaSecurity, security

DEFAULT_CLIENT_ID = "promptmill"
METADATA_MAX_AGE_MS = 30_000
"""The milliseconds within which partitions that are added to a topic are consumed."""

CONTROLLER_WITHIN_S = 30.0
"""Seconds to wait for a controller, which a restarted cluster elects within a few seconds."""

_PAUSE_S = 0.1

tolerate_header_names()
keep_paused_records()
_LOGIN_OPTIONS = ("security_protocol", "ssl_", "sasl_")


class KafkaAdmin(AIOKafkaAdminClient):  # type: ignore[misc]  # the library has no types
    """aiokafka's admin client, which also waits for a controller and a broker.

    If it cannot start, it finds out why. Every process starts an admin client before other clients.

    After it was frozen for longer than its session, a broker briefly reports neither. The library
    then raises ``AttributeError`` or sends to no node at all, and it raises ``TimeoutError`` for an
    unreachable controller. Callers handle only Kafka's errors.

    Args:
        controller_within_s: seconds to wait for a controller.
        options: further options of :class:`AIOKafkaAdminClient`.
    """

    def __init__(self, *, controller_within_s: float = CONTROLLER_WITHIN_S, **options: Any) -> None:
        super().__init__(**options)
        self._options = options
        self._controller_within_s = controller_within_s

    async def start(self) -> None:
        """Connect to a broker.

        Raises:
            LoginRefused: a broker refuses the login or a certificate.
            KafkaError: no broker answers.
        """
        try:
            await super().start()
        except KafkaConnectionError as error:
            raise await self._refusal() or error from error
        # A broker that refuses a token closes the connection only after an empty answer.
        if not self._client.cluster.brokers() and (refusal := await self._refusal()):
            raise refusal

    async def _refusal(self) -> KafkaError | None:
        login = {n: v for n, v in self._options.items() if n.startswith(_LOGIN_OPTIONS)}
        return await why_refused(self._options["bootstrap_servers"], login)

    async def _send_request(self, request: Any, node_id: int | None = None) -> Any:
        """Send a request to a broker and return its answer.

        Args:
            node_id: the broker; ``None`` chooses any.

        Raises:
            KafkaError: the broker does not answer, or none is known within the time limit.
        """
        if node_id is None:
            deadline = time.monotonic() + self._controller_within_s
            node_id = await self._named("broker", self._client.get_random_node, deadline)
        return await super()._send_request(request, node_id)

    async def _send_to_controller(self, request: Any) -> Any:
        """Send a request to the current controller and return its answer.

        Raises:
            KafkaConnectionError: no controller was reachable within the time limit; retriable.
        """
        deadline = time.monotonic() + self._controller_within_s
        while True:
            node_id = await self._named("controller", self._controller, deadline)
            with suppress(NotControllerError, NodeNotReadyError):
                return await self._send_request(request, node_id)
            await self._look_again("controller", deadline)

    def _controller(self) -> int | None:
        controller = self._client.cluster.controller
        return None if controller is None else controller.nodeId

    async def _named(self, what: str, find: Callable[[], int | None], deadline: float) -> int:
        """Wait until the metadata names the node, and return it."""
        while (node_id := find()) is None:
            await self._look_again(what, deadline)
        return node_id

    async def _look_again(self, what: str, deadline: float) -> None:
        """Ask for the metadata again, unless it is too late."""
        if time.monotonic() > deadline:
            hosts = ", ".join(f"{host}:{port}" for host, port, _ in self._client.hosts)
            raise KafkaConnectionError(
                f"the cluster at {hosts} has named no {what} that answers for "
                f"{self._controller_within_s:g} s; see the brokers' logs, and try again"
            )
        await asyncio.sleep(_PAUSE_S)
        await self._client.force_metadata_update()


def admin_client(bootstrap: str, client_id: str = DEFAULT_CLIENT_ID) -> KafkaAdmin:
    """Create an admin client without starting it; see also :func:`open_admin`.

    Args:
        bootstrap: ``host:port[,host:port…]``.
        client_id: name in the broker's logs and metrics.
    """
    return KafkaAdmin(**_connection(bootstrap, client_id))


@asynccontextmanager
async def open_admin(
    bootstrap: str, client_id: str = DEFAULT_CLIENT_ID
) -> AsyncIterator[KafkaAdmin]:
    """Start an admin client, and close it at the end of the block.

    Raises:
        KafkaError: no broker answers, or a request in the block fails.
    """
    admin = admin_client(bootstrap, client_id)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


def nodes_of(address: str, settings: KafkaSecurity, timeout_s: float = 5.0) -> frozenset[int]:
    """Return the nodes that a broker lists; none while it does not answer.

    Args:
        address: ``host:port`` of the broker.
        settings: how to log in.
        timeout_s: seconds to wait.
    """

    async def ask() -> frozenset[int]:
        admin = KafkaAdmin(
            bootstrap_servers=address, client_id=DEFAULT_CLIENT_ID, **settings.options()
        )
        try:
            async with asyncio.timeout(timeout_s):
                await admin.start()
                found = await admin.describe_cluster()
                return frozenset(broker["node_id"] for broker in found["brokers"])
        except (KafkaError, OSError, TimeoutError):
            return frozenset()
        finally:
            await admin.close()

    with ThreadPoolExecutor(1) as thread:  # the caller's thread may have a running event loop
        return thread.submit(asyncio.run, ask()).result()


def log_consumer(bootstrap: str, client_id: str, **options: Any) -> AIOKafkaConsumer:
    """Create a consumer without a group. It never commits or resets a position.

    Args:
        bootstrap: ``host:port[,host:port…]``.
        client_id: name in the broker's logs and metrics.
        options: further options of :class:`AIOKafkaConsumer`.
    """
    return AIOKafkaConsumer(
        **_connection(bootstrap, client_id),
        enable_auto_commit=False,
        auto_offset_reset="none",
        **options,
    )


def idempotent_producer(bootstrap: str, client_id: str, **options: Any) -> AbortableProducer:
    """Create an idempotent producer with ``acks=all``.

    Args:
        bootstrap: ``host:port[,host:port…]``.
        client_id: name in the broker's logs and metrics.
        options: further options of :class:`AIOKafkaProducer`.
    """
    return AbortableProducer(
        **_connection(bootstrap, client_id), acks="all", enable_idempotence=True, **options
    )


def consuming_broker(bootstrap: str, client_id: str) -> KafkaBroker:
    """Create FastStream's broker, which only consumes and never creates topics."""
    return KafkaBroker(
        bootstrap.split(","),  # FastStream takes a string for one address
        client_id=client_id,
        consumer_only=True,
        allow_auto_create_topics=False,
        apply_types=False,
        logger=None,
        graceful_timeout=None,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        **security().broker_options(),
    )


def _connection(bootstrap: str, client_id: str) -> dict[str, Any]:
    """Return the options with which aiokafka's clients connect to the cluster."""
    return {"bootstrap_servers": bootstrap, "client_id": client_id, **security().options()}
