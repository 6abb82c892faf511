"""Where Kafka, Redis and the store are: as set, or as the running local stack says."""

from __future__ import annotations

import os
from dataclasses import dataclass

from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Addresses:
    """What commands and workers connect to."""

    kafka: str
    redis: str
    store: str


def find_addresses(settings: Settings) -> Addresses:
    """The settings' own addresses; what they leave open is the local stack's.

    Raises:
        Misconfigured: something is left open and no local stack runs in the home.
    """
    kafka, redis = settings.kafka, settings.redis
    if kafka is None or redis is None:
        from promptmill.devstack import stack

        found = stack.find(settings.home)
        if found is None:
            raise Misconfigured(
                "no Kafka or Redis is configured, and no local stack is running in "
                f"{settings.home}: start it with `promptmill up`, or set PROMPTMILL_KAFKA and "
                "PROMPTMILL_REDIS"
            )
        kafka, redis = kafka or found.kafka, redis or found.redis
    return Addresses(kafka, redis, settings.store_uri)


def worker_environment(settings: Settings) -> dict[str, str]:
    """This process's environment with the addresses in it, for the workers it starts."""
    found = find_addresses(settings)
    return {
        **os.environ,
        "PROMPTMILL_HOME": str(settings.home),
        "PROMPTMILL_KAFKA": found.kafka,
        "PROMPTMILL_REDIS": found.redis,
        "PROMPTMILL_STORE": found.store,
    }
