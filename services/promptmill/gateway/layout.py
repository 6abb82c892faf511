"""The layout of the data set that a command sends to."""

from __future__ import annotations

from promptmill.core.layouts import find_layout
from promptmill.core.stream.layout import Layout
from promptmill.gateway.addresses import Addresses
from promptmill.gateway.settings import GatewaySettings
from promptmill_schemas import Topic


async def addressed_layout(
    addresses: Addresses, settings: GatewaySettings, *topics: Topic
) -> Layout:
    """Over how many partitions to spread keys; see :func:`find_layout` for what it raises."""
    names = [settings.topic(topic) for topic in topics]
    prefix = settings.topic_prefix
    return await find_layout(addresses.kafka, addresses.redis, addresses.store, prefix, names)
