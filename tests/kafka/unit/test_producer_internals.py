"""What ``AbortableProducer`` needs of aiokafka, which aiokafka does not promise.

When a test here fails after an upgrade: read ``AIOKafkaProducer.stop``, ``Sender`` and
``MessageAccumulator`` again, correct ``kafka/producer.py``, and run the tests of
``tests/kafka/integration`` before the pin below is moved.
"""

from __future__ import annotations

import asyncio
import inspect
import math

import aiokafka
from aiokafka.errors import ProducerClosed, for_code
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch
from aiokafka.producer.producer import AIOKafkaProducer
from aiokafka.producer.sender import Sender
from aiokafka.structs import TopicPartition

from promptmill.kafka.producer import AbortableProducer, InvalidRecord

READ_AND_UNDERSTOOD = "0.14."


def test_the_version_is_one_whose_source_was_read() -> None:
    assert aiokafka.__version__.startswith(READ_AND_UNDERSTOOD), __doc__


async def test_the_parts_are_where_they_were() -> None:
    producer = AbortableProducer(bootstrap_servers="127.0.0.1:1", enable_idempotence=True)
    parts = {
        producer: ("_closed", "_sender", "_message_accumulator", "client", "_partition"),
        producer._sender: ("_sender_task", "sender_task", "_send_produce_req"),
        producer._message_accumulator: ("_batches", "_pending_batches", "_batch_ttl", "_closed"),
        producer.client: ("_conns", "_md_update_fut", "force_metadata_update", "_sync_task"),
    }
    missing = [(part, n) for part, names in parts.items() for n in names if not hasattr(part, n)]
    assert missing == [], __doc__
    await producer.abort()


def test_the_sender_starts_its_requests_through_the_instance() -> None:
    """So that what is put on the instance sees every request."""
    assert "self._send_produce_req(" in inspect.getsource(Sender._sender_routine), __doc__
    assert list(inspect.signature(Sender._send_produce_req).parameters) == [
        *("self", "node_id", "batches"),
    ], __doc__
    assert "_sender_routine" in inspect.getsource(Sender.start), __doc__


def test_a_batch_without_a_leader_is_failed_by_its_age() -> None:
    assert "expired()" in inspect.getsource(MessageAccumulator.drain_by_nodes), __doc__
    assert "self._batch_ttl" in inspect.getsource(MessageAccumulator._append_batch), __doc__
    assert "self._ttl" in inspect.getsource(MessageBatch.expired), __doc__


def test_stop_waits_for_what_is_queued() -> None:
    """The reason for all of this; without it the stock producer would do."""
    assert "_message_accumulator.close()" in inspect.getsource(AIOKafkaProducer.stop), __doc__


async def test_no_batch_expires_and_an_abort_fails_each_message_once() -> None:
    producer = AbortableProducer(bootstrap_servers="127.0.0.1:1", enable_idempotence=True)
    accumulator = producer._message_accumulator
    accumulator._txn_manager.set_pid_and_epoch(1, 0)
    sent, queued, resent = (TopicPartition("t", number) for number in range(3))
    futures = [await accumulator.add_message(tp, b"k", b"v", 1) for tp in (sent, queued, resent)]
    assert all(batches[0]._ttl == math.inf for batches in accumulator._batches.values())
    accumulator._pop_batch(sent)
    accumulator.reenqueue(accumulator._pop_batch(resent))
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, what: failures.append(what))
    await producer.abort()
    await asyncio.sleep(0)
    assert [type(future.exception()) for future in futures] == [ProducerClosed] * 3
    assert failures == []
    assert accumulator._pending_batches == set()


def test_a_refused_record_has_a_name() -> None:
    assert for_code(87) is InvalidRecord
