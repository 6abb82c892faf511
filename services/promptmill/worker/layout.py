"""Finds the partition layout of the data set to which a process belongs."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

import structlog

from promptmill.kafka.cluster import describe_log
from promptmill.lake.identity import check_layout
from promptmill.runtime.errors import PromptmillError, Unavailable
from promptmill.runtime.telemetry.registry import read_layout
from promptmill.stream.layout import DataSetLayout

log = structlog.get_logger(__name__)


async def find_layout(
    kafka: str, redis: str, store: str, prefix: str, topics: Collection[str]
) -> DataSetLayout:
    """Read the layout from the store's tables or from Redis; otherwise take that of the topics.

    Args:
        kafka: bootstrap servers.
        redis: URL; may be empty.
        store: folder or URI of the tables; it does not have to be readable for this process.
        prefix: prefix of all topic names.
        topics: full names of the topics that this process reads or writes.

    Raises:
        Misconfigured: a topic does not exist, or has fewer partitions than the layout.
        Unavailable: no broker answers.
    """
    counts = (await describe_log(kafka, topics)).partitions
    known = await asyncio.to_thread(layout_in_tables, store) or await _from_redis(redis, prefix)
    if known is not None:
        return DataSetLayout(check_layout(known, counts))
    guessed = min(counts.values())
    log.warning("layout_unknown", store=store, taken=guessed, topics=counts)
    # Before the first start of a store, all topics have the number that the store will adopt.
    return DataSetLayout(guessed, is_known=len(set(counts.values())) == 1)


def layout_in_tables(store: str) -> int | None:
    """Return the number of partitions in the store's tables; ``None`` if it cannot be read."""
    if not store or ("://" not in store and not Path(store).is_dir()):
        return None
    from promptmill.lake.reader import DeltaReader

    try:
        return DeltaReader(store).layout()
    except PromptmillError as error:
        log.warning("layout_not_read", store=store, error=str(error))
        return None


async def _from_redis(redis: str, prefix: str) -> int | None:
    if not redis:
        return None
    try:
        return await read_layout(redis, prefix)
    except Unavailable as error:
        log.warning("layout_not_read", error=str(error))
        return None
