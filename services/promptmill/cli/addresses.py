"""Addresses of Kafka, Redis and the store, from the settings or the running local stack."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from promptmill.runtime.errors import Misconfigured
from promptmill.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Addresses:
    """The servers and the store that commands and workers connect to.

    Attributes:
        kafka: bootstrap servers, ``host:port[,host:port…]``.
        redis: URL, ``redis://host:port/db``.
        store: folder or URI of the Delta tables.
    """

    kafka: str
    redis: str = field(repr=False)
    store: str


def find_addresses(settings: Settings) -> Addresses:
    """Return the addresses in the settings; those that are not set are taken from the local stack.

    If Kafka is that of a secure local stack, its logins become variables of this process, for its
    own clients and for the workers that it starts.

    Raises:
        Misconfigured: an address is not set, and no local stack runs in the home folder.
    """
    kafka, redis = settings.kafka, settings.redis
    if kafka is None or redis is None:
        from promptmill.devstack import stack
        from promptmill.devstack.security import StackSecurity

        found = stack.find(settings.home)
        if found is None:
            raise Misconfigured(
                "no Kafka or Redis is configured, and no local stack is running in "
                f"{settings.home}: start it with `promptmill up`, or set PROMPTMILL_KAFKA and "
                "PROMPTMILL_REDIS"
            )
        if found.secure and kafka is None:
            os.environ.update(StackSecurity(found.home).environment())
        kafka, redis = kafka or found.kafka, redis or found.redis
    return Addresses(kafka, redis, settings.store_uri)


def worker_environment(settings: Settings) -> dict[str, str]:
    """This process's environment plus the addresses, for the workers that it starts."""
    found = find_addresses(settings)
    return {
        **os.environ,
        "PROMPTMILL_HOME": str(settings.home),
        "PROMPTMILL_KAFKA": found.kafka,
        "PROMPTMILL_REDIS": found.redis,
        "PROMPTMILL_STORE": found.store,
    }
