"""How much finished work a crash can throw away."""

from __future__ import annotations

from dataclasses import replace

from support.chaos.loop_brokers import InMemory
from support.streams import QUICK, Harness, Item
from support.waiting import eventually

COUNT = 300


async def test_no_more_waits_for_a_commit_than_is_at_work_at_once() -> None:
    """Quick work would otherwise be done again by the thousand after a crash."""
    harness = Harness(InMemory())
    await harness.publish(*(Item(number=number) for number in range(COUNT)))
    member = await harness.member(settings=replace(QUICK, commit_interval_s=3_600))
    await eventually(lambda: member.probe.outcomes["emit"] == COUNT)

    async def is_almost_all_committed() -> bool:
        return COUNT - await harness.committed() < QUICK.slots

    await eventually(is_almost_all_committed)
    await harness.close()
