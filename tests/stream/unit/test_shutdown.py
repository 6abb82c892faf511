"""A loop whose parts hang or fail while it stops: it ends in time, and stops the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace

import pytest

from promptmill.runtime.errors import Fatal, Misconfigured
from promptmill.runtime.timing import MIN_CLOSING_S, Deadline
from promptmill.stream.layout import DataSetLayout
from promptmill.stream.outcome import Outcome
from promptmill.stream.ports import Delivery, Listener, Partition, Position, Sender, Source
from promptmill.testing.broker import MemoryBroker, MemorySender, MemorySource
from support.streams import QUICK, Harness, Item, echo
from support.waiting import eventually

GRACE_S = 0.4
TOLERANCE_S = 10.0
"""For a busy machine; what hangs in these tests hangs for an hour."""
HANGS_S = 3600.0


class FaultySource(MemorySource):
    """Its calls hang or fail as the site says."""

    def __init__(self, site: FaultySite, group: str, topics: list[str]) -> None:
        super().__init__(site.broker, group, topics)
        self.site = site

    async def start(self, listener: Listener) -> None:
        await self.site.pass_through("source.start")
        await super().start(listener)

    async def stop(self) -> None:
        await self.site.pass_through("source.stop")
        await super().stop()

    async def commit(self, positions: Mapping[Partition, Position]) -> None:
        await self.site.pass_through("source.commit")
        await super().commit(positions)


class FaultySender(MemorySender):
    """Its stop hangs or fails as the site says."""

    def __init__(self, site: FaultySite) -> None:
        super().__init__(site.broker)
        self.site = site

    async def stop(self) -> None:
        await self.site.pass_through("sender.stop")


class FaultySite:
    """A broker in memory whose clients hang or fail in the named calls."""

    prefix = ""

    def __init__(self, hanging: str = "", failing: str = "") -> None:
        self.broker = MemoryBroker(partitions=1)
        self.hanging = hanging
        self.failing = failing
        self.passed: list[str] = []

    async def pass_through(self, call: str) -> None:
        self.passed.append(call)
        if call == self.hanging:
            await asyncio.sleep(HANGS_S)
        if call == self.failing:
            raise OSError(f"{call} failed")

    def source(self, group: str, topic: str) -> Source:
        return FaultySource(self, group, [topic])

    def sender(self, _layout: DataSetLayout | None = None) -> Sender:
        return FaultySender(self)

    async def read(self, topic: str) -> list[Delivery]:
        return self.broker.topic(topic)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        return {p.number: at.offset for p, at in self.broker.offsets[group].items()}


async def never(_item: Item) -> Outcome:
    await asyncio.sleep(HANGS_S)
    raise AssertionError("not reached")


@pytest.mark.parametrize("call", ["source.start", "source.stop", "source.commit", "sender.stop"])
async def test_a_call_that_hangs_does_not_outlast_the_deadline(call: str) -> None:
    site = FaultySite(hanging=call)
    member = await Harness(site).member(
        settings=replace(QUICK, grace_s=GRACE_S, commit_interval_s=60)
    )
    await eventually(lambda: site.passed or member.loop.joined.is_set())
    site.broker.append("items", b"1", b'{"number":1}')
    began = time.monotonic()
    member.loop.stop()
    await asyncio.wait({member.task}, timeout=GRACE_S + MIN_CLOSING_S + TOLERANCE_S)
    assert member.task.done(), f"still stopping after {time.monotonic() - began:.1f} s"
    assert "sender.stop" in site.passed


async def test_work_that_hangs_does_not_outlast_the_deadline() -> None:
    site = FaultySite()
    harness = Harness(site)
    await harness.publish(Item(number=1))
    member = await harness.member(never, replace(QUICK, grace_s=HANGS_S))
    await eventually(lambda: member.loop.in_flight == 1)
    member.loop.stop(Deadline(GRACE_S))  # the process's deadline, not one of the loop's own
    await asyncio.wait_for(member.task, GRACE_S + MIN_CLOSING_S + TOLERANCE_S)
    assert await harness.committed() == 0


@pytest.mark.parametrize("call", ["source.stop", "sender.stop"])
async def test_a_step_that_fails_ends_the_loop_with_its_error_after_the_others(call: str) -> None:
    site = FaultySite(failing=call)
    member = await Harness(site).member(echo)
    await eventually(member.loop.joined.is_set)
    member.loop.stop()
    with pytest.raises(Fatal, match=f"{call} failed"):
        await member.task
    assert site.passed[-2:] == ["source.stop", "sender.stop"]


async def test_what_ended_the_loop_is_not_hidden_by_what_fails_afterwards() -> None:
    site = FaultySite(failing="source.stop")
    member = await Harness(site).member(echo)
    await eventually(member.loop.joined.is_set)
    member.loop.fail(Misconfigured("another cluster"))
    with pytest.raises(Misconfigured, match="another cluster"):
        await member.task
    assert "sender.stop" in site.passed
