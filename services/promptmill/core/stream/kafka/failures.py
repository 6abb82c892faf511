"""Errors of the Kafka client in our own words: what passes by itself, and what a person mends."""

from __future__ import annotations

from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)

from promptmill.core.errors import Misconfigured, Unavailable

FORBIDDEN = {
    TopicAuthorizationFailedError: "Describe and Read on the topic (Write where it produces)",
    GroupAuthorizationFailedError: "Read on the consumer group",
    ClusterAuthorizationFailedError: "Describe on the cluster",
}


def as_error(what: str, error: KafkaError) -> Misconfigured | Unavailable:
    """``Misconfigured`` for a missing permission, which no waiting mends; else ``Unavailable``.

    Args:
        what: what did not work, as the beginning of a sentence.
    """
    for kind, grant in FORBIDDEN.items():
        if isinstance(error, kind):
            return Misconfigured(f"{what}: {error!r}: grant this client's user {grant}")
    if isinstance(error, (AuthenticationFailedError, SaslAuthenticationFailed)):
        return Misconfigured(f"{what}: {error!r}: correct the user or its password")
    return Unavailable(f"{what}: {error!r}")
