"""Records with header names that are not UTF-8 are read, alone and compressed beside others."""

from __future__ import annotations

import inspect
from typing import Any

import aiokafka
import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher

import promptmill.kafka.client  # noqa: F401 - it prepares all consumers
from promptmill.kafka.header_names import TolerantRecords
from support.kafka_topics import record_batch, with_invalid_names

READ_AND_UNDERSTOOD = "0.14."


def batch(offset: int, names: list[str], *, gzipped: bool = False) -> bytes:
    """A batch with a record for each name of a header; ``????`` becomes four invalid bytes."""
    plain = record_batch([(name, b"x")] for name in names)
    raw = bytearray(with_invalid_names(plain, gzipped=gzipped))
    raw[:8] = offset.to_bytes(8, "big")
    return bytes(raw)


def read(raw: bytes) -> list[Any]:
    """What a consumer makes of it."""
    records = fetcher.MemoryRecords(raw)
    place = TopicPartition("t", 0)
    return list(fetcher.PartitionRecords(place, records, [], 0, None, None, True, 0))


def test_the_version_is_one_whose_source_was_read() -> None:
    assert aiokafka.__version__.startswith(READ_AND_UNDERSTOOD)
    assert fetcher.MemoryRecords is TolerantRecords
    assert "MemoryRecords(part_data" in inspect.getsource(fetcher.Fetcher)


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("names", [["????"], ["good", "????", "also"], ["????", "good"]])
def test_every_record_of_the_batch_is_read_once(names: list[str], gzipped: bool) -> None:
    found = read(batch(0, names, gzipped=gzipped) + batch(len(names), ["last"]))
    assert [r.offset for r in found] == list(range(len(names) + 1))
    assert [r.value for r in found[:-1]] == [b"value %d" % n for n in range(len(names))]
    assert [r.headers[0][0] for r in found] == [
        name.replace("?", "\ufffd") for name in [*names, "last"]
    ]


def test_a_batch_without_such_names_is_read_by_the_fast_reader() -> None:
    records = TolerantRecords(batch(7, ["good"]))
    whole = records.next_batch()
    assert (whole.base_offset, whole.next_offset, whole.is_control_batch) == (7, 8, False)
    assert whole.validate_crc()
    assert [r.offset for r in whole] == [7]
    assert records.next_batch() is None
    assert not records.has_next()
