"""The state of a run, counted by prompt, and of the stages that work on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, Final

from promptmill.cli.addresses import Addresses
from promptmill.cli.counts import StoredCounts
from promptmill.cli.gaps import stored_log_check
from promptmill.cli.pipeline import alive_workers
from promptmill.cli.publish.id_set import IdSet
from promptmill.cli.publish.published import PublishedCount
from promptmill.cli.settings import CommandSettings
from promptmill.flow.board import LagBoard, Waits
from promptmill.flow.lags import TopicLag
from promptmill.flow.marks import Marks, Unit
from promptmill.flow.settings import load_marks
from promptmill.kafka.log_reader import LogReader
from promptmill.runtime.errors import Unavailable
from promptmill.runtime.telemetry.registry import WorkerInfo
from promptmill_schemas.documents import FLOW
from promptmill_schemas.topics import PROMPTS

STAGES: Final = tuple(part for part, (receives, _) in FLOW.items() if receives)


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One kind of worker.

    Attributes:
        lag: messages that its group has not finished.
        workers: the number of live workers. This and all later fields are ``None`` while the
            registry is unavailable.
        in_flight: messages at work.
        rate: messages finished a second.
        held: why backpressure lets its workers take no new work, each reason once; empty when it
            does not.
        schema_versions: versions of the contracts that its workers read; more than one during an
            upgrade, 0 for workers that do not say.
        partitions: that its workers hold, as far as they say.
        troubles: why workers can complete nothing, each reason once.
        idle: workers that hold no partition and receive nothing, by id: there are more of them
            than partitions.
    """

    lag: int
    workers: int | None = None
    in_flight: int | None = None
    rate: float | None = None
    schema_versions: tuple[int, ...] | None = None
    held: tuple[str, ...] | None = None
    partitions: int | None = None
    idle: tuple[str, ...] | None = None
    troubles: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class TopicStatus:
    """What waits on a topic, and its water marks.

    Attributes:
        records: messages that its slowest reader has not finished; ``None``, as the next three,
            while no worker has measured it within 5 s.
        bytes: estimate of their size.
        tokens: estimate of what a model has to read or write for them; ``None`` where none does.
        seconds: until they are finished at the present rate; ``None`` while nothing moves.
        high_records: those who write to the topic are held above it.
        low_records: they go on at this number.
        high_bytes, low_bytes: the same in bytes.
    """

    records: int | None
    bytes: int | None
    tokens: int | None
    seconds: float | None
    high_records: int
    low_records: int
    high_bytes: int
    low_bytes: int


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run's counts: ``published`` is the sum of the four after it.

    Settled prompts count as published, also if only their answers were put on a topic by
    another producer.

    Attributes:
        held_publishers: how many publishers of each run, this one or another, wait for room.
        publishers_waited_s: by run, for how long publishers have waited for room within a week.
    """

    run: str
    published: int
    accepted: int
    rejected: int
    dead: int
    pending: int
    stages: dict[str, StageStatus]
    topics: dict[str, TopicStatus] = field(default_factory=dict)
    held_publishers: dict[str, int] = field(default_factory=dict)
    publishers_waited_s: dict[str, float] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether every prompt has its outcome; a run without prompts is not settled."""
        return self.published > 0 and self.pending == 0

    def as_json(self) -> dict[str, Any]:
        """What ``status --json`` prints."""
        counts = asdict(self)
        names = ("stages", "topics", "held_publishers", "publishers_waited_s")
        own = {name: counts.pop(name) for name in names}
        return {**counts, "settled": self.settled, **own}


