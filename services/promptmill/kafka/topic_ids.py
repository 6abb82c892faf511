"""Reads the ids of topics, by which a recreated topic is recognised.

A name is not enough: if a topic is recreated and refilled beyond a consumer's position, the
consumer continues there and skips the first messages. Topic ids need version 10 or later of the
Metadata request, and aiokafka 0.14 supports at most version 5, so this module implements the
request. It is sent over a connection of aiokafka's admin client.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Collection
from io import BytesIO

from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from promptmill.kafka.client import KafkaAdmin

ANSWER_LIMIT_S = 5.0
"""Seconds to wait for a broker before the next one is asked."""

METADATA = 3
VERSION = 12
"""The version of the Metadata request, which Kafka 3.1 and later support."""


class Uuid(AbstractType):  # type: ignore[misc]
    """A topic id of 16 bytes; 0 if there is none."""

    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        """Return the bytes of the id in a message."""
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        """Read an id from a message."""
        return uuid.UUID(bytes=data.read(16))


_STRING, _NUMBERS, _TAGS = CompactString("utf-8"), CompactArray(Int32), ("tags", TaggedFields)

_BROKER = Schema(("node", Int32), ("host", _STRING), ("port", Int32), ("rack", _STRING), _TAGS)
_PARTITION = Schema(
    ("error_code", Int16),
    ("number", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", _NUMBERS),
    ("in_sync", _NUMBERS),
    ("offline", _NUMBERS),
    _TAGS,
)
_TOPIC = Schema(
    ("error_code", Int16),
    ("name", _STRING),
    ("topic_id", Uuid),
    ("is_internal", Boolean),
    ("partitions", CompactArray(_PARTITION)),
    ("operations", Int32),
    _TAGS,
)


class MetadataResponseV12(Response):  # type: ignore[misc]
    """The response with brokers and topics."""

    API_KEY = METADATA
    API_VERSION = VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(_BROKER)),
        ("cluster_id", _STRING),
        ("controller", Int32),
        ("topics", CompactArray(_TOPIC)),
        _TAGS,
    )


class MetadataRequestV12(RequestStruct):  # type: ignore[misc]
    """The request for topics by name."""

    FLEXIBLE_VERSION = True
    API_KEY = METADATA
    API_VERSION = VERSION
    RESPONSE_TYPE = MetadataResponseV12
    SCHEMA = Schema(
        ("topics", CompactArray(Schema(("topic_id", Uuid), ("name", _STRING), _TAGS))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        _TAGS,
    )


class TopicIdsRequest(Request[MetadataRequestV12]):  # type: ignore[misc]
    """Requests the metadata of these topics in a version that includes their ids.

    aiokafka raises ``IncompatibleBrokerVersion`` if a broker does not support it.
    """

    API_KEY = METADATA

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = sorted(topics)

    def build(self, request_struct_class: type[MetadataRequestV12]) -> MetadataRequestV12:
        """Build the request."""
        none = uuid.UUID(int=0)
        return request_struct_class([(none, name, {}) for name in self._topics], False, False, {})


async def read_topic_ids(admin: KafkaAdmin, topics: Collection[str]) -> dict[str, str]:
    """Return the id of each topic; topics that do not exist or may not be read are omitted.

    The brokers are asked in turn until one answers, so that a frozen broker cannot delay a commit.

    Raises:
        KafkaError: no broker answers.
        NotImplementedError: the brokers have no topic ids (Kafka before 3.1).
    """
    client = admin._client  # noqa: SLF001 - the admin client has no public way to ask one broker
    failure = KafkaError("no broker is known")
    nodes = [broker.nodeId for broker in client.cluster.brokers()] or ["bootstrap"]
    for node in random.sample(nodes, len(nodes)):
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                answer = await client.send(node, TopicIdsRequest(topics))
        except IncompatibleBrokerVersion as error:
            raise NotImplementedError(str(error)) from error
        except (KafkaError, TimeoutError) as error:
            failure = error if isinstance(error, KafkaError) else KafkaError(repr(error))
        else:
            found = {name: topic_id for _, name, topic_id, *_ in answer.topics}
            return {name: str(topic_id) for name, topic_id in found.items() if topic_id.int}
    raise failure
