"""Handles failed polls: some are repeated, others end the process, and no record is lost.

FastStream's consume loop catches every ``KafkaError``, sleeps and continues silently. So the
consumer handles errors before FastStream sees them; see decision 0011.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    ConsumerStoppedError,
    CorruptRecordException,
    GroupAuthorizationFailedError,
    KafkaError,
    NoError,
    NotLeaderForPartitionError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedCodecError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest

from promptmill.kafka.membership import Membership
from promptmill.runtime.errors import Fatal, Misconfigured, reason_of
from promptmill.runtime.timing import backoff_s

log = structlog.get_logger(__name__)

PATIENCE_S = 60.0
"""Seconds after which an error that rarely resolves itself ends the process."""

QUIET_S = 15.0
"""Seconds without an error after which its streak ends; longer than the longest pause."""

PAUSE_INITIAL_S = 0.1
PAUSE_MAX_S = 5.0


class PartitionUnreadable(KafkaError):  # type: ignore[misc]
    """A broker answers a fetch, but with an error for one of its partitions."""


REMEDIES: tuple[tuple[type[KafkaError], float, str], ...] = (
    (
        CorruptRecordException,
        PATIENCE_S,
        (
            "restore the partition from an intact replica; if there is none, delete its records up "
            "to the end of the damage (kafka-delete-records) and accept the loss with `promptmill "
            "gaps accept`"
        ),
    ),
    (
        PartitionUnreadable,
        PATIENCE_S,
        "see the log of the broker that leads the partition for the cause",
    ),
    (
        UnknownTopicOrPartitionError,
        PATIENCE_S,
        "create the topic with `promptmill topics`, or point PROMPTMILL_KAFKA at the right cluster",
    ),
    (TopicAuthorizationFailedError, 0.0, "allow this worker's user to read the topic"),
    (GroupAuthorizationFailedError, 0.0, "allow this worker's user to read with the group"),
    (ClusterAuthorizationFailedError, 0.0, "allow this worker's user to use the cluster"),
    (UnsupportedCodecError, 0.0, "install aiokafka with that codec, or compress with lz4 or zstd"),
)
"""Errors that retries do not resolve: the class, the seconds they may last, and the remedy."""

_SEEN_BY_CLIENT = (
    NoError,
    NotLeaderForPartitionError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
"""What the client handles or raises itself; any other error of a partition it only logs."""


class PollProbe(Protocol):
    """Receives failed polls; ``StageMetrics`` implements it."""

    def poll_failed(self, reason: str) -> None:
        """Count a failed poll, which will be repeated."""


@dataclass(slots=True)
class _Streak:
    """Consecutive failures of one kind, with monotonic times in seconds."""

    since: float
    last: float
    failures: int = 0


class PollGuard:
    """Decides whether a failed poll is repeated or ends the process.

    Successful polls do not end a streak of failures, because a single partition may fail whenever
    it is fetched. A streak ends when its kind of error has not occurred for ``QUIET_S``.

    Args:
        probe: receives the failed polls.
        on_lost: called with the error that ends the process.
        clock: monotonic time in seconds.
        patience_s: replaces ``PATIENCE_S``, in seconds.
    """

    def __init__(
        self,
        probe: PollProbe | None,
        on_lost: Callable[[BaseException], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._probe = probe
        self._on_lost = on_lost
        self._clock = clock
        self._patience = patience_s / PATIENCE_S
        self._streaks: dict[str, _Streak] = {}

    def end(self, error: Fatal) -> None:
        """End the process, whatever the polls do."""
        self._on_lost(error)

    async def failed(self, error: Exception) -> None:
        """Return when the poll may be repeated; never return if the process has to end."""
        reason = reason_of(error)
        streak = self._count(reason)
        if self._probe is not None:
            self._probe.poll_failed(reason)
        end = self._end_of(error, streak.last - streak.since)
        if end is not None:
            self._on_lost(end)
            await _until_cancelled()
        log.warning("poll_failed", error=repr(error), failures=streak.failures)
        await asyncio.sleep(backoff_s(streak.failures, PAUSE_INITIAL_S, PAUSE_MAX_S))

    def _count(self, reason: str) -> _Streak:
        now = self._clock()
        streak = self._streaks.get(reason)
        if streak is None or now - streak.last > QUIET_S:
            streak = self._streaks[reason] = _Streak(now, now)
        streak.last = now
        streak.failures += 1
        return streak

    def _end_of(self, error: Exception, lasted_s: float) -> Fatal | None:
        for kind, limit_s, remedy in REMEDIES:
            if isinstance(error, kind):
                if lasted_s < limit_s * self._patience:
                    return None
                return _caused(
                    Misconfigured(
                        f"polls of Kafka have failed for {lasted_s:.0f} s ({error!r}): {remedy}"
                    ),
                    error,
                )
        if isinstance(error, KafkaError) and error.retriable:
            return None
        return _caused(Fatal(f"a poll of Kafka failed: {error!r}; start the worker again"), error)


class PolledConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """aiokafka's consumer, in which a failed poll is seen and loses no records."""

    def __init__(self, guard: PollGuard, **options: Any) -> None:
        super().__init__(**options)
        self._guard = guard
        instance_id, session_s = self._group_instance_id, self._session_timeout_ms / 1000
        self._membership = Membership(instance_id, session_s, guard.end) if instance_id else None
        self._client.send = self._watched(self._client.send)

    def _watched(self, send: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Send requests, and look at what the client ignores in the answers to them."""

        async def watched(node_id: int | str, request: Any, **options: Any) -> Any:
            if self._membership is not None:
                self._membership.check(request)
            response = await send(node_id, request, **options)
            if isinstance(request, FetchRequest):
                self._keep_errors(response)
            elif self._membership is not None:
                self._membership.look(request, response)
            return response

        return watched

    def _keep_errors(self, response: Any) -> None:
        """Let the next poll raise the errors of partitions that the client would only log."""
        fetcher = self._fetcher
        for topic, partitions in response.topics:
            for number, code, *_ in partitions:
                partition, kind = TopicPartition(topic, number), for_code(code)
                if kind in _SEEN_BY_CLIENT or partition in fetcher._records:  # noqa: SLF001 - no public way
                    continue
                fetcher._set_error(partition, _unreadable(partition, kind))  # noqa: SLF001 - as above
                if kind.invalid_metadata:
                    self._client.force_metadata_update()

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Any]]:
        """Poll like aiokafka's consumer, but return an empty batch after a failure."""
        before = self._positions()
        try:
            self._check_fetcher()
            batch: dict[TopicPartition, list[Any]] = await super().getmany(
                *partitions, timeout_ms=timeout_ms, max_records=max_records
            )
        except ConsumerStoppedError:
            raise
        except Exception as error:  # noqa: BLE001 - FastStream would swallow or retry any
            self._rewind(before)
            await self._guard.failed(error)
            return {}
        return batch

    def resume(self, *partitions: TopicPartition) -> None:
        """Deliver from these partitions again, at once where records were kept for them."""
        super().resume(*partitions)
        for waiter in self._fetcher._fetch_waiters:  # noqa: SLF001 - nothing public wakes a poll
            self._fetcher._notify(waiter)  # noqa: SLF001

    async def stop(self) -> None:
        """Leave the group and disconnect, even if the fetcher has failed."""
        try:
            await super().stop()
        except KafkaError:
            await self._client.close()
            raise

    def _check_fetcher(self) -> None:
        """Raise the error of the background fetcher, which aiokafka only logs."""
        fetching = self._fetcher.error_future
        if fetching.done() and not fetching.cancelled():
            fetching.result()

    def _positions(self) -> dict[TopicPartition, tuple[Any, int]]:
        subscription = self._subscription.subscription
        assignment = subscription.assignment if subscription else None
        states = {p: assignment.state_value(p) for p in assignment.tps} if assignment else {}
        return {p: (s, s.position) for p, s in states.items() if s and s.has_valid_position}

    def _rewind(self, before: dict[TopicPartition, tuple[Any, int]]) -> None:
        """Seek back, so that records drained from healthy partitions are fetched again.

        A partition without a position before the poll is left to the intake, which finds the gap.
        """
        for partition, (state, position) in self._positions().items():
            known = before.get(partition)
            if known is not None and known[0] is state and known[1] < position:
                self.seek(partition, known[1])


def _unreadable(partition: TopicPartition, kind: type[KafkaError]) -> KafkaError:
    named = f"{partition.topic}-{partition.partition}"
    if kind.retriable or kind is CorruptRecordException:
        return kind(named)
    return PartitionUnreadable(f"{kind(named)!r}")


def _caused(fatal: Fatal, error: Exception) -> Fatal:
    fatal.__cause__ = error
    return fatal


async def _until_cancelled() -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError("this event is never set")
