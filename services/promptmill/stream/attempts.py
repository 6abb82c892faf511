"""One record from its bytes to its settled outcome: tried, retried in place, or buried."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

import structlog

from promptmill.runtime.errors import Fatal, Poison, Transient, Unavailable, reason_of
from promptmill.stream.dead_letters import dead_letter, publish_letter, sized_call
from promptmill.stream.layout import Placement
from promptmill.stream.outcome import Bury, Drop, Emit, Move, Outcome, Outgoing, Retry
from promptmill.stream.partitions import Job
from promptmill.stream.ports import Sender
from promptmill.stream.settings import LoopSettings
from promptmill.stream.traffic import Traffic
from promptmill_schemas import Contract, ContractError, DeadLetter, Topic, decode, encode
from promptmill_schemas.topics import DEAD_LETTERS

log = structlog.get_logger(__name__)

Work: TypeAlias = Callable[[Any], Awaitable[Outcome]]
Final: TypeAlias = Emit | Drop | Bury | Move


class Probe(Protocol):
    """What is told about records; see :mod:`promptmill.runtime.telemetry.metrics`."""

    def settled(self, outcome: str, reason: str, seconds: float) -> None:
        """One record is done: ``emit``, ``move``, or with a reason ``drop``, ``dead_letter``."""

    def retried(self, reason: str) -> None:
        """One attempt failed and will be repeated."""


class Attempts:
    """Applies a stage's work to deliveries and publishes what comes of it."""

    def __init__(
        self,
        sender: Sender,
        work: Work,
        *,
        stage: str,
        topic: Topic,
        settings: LoopSettings,
        probe: Probe,
        prefix: str = "",
        traffic: Traffic | None = None,
    ) -> None:
        self._sender = sender
        self._work = work
        self._stage = stage
        self._topic = topic
        self._settings = settings
        self._probe = probe
        self._prefix = prefix
        self._traffic = traffic or Traffic()
        self._placement = None if settings.layout is None else Placement(settings.layout)

    async def outcome_of(self, job: Job) -> Final:
        """Work until there is an outcome other than a retry.

        Raises:
            Fatal: the process cannot go on.
            asyncio.CancelledError: the job was aborted (not: its deadline has passed).
        """
        try:
            return await self._outcome_of(job)
        except asyncio.CancelledError:
            if not job.expired or job.task is None:
                raise
            job.task.uncancel()
            limit = self._settings.deadline_s
            return Bury(
                "deadline",
                (f"the record had no outcome within {limit} s; raise deadline_s or replay it"),
            )

    async def _outcome_of(self, job: Job) -> Final:
        value, contract_type = job.delivery.value, self._topic.contract
        try:
            contract = await sized_call(_size(job), decode, contract_type, value)
        except Exception as error:  # noqa: BLE001 - no message may end the worker that reads it
            job.attempts = 1
            return Bury(reason_of(error), str(error))
        if (move := self._move(job, contract)) is not None:
            return move
        while True:
            job.attempts += 1
            outcome = await self._once(job, contract)
            if not isinstance(outcome, Retry):
                return outcome
            if job.attempts >= self._settings.attempts:
                return Bury(
                    outcome.reason, f"the record failed {job.attempts} times: {outcome.detail}"
                )
            await self._pause(job, outcome)

    def _move(self, job: Job, contract: Contract) -> Move | None:
        """The way back to where the layout wants this message, if it stands elsewhere.

        Partitions may have been added, or another program may choose them in its own way. The
        store keeps what belongs to one prompt in the partition of one number.
        """
        key, number = self._topic.key(contract).encode(), job.delivery.partition.number
        if self._placement is None or not self._placement.is_to_be_moved(number, key):
            return None
        return Move(key)

    async def _pause(self, job: Job, outcome: Retry) -> None:
        self._probe.retried(outcome.reason)
        pause = outcome.after_s
        await asyncio.sleep(self._settings.backoff_s(job.attempts) if pause is None else pause)

    async def _once(self, job: Job, contract: Contract) -> Outcome:
        waits = 0
        while True:
            try:
                return await self._work(contract)
            except Unavailable as error:
                waits += 1
                await self._wait_for_return(job, error, waits)
            except Transient as error:
                return Retry(reason_of(error), str(error), error.retry_after_s)
            except (Poison, ContractError) as error:
                return Bury(reason_of(error), str(error))
            except Fatal:
                raise
            except Exception as error:
                log.exception("work_failed", stage=self._stage, offset=job.delivery.offset)
                return Retry(reason_of(error), repr(error))

    async def _wait_for_return(self, job: Job, error: Unavailable, waits: int) -> None:
        """Pause without counting the attempt or the time: the record is not at fault."""
        self._probe.retried(reason_of(error))
        if waits == 1:
            log.warning("dependency_unavailable", stage=self._stage, error=str(error))
        asked = error.retry_after_s
        pause = self._settings.backoff_s(waits) if asked is None else asked
        job.since = time.monotonic() + pause  # the deadline does not run while it waits
        await asyncio.sleep(pause)

    async def settle(self, job: Job, outcome: Final) -> None:
        """Publish what the outcome asks for; returns when all of it is acknowledged."""
        if isinstance(outcome, Emit):
            try:
                await self._publish_all(outcome, _size(job))
            except Poison as error:
                outcome = Bury(reason_of(error), str(error))
        if isinstance(outcome, Move):
            try:
                await self._publish((self._topic.name, outcome.key, job.delivery.value or b""))
            except Poison as error:
                outcome = Bury(reason_of(error), str(error))
        if isinstance(outcome, Bury):
            letter = await sized_call(_size(job), self._letter, job, outcome)
            await publish_letter(letter, self._publish_letter)
            log.warning(
                "record_dead_lettered",
                stage=self._stage,
                partition=str(job.delivery.partition),
                offset=job.delivery.offset,
                reason=outcome.reason,
                detail=outcome.detail[:300],
            )
        self._probe.settled(*_label(outcome), time.monotonic() - job.since)

    async def _publish_letter(self, key: bytes, value: bytes) -> None:
        await self._publish((DEAD_LETTERS.name, key, value))

    def _letter(self, job: Job, outcome: Bury) -> DeadLetter:
        return dead_letter(
            job.delivery,
            stage=self._stage,
            topic=self._topic.name,
            reason=outcome.reason,
            detail=outcome.detail,
            attempts=job.attempts,
        )

    async def _publish_all(self, outcome: Emit, size: int) -> None:
        """Nothing is sent unless all of it can be: a record beside a dead letter is two fates.

        Args:
            size: bytes of the message that it came from: what comes of a large one is large.
        """
        messages = [await sized_call(size, _encoded, message) for message in outcome.messages]
        if len(messages) == 1:
            await self._publish(messages[0])
        else:
            await asyncio.gather(*map(self._publish, messages))

    async def _publish(self, message: tuple[str, bytes, bytes]) -> None:
        topic, key, value = message
        attempt = 0
        while True:
            try:
                await self._sender.send(self._prefix + topic, key, value)
            except Transient as error:
                attempt += 1
                self._probe.retried(reason_of(error))
                await asyncio.sleep(self._settings.backoff_s(attempt))
            else:
                self._traffic.wrote(topic, len(value))
                return


def _size(job: Job) -> int:
    return len(job.delivery.value or b"")


def _encoded(message: Outgoing) -> tuple[str, bytes, bytes]:
    """Topic, key and value.

    Raises:
        Poison: it is larger than its topic takes, or holds what JSON cannot carry (an engine's
            answer with half a surrogate pair).
    """
    topic = message.topic
    try:
        value = encode(message.contract)
    except (ValueError, TypeError, RecursionError) as error:
        raise Poison(f"the message for {topic.name} cannot be written as JSON: {error}") from error
    if len(value) > topic.max_message_bytes:
        raise Poison(
            f"a message of {len(value)} bytes exceeds the limit of topic {topic.name} "
            f"({topic.max_message_bytes} bytes): ask for fewer candidates or shorter answers"
        )
    return topic.name, topic.key(message.contract).encode(), value


def _label(outcome: Final) -> tuple[str, str]:
    if isinstance(outcome, Emit):
        return "emit", ""
    if isinstance(outcome, Move):
        return "move", ""
    return ("drop" if isinstance(outcome, Drop) else "dead_letter"), outcome.reason
