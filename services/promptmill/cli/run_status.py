"""The state of a run, counted by prompt, and of the stages that process it."""

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
    """The state of one stage.

    Attributes:
        lag: number of messages that its group has not finished.
        workers: the number of live workers. This and all later fields are ``None`` while the
            registry is unavailable.
        in_flight: number of messages in flight.
        rate: messages finished per second.
        held: the distinct reasons why backpressure holds its workers; empty if it does not.
        schema_versions: versions of the contracts that its workers read: more than one during an
            upgrade, and 0 for workers that do not report it.
        partitions: number of partitions that its workers hold and report.
        troubles: the distinct reasons why workers cannot complete any message.
        idle: ids of the workers that hold no partition and receive nothing, because the stage has
            more workers than partitions.
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
    """The backlog of a topic, and its water marks.

    Attributes:
        records: number of messages that its slowest reader has not finished. This and the next
            three fields are ``None`` unless a worker has measured them within the last 5 s.
        bytes: estimate of their size.
        tokens: estimate of the tokens that a model reads or writes for them; ``None`` if the
            topic's reader has no model.
        seconds: estimated time until they are finished; ``None`` if nothing is being finished.
        high_records: the number above which writers of the topic are held.
        low_records: the number at which writers continue.
        high_bytes, low_bytes: the same limits in bytes.
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
    """The counts of a run; ``published`` is the sum of the next four fields.

    Settled prompts count as published, even if another producer sent only their answers to a topic.

    Attributes:
        held_publishers: number of publishers that wait for room, by run.
        publishers_waited_s: seconds that publishers have waited for room within a week, by run.
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
        """Whether every prompt has an outcome; a run without prompts is not settled."""
        return self.published > 0 and self.pending == 0

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``status --json`` prints."""
        counts = asdict(self)
        names = ("stages", "topics", "held_publishers", "publishers_waited_s")
        own = {name: counts.pop(name) for name in names}
        return {**counts, "settled": self.settled, **own}


class StatusReader:
    """A reader of the state of one run, which can be read repeatedly.

    Args:
        reader: reader of the topics, started.
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
        self._counted_at = 0

    async def read(self) -> RunStatus:
        """Read the current state.

        Raises:
            Unavailable: Kafka or the store does not answer.
        """
        # Outcomes are read first, so that every settled prompt is among the published ones.
        settled = await asyncio.to_thread(self._counts.settled, self._run)
        published = await self._published.refresh()
        if self._must_count(published, settled.total):
            # Prompts that are published in the meantime are counted again.
            self._counted_at = published
            self._unpublished = await asyncio.to_thread(self._count_unpublished)
            published = await self._published.refresh()
        published = max(settled.total, published + self._unpublished)
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

    def _must_count(self, published: int, settled: int) -> bool:
        """Whether settled prompts may be unpublished, or those that were may be published now."""
        has_changed = self._unpublished > 0 and published != self._counted_at
        return has_changed or published + self._unpublished < settled

    def _count_unpublished(self) -> int:
        """Count settled prompts that were not published, because only their answers were sent."""
        found = IdSet(chain.from_iterable(self._counts.settled_ids(self._run)))
        published = chain.from_iterable(self._counts.prompt_ids(self._run))
        for prompt_id in chain(published, self._published.coming):
            found.discard(prompt_id)
        return len(found)

    async def _board(self) -> tuple[Mapping[str, TopicLag], Mapping[str, Waits]]:
        """Read the lags that the elected worker has measured, and the waits of publishers."""
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
    """Combine the reports of a stage's workers to the state of the stage."""
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
