"""A private pipeline: topics of its own, real worker processes, a store, and its audit."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from itertools import count, takewhile
from typing import Any

from promptmill_schemas import Prompt
from support.chaos.audit import Audit, audit
from support.chaos.backend import Backend, committed, delete_topics, make_topics
from support.chaos.faults import FaultLog
from support.chaos.prompts import prompts
from support.chaos.sending import publish, sending
from support.chaos.tables import Tables, read_positions, read_tables
from support.chaos.topic_log import INPUTS, OUTPUTS, Seen, TopicLog
from support.chaos.worker import FOR_EVER, Terms, Worker, always
from support.waiting import eventually

SESSION_S = 6
PARTITIONS = 4
_POLL_S = 0.25

SETTINGS = {
    "PROMPTMILL_SESSION_TIMEOUT_S": str(SESSION_S),
    "PROMPTMILL_GRACE_S": "10",
    "PROMPTMILL_INSTRUCT_ENGINE": "scripted",
    "PROMPTMILL_INSTRUCT_MODEL": "latency_s=0.1,sigma=1.0,tokens=20,killer=1",
    "PROMPTMILL_INSTRUCT_SLOTS": "32",
    "PROMPTMILL_REWARD_ENGINE": "scripted",
    "PROMPTMILL_REWARD_MODEL": "latency_s=0.01,sigma=1.0",
    "PROMPTMILL_FILTER_MIN_HELPFULNESS": "2.0",
    "PROMPTMILL_FILTER_EXPECTED_RECORDS": "100000",
}
"""Of all workers: generations of 0.01 to 1 s stand for those of 1 to 120 s."""


class PipelineUnderTest:
    """One pipeline under test.

    Args:
        prefix: of its topics, groups and claims.
        partitions: of each topic.

    Attributes:
        log: what stands on its topics, followed all the time.
        published: ids of the prompts that were acknowledged.
        own: those of them that belong to the present test.
        faults: what was done to it in the present test.
        is_balanced: the last audit was clean, and nothing was published since.
    """

    def __init__(self, backend: Backend, prefix: str, partitions: int = PARTITIONS) -> None:
        self.backend = backend
        self.prefix = prefix
        self.partitions = partitions
        self.folder = backend.folder / prefix.rstrip(".")
        self.store = self.folder / "store"
        self.log = TopicLog(backend.kafka, prefix)
        self.faults = FaultLog()
        self.workers: list[Worker] = []
        self.published: set[str] = set()
        self.own: set[str] = set()
        self.is_balanced = True
        self._numbers = count()

    @asynccontextmanager
    async def running(self, *, keep: bool = False) -> AsyncIterator[None]:
        """With topics and a follower; all workers are killed at the end.

        Args:
            keep: the topics stay.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        await make_topics(self.backend, self.prefix, self.partitions)
        self.log.follow()
        try:
            yield
        finally:
            await asyncio.gather(*(w.stop(signal.SIGKILL) for w in self.workers))
            await self.log.close()
            if not keep:
                await delete_topics(self.backend, self.prefix)

    @asynccontextmanager
    async def one_test(self) -> AsyncIterator[None]:
        """One test with prompts of its own; the workers that it starts leave at its end."""
        before = list(self.workers)
        self.own = set()
        self.faults.faults.clear()
        try:
            yield
        finally:
            extra_workers = [worker for worker in self.workers if worker not in before]
            await asyncio.gather(
                *(extra_worker.stop(signal.SIGTERM, 5) for extra_worker in extra_workers)
            )
            self.workers = before

    # Workers

    def start_workers(
        self,
        stage: str,
        number: int = 1,
        terms: Terms = FOR_EVER,
        **settings: object,
    ) -> list[Worker]:
        """Start workers of this stage; they are started again when they end.

        Args:
            settings: of the stage, by their field names.
        """
        started = [
            Worker(
                name := f"{stage}-{next(self._numbers)}",
                stage,
                self.environment(stage, settings),
                self.folder / f"{name}.log",
                self.faults,
                terms,
            )
            for _ in range(number)
        ]
        for worker in started:
            worker.start_workers()
        self.workers += started
        return started

    def start_dying_worker(self, stage: str, faults: str, **settings: Any) -> None:
        """Start a worker that dies at a passage of named points, in each of its lives.

        It has little at work and commits at once, so that every life gets somewhere. With more
        at work than a life lasts, nothing is ever committed, and the lives repeat each other.
        """
        self.start_workers(stage, terms=always(faults), slots=8, commit_interval_s=0.1, **settings)

    async def start_other_stages(self) -> None:
        """One worker of each stage behind instruct, ready; the filter waits for the store."""
        self.start_workers("store")
        await self.ready()
        self.start_workers("filter")
        self.start_workers("reward")
        await self.ready()

    def of(self, stage: str) -> list[Worker]:
        """The workers of this stage."""
        return [worker for worker in self.workers if worker.stage == stage]

    async def ready(self) -> None:
        """Wait until all workers have joined their groups."""
        await asyncio.gather(*(worker.ready() for worker in self.workers))

    def environment(self, stage: str, settings: Mapping[str, object]) -> dict[str, str]:
        """All that a process of this pipeline is told; ``settings`` are the stage's own."""
        own = {f"PROMPTMILL_{stage}_{name}".upper(): str(v) for name, v in settings.items()}
        return {
            **os.environ,
            **SETTINGS,
            "PROMPTMILL_HOME": str(self.folder),
            "PROMPTMILL_KAFKA": self.backend.kafka,
            "PROMPTMILL_REDIS": self.backend.redis,
            "PROMPTMILL_STORE": str(self.store),
            "PROMPTMILL_TOPIC_PREFIX": self.prefix,
            **own,
        }

    # Records

    @property
    def messages(self) -> list[Seen]:
        """What stands on the topics of this test's own prompts."""
        return [message for message in self.log.messages if message.prompt_id in self.own]

    async def publish(self, them: Iterable[Prompt], per_s: float = 0.0) -> None:
        """Publish each until it is acknowledged."""
        self.is_balanced = False
        async with sending(self.backend.kafka, self.prefix) as send:
            await publish(send, them, self.admit, per_s)

    @asynccontextmanager
    async def flow(self, run: str, per_s: float) -> AsyncIterator[None]:
        """Prompts are published all the time; those that were sent are acknowledged at the end."""
        over = asyncio.Event()
        flowing = takewhile(lambda _: not over.is_set(), prompts(run))
        publishing = asyncio.create_task(self.publish(flowing, per_s))
        try:
            yield
        finally:
            over.set()
            await publishing

    def admit(self, prompt_id: str) -> None:
        """A prompt with this id is in the pipeline; it must be settled."""
        self.is_balanced = False
        self.published.add(prompt_id)
        self.own.add(prompt_id)

    async def put(self, topic: str, *messages: tuple[str, bytes]) -> None:
        """Put keys and values on a topic (short name)."""
        async with sending(self.backend.kafka, self.prefix) as send:
            await asyncio.gather(*(send(topic, key, value) for key, value in messages))

    async def advance(self, stage: str, by: int, within_s: float = 60.0) -> None:
        """Wait until the stage has published so many messages more."""
        start = len(self.log.messages)

        def done() -> bool:
            return sum(m.topic in OUTPUTS[stage] for m in self.log.messages[start:]) >= by

        await eventually(done, within_s, f"{stage} publishes {by} more")

    async def audit_when_settled(self, within_s: float = 90.0) -> Audit:
        """Wait until everything is settled and nothing is under way, then audit.

        Raises:
            AssertionError: not in time (says what is missing where), or the audit is not clean.
        """
        deadline = asyncio.get_running_loop().time() + within_s
        while missing := await self._unfinished():
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"not settled within {within_s:g} s: {missing}")
            await asyncio.sleep(_POLL_S)
        found = await self.audit()
        assert found.is_clean, str(found)
        self.is_balanced = True
        return found

    async def _unfinished(self) -> str:
        """What is still to come, cheapest question first; empty when nothing is."""
        if missing := len(self.published - self.log.settled):
            return f"{missing} prompts of {len(self.published)} stand on no settling topic"
        ends = self.log.ends
        for stage, topic in INPUTS.items():
            offsets = await committed(self.backend, f"{self.prefix}promptmill.{stage}")
            own = {(self.prefix + t, p): end for (t, p), end in ends.items() if t == topic}
            done = sum(offsets[at].offset for at in own if at in offsets)
            if lag := sum(own.values()) - done:
                return f"{stage} has not committed {lag} messages"
        positions = await asyncio.to_thread(
            read_positions, self.store, self.prefix, self.partitions
        )
        behind = sum(ends[at] - position for at, position in positions.items())
        return f"the store has not stored {behind} messages" if behind else ""

    def tables(self) -> Tables:
        """What the store holds now."""
        return read_tables(self.store, self.prefix, self.partitions)

    async def audit(self) -> Audit:
        """Audit once, with new readers that start at the first offset."""
        log = TopicLog(self.backend.kafka, self.prefix)
        await log.read()
        tables = await asyncio.to_thread(self.tables)
        return audit(tables, log.messages, log.ends, self.published, self.own)
