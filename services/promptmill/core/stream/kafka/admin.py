"""The admin client, for requests that a cluster's controller has to answer."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, NotControllerError

CONTROLLER_WITHIN_S = 30.0
"""A cluster whose brokers have just come back elects a controller within a few seconds."""

_PAUSE_S = 0.1


class KafkaAdmin(AIOKafkaAdminClient):  # type: ignore[misc]  # the library has no types
    """aiokafka's admin client; it waits for a controller while the metadata name none.

    The library raises ``AttributeError`` then, which callers do not handle as a Kafka error.

    Args:
        controller_within_s: how long it waits.
        options: of :class:`AIOKafkaAdminClient`.
    """

    def __init__(self, *, controller_within_s: float = CONTROLLER_WITHIN_S, **options: Any) -> None:
        super().__init__(**options)
        self._controller_within_s = controller_within_s

    async def _send_to_controller(self, request: Any) -> Any:
        """The controller's answer, whoever it is by then.

        Raises:
            KafkaConnectionError: the cluster has named none in time; retriable.
        """
        deadline = time.monotonic() + self._controller_within_s
        while True:
            controller = self._client.cluster.controller
            if controller is not None:
                with suppress(NotControllerError):
                    return await self._send_request_to_node(controller.nodeId, request)
            if time.monotonic() > deadline:
                hosts = ", ".join(f"{host}:{port}" for host, port, _ in self._client.hosts)
                raise KafkaConnectionError(
                    f"the cluster at {hosts} has named no controller for "
                    f"{self._controller_within_s:g} s; see the brokers' logs, and try again"
                )
            await asyncio.sleep(_PAUSE_S)
            await self._client.force_metadata_update()
