"""The governor of one worker, which reads the lags each second and holds or releases its loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from promptmill.flow.metrics import FlowMetrics
from promptmill.flow.reports import Share, WorkerReport
from promptmill.flow.throttle import Reason, Throttle
from promptmill.flow.view import Sight, UnknownLags
from promptmill.stream.ports import Partition
from promptmill.stream.traffic import Traffic

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
TICK_S: Final = 0.25
"""Seconds between two counts of written messages; it is the precision of allowances."""


class Governed(Protocol):
    """The part of a :class:`~promptmill.stream.loop.StreamLoop` that is governed."""

    traffic: Traffic

    @property
    def assigned(self) -> Sequence[Partition]:
        """The partitions of this member."""

    @property
    def done(self) -> Mapping[Partition, int]:
        """Return the offsets done in each partition."""

    def hold(self) -> None:
        """Take no new records."""

    def release(self) -> None:
        """Take new records again."""


class Tokens(Protocol):
    """The tokens that a worker has counted."""

    @property
    def tokens_seen(self) -> int:
        """The number of tokens that the model has read and written."""

    @property
    def prompts_seen(self) -> int:
        """The number of prompts to which :attr:`tokens_seen` belongs."""


class Lookout(Protocol):
    """The part of :class:`~promptmill.flow.figures.Figures` that is used here."""

    async def look(self, report: WorkerReport) -> Sight | None:
        """Return the current lags, or ``None`` if there is nothing new to act on."""


class Governor:
    """The part of a worker that holds its loop while the topics that it writes to are full.

    Args:
        stage: ``instruct``, ``reward`` or ``filter``.
        topic: short name of the topic that the loop reads.
        prefix: the prefix of every topic's name.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        stage: str,
        topic: str,
        prefix: str,
        loop: Governed,
        throttle: Throttle,
        figures: Lookout,
        tokens: Tokens,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stage = stage
        self._topic = topic
        self._prefix = prefix
        self._loop = loop
        self._throttle = throttle
        self._figures = figures
        self._tokens = tokens
        self._clock = clock
        self._counted: dict[str, tuple[int, int]] = {}
        self._counted_tokens = (0, 0)
        self._sizes: dict[str, Share] = {}
        self._share_of_tokens = Share()
        self._held: tuple[Reason, ...] = ()
        self._noted_s = clock()
        self._known_s = clock()
        self.metrics: FlowMetrics | None = None
        loop.traffic.on_limit = self._on_limit
        self._set_limits()

    @property
    def age_s(self) -> float:
        """The age in seconds of the lags that were last known."""
        return self._clock() - self._known_s

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The reasons why the loop is held; empty if it is not."""
        return self._held

    @property
    def held(self) -> str:
        """The reasons as text."""
        return "; ".join(map(str, self._held))

    async def run(self) -> None:
        """Govern the loop until cancelled; no failure in here ends the worker."""
        look_at = self._clock()
        while True:
            self.note()
            if self._clock() >= look_at:
                look_at = self._clock() + LOOK_S
                try:
                    await self.look()
                except Exception:
                    log.exception("governor_failed", stage=self._stage)
            await asyncio.sleep(TICK_S)

    def note(self) -> None:
        """Count the written messages, and the time for which the loop was held."""
        now = self._clock()
        written = {topic: amount.records for topic, amount in self._loop.traffic.written.items()}
        self._throttle.note(now, written)
        if self.metrics is not None:
            self.metrics.held(self._held, now - self._noted_s)
        self._noted_s = now

    async def look(self) -> None:
        """Read the lags from the board or from Kafka, and hold or release the loop."""
        try:
            sight = await self._figures.look(self._report())
        except UnknownLags as error:
            log.warning("lags_unknown", stage=self._stage, error=str(error))
            self._throttle.know_nothing()
            self._count("none", None)
        else:
            if sight is None:
                return
            self._learn(sight)
        self._set_limits()
        self._apply()

    def _learn(self, sight: Sight) -> None:
        self.note()
        now = self._clock()
        self._known_s = sight.began_s
        self._throttle.learn(sight.topics, now, now - sight.began_s, self._part(sight))
        self._count(sight.source, sight)

    def _part(self, sight: Sight) -> float:
        """Return this worker's share of the partitions; at least one partition counts."""
        lag = sight.topics.get(self._topic)
        own = max(1, len(self._loop.assigned))
        return own / max(own, lag.partitions if lag else 0)

    def _count(self, source: str, sight: Sight | None) -> None:
        if self.metrics is not None:
            self.metrics.looked(source, {} if sight is None else sight.topics)

    # Holding

    def _on_limit(self, topic: str) -> None:
        self._throttle.spend(topic)
        self._apply()

    def _set_limits(self) -> None:
        for topic, limit in self._throttle.limits.items():
            self._loop.traffic.written[topic].limit = limit

    def _apply(self) -> None:
        before, self._held = self._held, self._throttle.reasons
        if self._held and not before:
            log.info("held", stage=self._stage, reasons=self.held)
            self._loop.hold()
        elif before and not self._held:
            log.info("released", stage=self._stage)
            self._loop.release()

    # Reporting

    def _report(self) -> WorkerReport:
        self._add_sizes()
        self._add_tokens()
        done = {
            Partition(partition.topic.removeprefix(self._prefix), partition.number): offset
            for partition, offset in self._loop.done.items()
        }
        return WorkerReport(self._stage, dict(self._sizes), self._share_of_tokens, done)

    def _add_sizes(self) -> None:
        traffic = self._loop.traffic
        for name, amount in (*traffic.read.items(), *traffic.written.items()):
            records, size = self._counted.get(name, (0, 0))
            known = self._sizes.get(name, Share())
            self._sizes[name] = known.add(amount.bytes - size, amount.records - records)
            self._counted[name] = (amount.records, amount.bytes)

    def _add_tokens(self) -> None:
        tokens, prompts = self._tokens.tokens_seen, self._tokens.prompts_seen
        before, before_prompts = self._counted_tokens
        self._share_of_tokens = self._share_of_tokens.add(tokens - before, prompts - before_prompts)
        self._counted_tokens = tokens, prompts
