"""Rows 25 to 28: sinks that die inside commits, meet each other, or have no room."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.chaos.plant import SESSION_S, Plant
from support.chaos.prompts import prompts
from support.chaos.site import delete_topics, make_topics
from support.chaos.tables import read_positions
from support.chaos.topic_log import PROMPTS
from support.chaos.worker import ONCE, in_turn
from support.waiting import eventually

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.chaos,
    pytest.mark.real,
    pytest.mark.timeout(240),
]

QUICK = "latency_s=0.02,tokens=20"
RECREATED = re.compile(
    "topic was (deleted and )?recreated|was deleted and created again|offsets belong to another log"
)
MOUNT = ("/bin/mount", "-t", "tmpfs", "-o")
UMOUNT = ("/bin/umount", "--lazy")
STEPS = (
    "store.claimed.records=kill",
    "store.checked.prompts=kill",
    "store.written.records=kill#2",
    "store.committed.records=kill",
    "store.written.rejects=kill",
    "store.committed.rejects=kill#2",
)


async def test_25_sigkill_store_at_every_step_of_a_commit(plant: Plant) -> None:
    terms = in_turn(*STEPS)
    (store,) = plant.hire("store", terms=terms, instance_id="doomed", flush_delay_s=0.3)
    plant.hire("instruct", model=QUICK)
    async with plant.flow("row-25", per_s=20):
        await eventually(lambda: store.lives > len(STEPS), 120, "it died at every step")
    await plant.books()
    killed_at = [fault.detail for fault in plant.faults.faults]
    assert killed_at == list(STEPS)


async def test_26_two_sinks_on_one_partition(plant: Plant) -> None:
    """One wakes up in the belief that the shards are still its own; it is fenced."""
    (frozen,) = plant.hire("store", flush_delay_s=0.3)
    plant.hire("instruct", model=QUICK)
    await plant.ready()
    async with plant.flow("row-26", per_s=25):
        await plant.advance("filter", 20)
        await frozen.freeze(SESSION_S + 3)
        await plant.advance("filter", 50)
    await plant.books()
    assert frozen.lives == 1


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of this size in place of the folder."""
    if os.geteuid() != 0 or not Path(MOUNT[0]).exists():
        pytest.skip("a small file system can only be mounted by root")
    folder.mkdir(parents=True)
    mounting = [*MOUNT, f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        yield
    finally:
        subprocess.run([*UMOUNT, str(folder)], check=True)


async def test_27_disk_full_under_the_store(fresh_plant: Plant) -> None:
    """It is tried again until there is room; nothing is skipped."""
    plant = fresh_plant
    with small_disk(plant.store, "4m"):
        await plant.hire_crew()
        plant.hire("instruct", model=QUICK)
        await plant.ready()
        filler = plant.store / "filler"
        fill(filler)
        await plant.publish(prompts("row-27", 150))
        (store,) = plant.of("store")
        await eventually(lambda: store.events("storage_failed"), 60, "the disk is full")
        filler.unlink()
        await plant.books()
        assert store.lives == 1


def fill(file: Path) -> None:
    """Take all the room that there is."""
    with file.open("wb", buffering=0) as output:
        try:
            while True:
                output.write(bytes(4096))
        except OSError:
            return


async def test_28_the_topic_was_made_anew_under_a_worker(fresh_plant: Plant) -> None:
    """It ends and says so; it never starts over by itself."""
    plant = fresh_plant
    (worker,) = plant.hire("instruct", terms=ONCE, model=QUICK)
    await plant.ready()
    await plant.publish(prompts("row-28", 60))
    await plant.advance("instruct", 60)
    await make_anew(plant)
    await plant.publish(prompts("row-28-anew", 12))
    assert await worker.ended() == 78
    assert RECREATED.search(worker.log_file.read_text())


async def test_28_the_topic_was_made_anew_beside_the_store(fresh_plant: Plant) -> None:
    """The table's offsets belong to another log: the sink does not start."""
    plant = fresh_plant
    (worker,) = plant.hire("store", terms=ONCE)
    await plant.ready()
    await plant.publish(prompts("row-28", 60))
    await eventually(lambda: stored(plant) == 60, 60, "the prompts are stored")
    assert await worker.dismiss() == 0
    await make_anew(plant)
    (successor,) = plant.hire("store", terms=ONCE)
    assert await successor.ended() == 78
    assert RECREATED.search(successor.log_file.read_text())


async def make_anew(plant: Plant) -> None:
    """The topic of the prompts, empty."""
    await delete_topics(plant.site, plant.prefix, [PROMPTS])
    await make_topics(plant.site, plant.prefix, plant.partitions, [PROMPTS])


def stored(plant: Plant) -> int:
    """Messages that the store's positions cover."""
    return sum(read_positions(plant.store, plant.prefix, plant.partitions).values())
