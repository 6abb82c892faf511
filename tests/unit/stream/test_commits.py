"""How much finished work a crash can throw away."""

from __future__ import annotations

from dataclasses import replace

from support.chaos.rigs import InMemory
from support.streams import QUICK, Item, Rig
from support.waiting import eventually

COUNT = 300


async def test_no_more_waits_for_a_commit_than_is_at_work_at_once() -> None:
    """Quick work would otherwise be done again by the thousand after a crash."""
    rig = Rig(InMemory())
    await rig.publish(*(Item(number=number) for number in range(COUNT)))
    member = await rig.member(settings=replace(QUICK, commit_interval_s=3_600))
    await eventually(lambda: member.probe.outcomes["emit"] == COUNT)

    async def is_almost_all_committed() -> bool:
        return COUNT - await rig.committed() < QUICK.slots

    await eventually(is_almost_all_committed)
    await rig.close()
