"""A cluster that has forgotten the instruct group's offsets makes no model work again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from promptmill.devstack.stack import StackInfo, find
from promptmill.lake.identity import Identity
from promptmill.lake.ports import Advance, Batch, TableName
from promptmill.lake.reader import DeltaReader
from promptmill.lake.sink import DeltaSink
from promptmill.lake.tables import TABLES
from promptmill.runtime.telemetry.registry import read_workers
from support.lost_prompts import count_messages, forget_offsets
from support.pipeline import Pipeline, receipts, write_prompts
from support.store import record, rows
from support.waiting import eventually_now

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
COUNT = 50
GROUP = "promptmill.instruct"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A stack whose topic of prompts no other test has shortened."""
    pipeline = Pipeline(tmp_path_factory.mktemp("own"))
    pipeline.json("up")
    yield pipeline
    pipeline.json("down", "--purge")


def publish(own: Pipeline, folder: Path, run: str, count: int) -> set[str]:
    prompts = [{"prompt": f"What is settled, number {n} of {run}?"} for n in range(count)]
    file, out = write_prompts(folder / f"{run}.jsonl", prompts), folder / f"{run}.receipts"
    own.json("publish", str(file), "--run", run, "--receipts", str(out))
    return receipts(out)


def stack_of(own: Pipeline) -> StackInfo:
    stack = find(own.home)
    assert stack is not None
    return stack


def dropped_as_settled(stack: StackInfo) -> int:
    """What the instruct workers say of themselves."""
    found = 0
    for worker in asyncio.run(read_workers(stack.redis)):
        if worker.stage == "instruct":
            with suppress(OSError), urlopen(f"{worker.url}/metrics") as answer:  # noqa: S310 - our own
                text = answer.read().decode()
                pattern = r'^promptmill_settled_total{outcome="drop",reason="settled".*} (\S+)$'
                found += sum(int(float(n)) for n in re.findall(pattern, text, re.MULTILINE))
    return found


def generations(stack: StackInfo) -> int:
    return asyncio.run(count_messages(stack.kafka, "completions"))


def test_what_the_store_knows_as_settled_is_passed_over(own: Pipeline, tmp_path: Path) -> None:
    workers = ("--all", "--engine", "scripted")
    with own.workers(*workers):
        published = publish(own, tmp_path, "first", COUNT)
        own.settle("first", within_s=240)
    stack = stack_of(own)
    asyncio.run(forget_offsets(stack.kafka, GROUP))
    before = generations(stack)
    with own.workers(*workers):
        eventually_now(lambda: dropped_as_settled(stack) == COUNT, timeout_s=240)
        new = publish(own, tmp_path, "second", 5)
        own.settle("second", within_s=240)
    assert generations(stack) == before + 5
    own.audit("first", published)
    own.audit("second", new)


def test_the_store_of_another_cluster_is_not_believed(own: Pipeline, tmp_path: Path) -> None:
    with own.workers("--all", "--engine", "scripted"):
        published = publish(own, tmp_path, "third", 5)
        own.settle("third", within_s=240)
    stack = stack_of(own)
    known = {row["prompt_id"]: row["shard"] for row in own.table("prompts")}
    assert published <= known.keys()
    foreign = foreign_store(
        tmp_path / "foreign", known, DeltaReader(str(own.home / "store")).layout() or 0
    )
    asyncio.run(forget_offsets(stack.kafka, GROUP))
    before = generations(stack)
    with own.workers("instruct", "--engine", "scripted", PROMPTMILL_STORE=foreign):
        eventually_now(lambda: generations(stack) >= before + len(known), timeout_s=240)


def foreign_store(folder: Path, prompts: dict[str, int], partitions: int) -> str:
    """Tables of another cluster in which all of these prompts, by their shard, are accepted."""
    identities = {
        name: Identity("another", spec.topic.name, partitions) for name, spec in TABLES.items()
    }
    sink = DeltaSink(str(folder), identities)
    sink.open()
    sink.take_over(range(partitions))
    for shard in set(prompts.values()):
        own = [
            (shard, at, record("x").model_copy(update={"prompt_id": prompt_id}))
            for at, prompt_id in enumerate(p for p, number in prompts.items() if number == shard)
        ]
        sink.commit(TableName.RECORDS, Batch(rows(own), {shard: Advance(None, len(own))}))
    return str(folder)
