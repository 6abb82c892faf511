"""Processes one record: decodes it, applies the work with retries, and publishes the outcome."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol, TypeAlias

import structlog

from promptmill.runtime.errors import Fatal, Poison, Transient, Unavailable, reason_of
from promptmill.stream.dead_letters import dead_letter, publish_dead_letter, sized_call
from promptmill.stream.layout import Placement
from promptmill.stream.outcome import DeadLettered, Drop, Emit, Move, Outcome, Outgoing, Retry
from promptmill.stream.partitions import WorkItem
from promptmill.stream.ports import Delivery, Message, Sender
from promptmill.stream.settings import LoopSettings
from promptmill.stream.traffic import Traffic
from promptmill_schemas import Contract, ContractError, DeadLetter, Topic, decode, encode
from promptmill_schemas.headers import EventHeaders, Headers, trace_of
from promptmill_schemas.topics import DEAD_LETTERS

log = structlog.get_logger(__name__)

Work: TypeAlias = Callable[[Any], Awaitable[Outcome]]
Final: TypeAlias = Emit | Drop | DeadLettered | Move


class Probe(Protocol):
    """Receives events about records; see :mod:`promptmill.runtime.telemetry.metrics`."""

    def settled(self, outcome: str, reason: str, seconds: float) -> None:
        """A record is finished: ``emit``, ``move``, or with a reason ``drop``, ``dead_letter``."""

    def retried(self, reason: str) -> None:
        """An attempt failed and will be repeated."""


class Attempts:
    """Applies a stage's work to deliveries and publishes the outcomes."""

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
        self._events = EventHeaders(stage)
        self._topic = topic
        self._settings = settings
        self._probe = probe
        self._prefix = prefix
        self._traffic = traffic or Traffic()
        self._placement = None if settings.layout is None else Placement(settings.layout)
        self._unavailable: set[str] = set()

    async def outcome_of(self, item: WorkItem) -> Final:
        """Apply the work until it returns an outcome other than a retry.

        Raises:
            Fatal: the process cannot continue.
            asyncio.CancelledError: the item was aborted. A deadline that passes does not raise;
                its outcome is a dead letter.
        """
        try:
            return await self._outcome_of(item)
        except asyncio.CancelledError:
            if not item.expired or item.task is None:
                raise
            item.task.uncancel()
            limit = self._settings.deadline_s
            return DeadLettered(
                "deadline",
                (f"the record had no outcome within {limit} s; raise deadline_s or replay it"),
            )

    async def _outcome_of(self, item: WorkItem) -> Final:
        value, contract_type = item.delivery.value, self._topic.contract
        try:
            contract = await sized_call(item.delivery.size, decode, contract_type, value)
        except Exception as error:  # noqa: BLE001 - no message may end the worker that reads it
            item.attempts = 1
            return DeadLettered(reason_of(error), str(error))
        if (move := self._move(item, contract)) is not None:
            return move
        while True:
            item.attempts += 1
            outcome = await self._once(item, contract)
            if not isinstance(outcome, Retry):
                return outcome
            if item.attempts >= self._settings.attempts:
                return DeadLettered(
                    outcome.reason, f"the record failed {item.attempts} times: {outcome.detail}"
                )
            await self._pause(item, outcome)

    def _move(self, item: WorkItem, contract: Contract) -> Move | None:
        """The move to the partition that the layout gives to this message, if it is misplaced.

        Messages are misplaced after partitions were added, or when another program produced them
        with its own partitioner. The store expects everything about one prompt in the partition
        of the same number.
        """
        key, number = self._topic.key(contract).encode(), item.delivery.partition.number
        if self._placement is None or not self._placement.is_to_be_moved(number, key):
            return None
        return Move(key)

    async def _pause(self, item: WorkItem, outcome: Retry) -> None:
        self._probe.retried(outcome.reason)
        pause = outcome.after_s
        await asyncio.sleep(self._settings.backoff_s(item.attempts) if pause is None else pause)

    async def _once(self, item: WorkItem, contract: Contract) -> Outcome:
        waits = 0
        while True:
            try:
                outcome = await self._work(contract)
                self._unavailable.clear()
                return outcome  # noqa: TRY300 - only what the work raises is handled below
            except Unavailable as error:
                waits += 1
                await self._wait_for_return(item, error, waits)
            except Transient as error:
                return Retry(reason_of(error), str(error), error.retry_after_s)
            except (Poison, ContractError) as error:
                return DeadLettered(reason_of(error), str(error))
            except Fatal:
                raise
            except Exception as error:
                log.exception("work_failed", stage=self._stage, offset=item.delivery.offset)
                return Retry(reason_of(error), repr(error))

    async def _wait_for_return(self, item: WorkItem, error: Unavailable, waits: int) -> None:
        """Pause without counting the attempt or the time, because the record is not at fault."""
        reason = reason_of(error)
        self._probe.retried(reason)
        if reason not in self._unavailable:  # once, and not for each record that waits
            self._unavailable.add(reason)
            log.warning("dependency_unavailable", stage=self._stage, error=str(error))
        asked = error.retry_after_s
        pause = self._settings.backoff_s(waits) if asked is None else asked
        item.since = time.monotonic() + pause  # the deadline does not run while it waits
        await asyncio.sleep(pause)

    async def settle(self, item: WorkItem, outcome: Final) -> None:
        """Publish the messages of the outcome and return when all of them are acknowledged."""
        if isinstance(outcome, Emit):
            try:
                await self._publish_all(outcome, item.delivery)
            except Poison as error:
                outcome = DeadLettered(reason_of(error), str(error))
        if isinstance(outcome, Move):
            try:
                await self._publish(self._topic.name, self._moved(item.delivery, outcome.key))
            except Poison as error:
                outcome = DeadLettered(reason_of(error), str(error))
        if isinstance(outcome, DeadLettered):
            message = await sized_call(item.delivery.size, self._dead_letter, item, outcome)
            headers = self._events.of(DEAD_LETTERS, message, trace_of(item.delivery.headers))
            await publish_dead_letter(message, partial(self._publish_dead_letter, headers))
            log.warning(
                "record_dead_lettered",
                stage=self._stage,
                partition=str(item.delivery.partition),
                offset=item.delivery.offset,
                reason=outcome.reason,
                detail=outcome.detail[:300],
            )
        self._probe.settled(*_label(outcome), time.monotonic() - item.since)

    async def _publish_dead_letter(self, headers: Headers, key: bytes, value: bytes) -> None:
        await self._publish(DEAD_LETTERS.name, Message(key, value, headers))

    def _moved(self, delivery: Delivery, key: bytes) -> Message:
        headers = self._events.again(self._topic, delivery.headers, key.decode())
        return Message(key, delivery.value or b"", headers)

    def _dead_letter(self, item: WorkItem, outcome: DeadLettered) -> DeadLetter:
        return dead_letter(
            item.delivery,
            stage=self._stage,
            topic=self._topic.name,
            reason=outcome.reason,
            detail=outcome.detail,
            attempts=item.attempts,
        )

    async def _publish_all(self, outcome: Emit, delivery: Delivery) -> None:
        """Encode all messages before any is sent, so that a failure leaves nothing published.

        Otherwise a prompt could have both a record and a dead letter.

        Args:
            delivery: what was processed; large messages produce large outcomes.
        """
        trace = trace_of(delivery.headers)
        ready = [
            (each.topic.name, await sized_call(delivery.size, self._encoded, each, trace))
            for each in outcome.messages
        ]
        if len(ready) == 1:
            await self._publish(*ready[0])
        else:
            await asyncio.gather(*(self._publish(*each) for each in ready))

    def _encoded(self, outgoing: Outgoing, trace: Headers) -> Message:
        value = _value_of(outgoing)
        topic, contract = outgoing.topic, outgoing.contract
        return Message(topic.key(contract).encode(), value, self._events.of(topic, contract, trace))

    async def _publish(self, topic: str, message: Message) -> None:
        attempt = 0
        while True:
            try:
                await self._sender.send(self._prefix + topic, *message)
            except Transient as error:
                attempt += 1
                self._probe.retried(reason_of(error))
                await asyncio.sleep(self._settings.backoff_s(attempt))
            else:
                self._traffic.wrote(topic, len(message.value))
                return


def _value_of(message: Outgoing) -> bytes:
    """The encoding of the message.

    Raises:
        Poison: the message exceeds the limit of its topic, or it cannot be written as JSON (for
            example an answer with half of a surrogate pair).
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
    return value


def _label(outcome: Final) -> tuple[str, str]:
    if isinstance(outcome, Emit):
        return "emit", ""
    if isinstance(outcome, Move):
        return "move", ""
    return ("drop" if isinstance(outcome, Drop) else "dead_letter"), outcome.reason
