"""Partitions are added to live topics, and another program fills them, while all workers run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable

from promptmill.stream.layout import DataSetLayout
from promptmill_schemas import TOPICS, encode
from support.chaos.prompts import prompts
from support.kafka_topics import add_partitions, put
from support.pipeline import OUTCOMES, Pipeline

pytestmark = [pytest.mark.real, pytest.mark.timeout(500)]

SCRIPTED = ("--all", "--engine", "scripted")
EACH = 60
ADDED = 3


@pytest.fixture
def own_pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    """A home of this test's own: what is added to topics stays."""
    pipeline = Pipeline(tmp_path / "home")
    pipeline.home.mkdir()
    pipeline.json("up")
    yield pipeline
    pipeline.json("down", "--purge")


def layout_of(pipeline: Pipeline) -> DataSetLayout:
    """That of the store's tables."""
    table = DeltaTable(str(pipeline.home / "store" / "prompts"))
    return DataSetLayout(int(table.metadata().configuration["promptmill.partitions"]))


async def fill(kafka: str, layout: DataSetLayout, run: str, partitions: int) -> set[str]:
    """Prompts of a foreign producer: by its partitioner over all partitions, and one off."""
    made = list(prompts(run, EACH))
    everywhere = DataSetLayout(partitions)
    for number, prompt in enumerate(made):
        key = prompt.prompt_id.encode()
        place = everywhere.partition_of(key) if number % 2 else number % layout.partitions
        await put(kafka, "prompts", place, [(key if number % 3 else None, encode(prompt))])
    return {prompt.prompt_id for prompt in made}


def check_run(pipeline: Pipeline, run: str, published: set[str]) -> None:
    """Every prompt is stored once, in the shard of the layout, and has one outcome."""
    layout = layout_of(pipeline)
    pipeline.audit(run, published)
    assert Counter(pipeline.ids("prompts", run)) == Counter(published)
    for table in ("prompts", *OUTCOMES):
        for row in pipeline.table(table):
            assert row["shard"] == layout.partition_of(row["prompt_id"].encode()), table


def test_added_partitions_lose_nothing_and_double_nothing(own_pipeline: Pipeline) -> None:
    pipeline = own_pipeline
    kafka = pipeline.json("up")["kafka"]
    with pipeline.workers(*SCRIPTED):
        before = asyncio.run(_publish(kafka, "before"))
        pipeline.settle("before")
        layout = layout_of(pipeline)
        partitions = layout.partitions + ADDED
        names = [topic.name for topic in TOPICS]
        asyncio.run(add_partitions(kafka, names[:-1], partitions))
        during = asyncio.run(fill(kafka, layout, "during", partitions))
        _await_published(pipeline, "during")
        pipeline.settle("during")
    check_run(pipeline, "before", before)
    check_run(pipeline, "during", during)
    with pipeline.workers(*SCRIPTED):  # and all of them start again
        after = asyncio.run(fill(kafka, layout, "after", partitions))
        _await_published(pipeline, "after")
        pipeline.settle("after")
    for run, published in (("before", before), ("during", during), ("after", after)):
        check_run(pipeline, run, published)


async def _publish(kafka: str, run: str) -> set[str]:
    layout = DataSetLayout(12)
    made = list(prompts(run, EACH))
    for prompt in made:
        key = prompt.prompt_id.encode()
        await put(kafka, "prompts", layout.partition_of(key), [(key, encode(prompt))])
    return {prompt.prompt_id for prompt in made}


def _await_published(pipeline: Pipeline, run: str) -> None:
    """Until the store knows all of them: added partitions are noticed after half a minute."""
    for _ in range(120):
        if pipeline.json("status", "--run", run)["published"] >= EACH:
            return
