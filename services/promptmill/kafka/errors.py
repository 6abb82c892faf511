"""Translates errors of the Kafka client into those of :mod:`promptmill.runtime.errors`."""

from __future__ import annotations

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from promptmill.kafka.login import LoginRefused
from promptmill.kafka.producer import InvalidRecord
from promptmill.runtime.errors import Misconfigured, Poison, Unavailable

_GRANTS = {
    TopicAuthorizationFailedError: "Describe and Read on the topic (Write to produce)",
    GroupAuthorizationFailedError: "Read on the consumer group",
    ClusterAuthorizationFailedError: "Describe on the cluster",
}


def as_error(what: str, error: KafkaError) -> Misconfigured | Unavailable:
    """``Misconfigured`` for missing permissions and failed logins; otherwise ``Unavailable``.

    Args:
        what: what failed, as the beginning of the message.
    """
    for kind, grant in _GRANTS.items():
        if isinstance(error, kind):
            return Misconfigured(f"{what}: {error!r}: grant this client's user {grant}")
    if isinstance(error, LoginRefused):
        return Misconfigured(str(error))
    return Unavailable(f"{what}: {error!r}")


REFUSED_BATCH = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecord)
"""Errors with which a broker refuses a whole batch because of one of its records."""

_UNAUTHORISED = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)


def settings_at_fault(topic: str, error: KafkaError) -> Misconfigured | None:
    """Return the fatal error, if the cause affects every message; otherwise ``None``."""
    if isinstance(error, _UNAUTHORISED):
        return Misconfigured(
            f"this client is not authorised to write to topic {topic} ({error!r}): grant its user "
            "Write on the topic and IdempotentWrite on the cluster"
        )
    if isinstance(error, InvalidTimestampError):
        return Misconfigured(
            f"topic {topic} refuses this machine's timestamps: correct its clock, or set the "
            f"topic's message.timestamp.type to LogAppendTime (`promptmill topics` shows how)"
        )
    if isinstance(error, InvalidTopicError):
        return Misconfigured(
            f"{topic!r} is not a valid topic name: correct PROMPTMILL_TOPIC_PREFIX"
        )
    return None


def no_such_topic(topic: str) -> Misconfigured:
    """Return the error for a topic that does not exist."""
    return Misconfigured(
        f"topic {topic} does not exist on this cluster: create it with `promptmill topics`, or "
        f"correct PROMPTMILL_KAFKA and PROMPTMILL_TOPIC_PREFIX"
    )


def not_allowed(topic: str) -> Poison:
    """Return the error for a record that the settings of its topic do not allow."""
    return Poison(
        f"topic {topic} refuses the record (INVALID_RECORD): its settings do not allow it; "
        f"compare its cleanup.policy with the one that `promptmill topics` reports"
    )


def too_large(topic: str, size: int) -> Poison:
    """Return the error for a message of ``size`` bytes that exceeds a limit of topic or client."""
    return Poison(
        f"a message of {size} bytes for topic {topic} is larger than the broker accepts: raise "
        "max.message.bytes of the topic, or ask for fewer candidates"
    )


def refused_record(topic: str, size: int, error: KafkaError) -> Poison:
    """Return the error for a record that was refused although it was the only one in its batch."""
    return not_allowed(topic) if isinstance(error, InvalidRecord) else too_large(topic, size)
