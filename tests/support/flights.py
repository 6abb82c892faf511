"""Flight logs for the tests: lives that share entries, in memory or on a server."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Protocol

from promptmill.stream.in_flight import FlightLog
from promptmill.testing.in_flight import FlightEntries, MemoryFlights
from promptmill.worker.in_flight import RedisFlightLog
from support.stack import unique_name


class Harness(Protocol):
    """Entries of one group."""

    def life(self) -> FlightLog:
        """The log of one more process."""


class InMemory:
    """The fake."""

    def __init__(self) -> None:
        self.entries = FlightEntries()

    def life(self) -> FlightLog:
        return MemoryFlights(self.entries)


class InRedis:
    """A group of this test's own on a real server."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self.group = unique_name()
        self.stack = stack

    def life(self) -> FlightLog:
        log = RedisFlightLog(self.url, self.group, timeout_s=10.0)
        self.stack.push_async_callback(log.stop)
        return log