class StatusReader:
    """Reads the state of one run, again and again.

    Args:
        reader: started.
    """

    def __init__(
        self,
        settings: CommandSettings,
        addresses: Addresses,
        counts: StoredCounts,
        reader: LogReader,
        run: str,
    ) -> None:
        self._settings = settings
        self._addresses = addresses
        self._counts = counts
        self._reader = reader
        self._run = run
        self._marks = load_marks()
        topic, check = settings.topic(PROMPTS), stored_log_check(addresses.store)
        self._published = PublishedCount(counts, reader, topic, run, check)
        self._unpublished = 0

    async def read(self) -> RunStatus:
        """The state now.

        Raises:
            Unavailable: Kafka or the store does not answer.
        """
        # Outcomes first: a prompt that is settled by then is published by the next line.
        settled = await asyncio.to_thread(self._counts.settled, self._run)
        published = await self._published.refresh() + self._unpublished
        if published < settled.total:
            self._unpublished = await asyncio.to_thread(self._count_unpublished)
            published = max(settled.total, await self._published.refresh() + self._unpublished)
        lags, waits = await self._board()
        return RunStatus(
            run=self._run,
            published=published,
            accepted=settled.accepted,
            rejected=settled.rejected,
            dead=settled.dead,
            pending=published - settled.total,
            stages=await self._stages(),
            topics={name: _topic(marks, lags.get(name)) for name, marks in self._marks.items()},
            held_publishers={run: each.held for run, each in waits.items() if each.held},
            publishers_waited_s={run: each.waited_s for run, each in waits.items()},
        )

    def _count_unpublished(self) -> int:
        """Count settled prompts that were not published; their answers were put on a topic."""
        found = IdSet(chain.from_iterable(self._counts.settled_ids(self._run)))
        published = chain.from_iterable(self._counts.prompt_ids(self._run))
        for prompt_id in chain(published, self._published.coming):
            found.discard(prompt_id)
        return len(found)

    async def _board(self) -> tuple[Mapping[str, TopicLag], Mapping[str, Waits]]:
        """The lags that the elected worker has measured, and the waits of publishers."""
        if not self._addresses.redis:
            return {}, {}
        board = LagBoard(self._addresses.redis, self._settings.topic_prefix)
        try:
            found, waits = await board.read(), await board.waits()
        except Unavailable:  # the table of workers says that Redis is unavailable
            return {}, {}
        finally:
            await board.close()
        return found.topics if found is not None and not found.is_stale else {}, waits

    async def _stages(self) -> dict[str, StageStatus]:
        prefix = self._settings.topic_prefix
        workers = await alive_workers(self._addresses.redis, prefix)
        groups = {
            self._settings.group(stage): [self._settings.topic(topic) for topic in FLOW[stage][0]]
            for stage in STAGES
        }
        lags = await self._reader.lags(groups)
        return {s: stage_status(s, lags[self._settings.group(s)], workers) for s in STAGES}


def stage_status(stage: str, lag: int, workers: Sequence[WorkerInfo] | None) -> StageStatus:
    """Combine what the workers of a stage report; return ``None`` if none is known."""
    if workers is None:
        return StageStatus(lag)
    own = [worker for worker in workers if worker.stage == stage]
    return StageStatus(
        lag,
        workers=len(own),
        in_flight=sum(worker.in_flight for worker in own),
        rate=round(sum(worker.rate for worker in own), 3),
        schema_versions=tuple(sorted({worker.schema_version for worker in own})),
        held=tuple(sorted({worker.held for worker in own} - {""})),
        partitions=sum(max(0, worker.partitions) for worker in own),
        idle=tuple(sorted(worker.id for worker in own if worker.is_idle)),
        troubles=tuple(sorted({worker.trouble for worker in own} - {""})),
    )


def _topic(marks: Marks, lag: TopicLag | None) -> TopicStatus:
    return TopicStatus(
        records=None if lag is None else lag.records,
        bytes=None if lag is None else lag.bytes,
        tokens=None if lag is None else lag.tokens,
        seconds=None if lag is None else lag.seconds,
        high_records=marks.high(Unit.RECORDS),
        low_records=marks.low(Unit.RECORDS),
        high_bytes=marks.high(Unit.BYTES),
        low_bytes=marks.low(Unit.BYTES),
    )
