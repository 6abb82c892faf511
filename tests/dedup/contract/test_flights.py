"""The same suite over the flight log in memory, in Valkey, and in Redis where there is one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Protocol

import pytest

from promptmill.devstack.redis import RedisServer
from promptmill.stream.in_flight import NO_DEATHS, Deaths, FlightLog
from promptmill.stream.ports import Partition
from promptmill.testing.in_flight import FlightEntries, MemoryFlights
from promptmill.worker.in_flight import RedisFlightLog
from support.stack import unique_name
from support.waiting import eventually

P = Partition("prompts", 3)
OTHER = Partition("prompts", 4)


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


class FlightLogSuite:
    """What every flight log does."""

    async def test_what_a_life_leaves_behind_is_a_death(self, harness: Harness) -> None:
        dead, heir = harness.life(), harness.life()
        assert await dead.begin(P, 7, alone=False) == NO_DEATHS
        assert await heir.read({P: 0, OTHER: 0}) == {P: {7: Deaths(1, 0)}, OTHER: {}}
        assert await heir.begin(P, 7, alone=False) == Deaths(1, 0)
        assert await heir.begin(P, 8, alone=False) == NO_DEATHS

    async def test_reading_counts_nothing(self, harness: Harness) -> None:
        await harness.life().begin(P, 7, alone=False)
        heir = harness.life()
        assert await heir.read({P: 0}) == await heir.read({P: 0}) == {P: {7: Deaths(1, 0)}}

    async def test_ones_own_entry_is_no_death(self, harness: Harness) -> None:
        life = harness.life()
        await life.begin(P, 7, alone=True)
        assert await life.begin(P, 7, alone=True) == NO_DEATHS
        assert await life.read({P: 0}) == {P: {}}

    async def test_lone_deaths_are_counted_in_a_row(self, harness: Harness) -> None:
        lives = (False, True, True, False, True, True)
        counted = [await harness.life().begin(P, 7, alone=alone) for alone in lives]
        assert counted == [NO_DEATHS, (1, 0), (2, 1), (3, 2), (4, 0), (5, 1)]

    async def test_what_has_ended_is_forgotten(self, harness: Harness) -> None:
        life = harness.life()
        await life.begin(P, 7, alone=False)
        life.end(P, 7)
        await life.flush()
        assert await harness.life().read({P: 0}) == {P: {}}
        assert await harness.life().begin(P, 7, alone=False) == NO_DEATHS

    async def test_what_has_ended_keeps_the_deaths_it_had(self, harness: Harness) -> None:
        await harness.life().begin(P, 7, alone=True)
        life = harness.life()
        for offset in (7, 8):
            await life.begin(P, offset, alone=False)
            life.end(P, offset)
        await life.flush()
        assert await harness.life().read({P: 0}) == {P: {7: Deaths(1, 1)}}

    async def test_what_is_resumed_counts_again(self, harness: Harness) -> None:
        life = harness.life()
        await life.begin(P, 7, alone=False)
        life.end(P, 7)
        life.resume(P, 7)
        await life.flush()
        assert await harness.life().begin(P, 7, alone=False) == Deaths(1, 0)

    async def test_a_life_that_was_overtaken_takes_nothing_back(self, harness: Harness) -> None:
        overtaken, owner = harness.life(), harness.life()
        await overtaken.begin(P, 7, alone=False)
        await owner.begin(P, 7, alone=False)
        overtaken.end(P, 7)
        await overtaken.flush()
        assert await harness.life().begin(P, 7, alone=False) == Deaths(2, 0)

    async def test_entries_below_the_committed_position_are_removed(self, harness: Harness) -> None:
        dead = harness.life()
        for offset in (5, 6, 7):
            await dead.begin(P, offset, alone=False)
        assert await harness.life().read({P: 6}) == {P: {6: Deaths(1, 0), 7: Deaths(1, 0)}}
        assert set((await harness.life().read({P: 0}))[P]) == {6, 7}


class TestInMemory(FlightLogSuite):
    @pytest.fixture
    def harness(self) -> Harness:
        return InMemory()


class TestOnServers(FlightLogSuite):
    @pytest.fixture
    async def harness(self, shared: RedisServer) -> AsyncIterator[Harness]:
        async with AsyncExitStack() as stack:
            yield InRedis(shared.url, stack)


async def test_a_server_that_is_gone_holds_nothing_up(own_server: RedisServer) -> None:
    """Nothing is known meanwhile; failures are counted; afterwards it goes on."""
    failures: list[int] = []
    log = RedisFlightLog(
        own_server.url, "g", failed=lambda: failures.append(1), timeout_s=1.0, retry_s=0.1
    )
    await log.begin(P, 7, alone=False)
    own_server.kill()
    assert await log.begin(P, 8, alone=False) == NO_DEATHS
    log.end(P, 7)
    await log.flush()
    assert await log.read({P: 0}) == {}
    assert failures
    own_server.start()
    own_server.wait_ready()
    heir = RedisFlightLog(own_server.url, "g")

    async def noted() -> bool:
        await log.begin(P, 9, alone=False)
        return 9 in (await heir.read({P: 0})).get(P, {})

    await eventually(noted)
    await log.stop()
    await heir.stop()
