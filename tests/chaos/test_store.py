"""Rows 25 to 28: sinks that die inside commits, meet each other, or have no room."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.chaos.backend import delete_topics, make_topics
from support.chaos.pipeline import SESSION_S, PipelineUnderTest
from support.chaos.prompts import prompts
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


async def test_25_sigkill_store_at_every_step_of_a_commit(pipeline: PipelineUnderTest) -> None:
    terms = in_turn(*STEPS)
    (store,) = pipeline.start_workers("store", terms=terms, instance_id="doomed", flush_delay_s=0.3)
    pipeline.start_workers("instruct", model=QUICK)
    async with pipeline.flow("row-25", per_s=20):
        await eventually(lambda: store.lives > len(STEPS), 120, "it died at every step")
    await pipeline.audit_when_settled()
    killed_at = [fault.detail for fault in pipeline.faults.faults]
    assert killed_at == list(STEPS)


async def test_26_two_sinks_on_one_partition(pipeline: PipelineUnderTest) -> None:
    """One wakes up in the belief that the shards are still its own; it is fenced."""
    (frozen,) = pipeline.start_workers("store", flush_delay_s=0.3)
    pipeline.start_workers("instruct", model=QUICK)
    await pipeline.ready()
    async with pipeline.flow("row-26", per_s=25):
        await pipeline.advance("filter", 20)
        await frozen.freeze(SESSION_S + 3)
        await pipeline.advance("filter", 50)
    await pipeline.audit_when_settled()
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


async def test_27_disk_full_under_the_store(fresh_pipeline: PipelineUnderTest) -> None:
    """It is tried again until there is room; nothing is skipped."""
    pipeline = fresh_pipeline
    with small_disk(pipeline.store, "4m"):
        await pipeline.start_other_stages()
        pipeline.start_workers("instruct", model=QUICK)
        await pipeline.ready()
        filler = pipeline.store / "filler"
        fill(filler)
        await pipeline.publish(prompts("row-27", 150))
        (store,) = pipeline.of("store")
        await eventually(lambda: store.events("storage_failed"), 60, "the disk is full")
        filler.unlink()
        await pipeline.audit_when_settled()
        assert store.lives == 1


def fill(file: Path) -> None:
    """Take all the room that there is."""
    with file.open("wb", buffering=0) as output:
        try:
            while True:
                output.write(bytes(4096))
        except OSError:
            return


async def test_28_the_topic_was_made_anew_under_a_worker(fresh_pipeline: PipelineUnderTest) -> None:
    """It ends and says so; it never starts over by itself."""
    pipeline = fresh_pipeline
    (worker,) = pipeline.start_workers("instruct", terms=ONCE, model=QUICK)
    await pipeline.ready()
    await pipeline.publish(prompts("row-28", 60))
    await pipeline.advance("instruct", 60)
    await make_anew(pipeline)
    await pipeline.publish(prompts("row-28-anew", 12))
    assert await worker.ended() == 78
    assert RECREATED.search(worker.log_file.read_text())


async def test_28_the_topic_was_made_anew_beside_the_store(
    fresh_pipeline: PipelineUnderTest,
) -> None:
    """The table's offsets belong to another log: the sink does not start."""
    pipeline = fresh_pipeline
    (worker,) = pipeline.start_workers("store", terms=ONCE)
    await pipeline.ready()
    await pipeline.publish(prompts("row-28", 60))
    await eventually(lambda: stored(pipeline) == 60, 60, "the prompts are stored")
    assert await worker.stop() == 0
    await make_anew(pipeline)
    (successor,) = pipeline.start_workers("store", terms=ONCE)
    assert await successor.ended() == 78
    assert RECREATED.search(successor.log_file.read_text())


async def make_anew(pipeline: PipelineUnderTest) -> None:
    """The topic of the prompts, empty."""
    await delete_topics(pipeline.backend, pipeline.prefix, [PROMPTS])
    await make_topics(pipeline.backend, pipeline.prefix, pipeline.partitions, [PROMPTS])


def stored(pipeline: PipelineUnderTest) -> int:
    """Messages that the store's positions cover."""
    return sum(read_positions(pipeline.store, pipeline.prefix, pipeline.partitions).values())
